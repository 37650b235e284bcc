package table

import (
	"iter"
	"slices"

	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table/draws"
	"github.com/gti/gtm/pkg/table/names"
	"github.com/gti/gtm/pkg/table/rr"
	"github.com/gti/gtm/pkg/table/zones"
)

// Records lists a zone's sets in canonical order (RFC 4034, 6.1; types ascending). A steered name has its default
// answer: the pool that the rule for everyone names first, as if all were up, with all of its endpoints.
// Neither the debugging names nor signatures are among them, but the sets that control signed are.
func (v *View) Records(z *zones.Zone) []RRset {
	return z.Records(func(owner []byte, m zones.Match) (sets []RRset) {
		if s := v.Service(m); s != nil {
			for f := range rr.Families {
				if data, ttl := v.defaults(s, f); len(data) > 0 {
					sets = append(sets, RRset{Owner: owner, Type: f.Type(), TTL: ttl, Data: data})
				}
			}
		}
		return sets
	})
}

// defaults gives the RDATA, sorted, of what stands for a steered name where nobody steers, and its TTL.
func (v *View) defaults(s *Service, f rr.Family) (data [][]byte, ttl uint32) {
	x, err := draws.ExtraOf(s.Spec)
	if !s.Serves(f) || err != nil { // with an error it would not have been compiled
		return nil, 0
	}
	for _, rule := range s.DefaultRules() {
		row := func(yield func(*draws.Draw, uint32) bool) {
			for i := range s.StepsOf(rule) {
				for d, own := range v.leaves(s.Steps[i].Node, s.Steps[i].TTL) {
					if !yield(d, own) {
						return
					}
				}
			}
		}
		for d, own := range AsDeclared(s, rule, row, func(d *draws.Draw) string { return d.Pool.ID.Pool }) {
			if data := d.Defaults(f, &x); len(data) > 0 {
				return data, own
			}
		}
	}
	return nil, 0
}

// AsDeclared gives the leaves of a row, and their TTLs, in the order in which a service's rule declares their pools. Overrides of weights,
// which may have changed that, are nothing that a secondary could follow.
func AsDeclared[Leaf any](s *Service, row int, leaves iter.Seq2[Leaf, uint32], pool func(Leaf) string) iter.Seq2[Leaf, uint32] {
	order := s.declaredOrder(row)
	if order == nil {
		return leaves
	}
	return func(yield func(Leaf, uint32) bool) {
		type ranked struct {
			leaf Leaf
			ttl  uint32
			rank int
		}
		var all []ranked
		for leaf, ttl := range leaves {
			all = append(all, ranked{leaf, ttl, slices.Index(order, pool(leaf))})
		}
		slices.SortStableFunc(all, func(a, b ranked) int { return a.rank - b.rank })
		for _, r := range all {
			if !yield(r.leaf, r.ttl) {
				return
			}
		}
	}
}

// declaredOrder gives the pools of a row's rule as they are declared; nil: they stand so, or the row is not one rule's.
func (s *Service) declaredOrder(row int) []string {
	if s.Steering != nil {
		if row != int(s.Steering.Default) || !policy.Simple(s.Spec) {
			return nil
		}
		row = s.everyone()
	}
	if row < 0 || row >= len(s.Order) {
		return nil
	}
	return s.Order[row]
}

// everyone gives the first rule that every client matches; negative: there is none.
func (s *Service) everyone() int {
	return slices.IndexFunc(s.Spec.Rules, func(r spec.Rule) bool { return r.MatchesAll() })
}

// leaves gives the draws below a node, and the TTL of what comes from each, if that of what comes to the node is ttl.
func (v *View) leaves(node, ttl uint32) iter.Seq2[*draws.Draw, uint32] {
	return func(yield func(*draws.Draw, uint32) bool) { v.eachLeaf(node, ttl, yield) }
}

func (v *View) eachLeaf(node, ttl uint32, yield func(*draws.Draw, uint32) bool) bool {
	n := v.Nodes.Ref(node)
	if n.Kind == LeafNode {
		return yield(n.Draw, min(ttl, n.Sure))
	}
	ttl = min(ttl, n.TTL)
	for i := range *n.Arms {
		if !v.eachLeaf((*n.Arms)[i].Node, ttl, yield) {
			return false
		}
	}
	return true
}

// DefaultRules gives the rows in the order in which they are tried: of rules the first for everyone, lastResort, the rest from the end; of
// a policy that of a client of whom nothing is known.
func (s *Service) DefaultRules() []int {
	if s.Steering != nil {
		return []int{int(s.Steering.Default), s.lastFor(int(s.Steering.Default))}
	}
	last := s.lastFor(0)
	everyone := s.everyone()
	var order []int
	if everyone >= 0 {
		order = append(order, everyone)
	}
	for i := last; i >= 0; i-- {
		if i != everyone {
			order = append(order, i)
		}
	}
	return order
}

// Zone gives the zone of exactly that folded wire name, nil when there is none or it is void.
func (v *View) Zone(apex []byte) *zones.Zone {
	k := names.NewKey(apex, v.Seed)
	if l := v.Top.Find(apex, k.Hashes[0]); l != nil && !v.ZoneList[l.Value].Void {
		return v.ZoneList[l.Value]
	}
	return nil
}
