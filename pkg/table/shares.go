package table

import (
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table/rr"
)

// EachShare calls give for each pool from which clients of a class get answers in family f, with its part of these, and tells how the
// answers come about. With Refuse there are none. It goes the way of Decide, without chance: of what is hashed, shares are those of all
// networks or labels.
func (v *View) EachShare(s *Service, f rr.Family, class Class, give func(p *steer.Pool, share float64)) Fallback {
	n, step, fallback := v.enter(s, s.rowFor(class), f)
	if n == nil {
		return Refuse
	}
	need, asIfUp := s.needs(f, fallback)
	w := walk{v, v.distances(s, class), need, asIfUp, give}
	if !s.Is.Has(Steers) || s.Layout.alone(step) {
		w.below(n, 1)
		return fallback
	}
	group := s.Layout.groupAt(step)
	for i, share := range s.Steering.groupShares(v, s.Steps, group, need, asIfUp) {
		if share > 0 {
			w.below(v.Nodes.Ref(s.Steps[group[i]].Node), share)
		}
	}
	return fallback
}

// groupAt gives the steps of the group that stands at a place of order.
func (l *Layout) groupAt(at int) []int {
	group := make([]int, l.order.at(at+1))
	for i := range group {
		group[i] = l.order.at(at + 2 + i)
	}
	return group
}

// walk goes from a node down to all leaves that give answers.
type walk struct {
	v      *View
	km     []float32
	need   rr.FamilySet
	asIfUp bool
	give   func(*steer.Pool, float64)
}

func (w *walk) below(n *Node, share float64) {
	if n.Kind == LeafNode {
		w.give(n.Draw.Pool, share)
		return
	}
	for i, part := range n.shares(w.km, w.need, w.asIfUp) {
		if part > 0 {
			w.below(w.v.Nodes.Ref((*n.Arms)[i].Node), share*part)
		}
	}
}

// RuleFor gives the rule of the service that takes a client of a class; policy.NoRule: none does. A policy is asked again, for where the
// asker is.
func (v *View) RuleFor(s *Service, class Class, asker Net) int {
	e := Explanation{Service: s, Asker: asker}
	if s.Steering != nil {
		e.Place, e.PlaceBits = v.Place(asker)
	}
	return v.rule(&e, s.rowFor(class))
}
