package guard

import (
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/gti/gtm/pkg/serve/seam"
)

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
	// Size is how many networks can be counted at once, 8 bytes each; when there are more, those with the lowest
	// counters are forgotten. It is rounded up to a power of two. Default 1<<19.
	Size int
}

// PrefixRate is the rate of each network of Bits bits, in replies a second.
type PrefixRate struct{ Bits, Rate int }

const (
	limitTau   = 2500 * time.Millisecond // a counter decays to 1/e in this time
	limitTick  = time.Second / 16        // the time in a counter
	limitDecay = 1024                    // ticks after which nothing is left of a counter
	limitWays  = 8                       // counters per bucket: one cache line
	limitTries = 4                       // of an update that others interfere with
	limitMost  = 16                      // prefix lengths per family
)

// Limiter counts replies. A counter is one word, changed by compare-and-swap: 16 bits that tell its network from
// others of its bucket, 16 bits of time, and 32 bits of load, where 1<<31 is as much as is allowed. What races lose is
// a reply counted too few. Safe for concurrent use; it allocates nothing.
type Limiter struct {
	levels  [2][]limitLevel // by family
	exempt  []netip.Prefix
	Slip    int
	DryRun  bool
	seed    maphash.Seed
	clock   func() time.Time
	start   time.Time
	decay   [limitDecay]uint32 // what is left after so many ticks, of 1<<32
	mask    uint64             // of the index of a bucket
	buckets []limitBucket
}

type limitBucket [limitWays]atomic.Uint64

// limitLevel is one prefix length.
type limitLevel struct {
	bits  int
	price uint32 // of one reply
}

const limitFull = 1 << 31

// NewLimiter makes nil of nil.
func NewLimiter(c *RateLimit, clock func() time.Time) (*Limiter, error) {
	if c == nil {
		return nil, nil
	}
	l := &Limiter{Slip: c.Slip, DryRun: c.DryRun, exempt: c.Exempt, seed: maphash.MakeSeed(), clock: clock, start: clock()}
	if l.exempt == nil {
		l.exempt = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	four, six := c.IPv4, c.IPv6
	if four == nil {
		four = []PrefixRate{{18, 768 * c.Rate}, {20, 256 * c.Rate}, {24, 32 * c.Rate}, {32, c.Rate}}
	}
	if six == nil {
		six = []PrefixRate{{32, 64 * c.Rate}, {48, 4 * c.Rate}, {56, 3 * c.Rate}, {64, 2 * c.Rate}, {128, c.Rate}}
	}
	for family, list := range [2][]PrefixRate{four, six} {
		if len(list) > limitMost {
			return nil, fmt.Errorf("serve: a rate limit has %d prefix lengths for %s; give %d at most", len(list), seam.FamilyNames[family],
				limitMost)
		}
		for _, p := range list {
			if most := 32 + 96*family; p.Bits < 1 || p.Bits > most || p.Rate < 1 {
				return nil, fmt.Errorf("serve: rate limit of %d replies a second for an %s /%d: give a rate of 1 or more, and a length "+
					"from 1 to %d",
					p.Rate, seam.FamilyNames[family], p.Bits, most)
			}
			full := float64(p.Rate) * limitTau.Seconds()
			l.levels[family] = append(l.levels[family], limitLevel{p.Bits, uint32(max(1, math.Round(limitFull/full)))})
		}
	}
	if c.Slip < 0 || c.Size < 0 {
		return nil, fmt.Errorf("serve: a rate limit can't have slip %d or size %d", c.Slip, c.Size)
	}
	for i := range l.decay {
		left := math.Exp(-float64(i) * limitTick.Seconds() / limitTau.Seconds())
		l.decay[i] = uint32(min(left*(1<<32), math.MaxUint32))
	}
	size := c.Size
	if size == 0 {
		size = 1 << 19
	}
	l.buckets = make([]limitBucket, 1<<bits.Len(uint((size-1)/limitWays)))
	l.mask = uint64(len(l.buckets) - 1)
	return l, nil
}

// Now is the time for allow, which goes round every 68 minutes: a counter that was left alone for just that long
// looks fresh once more, and costs its network a few replies.
func (l *Limiter) Now() uint16 { return uint16(l.clock().Sub(l.start) / limitTick) }

// Allow counts one reply to a, and reports whether it may be sent. What may not be sent is not counted.
func (l *Limiter) Allow(a netip.Addr, now uint16) bool {
	for _, p := range l.exempt {
		if p.Contains(a) {
			return true
		}
	}
	var found [limitMost]counter
	levels := l.levels[seam.FamilyOf(a)]
	for i, level := range levels {
		found[i] = l.find(a, level.bits, now)
		if found[i].load+level.price > limitFull {
			return false
		}
	}
	for i, level := range levels {
		found[i].add(level.price, now)
	}
	return true
}

// counter is what find has found: a cell, what it held, and what that is worth now.
type counter struct {
	cell *atomic.Uint64
	old  uint64
	tag  uint16
	load uint32
}

// find looks for the counter of a's network; where there is none, it gives the least of its bucket, to be replaced.
func (l *Limiter) find(a netip.Addr, length int, now uint16) counter {
	h := l.hash(a, length)
	bucket := &l.buckets[h&l.mask]
	c := counter{tag: uint16(h >> 48)}
	least := uint32(math.MaxUint32)
	for i := range bucket {
		word := bucket[i].Load()
		load := l.worth(word, now)
		if uint16(word>>48) == c.tag && load > 0 {
			c.cell, c.old, c.load = &bucket[i], word, load
			return c
		}
		if load < least {
			least, c.cell, c.old = load, &bucket[i], word
		}
	}
	return c
}

// worth is what is left of a counter.
func (l *Limiter) worth(word uint64, now uint16) uint32 {
	age := now - uint16(word>>32)
	if age >= limitDecay {
		return 0
	}
	return uint32(uint64(uint32(word)) * uint64(l.decay[age]) >> 32)
}

// add counts. Where others have changed the cell meanwhile, it tries with what they left, unless they gave the cell
// to another network: then this reply is not counted.
func (c counter) add(price uint32, now uint16) {
	next := uint64(c.tag)<<48 | uint64(now)<<32
	for range limitTries {
		if c.cell.CompareAndSwap(c.old, next|uint64(c.load+price)) {
			return
		}
		c.old = c.cell.Load()
		if uint16(c.old>>48) != c.tag || uint16(c.old>>32) != now {
			return
		}
		c.load = min(uint32(c.old), limitFull)
	}
}

// hash is of the network of a with the length given, which goes into it.
func (l *Limiter) hash(a netip.Addr, length int) uint64 {
	var key [17]byte
	key[0] = byte(length)
	size := 16
	if a.Is4() {
		four := a.As4()
		size = copy(key[1:], four[:])
	} else {
		six := a.As16()
		copy(key[1:], six[:])
	}
	full := length / 8
	if full < size {
		key[1+full] &= ^byte(0xff >> (length % 8))
		clear(key[1+full+1 : 1+size])
	}
	return maphash.Bytes(l.seed, key[:1+size])
}
