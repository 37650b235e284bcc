package draws

import (
	"bytes"
	"slices"

	"github.com/gti/gtm/pkg/table/rr"
)

// Defaults gives the RDATA of all endpoints of a family that have a weight, as declared: neither health nor overrides
// count, since a copy would not follow them.
func (d *Draw) Defaults(f rr.Family, x *Extra) [][]byte {
	plain := *d.Pool
	if f == rr.SRV { // the one that tells of weights
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
		if f == rr.SRV {
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
	if f == rr.CNAME {
		all = all[:1] // a name has one
	}
	p := Picks{data: make([]byte, 0, 28*len(all))} // enough for addresses
	if _, err := p.render(&plain, f, all, x, true); err != nil {
		return nil // the draw itself could not have been compiled
	}
	data := rr.Data(p.data)
	slices.SortFunc(data, bytes.Compare)
	return slices.CompactFunc(data, bytes.Equal)
}
