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

// farness is how far each arm counts as, in km, as the bits of a float64: of numbers from 0 to +Inf these are in the same order, and can be
// compared without a branch that nobody can predict.
type farness [policy.MaxNearest]int64

// of fills it in for clients at distances km; not ok: it is not known where they are.
func (f *farness) of(n *Near, km []float32) (ok bool) {
	if km[n.Columns[0]] == Nowhere {
		return false
	}
	for i, column := range n.Columns {
		d := float64(km[column])
		if n.Bias != nil {
			d = n.Bias[i].Of(d)
		}
		f[i] = int64(math.Float64bits(d))
	}
	return true
}

// unlimited stands for +Inf.
var unlimited = int64(math.Float64bits(math.Inf(1)))

// reach gives how far those of n arms are at most that count as about as near as the nearest beyond above. unlimited: there is none, or it
// is nowhere.
func (f *farness) reach(n int, band float64, above int64) int64 {
	first := unlimited
	for _, d := range f[:n] {
		near := (d - above - 1) >> 63 // all bits where d is not beyond
		first = min(first, d|near&math.MaxInt64)
	}
	return int64(math.Float64bits(math.Float64frombits(uint64(first)) * (1 + band)))
}

// nearest gives the arm that a NearestNode passes on to: of those about as near as the nearest, one that gives what is needed; if none
// does, of those about as near as the nearest of the rest, and so on. What is nowhere comes last, as listed. See choose.
func (n *Node) nearest(km []float32, need rr.FamilySet, asIfUp bool, chance uint32, hash uint64) (at int, hashed bool) {
	var far farness
	var weights [policy.MaxNearest]uint32
	arms := *n.Arms
	placed := far.of(n.Near, km)
	for above := int64(-1); placed; {
		most := far.reach(len(arms), n.Near.Band, above)
		if most >= unlimited {
			break
		}
		total := uint32(0)
		for i := range arms {
			weights[i] = arms[i].weightFor(need, asIfUp) & ^uint32((most-far[i])>>63) // nearer ones give nothing, or it had ended
			total += weights[i]
		}
		switch {
		case total > 0 && n.Near.Hashed:
			return highest(arms, &weights, hash)
		case total > 0:
			return drawn(weights[:len(arms)], total, chance), false
		}
		above = most
	}
	for i := range arms {
		if (!placed || far[i] >= unlimited) && arms[i].weightFor(need, asIfUp) > 0 {
			return i, false
		}
	}
	return 0, false // one of them gives, or nobody would ask
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

// highest gives the arm of the highest score, the first of equals, and whether there were several.
func highest(arms []Arm, weights *[policy.MaxNearest]uint32, hash uint64) (at int, hashed bool) {
	best, giving := steer.Lowest, 0
	for i := range arms {
		if w := weights[i]; w > 0 {
			giving++
			if score, ok := steer.Outscores(best, hash, arms[i].ID, float64(w)); ok {
				best, at = score, i
			}
		}
	}
	return at, giving > 1
}

// groups gives the arms in the order in which they are tried, those together that share the answers. For who is in no hurry.
func (n *Node) groups(km []float32) (groups [][]int) {
	var far farness
	count := len(*n.Arms)
	placed := far.of(n.Near, km)
	for above := int64(-1); placed; {
		most := far.reach(count, n.Near.Band, above)
		if most >= unlimited {
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
		if !placed || far[i] >= unlimited {
			groups = append(groups, []int{i})
		}
	}
	return groups
}
