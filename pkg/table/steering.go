package table

import (
	"iter"

	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/table/rr"
)

// Steering is what a service has that goes by a policy: rows that are made of few steps, in many orders.
type Steering struct {
	Policy  *policy.Policy
	Default uint16   // the row of a client of whom nothing is known
	of      numbers  // the row of each class
	last    numbers  // lastResort's row for each row
	order   numbers  // of Service.Steps, row after row
	index   []uint32 // row i is order[index[i]:index[i+1]]
}

// numbers are small ones, in as little memory as they need.
type numbers struct {
	small []uint8
	large []uint16 // in the place of small, where one of them is above 255
}

func numbersOf[T int | uint16](list []T) (n numbers) {
	most := T(0)
	for _, v := range list {
		most = max(most, v)
	}
	if most < 1<<8 {
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

func (n *numbers) at(i int) int {
	if n.large != nil {
		return int(n.large[i])
	}
	return int(n.small[i])
}

// Arrange sets the rows: of says which one each class has, orders of which steps each is made, by their index in Service.Steps, and last
// which row is that of lastResort, for each row that a class has. No number is above 65,535.
func (s *Steering) Arrange(of []uint16, orders [][]int, last []int) {
	var order []int
	s.index = make([]uint32, 0, len(orders)+1)
	for _, row := range orders {
		s.index = append(s.index, uint32(len(order)))
		order = append(order, row...)
	}
	s.index = append(s.index, uint32(len(order)))
	s.of, s.last, s.order = numbersOf(of), numbersOf(last), numbersOf(order)
}

// first gives the first node of a row that gives what is needed, and its step; nil if none does.
func (s *Steering) first(v *View, steps []Step, row int, need rr.FamilySet, asIfUp bool) (n *Node, step int) {
	for i := s.index[row]; i < s.index[row+1]; i++ {
		step = s.order.at(int(i))
		if n := v.Nodes.Ref(steps[step].Node); n.gives(need, asIfUp) {
			return n, step
		}
	}
	return nil, -1
}

// StepsOf gives the steps of a row in turn, by their index in Steps. For who is in no hurry.
func (s *Service) StepsOf(row int) iter.Seq[int] {
	return func(yield func(int) bool) {
		if s.Steers {
			for i := s.Steering.index[row]; i < s.Steering.index[row+1]; i++ {
				if !yield(s.Steering.order.at(int(i))) {
					return
				}
			}
			return
		}
		for i, end := s.Row(row); i < end; i++ {
			if !yield(i) {
				return
			}
		}
	}
}
