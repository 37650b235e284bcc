package table

import (
	"bytes"
	"iter"
	"slices"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/zone"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// RRset is one set of a zone as others get a copy of it: no compression, owner folded, RDATA sorted.
type RRset struct {
	Owner []byte
	Type  uint16
	TTL   uint32
	Data  [][]byte
}

// Records lists a zone's sets in canonical order (RFC 4034, 6.1; types ascending). A steered name has its default
// answer: the pool that the rule for everyone names first, as if all were up, with all of its endpoints.
// Neither the debugging names nor signatures are among them, but the sets that control signed are.
func (v *View) Records(z *Zone) []RRset {
	var out []RRset
	for at, owner := range z.owners() {
		n := &z.nodes[at]
		first := len(out)
		for i, s := range z.sets[n.first : n.first+uint32(n.count)] {
			if s.typ == glueType {
				continue
			}
			wire := z.data[s.off : s.off+s.size]
			if s.typ == dnswire.TypeRRSIG && z.pre != nil {
				continue
			}
			if z.pre != nil && z.pre.sigs[n.first+uint32(i)].Count > 0 {
				out = append(out, RRset{owner, dnswire.TypeRRSIG, be32(wire[6:]), dataOf(z.pre.sigs[n.first+uint32(i)].Wire)})
			}
			data := dataOf(wire)
			slices.SortFunc(data, bytes.Compare)
			out = append(out, RRset{owner, s.typ, be32(wire[6:]), data})
		}
		if s := v.Service(Match{service: n.service}); s != nil {
			for f := range families {
				if data, ttl := v.defaults(s, f); len(data) > 0 {
					out = append(out, RRset{owner, f.Type(), ttl, data})
				}
			}
		}
		slices.SortFunc(out[first:], func(a, b RRset) int { return int(a.Type) - int(b.Type) })
	}
	if z.pre != nil {
		for _, s := range z.pre.hidden {
			out = append(out, RRset{s.Owner, s.Type, s.TTL, s.Data})
		}
	}
	slices.SortStableFunc(out, func(a, b RRset) int { return zone.CompareNames(a.Owner, b.Owner) })
	return out
}

// owners gives the name of each node.
func (z *Zone) owners() [][]byte {
	owners := make([][]byte, len(z.nodes))
	for i := range z.names.lines {
		if l := &z.names.lines[i]; l.tag != 0 {
			owners[l.value] = z.names.nameOf(l)
		}
	}
	return owners
}

// defaults gives the RDATA, sorted, of what stands for a steered name where nobody steers, and its TTL.
func (v *View) defaults(s *Service, f Family) (data [][]byte, ttl uint32) {
	x, err := extraOf(s.Spec)
	if !s.Serves(f) || err != nil { // with an error it would not have been compiled
		return nil, 0
	}
	for _, rule := range s.defaultRules() {
		for i, end := s.row(rule); i < end; i++ {
			for d, own := range v.leaves(s.steps[i].node, s.steps[i].ttl) {
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

// defaults gives the RDATA of all endpoints of a family that have a weight, as declared: neither health nor overrides
// count, since a copy would not follow them.
func (d *Draw) defaults(f Family, x *extra) [][]byte {
	plain := *d.Pool
	if f == SRV { // the one that tells of weights
		plain.Candidates = slices.Clone(d.Pool.Candidates)
	}
	all, weighted := make([]int, 0, len(plain.Candidates)), make([]int, 0, len(plain.Candidates))
	for i := range plain.Candidates {
		c := &plain.Candidates[i]
		if !hasFamily(c, f) {
			continue
		}
		weight := 1
		if c.Endpoint.Weight != nil {
			weight = *c.Endpoint.Weight
		}
		if f == SRV {
			c.Weight = weight
		}
		all = append(all, i)
		if weight > 0 {
			weighted = append(weighted, i)
		}
	}
	if len(weighted) > 0 {
		all = weighted
	}
	if len(all) == 0 {
		return nil
	}
	if f == CNAME {
		all = all[:1] // a name has one
	}
	p := picks{data: make([]byte, 0, 28*len(all))} // enough for addresses
	if _, err := p.render(&plain, f, all, x, true); err != nil {
		return nil // the draw itself could not have been compiled
	}
	data := dataOf(p.data)
	slices.SortFunc(data, bytes.Compare)
	return slices.CompactFunc(data, bytes.Equal)
}

// Keys are the zone-signing keys of a signed zone; none: it is not signed here.
func (z *Zone) Keys() []*dnssec.Key {
	if z.sigs == nil {
		return nil
	}
	return z.sigs.keys
}

// SignedByControl gives the RDATA of the RRSIGs of a set at the apex that a key signed which is not here.
func (z *Zone) SignedByControl(typ uint16) (sigs [][]byte, ok bool) {
	set, has := z.find(&z.nodes[0], typ)
	if !has || z.sigs == nil {
		return nil, false
	}
	fixed, ok := z.sigs.fixed[set.at]
	return dataOf(fixed.Wire), ok
}

// Apex gives the zone's name in wire form.
func (z *Zone) Apex() []byte { return z.owners()[0] }

// SOARecord gives the zone's SOA set.
func (z *Zone) SOARecord() RRset {
	s := z.sets[z.soa.at]
	wire := z.data[s.off : s.off+s.size]
	return RRset{z.Apex(), dnswire.TypeSOA, be32(wire[6:]), dataOf(wire)}
}

// Zone gives the zone of exactly that folded wire name, nil when there is none or it is void.
func (v *View) Zone(apex []byte) *Zone {
	k := newWireKey(apex, v.seed)
	if l := v.top.find(apex, k.hashes[0]); l != nil && !v.zones[l.value].Void {
		return v.zones[l.value]
	}
	return nil
}
