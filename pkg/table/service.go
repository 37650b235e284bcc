package table

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
)

// ref is one pool of a rule: a draw, and its weight in a split.
type ref struct {
	draw   uint32
	weight uint16
	last   bool // the last ref of its step
}

// Service is one compiled steered name. It is immutable but for its counters.
//
// What every query reads of it is one cache line; a view holds the lines of its services side by side.
type Service struct {
	*serviceInfo
	refs   []ref            // of all rules, then of lastResort
	starts [fewRules]uint16 // as serviceInfo.index, where that has no more
	TTL    uint32           // seconds
	part   uint32           // of View.parts
	rules  uint16           // how many; the rule behind the last one is lastResort

	served   uint8 // bit f: family f exists
	Pick     Pick
	Pending  bool // an alias of what was never resolved: SERVFAIL
	coherent bool // every family comes from the same pool
	servfail bool
	metrics  bool // counts is there
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
	index   []uint16 // rule i has refs[index[i]:index[i+1]]; nil once Service.starts holds it
	pools   []string // of each ref
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

// rule gives the range of a rule's refs.
func (s *Service) rule(i int) (from, to int) {
	if s.rules <= fewRules-2 {
		return int(s.starts[i]), int(s.starts[i+1])
	}
	return int(s.index[i]), int(s.index[i+1])
}

// Serves tells whether the family exists at the service's name, for whichever client.
func (s *Service) Serves(f Family) bool { return s.served>>f&1 == 1 }

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

// Decision is what Decide chose, as indexes into the view; the explanation gives them names.
type Decision struct {
	Class
	Ref      int // index of the chosen ref; -1 with Refuse
	Set      int // what was drawn; see picks.choose
	Fallback Fallback
	Draw     *Draw
	picks    *picks
}

// Class is what the rules of a service make of a client.
type Class struct {
	Index    uint16 // of the rule that matches; NoRule when none does
	Scope    uint8  // length of the widest network around the client's subnet that is of the same class
	Resolver bool   // the resolver's address decided
}

// NoRule stands for the rule of a client that none matches; lastResort answers it.
const NoRule = 0xFFFF

// ruleFor gives the rule for a class.
func (s *Service) ruleFor(c Class) int {
	if c.Index == NoRule {
		return int(s.rules)
	}
	return int(c.Index)
}

// Decide chooses an answer of s in family f, which s serves, for client c, whose class Classify has told. r is uniformly random;
// all of the choice's randomness comes from it. It neither allocates nor blocks. d is overwritten.
func (v *View) Decide(d *Decision, s *Service, f Family, c *Client, class Class, r uint64) {
	*d = Decision{Class: class, Ref: -1}
	hash, bits := uint64(0), uint8(0)
	if s.Pick == Sticky || s.coherent {
		hash, bits = stickyHash(c, d.Resolver)
	}
	hashed := v.walk(d, s, f, s.ruleFor(class), r, hash)
	if d.Draw != nil && hashed && !d.Resolver {
		d.Scope = max(d.Scope, bits)
	}
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

// walk goes through the steps of a rule, then lastResort, then both again as if all were up. It reports
// whether the client's hash had a say.
func (v *View) walk(d *Decision, s *Service, f Family, rule int, r, hash uint64) bool {
	last := int(s.rules)
	if hashed, ok := v.steps(d, s, f, rule, r, hash, false); ok {
		if rule == last {
			d.Fallback = LastResort
		}
		return hashed
	}
	if rule != last {
		if hashed, ok := v.steps(d, s, f, last, r, hash, false); ok {
			d.Fallback = LastResort
			return hashed
		}
	}
	if s.servfail {
		d.Fallback = Refuse
		return false
	}
	d.Fallback = AsIfUp
	if hashed, ok := v.steps(d, s, f, last, r, hash, true); ok {
		return hashed
	}
	hashed, ok := v.steps(d, s, f, rule, r, hash, true)
	if !ok {
		d.Fallback = Refuse
	}
	return hashed
}

// steps walks the steps of one rule and draws from the first that has a pool to give.
func (v *View) steps(d *Decision, s *Service, f Family, rule int, r, hash uint64, asIfUp bool) (hashed, ok bool) {
	for i, end := s.rule(rule); i < end; {
		first, total, n, only := i, uint32(0), 0, i
		var draw *Draw
		for {
			if got := v.giving(s, i, f, asIfUp); got != nil {
				total += uint32(s.refs[i].weight)
				n++
				only, draw = i, got
			}
			i++
			if s.refs[i-1].last {
				break
			}
		}
		if n == 0 {
			continue
		}
		if n > 1 {
			only = v.split(s, f, first, i, total, r, hash, asIfUp)
			draw = v.draws.at(s.refs[only].draw)
		}
		d.Ref, d.Draw, d.picks = only, draw, draw.fams[f].pick(asIfUp)
		d.Set = d.picks.choose(uint32(r), hash)
		return (s.Pick == Sticky || s.coherent) && (n > 1 || d.picks.table != nil), true
	}
	return false, false
}

// giving gives the draw of a ref if it has an answer in family f, nil otherwise. Where every family is to come from the same
// pool, it needs one in each.
func (v *View) giving(s *Service, i int, f Family, asIfUp bool) *Draw {
	ref := &s.refs[i]
	d := v.draws.at(ref.draw)
	if ref.weight == 0 || d.fams[f].pick(asIfUp) == nil || s.coherent && !asIfUp && !d.givesAll(s) {
		return nil
	}
	return d
}

// givesAll tells whether there is an answer in each family that the service serves.
func (d *Draw) givesAll(s *Service) bool {
	for f := range families {
		if s.Serves(f) && d.fams[f].live == nil {
			return false
		}
	}
	return true
}

// split chooses among the pools of one step that can answer: by weight, or by rendezvous when sticky.
func (v *View) split(s *Service, f Family, first, end int, total uint32, r, hash uint64, asIfUp bool) int {
	if s.Pick == Sticky || s.coherent {
		best, at := 0.0, -1
		for i := first; i < end; i++ {
			if v.giving(s, i, f, asIfUp) == nil {
				continue
			}
			if score := steer.Rendezvous(hash, v.draws.at(s.refs[i].draw).id, float64(s.refs[i].weight)); at < 0 || score > best {
				best, at = score, i
			}
		}
		return at
	}
	left := uint32((r >> 32) * uint64(total) >> 32)
	for i := first; i < end; i++ {
		if v.giving(s, i, f, asIfUp) == nil {
			continue
		}
		w := uint32(s.refs[i].weight)
		if left < w {
			return i
		}
		left -= w
	}
	return end - 1 // not reached: left < total
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

// stickyHash hashes the network that a sticky choice depends on, and tells how many bits that took. A client subnet that is shorter is
// too short to decide: it gets the answer of its first network of that length, with the scope of that, so that what resolvers keep for
// networks of different lengths never overlaps (RFC 7871, 7.2.1).
func stickyHash(c *Client, resolver bool) (hash uint64, bits uint8) {
	n := c.Subnet
	if resolver {
		n = c.Resolver
	}
	bits = stickyBits6
	fam := uint64(6)
	if n.V4 {
		bits, fam = stickyBits4, 4
	}
	return steer.Hash(n.Hi&^(^uint64(0)>>bits), fam), bits
}

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
