package table

import (
	"math"

	"github.com/gti/gtm/pkg/steer"
)

// famset is a set of families: bit f stands for family f.
type famset uint8

// holds tells whether every family of need is in the set.
func (s famset) holds(need famset) bool { return s&need == need }

// has tells whether the set has family f.
func (s famset) has(f Family) bool { return s>>f&1 == 1 }

// decisionNode is one choice of a policy: a leaf draws from a pool, any other passes on to one of its arms, which are nodes again. The
// policy of a class of clients is a row of nodes, of which the first that gives an answer is followed down to its leaf. Nodes are
// immutable, and services share them: a verdict replaces a leaf, and the nodes above it where the families change that it gives.
//
// Of a choice a query reads the node and its arms alone, not what lies below: an arm holds what its node gives.
type decisionNode struct {
	draw  *Draw  // of a leaf
	arms  *[]arm // of the others
	ttl   uint32 // seconds, which an answer from here has at most; anyTTL: no limit of its own
	kind  decisionKind
	depth uint8 // how many choices lead from here to the deepest leaf

	live famset // what it gives by the health of today
	all  famset // what it gives as if all were up
	// How many bits of the client's network it goes by, where it hashes that.
	bits4, bits6 uint8
}

// decisionKind is how a node chooses.
type decisionKind uint8

const (
	leafNode     decisionKind = iota // the draw's own way of picking
	firstNode                        // the first arm that gives
	weightedNode                     // by chance, in proportion to the weights of the arms that give
	hashedNode                       // by rendezvous of the client's network with the arms that give, in proportion to their weights
)

// anyTTL is above every TTL (RFC 2181, 8).
const anyTTL = math.MaxUint32

// maxDepth is how many choices stand above a leaf at most.
const maxDepth = 6

// arm is a node as seen from the one above it.
type arm struct {
	id     uint64 // the same at every edge, for rendezvous
	node   uint32 // of View.nodes
	weight uint16
	live   famset
	all    famset
}

// gives tells whether the node has an answer in all families that are needed, as of today or as if all were up.
func (n *decisionNode) gives(need famset, asIfUp bool) bool {
	if asIfUp {
		return n.all.holds(need)
	}
	return n.live.holds(need)
}

// weightFor is the arm's weight where it gives what is needed, else 0. It has no branch, since nobody can predict which arms of a
// split do.
func (a *arm) weightFor(need famset, asIfUp bool) uint32 {
	gives := a.live
	if asIfUp {
		gives = a.all
	}
	lacks := int32(need &^ gives)
	return uint32(a.weight) & uint32((lacks-1)>>31)
}

// choose gives the arm that a node passes on to, and whether the client's network had a say. The node gives what is needed, hence so
// does one of the arms.
func (n *decisionNode) choose(need famset, asIfUp bool, chance uint32, hash uint64) (at int, hashed bool) {
	switch arms := *n.arms; n.kind {
	case weightedNode:
		return byChance(arms, need, asIfUp, chance), false
	case hashedNode:
		return byNetwork(arms, need, asIfUp, hash)
	default:
		for arms[at].weightFor(need, asIfUp) == 0 {
			at++
		}
		return at, false
	}
}

// byChance draws an arm by weight.
func byChance(arms []arm, need famset, asIfUp bool, chance uint32) (at int) {
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
func byNetwork(arms []arm, need famset, asIfUp bool, hash uint64) (at int, hashed bool) {
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
			if score, ok := steer.Outscores(best, hash, arms[i].id, float64(w)); ok {
				best, at = score, i
			}
		}
	}
	return at, true
}

// shares gives the part of the answers that each arm has.
func (n *decisionNode) shares(need famset, asIfUp bool) []float64 {
	out, total := make([]float64, len(*n.arms)), 0.0
	for i := range out {
		out[i] = float64((*n.arms)[i].weightFor(need, asIfUp))
		if total += out[i]; n.kind == firstNode && total > 0 {
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
func (n *decisionNode) hash(c *Client, resolver bool) (hash uint64, bits uint8) {
	of := &c.Subnet
	if resolver {
		of = &c.Resolver
	}
	if of.V4 {
		return steer.Hash(of.Hi&^(^uint64(0)>>n.bits4), 4), n.bits4
	}
	return steer.Hash(of.Hi&^(^uint64(0)>>n.bits6), 6), n.bits6
}

// Decision is what Decide chose; the explanation gives it names.
type Decision struct {
	Class
	TTL      uint32 // seconds: the least of the step's, which is the rule's or the service's, and of the nodes that led here
	Set      int    // what was drawn; see picks.choose
	Fallback Fallback
	Draw     *Draw // nil with Refuse
	picks    *picks
	step     int              // of Service.steps, from which it came; -1 with Refuse
	path     [maxDepth]uint16 // the arm that each choice below it took
	hashed   bool             // the client's network had a say
}

// needs tells what a node must give for an answer in family f, and whether as if all were up.
func (s *Service) needs(f Family, fallback Fallback) (need famset, asIfUp bool) {
	if fallback == AsIfUp {
		return 1 << f, true
	}
	return s.need | 1<<f, false
}

// enter gives the first node that has an answer in family f, and its place in s.steps; nil: there is none.
func (v *View) enter(s *Service, row int, f Family) (n *decisionNode, step int, fallback Fallback) {
	need := s.need | 1<<f
	for i, end := s.row(row); i < end; i++ { // as firstOf, without a call
		if n := v.nodes.ref(s.steps[i].node); n.live.holds(need) {
			if row == int(s.rules) {
				return n, i, LastResort
			}
			return n, i, Normal
		}
	}
	return v.fallBack(s, row, f)
}

// firstOf gives the first node of a row that gives what is needed, nil if none does.
func (v *View) firstOf(s *Service, row int, need famset, asIfUp bool) (n *decisionNode, step int) {
	for i, end := s.row(row); i < end; i++ {
		if n := v.nodes.ref(s.steps[i].node); n.gives(need, asIfUp) {
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

// fallBack goes through the tiers of a service.
func (v *View) fallBack(s *Service, row int, f Family) (n *decisionNode, step int, fallback Fallback) {
	for _, tier := range tiers[:s.tiers] {
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
func (v *View) Decide(d *Decision, s *Service, f Family, c *Client, class Class, r uint64) {
	n, step, fallback := v.enter(s, s.rowFor(class), f)
	d.Class, d.Fallback, d.step, d.hashed = class, fallback, step, false
	if n == nil {
		d.Draw, d.picks, d.Set, d.TTL = nil, nil, 0, 0
		return
	}
	d.TTL = s.steps[step].ttl
	need, asIfUp := s.needs(f, fallback)
	hash, bits, chance := uint64(0), uint8(0), uint32(r>>32)
	for depth := 0; n.kind != leafNode; depth++ {
		if d.TTL = min(d.TTL, n.ttl); depth > 0 { // each choice has a chance of its own, and the draw the lower half of r
			chance = uint32(steer.Hash(r>>32, uint64(depth)))
		}
		if n.kind == hashedNode {
			hash, bits = n.hash(c, d.Resolver)
		}
		at, hashed := n.choose(need, asIfUp, chance, hash)
		if hashed {
			d.hashes(bits)
		}
		d.path[depth] = uint16(at)
		n = v.nodes.ref((*n.arms)[at].node)
	}
	d.TTL = min(d.TTL, n.ttl)
	d.Draw, d.picks = n.draw, n.draw.fams[f].pick(asIfUp)
	if d.picks.table != nil {
		hash, bits = n.hash(c, d.Resolver)
		d.hashes(bits)
	}
	d.Set = d.picks.choose(uint32(r), hash)
}

// hashes notes that so many bits of the client's network had a say.
func (d *Decision) hashes(bits uint8) {
	if d.hashed = true; !d.Resolver {
		d.Scope = max(d.Scope, bits)
	}
}
