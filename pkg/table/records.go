package table

import (
	"iter"
	"slices"

	"github.com/gti/gtm/pkg/spec"
)

// Records lists a zone's sets in canonical order (RFC 4034, 6.1; types ascending). A steered name has its default
// answer: the pool that the rule for everyone names first, as if all were up, with all of its endpoints.
// Neither the debugging names nor signatures are among them, but the sets that control signed are.
func (v *View) Records(z *Zone) []RRset {
	return z.records(func(owner []byte, m Match) (sets []RRset) {
		if s := v.Service(m); s != nil {
			for f := range families {
				if data, ttl := v.defaults(s, f); len(data) > 0 {
					sets = append(sets, RRset{owner, f.Type(), ttl, data})
				}
			}
		}
		return sets
	})
}

// defaults gives the RDATA, sorted, of what stands for a steered name where nobody steers, and its TTL.
func (v *View) defaults(s *Service, f Family) (data [][]byte, ttl uint32) {
	x, err := extraOf(s.Spec)
	if !s.Serves(f) || err != nil { // with an error it would not have been compiled
		return nil, 0
	}
	for _, rule := range s.defaultRules() {
		for i, end := s.row(rule); i < end; i++ {
			for d, own := range v.leaves(s.steps[i], s.TTL) {
				if data := d.defaults(f, &x); len(data) > 0 {
					return data, own
				}
			}
		}
	}
	return nil, 0
}

// leaves gives the draws below a node, and the TTL of what comes from each, if that of what comes to the node is ttl.
func (v *View) leaves(node, ttl uint32) iter.Seq2[*Draw, uint32] {
	return func(yield func(*Draw, uint32) bool) { v.eachLeaf(node, ttl, yield) }
}

func (v *View) eachLeaf(node, ttl uint32, yield func(*Draw, uint32) bool) bool {
	n := v.nodes.ref(node)
	if ttl = min(ttl, n.ttl); n.kind == leafNode {
		return yield(n.draw, ttl)
	}
	for i := range *n.arms {
		if !v.eachLeaf((*n.arms)[i].node, ttl, yield) {
			return false
		}
	}
	return true
}

// defaultRules gives the rules in the order in which they are tried: the first for everyone, lastResort, the rest from the end.
func (s *Service) defaultRules() []int {
	last := int(s.rules) // lastResort
	everyone := slices.IndexFunc(s.Spec.Rules, func(r spec.Rule) bool { return r.MatchesAll() })
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
func (v *View) Zone(apex []byte) *Zone {
	k := newWireKey(apex, v.seed)
	if l := v.top.find(apex, k.hashes[0]); l != nil && !v.zones[l.value].Void {
		return v.zones[l.value]
	}
	return nil
}
