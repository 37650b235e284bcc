package table

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/spec"
)

// Service is one compiled steered name. It is immutable but for its counters.
//
// What every query reads of it is one cache line; a view holds the lines of its services side by side.
type Service struct {
	*serviceInfo
	steps  []step           // of all rows, one after the other
	starts [fewRules]uint16 // as serviceInfo.index, where that has no more
	part   uint32           // of View.parts
	rules  uint16           // how many; each has a row of the same number, and the row behind the last one is lastResort's

	served  famset // what exists at the name
	need    famset // what a pool must give to be chosen: all that is served where every family comes from the same pool, else nothing more
	tiers   uint8  // how many of tiers are tried
	Pick    Pick
	Pending bool // an alias of what was never resolved: SERVFAIL
	metrics bool // counts is there
}

// step is what failover goes to next. It has the TTL of its row, so that a query need not ask whether the rule has one.
type step struct {
	node uint32 // of View.nodes
	ttl  uint32 // seconds, which an answer from here has at most; the node may have less
}

// serviceInfo is what few queries read of a Service.
type serviceInfo struct {
	sigs   *steeredSigs // nil: its zone is not signed
	Tenant string
	Name   string
	Spec   *spec.Service // with defaults filled in
	// AliasOf is what the service's answers are taken from, for people; empty: it is no alias.
	AliasOf string
	extra   extra
	index   []uint16 // row i has steps[index[i]:index[i+1]]; nil once Service.starts holds it
	counts  *ServiceCounts
}

// fewRules is so many places as fill the line.
const fewRules = 8

// settle puts the index in its place, once it is complete.
func (s *Service) settle() {
	s.rules = uint16(len(s.index) - 2)
	if len(s.index) <= fewRules {
		copy(s.starts[:], s.index)
		s.index = nil
	}
}

// row gives the range of a row's steps.
func (s *Service) row(i int) (from, to int) {
	if s.rules <= fewRules-2 {
		return int(s.starts[i]), int(s.starts[i+1])
	}
	return int(s.index[i]), int(s.index[i+1])
}

// Serves tells whether the family exists at the service's name, for whichever client.
func (s *Service) Serves(f Family) bool { return s.served.has(f) }

// FamilyOf tells in which family, if any, the service answers a query type.
func (s *Service) FamilyOf(qtype uint16) (Family, bool) {
	f := CNAME
	switch {
	case s.Serves(CNAME):
	case qtype == dnswire.TypeA:
		f = IPv4
	case qtype == dnswire.TypeAAAA:
		f = IPv6
	case qtype == dnswire.TypeHTTPS:
		f = HTTPS
	case qtype == dnswire.TypeSVCB:
		f = SVCB
	case qtype == dnswire.TypeSRV:
		f = SRV
	case qtype == dnswire.TypeMX:
		f = MX
	}
	return f, s.Serves(f)
}

// Families lists what the service serves, in the order of the families.
func (s *Service) Families() []Family {
	var out []Family
	for f := range families {
		if s.Serves(f) {
			out = append(out, f)
		}
	}
	return out
}

// Counts gives the service's own counters, nil unless it asks for them.
func (s *Service) Counts() *ServiceCounts {
	if !s.metrics {
		return nil
	}
	return s.counts
}

// ServiceCounts counts the answers of a service by pool. Safe for concurrent use.
type ServiceCounts struct {
	Tenant, Service string
	Pools           []string // sorted
	Answers         []atomic.Uint64
}

// Add counts one answer from a pool.
func (c *ServiceCounts) Add(pool string) {
	if i, ok := slices.BinarySearch(c.Pools, pool); ok {
		c.Answers[i].Add(1)
	}
}

// Client is who asks, as far as steering goes. Addresses are left-aligned in Hi and Lo; IPv4 in the upper half of Hi.
type Client struct {
	Subnet   Net  // of the client subnet option; bits past its length are zero
	Has      bool // there is such an option, with a length above zero
	Resolver Net  // the address that asked, full length
}

// Net is a network.
type Net struct {
	Hi, Lo uint64
	Bits   uint8
	V4     bool
}

// Fallback tells how an answer came about when the pools of the rule are down.
type Fallback uint8

// The fallbacks.
const (
	Normal     Fallback = iota
	LastResort          // from lastResort, which is up
	AsIfUp              // everything is down: as if all were up
	Refuse              // everything is down, and the service wants SERVFAIL then
)

// Class is what the rules of a service make of a client.
type Class struct {
	Index    uint16 // of the rule that matches; NoRule when none does
	Scope    uint8  // length of the widest network around the client's subnet that is of the same class
	Resolver bool   // the resolver's address decided
}

// NoRule stands for the rule of a client that none matches; lastResort answers it.
const NoRule = 0xFFFF

// rowFor gives the row for a class.
func (s *Service) rowFor(c Class) int {
	if c.Index == NoRule {
		return int(s.rules)
	}
	return int(c.Index)
}

// Classify tells a client's class. A special-purpose client network gives its scope, and the resolver the rule.
func (v *View) Classify(s *Service, c *Client) (class Class) {
	part := v.parts[s.part]
	if c.Has {
		if c.Subnet.V4 {
			class.Index, class.Scope = part.Lookup4(uint32(c.Subnet.Hi >> 32))
		} else {
			class.Index, class.Scope = part.Lookup6(c.Subnet.Hi, c.Subnet.Lo)
		}
		if class.Index != specialClass {
			return class
		}
	}
	class.Resolver = true
	if c.Resolver.V4 {
		class.Index, _ = part.LookupResolver4(uint32(c.Resolver.Hi >> 32))
	} else {
		class.Index, _ = part.LookupResolver6(c.Resolver.Hi, c.Resolver.Lo)
	}
	return class
}

func (fd *famDraw) pick(asIfUp bool) *picks {
	if asIfUp {
		return fd.all
	}
	return fd.live
}

// Sticky choices hash so many bits of the client's network.
const (
	stickyBits4 = 24
	stickyBits6 = 48
)

// Records gives the chosen records: owner pointing at offset 12, TTL zero, all of one length unless CNAME. They are not to be changed.
// Where they stand nowhere as a whole, they are put into room, which grows where it has to.
func (d *Decision) Records(room *[]byte) (records []byte, count uint16) {
	if p := d.picks; p.joint != nil {
		*room, count = p.join((*room)[:0], d.Set)
		return *room, count
	}
	return d.picks.records(d.Set)
}

// String names the fallback for people.
func (f Fallback) String() string {
	switch f {
	case Normal:
		return ""
	case LastResort:
		return "lastResort: no pool of the rule is up"
	case AsIfUp:
		return "all down: answering as if all were up"
	case Refuse:
		return "all down: SERVFAIL, as the service asks"
	}
	return fmt.Sprintf("fallback %d", uint8(f))
}

// NetOf gives the network of an address, masked to bits.
func NetOf(a netip.Addr, bits uint8) Net {
	a = a.Unmap()
	if a.Is4() {
		b := a.As4()
		return masked(uint64(binary.BigEndian.Uint32(b[:]))<<32, 0, min(bits, 32), true)
	}
	b := a.As16()
	return masked(binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:]), min(bits, 128), false)
}

// HostNet gives the network that holds nothing but the address, which is not an IPv4-mapped one.
func HostNet(a netip.Addr) Net {
	if a.Is4() {
		b := a.As4()
		return Net{Hi: uint64(binary.BigEndian.Uint32(b[:])) << 32, Bits: 32, V4: true}
	}
	b := a.As16()
	return Net{Hi: binary.BigEndian.Uint64(b[:8]), Lo: binary.BigEndian.Uint64(b[8:]), Bits: 128}
}

// masked clears what lies past bits.
func masked(hi, lo uint64, bits uint8, v4 bool) Net {
	if bits < 64 {
		hi, lo = hi&^(^uint64(0)>>bits), 0
	} else if bits < 128 {
		lo &^= ^uint64(0) >> (bits - 64)
	}
	return Net{hi, lo, bits, v4}
}

// Addr gives the network's address.
func (n Net) Addr() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], n.Hi)
	binary.BigEndian.PutUint64(b[8:], n.Lo)
	if n.V4 {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16(b)
}

// Prefix gives the network.
func (n Net) Prefix() netip.Prefix { return netip.PrefixFrom(n.Addr(), int(n.Bits)) }
