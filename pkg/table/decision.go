package table

import (
	"math"

	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table/draws"
	"github.com/gti/gtm/pkg/table/rr"
	"github.com/gti/gtm/pkg/table/zones"
)

// decisionNode is one choice of a policy: a leaf draws from a pool, any other passes on to one of its arms, which are nodes again. The
// policy of a class of clients is a row of nodes, of which the first that gives an answer is followed down to its leaf. Nodes are
// immutable, and services share them: a verdict replaces a leaf, and the nodes above it where the families change that it gives.
//
// Of a choice a query reads the node and its arms alone, not what lies below: an arm holds what its node gives.
type Node struct {
	Draw  *draws.Draw // of a leaf
	Arms  *[]Arm      // of the others
	TTL   uint32      // seconds, which an answer from here has at most; anyTTL: no limit of its own
	Kind  Kind
	Depth uint8 // how many choices lead from here to the deepest leaf

	Live rr.FamilySet // what it gives by the health of today
	All  rr.FamilySet // what it gives as if all were up
	// How many bits of the client's network it goes by, where it hashes that.
	Bits4, Bits6 uint8
}

// decisionKind is how a node chooses.
type Kind uint8

const (
	LeafNode     Kind = iota // the draw's own way of picking
	FirstNode                // the first arm that gives
	WeightedNode             // by chance, in proportion to the weights of the arms that give
	HashedNode               // by rendezvous of the client's network with the arms that give, in proportion to their weights
)

// leafOf gives the node that draws from d.
func LeafOf(d *draws.Draw, ttl uint32) Node {
	live, all := d.Gives()
	return Node{Draw: d, TTL: ttl, Bits4: StickyBits4, Bits6: StickyBits6, Live: live, All: all}
}

// anyTTL is above every TTL (RFC 2181, 8).
const AnyTTL = math.MaxUint32

// maxDepth is how many choices stand above a leaf at most.
const MaxDepth = 6

// arm is a node as seen from the one above it.
type Arm struct {
	ID     uint64 // the same at every edge, for rendezvous
	Node   uint32 // of View.nodes
	Weight uint16
	Live   rr.FamilySet
	All    rr.FamilySet
}

// gives tells whether the node has an answer in all families that are needed, as of today or as if all were up.
func (n *Node) gives(need rr.FamilySet, asIfUp bool) bool {
	if asIfUp {
		return n.All.Holds(need)
	}
	return n.Live.Holds(need)
}

// weightFor is the arm's weight where it gives what is needed, else 0. It has no branch, since nobody can predict which arms of a
// split do.
func (a *Arm) weightFor(need rr.FamilySet, asIfUp bool) uint32 {
	gives := a.Live
	if asIfUp {
		gives = a.All
	}
	lacks := int32(need &^ gives)
	return uint32(a.Weight) & uint32((lacks-1)>>31)
}

// choose gives the arm that a node passes on to, and whether the client's network had a say. The node gives what is needed, hence so
// does one of the arms.
func (n *Node) choose(need rr.FamilySet, asIfUp bool, chance uint32, hash uint64) (at int, hashed bool) {
	switch arms := *n.Arms; n.Kind {
	case WeightedNode:
		return byChance(arms, need, asIfUp, chance), false
	case HashedNode:
		return byNetwork(arms, need, asIfUp, hash)
	default:
		for arms[at].weightFor(need, asIfUp) == 0 {
			at++
		}
		return at, false
	}
}

// byChance draws an arm by weight.
func byChance(arms []Arm, need rr.FamilySet, asIfUp bool, chance uint32) (at int) {
	total := uint32(0)
	for i := range arms {
		total += arms[i].weightFor(need, asIfUp)
	}
	left, sum := uint32(uint64(chance)*uint64(total)>>32), uint32(0)
	for i := range arms { // to the end, which is quicker than to guess where it comes
		if sum += arms[i].weightFor(need, asIfUp); sum <= left {
			at = i + 1
		}
	}
	return at
}

// byNetwork finds the arm of the highest score, the first of equals. One that stands alone needs no hash.
func byNetwork(arms []Arm, need rr.FamilySet, asIfUp bool, hash uint64) (at int, hashed bool) {
	giving := 0
	for i := range arms {
		if arms[i].weightFor(need, asIfUp) > 0 {
			giving++
			at = i
		}
	}
	if giving == 1 {
		return at, false
	}
	best := steer.Lowest
	for i := range arms {
		if w := arms[i].weightFor(need, asIfUp); w > 0 {
			if score, ok := steer.Outscores(best, hash, arms[i].ID, float64(w)); ok {
				best, at = score, i
			}
		}
	}
	return at, true
}

// shares gives the part of the answers that each arm has.
func (n *Node) shares(need rr.FamilySet, asIfUp bool) []float64 {
	out, total := make([]float64, len(*n.Arms)), 0.0
	for i := range out {
		out[i] = float64((*n.Arms)[i].weightFor(need, asIfUp))
		if total += out[i]; n.Kind == FirstNode && total > 0 {
			break
		}
	}
	for i := range out {
		out[i] /= total
	}
	return out
}

// hash hashes the network that a choice depends on, and tells how many bits that took. A client subnet that is shorter is
// too short to decide: it gets the answer of its first network of that length, with the scope of that, so that what resolvers keep for
// networks of different lengths never overlaps (RFC 7871, 7.2.1).
func (n *Node) hash(c *Client, resolver bool) (hash uint64, bits uint8) {
	of := &c.Subnet
	if resolver {
		of = &c.Resolver
	}
	if of.V4 {
		return steer.Hash(of.Hi&^(^uint64(0)>>n.Bits4), 4), n.Bits4
	}
	return steer.Hash(of.Hi&^(^uint64(0)>>n.Bits6), 6), n.Bits6
}

// Decision is what Decide chose; the explanation gives it names.
type Decision struct {
	Class
	TTL      uint32 // seconds: the least of the service's and of the nodes that led here
	Set      int    // what was drawn; see picks.choose
	Fallback Fallback
	Draw     *draws.Draw // nil with Refuse
	picks    *draws.Picks
	step     int              // of Service.steps, from which it came; -1 with Refuse
	path     [MaxDepth]uint16 // the arm that each choice below it took
	hashed   bool             // the client's network had a say
}

// needs tells what a node must give for an answer in family f, and whether as if all were up.
func (s *Service) needs(f rr.Family, fallback Fallback) (need rr.FamilySet, asIfUp bool) {
	if fallback == AsIfUp {
		return 1 << f, true
	}
	return s.Need | 1<<f, false
}

// enter gives the first node that has an answer in family f, and its place in s.steps; nil: there is none.
func (v *View) enter(s *Service, row int, f rr.Family) (n *Node, step int, fallback Fallback) {
	need := s.Need | 1<<f
	for i, end := s.Row(row); i < end; i++ { // as firstOf, without a call
		if n := v.Nodes.Ref(s.Steps[i]); n.Live.Holds(need) {
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
	for i, end := s.Row(row); i < end; i++ {
		if n := v.Nodes.Ref(s.Steps[i]); n.gives(need, asIfUp) {
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
			at = int(s.rules)
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
	d.Class, d.Fallback, d.step, d.TTL, d.hashed = class, fallback, step, s.TTL, false
	if n == nil {
		d.Draw, d.picks, d.Set = nil, nil, 0
		return
	}
	need, asIfUp := s.needs(f, fallback)
	hash, bits, chance := uint64(0), uint8(0), uint32(r>>32)
	for depth := 0; n.Kind != LeafNode; depth++ {
		if d.TTL = min(d.TTL, n.TTL); depth > 0 { // each choice has a chance of its own, and the draw the lower half of r
			chance = uint32(steer.Hash(r>>32, uint64(depth)))
		}
		if n.Kind == HashedNode {
			hash, bits = n.hash(c, d.Resolver)
		}
		at, hashed := n.choose(need, asIfUp, chance, hash)
		if hashed {
			d.hashes(bits)
		}
		d.path[depth] = uint16(at)
		n = v.Nodes.Ref((*n.Arms)[at].Node)
	}
	d.TTL = min(d.TTL, n.TTL)
	d.Draw, d.picks = n.Draw, n.Draw.From(f, asIfUp)
	if d.picks.Sticky() {
		hash, bits = n.hash(c, d.Resolver)
		d.hashes(bits)
	}
	d.Set = d.picks.Choose(uint32(r), hash)
}

// hashes notes that so many bits of the client's network had a say.
func (d *Decision) hashes(bits uint8) {
	if d.hashed = true; !d.Resolver {
		d.Scope = max(d.Scope, bits)
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
