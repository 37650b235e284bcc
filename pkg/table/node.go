package table

import (
	"math"

	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table/draws"
	"github.com/gti/gtm/pkg/table/rr"
)

// Node is one choice of a policy: a leaf draws from a pool, any other passes on to one of its arms, which are nodes again. The
// policy of a class of clients is a row of nodes, of which the first that gives an answer is followed down to its leaf. Nodes are
// immutable, and services share them: a verdict replaces a leaf, and the nodes above it where the families change that it gives.
//
// Of a choice a query reads the node and its arms alone, not what lies below: an arm holds what its node gives.
type Node struct {
	Draw *draws.Draw // of a leaf
	Arms *[]Arm      // of the others
	Near *Near       // of a NearestNode
	// Split, if not nil, is what clients get from a WeightedNode by the health of today, drawn at once: nothing below it asks who they are.
	Split *draws.Split
	TTL   uint32 // seconds, which an answer from here has at most; AnyTTL: no limit of its own
	Kind  Kind
	Depth uint8  // how many choices lead from here to the deepest leaf
	Sure  uint32 // of a leaf: the TTL that it has while its pool is sure, which secondaries get

	Live rr.FamilySet // what it gives by the health of today
	All  rr.FamilySet // what it gives as if all were up

	draws.Hashing // what it goes by, where that is not chance

	_ [8]byte // so that each is one cache line
}

// Kind is how a node chooses.
type Kind uint8

// The ways to choose.
const (
	LeafNode     Kind = iota // the draw's own way of picking
	FirstNode                // the first arm that gives
	WeightedNode             // by chance, in proportion to the weights of the arms that give
	HashedNode               // by rendezvous of what is hashed with the arms that give, in proportion to their weights
	NearestNode              // one of the nearest arms that give, by weight
)

// LeafOf gives the node that draws from d, going by h where that is sticky.
func LeafOf(d *draws.Draw, ttl uint32, h draws.Hashing) Node {
	live, all := d.Gives()
	return Node{Draw: d, TTL: ttl, Sure: ttl, Hashing: h, Live: live, All: all}
}

// AnyTTL is above every TTL (RFC 2181, 8).
const AnyTTL = math.MaxUint32

// MaxDepth is how many choices stand above a leaf at most.
const MaxDepth = 6

// Arm is a node as seen from the one above it.
type Arm struct {
	ID     uint64 // the same at every edge, for rendezvous
	Node   uint32 // of View.Nodes
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

// hashes reports whether the node may go by what is hashed.
func (n *Node) hashes() bool { return n.Kind == HashedNode || n.Kind == NearestNode && n.Near.Hashed }

// choose gives the arm that a node passes on to, and whether what is hashed had a say. The node gives what is needed, hence so
// does one of the arms. A NearestNode's arm nearest gives, which knows where the client is.
func (n *Node) choose(need rr.FamilySet, asIfUp bool, chance uint32, hash uint64) (at int, hashed bool) {
	switch arms := *n.Arms; n.Kind {
	case WeightedNode:
		return byChance(arms, need, asIfUp, chance), false
	case HashedNode:
		return byHash(arms, need, asIfUp, hash)
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

// byHash finds the arm of the highest score, the first of equals. One that stands alone needs no hash.
func byHash(arms []Arm, need rr.FamilySet, asIfUp bool, hash uint64) (at int, hashed bool) {
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

// shares gives the part of the answers that each arm has, for clients at distances km.
func (n *Node) shares(km []float32, need rr.FamilySet, asIfUp bool) []float64 {
	out, total := make([]float64, len(*n.Arms)), 0.0
	for _, group := range n.inTurn(km) {
		for _, i := range group {
			out[i] = float64((*n.Arms)[i].weightFor(need, asIfUp))
			total += out[i]
		}
		if total > 0 {
			break
		}
	}
	for i := range out {
		out[i] /= total
	}
	return out
}

// inTurn gives the arms in the order in which they are tried, those together that share the answers.
func (n *Node) inTurn(km []float32) (groups [][]int) {
	if n.Kind == NearestNode {
		return n.groups(km)
	}
	all := make([]int, len(*n.Arms))
	for i := range all {
		if all[i] = i; n.Kind == FirstNode {
			groups = append(groups, all[i:i+1])
		}
	}
	if n.Kind == FirstNode {
		return groups
	}
	return [][]int{all}
}

// key is what a choice goes by that is not left to chance.
type key struct {
	hash uint64
	left uint32 // seconds for which it is the same; AnyTTL: as long as nothing changes
	bits uint8  // of the client's network, which that took
}

// hash hashes what a choice depends on. A client subnet that is shorter than that takes is too short to decide: it gets the answer of its
// first network of that length, with the scope of that, so that what resolvers keep for networks of different lengths never overlaps
// (RFC 7871, 7.2.1).
func (n *Node) hash(c *Client, resolver bool) (k key) {
	of := &c.Subnet
	if resolver {
		of = &c.Resolver
	}
	switch k.left = AnyTTL; {
	case n.Label:
		k.hash = c.Label
		return k
	case of.V4:
		k.hash, k.bits = steer.Hash(of.Hi&^(^uint64(0)>>n.Bits4), 4), n.Bits4
	default:
		k.hash, k.bits = steer.Hash(of.Hi&^(^uint64(0)>>n.Bits6), 6), n.Bits6
	}
	if n.Period != 0 {
		k.hash, k.left = steer.InPeriod(k.hash, c.Now, n.Period)
	}
	return k
}
