package zones

import (
	"bytes"
	"slices"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table/rr"
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

// Records lists the zone's sets in canonical order; steered gives those of a name where a service stands.
func (z *Zone) Records(steered func(owner []byte, m Match) []RRset) []RRset {
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
				out = append(out, RRset{owner, dnswire.TypeRRSIG, rr.Uint32(wire[6:]), rr.Data(z.pre.sigs[n.first+uint32(i)].Wire)})
			}
			data := rr.Data(wire)
			slices.SortFunc(data, bytes.Compare)
			out = append(out, RRset{owner, s.typ, rr.Uint32(wire[6:]), data})
		}
		out = append(out, steered(owner, Match{Service: n.service})...)
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
	for name, node := range z.names.All {
		owners[node] = name
	}
	return owners
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
	return rr.Data(fixed.Wire), ok
}

// Apex gives the zone's name in wire form.
func (z *Zone) Apex() []byte { return z.owners()[0] }

// SOARecord gives the zone's SOA set.
func (z *Zone) SOARecord() RRset {
	s := z.sets[z.soa.at]
	wire := z.data[s.off : s.off+s.size]
	return RRset{z.Apex(), dnswire.TypeSOA, rr.Uint32(wire[6:]), rr.Data(wire)}
}
