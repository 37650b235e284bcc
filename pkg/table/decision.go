package table

import (
	"fmt"
	"math/bits"

	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table/draws"
	"github.com/gti/gtm/pkg/table/rr"
	"github.com/gti/gtm/pkg/table/zones"
)

// Decision is what Decide chose; the explanation gives it names.
type Decision struct {
	Class
	TTL      uint32 // seconds: the least of the step's, which is the rule's or the service's, and of the nodes that led here
	Set      int    // what was drawn; see Picks.Choose
	Fallback Fallback
	Draw     *draws.Draw // nil with Refuse
	picks    *draws.Picks
	step     int              // of Service.Steps, from which it came; -1 with Refuse
	path     [MaxDepth]uint16 // the arm that each choice below it took
	hashed   bool             // what is hashed had a say
	left     uint32           // seconds for which that stays the same, if hashed
}

// needs tells what a node must give for an answer in family f, and whether as if all were up.
func (s *Service) needs(f rr.Family, fallback Fallback) (need rr.FamilySet, asIfUp bool) {
	if fallback == AsIfUp {
		return 1 << f, true
	}
	return s.Need | 1<<f, false
}

// enter gives the first node that has an answer in family f, and its place in s.Steps; nil: there is none.
func (v *View) enter(s *Service, row int, f rr.Family) (n *Node, step int, fallback Fallback) {
	need := s.Need | 1<<f
	if s.Is.Has(Steers) {
		if n, step := s.Layout.first(v, s.Steps, row, need, false); n != nil {
			return n, step, Normal
		}
		return v.fallBack(s, row, f)
	}
	for i, end := s.Row(row); i < end; i++ { // as firstOf, without a call
		if n := v.Nodes.Ref(s.Steps[i].Node); n.Live.Holds(need) {
			if row == int(s.rules) {
				return n, i, LastResort
			}
			return n, i, Normal
		}
	}
	return v.fallBack(s, row, f)
}

// firstOf gives the first node of a row that gives what is needed, nil if none does.
func (v *View) firstOf(s *Service, row int, need rr.FamilySet, asIfUp bool) (n *Node, step int) {
	if s.Is.Has(Steers) {
		return s.Layout.first(v, s.Steps, row, need, asIfUp)
	}
	for i, end := s.Row(row); i < end; i++ {
		if n := v.Nodes.Ref(s.Steps[i].Node); n.gives(need, asIfUp) {
			return n, i
		}
	}
	return nil, -1
}

// tiers are what is tried in turn where a client's row gives nothing: first what follows health.
var tiers = [...]struct {
	lastResort bool
	fallback   Fallback
}{{true, LastResort}, {true, AsIfUp}, {false, AsIfUp}}

// How many tiers are tried of a service that answers in any case, and of one that would rather refuse than not follow health.
const (
	AllTiers    = uint8(len(tiers))
	HealthTiers = 1
)

// fallBack goes through the tiers of a service.
func (v *View) fallBack(s *Service, row int, f rr.Family) (n *Node, step int, fallback Fallback) {
	for _, tier := range tiers[:s.Tiers] {
		at := row
		if tier.lastResort {
			at = s.lastFor(row)
		}
		need, asIfUp := s.needs(f, tier.fallback)
		if n, step := v.firstOf(s, at, need, asIfUp); n != nil {
			return n, step, tier.fallback
		}
	}
	return nil, -1, Refuse
}

// Decide chooses an answer of s in family f, which s serves, for client c, whose class Classify has told. r is uniformly random;
// all of the choice's randomness comes from it. It neither allocates nor blocks. d is overwritten.
func (v *View) Decide(d *Decision, s *Service, f rr.Family, c *Client, class Class, r uint64) {
	n, step, fallback := v.enter(s, s.rowFor(class), f)
	d.Class, d.Fallback, d.step, d.hashed = class, fallback, step, false
	if n == nil {
		d.Draw, d.picks, d.Set, d.TTL = nil, nil, 0, 0
		return
	}
	if s.Is.Has(Steers) {
		n = v.steered(d, s, n, f, c, r)
	}
	v.follow(d, s, n, f, c, r)
}

// follow goes on from the node of d.step, and what else stands in d.
func (v *View) follow(d *Decision, s *Service, n *Node, f rr.Family, c *Client, r uint64) {
	need, asIfUp := s.needs(f, d.Fallback)
	k, chance := key{}, uint32(r>>32)
	d.TTL = s.Steps[d.step].TTL
	for depth := 0; n.Kind != LeafNode; depth++ {
		if n.Split != nil && !asIfUp && d.split(n.Split, f, depth, r) {
			return
		}
		if d.TTL = min(d.TTL, n.TTL); depth > 0 { // each choice has a chance of its own, and the draw the lower half of r
			chance = uint32(steer.Hash(r>>32, uint64(depth)))
		}
		if n.hashes() {
			k = n.hash(c, d.Resolver)
		}
		var at int
		var hashed bool
		if n.Kind == NearestNode {
			at, hashed = n.nearest(v.distances(s, d.Class), need, asIfUp, chance, k.hash)
		} else {
			at, hashed = n.choose(need, asIfUp, chance, k.hash)
		}
		if hashed {
			d.hashes(k)
		}
		d.path[depth] = uint16(at)
		n = v.Nodes.Ref((*n.Arms)[at].Node)
	}
	d.TTL = min(d.TTL, n.TTL)
	d.Draw, d.picks = n.Draw, n.Draw.From(f, asIfUp)
	if d.picks.Sticky() {
		k = n.hash(c, d.Resolver)
		d.hashes(k)
	}
	d.Set = d.picks.Choose(uint32(r), k.hash)
	if d.hashed && d.left < d.TTL { // no answer outlives its period; of powers of two a signed set has few TTLs
		d.TTL = 1 << (bits.Len32(d.left) - 1)
	}
}

// split draws from all pools below a node at once; not ok: of the family that is not possible. It draws as Path does.
func (d *Decision) split(s *draws.Split, f rr.Family, depth int, r uint64) (ok bool) {
	all, ttl := s.From(f)
	if all == nil {
		return false
	}
	part, set := s.Part(f, all.Choose(uint32(r), 0))
	copy(d.path[depth:], part.Path)
	d.TTL, d.Draw, d.picks, d.Set = min(d.TTL, ttl), part.Draw, part.Draw.From(f, false), set
	return true
}

// steered gives the node that is chosen where enter gave n, the first of a group, and the place of that in the order of the row, which
// stands in d.step; and sets d.step to its step. A step that is alone is its own choice.
func (v *View) steered(d *Decision, s *Service, n *Node, f rr.Family, c *Client, r uint64) *Node {
	if s.Layout.alone(d.step) {
		d.step = s.Layout.order.at(d.step)
		return n
	}
	k := key{}
	if s.Steering.ids != nil {
		k = n.hash(c, d.Resolver)
	}
	need, asIfUp := s.needs(f, d.Fallback)
	n, step, hashed := s.choose(v, d.step, need, asIfUp, uint32(r>>32), k.hash)
	if d.step = step; hashed {
		d.hashes(k)
	}
	return n
}

// hashes notes that what was hashed had a say.
func (d *Decision) hashes(k key) {
	if d.hashed, d.left = true, k.left; !d.Resolver {
		d.Scope = max(d.Scope, k.bits)
	}
}

// Signature gives the RRSIG records of a decision's records as they stand at owner, in a zone that is signed. ok is as with
// Zone.Signature.
func (s *Service) Signature(z *zones.Zone, d *Decision, f rr.Family, owner []byte, w *zones.When) (sig zones.Sig, ok bool) {
	set := zones.SteeredSet{Type: f.Type(), TTL: d.TTL, Content: d.picks.ID(d.Set), Records: func() []byte {
		records, _ := d.Records(new([]byte))
		return records
	}}
	return z.SteeredSignature(s.Sigs, &set, owner, w)
}

// Classify tells a client's class. A special-purpose client network gives its scope, and the resolver the rule.
func (v *View) Classify(s *Service, c *Client) (class Class) {
	if c.Has {
		part := v.PartList[s.Part]
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
	part := v.PartList[s.ResolverPart]
	if c.Resolver.V4 {
		class.Index, _ = part.LookupResolver4(uint32(c.Resolver.Hi >> 32))
	} else {
		class.Index, _ = part.LookupResolver6(c.Resolver.Hi, c.Resolver.Lo)
	}
	return class
}

// Records gives the chosen records: owner pointing at offset 12, TTL zero, all of one length unless CNAME. They are not to be changed.
// Where they stand nowhere as a whole, they are put into room, which grows where it has to.
func (d *Decision) Records(room *[]byte) (records []byte, count uint16) {
	return d.picks.Answer(room, d.Set)
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

// FallbackText says how the answer came about, for people; empty: as usual. Not only a service that asks for it refuses: one whose pools
// have no endpoint at all has nothing to answer with.
func (e *Explanation) FallbackText() string {
	if e.Fallback == Refuse && e.Service.Tiers == AllTiers {
		return "no endpoint to answer with: SERVFAIL"
	}
	return e.Fallback.String()
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
