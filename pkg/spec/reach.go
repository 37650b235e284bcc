package spec

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// block is a network that no check goes to unless that is allowed, and what it is.
type block struct {
	prefix netip.Prefix
	what   string
}

// blocks are RFC 6890 with its registry, and what clouds serve metadata and credentials from. All that hold an address must be open.
var blocks = func(list ...string) (blocks []block) {
	for i := 0; i < len(list); i += 2 {
		blocks = append(blocks, block{netip.MustParsePrefix(list[i]), list[i+1]})
	}
	return blocks
}(
	"169.254.169.254/32", metadata,
	"169.254.170.2/32", metadata, // container credentials
	"169.254.170.23/32", metadata,
	"100.100.100.200/32", metadata,
	"168.63.129.16/32", metadata,
	"192.0.0.192/32", metadata,
	"fd00:ec2::/32", metadata,
	"fd20:ce::254/128", metadata,
	"0.0.0.0/8", "unspecified",
	"10.0.0.0/8", private,
	"100.64.0.0/10", private, // shared by carriers
	"127.0.0.0/8", loopback,
	"169.254.0.0/16", "link-local",
	"172.16.0.0/12", private,
	"192.0.0.0/24", "reserved",
	"192.168.0.0/16", private,
	"198.18.0.0/15", private, // for benchmarks
	"224.0.0.0/4", "multicast",
	"240.0.0.0/4", "reserved",
	"::/128", "unspecified",
	"::1/128", loopback,
	"fc00::/7", private,
	"fe80::/10", "link-local",
	"fec0::/10", "link-local", // of a site
	"ff00::/8", "multicast",
)

const (
	metadata = "a metadata service"
	private  = "private"
	loopback = "loopback"
)

// Unreachable says what an address is to which checks do not go by themselves, as in "private"; "" where they do. open are
// networks that are opened, each as far as it lies inside one of those blocks: 127.0.2.0/24 opens part of loopback, 0.0.0.0/0 opens
// nothing, and a metadata service needs its own address. lent opens private networks alone, metadata services in them left out.
// Neither looks at embedded addresses.
func Unreachable(a netip.Addr, open, lent []netip.Prefix) string {
	for _, b := range blocks {
		if b.prefix.Contains(a) && !b.openedBy(a, open) && (b.what != private || !b.openedBy(a, lent)) {
			return b.what
		}
	}
	return ""
}

func (b block) openedBy(a netip.Addr, open []netip.Prefix) bool {
	return slices.ContainsFunc(open, func(p netip.Prefix) bool { return p.Contains(a) && p.Bits() >= b.prefix.Bits() })
}

// CanOpen reports whether a network opens anything to checks: it lies in a block that they do not go to.
func CanOpen(p netip.Prefix) bool {
	return slices.ContainsFunc(blocks, func(b block) bool { return b.holds(p) })
}

func (b block) holds(p netip.Prefix) bool {
	return b.prefix.Contains(p.Addr()) && p.Bits() >= b.prefix.Bits()
}

// Embedded gives an address and the IPv4 addresses that a translator or tunnel may make of it: IPv4-mapped and -compatible (RFC 4291),
// SIIT (RFC 2765), NAT64 (RFC 6052, 8215), 6to4 (RFC 3056), Teredo (RFC 4380: its server and its client) and ISATAP (RFC 5214).
func Embedded(a netip.Addr) []netip.Addr {
	if a = a.Unmap().WithZone(""); a.Is4() {
		return []netip.Addr{a}
	}
	all, b := []netip.Addr{a}, a.As16()
	add := func(i, j, k, l int) { all = append(all, netip.AddrFrom4([4]byte{b[i], b[j], b[k], b[l]})) }
	starts := func(prefix string) bool { return strings.HasPrefix(string(b[:]), prefix) }
	switch {
	case a.IsUnspecified(), a.IsLoopback():
	case starts(zeros[:12]), starts(zeros[:8] + "\xff\xff\x00\x00"), starts("\x00\x64\xff\x9b" + zeros[:8]):
		add(12, 13, 14, 15)
	case starts("\x00\x64\xff\x9b\x00\x01"): // for local use, with any of the lengths that RFC 6052 knows
		add(6, 7, 9, 10)
		add(7, 9, 10, 11)
		add(9, 10, 11, 12)
		add(12, 13, 14, 15)
	case starts("\x20\x02"):
		add(2, 3, 4, 5)
	case starts("\x20\x01\x00\x00"):
		add(4, 5, 6, 7)
		for i := 12; i < 16; i++ {
			b[i] ^= 0xff
		}
		add(12, 13, 14, 15)
	}
	if id := string(b[8:12]); id == "\x00\x00\x5e\xfe" || id == "\x02\x00\x5e\xfe" {
		add(12, 13, 14, 15)
	}
	return all
}

const zeros = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// maxLent bounds the networks that a tenant is lent.
const maxLent = 64

// Lent gives the private networks that the platform's Tenant opens to the checks of a tenant. platform may be nil.
func Lent(platform *Tenant, tenant string) []netip.Prefix {
	if platform == nil || platform.Limits == nil {
		return nil
	}
	return platform.Limits.Probe[tenant]
}

// lent checks what a platform opens.
func (c *checker) lent(by map[string][]netip.Prefix) {
	for _, tenant := range slices.Sorted(maps.Keys(by)) {
		path := joinPath("spec.limits.probe", tenant)
		if err := checkLabel(tenant, ""); err != nil {
			c.fail(path, "", "the tenant %q %v", shorten(tenant), err)
		}
		if n := len(by[tenant]); n > maxLent {
			c.fail(path, "write fewer, wider ones", "has %d networks: it can have at most %d", n, maxLent)
		}
		for i, p := range by[tenant] {
			isIn := func(b block) bool { return b.what == private && b.holds(p) }
			switch path := indexed(path, i); {
			case !p.IsValid():
				c.fail(path, "", "is not a network")
			case p != p.Masked():
				c.fail(path, "write "+p.Masked().String(), "%s has bits set behind its length", p)
			case !slices.ContainsFunc(blocks, isIn):
				c.fail(path, "what else is closed is opened at a prober, by --probe-allow", "%s lies in no private network", p)
			}
		}
	}
}

// reach warns of a changed pool that is checked at a place which probers refuse by themselves. Loopback is left out: it is the demo's.
func (v *setChecker) reach(r *Resource, p *Pool) {
	if len(p.Monitors()) == 0 || !v.changed[r.Key] {
		return
	}
	var platform *Tenant
	if t := v.after.Get(Key{Platform, KindTenant, Platform}); t != nil {
		platform, _ = t.Spec.(*Tenant)
	}
	lent := Lent(platform, r.Tenant)
	for i := range p.Endpoints {
		e := &p.Endpoints[i]
		addresses, path := e.Addresses, indexed("spec.endpoints", i)+".addresses"
		if a, _, err := e.ProbeTarget(); err == nil && a.IsValid() {
			addresses, path = []netip.Addr{a}, indexed("spec.endpoints", i)+".probe"
		}
		for _, address := range addresses {
			for _, a := range Embedded(address) {
				if what := Unreachable(a, nil, lent); what != "" && what != loopback {
					v.warn(r, path, "gtmd --probe-allow opens it, a private one also spec.limits.probe of the Tenant "+Platform,
						"%s is %s: probers do not check it unless they may", address, what)
					return // one for a pool is enough
				}
			}
		}
	}
}

// Checked says what a monitor checks of the endpoint, in one form however it is written: the probe, the host name, or the
// addresses in order. What is known of an endpoint is known of this, not of its name.
func (e *Endpoint) Checked() string { return string(e.appendChecked(nil)) }

// IsChecked reports whether of is what Checked gives. It does not allocate where addresses are checked.
func (e *Endpoint) IsChecked(of string) bool {
	var buf [128]byte
	return string(e.appendChecked(buf[:0])) == of
}

func (e *Endpoint) appendChecked(b []byte) []byte {
	switch {
	case e.Probe != "":
		a, port, err := e.ProbeTarget()
		switch {
		case err != nil:
			return append(b, e.Probe...)
		case port != 0:
			return netip.AddrPortFrom(a.Unmap(), port).AppendTo(b)
		}
		return a.Unmap().AppendTo(b)
	case e.Host != "":
		return append(b, strings.ToLower(strings.TrimSuffix(e.Host, "."))...)
	case len(e.Addresses) == 1:
		return e.Addresses[0].Unmap().AppendTo(b)
	}
	var buf [4]netip.Addr
	sorted := append(buf[:0], e.Addresses...)
	slices.SortFunc(sorted, netip.Addr.Compare)
	for i, a := range sorted {
		if i > 0 {
			b = append(b, ' ')
		}
		b = a.Unmap().AppendTo(b)
	}
	return b
}
