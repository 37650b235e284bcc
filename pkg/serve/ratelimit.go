package serve

import "net/netip"

// RateLimit bounds the replies by UDP, so that questions with forged sources can't turn the server against others.
// Every network of the lengths listed has a counter that decays by itself; a reply that would bring one of them beyond
// its rate is not sent. A network may have two and a half seconds' worth at once.
type RateLimit struct {
	// Rate is how many replies a second one address may have. The lists default to multiples of it, as Knot's:
	// IPv4 /18 ×768, /20 ×256, /24 ×32, /32 ×1; IPv6 /32 ×64, /48 ×4, /56 ×3, /64 ×2, /128 ×1.
	Rate       int
	IPv4, IPv6 []PrefixRate
	// Slip lets every Slip-th of the replies that are too many through as a short one with the TC bit, so that
	// honest clients behind a forged address come back by TCP. 1: each of them; 0: none.
	Slip int
	// Exempt are networks without limit. Nil: loopback.
	Exempt []netip.Prefix
	// DryRun counts only.
	DryRun bool
	// Size is the number of counters, of 8 bytes each. Default 1<<19.
	Size int
}

// PrefixRate is the rate of each network of Bits bits, in replies a second.
type PrefixRate struct{ Bits, Rate int }
