package table

import (
	"iter"
	"slices"

	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table/rr"
)

// Steering is what a service has that goes by a policy: rows that are made of few steps, in many orders.
type Steering struct {
	*Layout // nil: each class has a row of the same number
	Policy  *policy.Policy
	Default uint16   // the row of a client of whom nothing is known
	weights []uint16 // of each of Service.Steps, in a group
	ids     []uint64 // likewise, for rendezvous
}

// Layout is how rows are made of steps. Services whose policies divide the world alike share one.
type Layout struct {
	of    numbers  // the row of each class
	last  numbers  // lastResort's row for each row
	order numbers  // of Service.Steps, row after row; a group is GroupMark, how many it has, and these
	index []uint32 // where each row begins in order, and where the last one ends
}

// GroupMark, in the order of a row, stands before steps that share the answers by weight: first how many they are, then they. There are
// fewer steps than that.
const GroupMark = 1<<16 - 1

// numbers are small ones, in as little memory as they need.
type numbers struct {
	small []uint8
	large []uint16 // in the place of small, where one of them is above 255
}

// smallMark is GroupMark among small numbers.
const smallMark = 1<<8 - 1

func numbersOf[T int | uint16](list []T) (n numbers) {
	small := true
	for _, v := range list {
		small = small && (int(v) < smallMark || int(v) == GroupMark)
	}
	if small {
		n.small = make([]uint8, len(list))
		for i, v := range list {
			n.small[i] = uint8(v)
		}
		return n
	}
	n.large = make([]uint16, len(list))
	for i, v := range list {
		n.large[i] = uint16(v)
	}
	return n
}

func (n *numbers) equal(o *numbers) bool {
	return slices.Equal(n.small, o.small) && slices.Equal(n.large, o.large)
}

func (n *numbers) at(i int) int {
	if n.large != nil {
		return int(n.large[i])
	}
	v := int(n.small[i])
	if v == smallMark {
		return GroupMark
	}
	return v
}

// AddWeight tells of the next of Service.Steps which weight it has in a group; and where clients' networks are hashed, what tells its node
// from others.
func (s *Steering) AddWeight(weight int, hashed bool, id func() uint64) {
	if s.weights = append(s.weights, uint16(weight)); hashed {
		s.ids = append(s.ids, id())
	}
}

// NewLayout lays rows out: of says which one each class has, order of which steps they are, row after row; index where each row begins
// there, and last which row is that of lastResort, for each row that a class has. known is one that may be the same, and is given then;
// nil: there is none.
func NewLayout(of []uint16, order []int, index []uint32, last []int, known *Layout) *Layout {
	l := &Layout{of: numbersOf(of), last: numbersOf(last), order: numbersOf(order), index: slices.Clip(append(index, uint32(len(order))))}
	if known != nil && l.of.equal(&known.of) && l.last.equal(&known.last) && l.order.equal(&known.order) &&
		slices.Equal(l.index, known.index) {
		return known
	}
	return l
}

// first gives where in order the first step of a row stands that gives what is needed, and its node; of a group, that of one of its steps.
// nil if none does.
func (s *Steering) first(v *View, steps []Step, row int, need rr.FamilySet, asIfUp bool) (n *Node, at int) {
	for i, end := int(s.index[row]), int(s.index[row+1]); i < end; i++ {
		step := s.order.at(i)
		if step != GroupMark {
			if n := v.Nodes.Ref(steps[step].Node); n.gives(need, asIfUp) {
				return n, i
			}
			continue
		}
		group := i
		for i++; i < group+1+s.order.at(group+1); {
			i++
			if n := v.Nodes.Ref(steps[s.order.at(i)].Node); n.gives(need, asIfUp) {
				return n, group
			}
		}
	}
	return nil, -1
}

// alone reports whether what stands at a place of order is one step.
func (s *Steering) alone(at int) bool { return s.order.at(at) != GroupMark }

// choose gives the step that is chosen of a group at a place of order that first has found, and its node: by chance, or where clients'
// networks are hashed, by hash. hashed tells that the hash had a say.
func (s *Steering) choose(v *View, steps []Step, at int, need rr.FamilySet, asIfUp bool, chance uint32, hash uint64) (n *Node, step int,
	hashed bool) {
	from, end := at+2, at+2+s.order.at(at+1)
	total, giving := uint32(0), 0
	for i := from; i < end; i++ {
		if at := s.order.at(i); v.Nodes.Ref(steps[at].Node).gives(need, asIfUp) {
			total += uint32(s.weights[at])
			giving++
		}
	}
	left, best := uint32(uint64(chance)*uint64(total)>>32), steer.Lowest
	hashed = s.ids != nil && giving > 1
	for i := from; i < end; i++ {
		at := s.order.at(i)
		node, weight := v.Nodes.Ref(steps[at].Node), uint32(s.weights[at])
		switch {
		case !node.gives(need, asIfUp):
		case hashed:
			if score, ok := steer.Outscores(best, hash, s.ids[at], float64(weight)); ok {
				best, n, step = score, node, at
			}
		case left < weight:
			return node, at, false
		default:
			left -= weight
		}
	}
	return n, step, hashed
}

// groupShares gives the part of the answers that each step of a row has in its turn, by its index in Steps: all of it but for groups.
func (s *Steering) groupShares(v *View, steps []Step, turn []int, need rr.FamilySet, asIfUp bool) []float64 {
	out, total := make([]float64, len(turn)), 0.0
	for i, at := range turn {
		if v.Nodes.Ref(steps[at].Node).gives(need, asIfUp) {
			out[i] = float64(s.weights[at])
			total += out[i]
		}
	}
	for i := range out {
		out[i] /= max(total, 1)
	}
	return out
}

// LeavesOut reports whether clients of a class get nothing, whatever health says: rules or fences leave them no pool.
func (s *Service) LeavesOut(c Class) bool {
	if !s.Is.Has(Steers) {
		return false
	}
	row := s.rowFor(c)
	for _, r := range []int{row, s.lastFor(row)} {
		if s.Steering.index[r] != s.Steering.index[r+1] {
			return false
		}
	}
	return true
}

// turnsOf gives the steps of a row as they are tried, by their index in Service.Steps: one at a time, or a group. For who is in no hurry.
func (s *Service) turnsOf(row int) (turns [][]int) {
	if !s.Is.Has(Steers) {
		for i, end := s.Row(row); i < end; i++ {
			turns = append(turns, []int{i})
		}
		return turns
	}
	st := s.Steering
	for i, end := int(st.index[row]), int(st.index[row+1]); i < end; i++ {
		var group []int
		n := 1
		if !st.alone(i) {
			n, i = st.order.at(i+1), i+2
		}
		for range n {
			group = append(group, st.order.at(i))
			i++
		}
		i--
		turns = append(turns, group)
	}
	return turns
}

// StepsOf gives the steps of a row, by their index in Steps. For who is in no hurry.
func (s *Service) StepsOf(row int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for _, t := range s.turnsOf(row) {
			for _, step := range t {
				if !yield(step) {
					return
				}
			}
		}
	}
}
