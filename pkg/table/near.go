package table

import (
	"math"

	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table/rr"
)

// Distances tells how far the clients of each class of a partition are from the sites that nodes choose by there. Nodes name a site by its
// column. What is read never changes; columns that nobody reads yet may be written.
type Distances struct {
	Columns int       // of each class, most of them in use
	Km      []float32 // class after class; +Inf: nowhere; Nowhere: it is not known where the class's clients are
}

// Nowhere stands in Distances for all columns of a class.
const Nowhere = -1

// of gives the distances of a class.
func (d *Distances) of(class uint16) []float32 {
	at := int(class) * d.Columns
	return d.Km[at : at+d.Columns : at+d.Columns]
}

// Near is what a NearestNode goes by. It is immutable, and outlives its node's verdicts.
type Near struct {
	Columns []uint16      // of each arm, in Distances
	Bias    []policy.Bias // of each arm; nil: none has one
	Band    float64       // the share by which those count as about as near that are farther
	Hashed  bool          // of several, the client's network decides; not: chance
}

// farness fills in how far each arm counts as, for clients at distances km; not ok: it is not known where they are.
func (n *Near) farness(km []float32, far *[policy.MaxNearest]float64) (ok bool) {
	for i, column := range n.Columns {
		far[i] = float64(km[column])
	}
	if ok = far[0] != Nowhere; ok && n.Bias != nil {
		for i := range n.Bias {
			far[i] = n.Bias[i].Of(far[i])
		}
	}
	return ok
}

// nearest gives the arm that a NearestNode passes on to: of those about as near as the nearest, one that gives what is needed; if none
// does, of those about as near as the nearest of the rest, and so on. What is nowhere comes last, as listed. See choose.
func (n *Node) nearest(km []float32, need rr.FamilySet, asIfUp bool, chance uint32, hash uint64) (at int, hashed bool) {
	var far [policy.MaxNearest]float64
	var weights [policy.MaxNearest]uint32
	arms := *n.Arms
	placed := n.Near.farness(km, &far)
	for above := -1.0; placed; {
		most := n.Near.reach(far[:len(arms)], above)
		if math.IsInf(most, 1) {
			break
		}
		total, giving := uint32(0), 0
		for i := range arms {
			if weights[i] = 0; far[i] > above && far[i] <= most {
				weights[i] = arms[i].weightFor(need, asIfUp)
			}
			if total += weights[i]; weights[i] > 0 {
				giving, at = giving+1, i
			}
		}
		switch {
		case giving == 1:
			return at, false
		case giving > 1 && n.Near.Hashed:
			return highest(arms, &weights, hash), true
		case giving > 1:
			return drawn(weights[:len(arms)], total, chance), false
		}
		above = most
	}
	for i := range arms {
		if (!placed || math.IsInf(far[i], 1)) && arms[i].weightFor(need, asIfUp) > 0 {
			return i, false
		}
	}
	return 0, false // one of them gives, or nobody would ask
}

// reach gives how far those are at most that count as about as near as the nearest beyond above; +Inf: there is none, or it is nowhere.
func (n *Near) reach(far []float64, above float64) float64 {
	first := math.Inf(1)
	for _, d := range far {
		if d > above {
			first = min(first, d)
		}
	}
	return first * (1 + n.Band)
}

// drawn gives one by weight.
func drawn(weights []uint32, total, chance uint32) (at int) {
	left, sum := uint32(uint64(chance)*uint64(total)>>32), uint32(0)
	for i, w := range weights {
		if sum += w; sum <= left {
			at = i + 1
		}
	}
	return at
}

// highest gives the arm of the highest score, the first of equals.
func highest(arms []Arm, weights *[policy.MaxNearest]uint32, hash uint64) (at int) {
	best := steer.Lowest
	for i := range arms {
		if w := weights[i]; w > 0 {
			if score, ok := steer.Outscores(best, hash, arms[i].ID, float64(w)); ok {
				best, at = score, i
			}
		}
	}
	return at
}

// groups gives the arms in the order in which they are tried, those together that share the answers. For who is in no hurry.
func (n *Node) groups(km []float32) (groups [][]int) {
	var far [policy.MaxNearest]float64
	count := len(*n.Arms)
	placed := n.Near.farness(km, &far)
	for above := -1.0; placed; {
		most := n.Near.reach(far[:count], above)
		if math.IsInf(most, 1) {
			break
		}
		var group []int
		for i, d := range far[:count] {
			if d > above && d <= most {
				group = append(group, i)
			}
		}
		groups, above = append(groups, group), most
	}
	for i := range count {
		if !placed || math.IsInf(far[i], 1) {
			groups = append(groups, []int{i})
		}
	}
	return groups
}
