package effect

import (
	"maps"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/rr"
)

// Answers also move where a pool is the same and its addresses are others. What counts is the share of weight at addresses that the pool
// did not send anybody to before, whatever its endpoints are called. What moves between addresses that it had, as by a drain or other
// weights, does not count: capacity tells of that.

// renewal is a pool on both sides, asked for a family.
type renewal struct {
	was, is *steer.Pool
	family  table.Family
}

// renewed is what becomes of what a pool answers with.
type renewed struct {
	part  float64 // of it that comes from addresses that are new to the pool
	stirs bool    // addresses have other weights than before; together with what was changed before, that can be more than part
}

func (m *measure) renewedOf(was, is *steer.Pool, f table.Family) renewed {
	if was == is {
		return renewed{}
	}
	key := renewal{was, is, f}
	out, known := m.renewals[key]
	if !known {
		out = compare(was, is, f)
		m.renewals[key] = out
	}
	return out
}

// weightsOf gives what the addresses of a pool weigh, those without weight left out.
func weightsOf(p *steer.Pool, f table.Family) map[any]float64 {
	weights := map[any]float64{}
	for i := range p.Candidates {
		c := &p.Candidates[i]
		list := targets(c.Endpoint, f)
		for _, t := range list {
			if w := standing(c); w > 0 {
				weights[t] += float64(w) / float64(len(list))
			}
		}
	}
	return weights
}

func compare(was, is *steer.Pool, f table.Family) (out renewed) {
	known := weightsOf(was, f)
	out.stirs = !maps.Equal(known, weightsOf(is, f))
	var all, fresh float64       // by weights, whatever is drained or down at present: what is added so comes later
	var taking, freshNow float64 // by what takes clients
	for i := range is.Candidates {
		c := &is.Candidates[i]
		list := targets(c.Endpoint, f)
		if len(list) == 0 {
			continue
		}
		n := 0
		for _, t := range list {
			if known[t] == 0 {
				n++
			}
		}
		part := float64(n) / float64(len(list))
		w := float64(standing(c))
		all, fresh = all+w, fresh+w*part
		taking, freshNow = taking+c.Effective, freshNow+c.Effective*part
	}
	if all > 0 {
		out.part = fresh / all
	}
	if taking > 0 {
		out.part = max(out.part, freshNow/taking)
	}
	return out
}

// standing is the weight that an endpoint has by its declaration, or by an override if that is more.
func standing(c *steer.Candidate) int { return max(weightOf(c.Endpoint), c.Weight) }

// targets gives what answers of a family name of an endpoint.
func targets(e *spec.Endpoint, f table.Family) (list []any) {
	if e.Host != "" {
		host, err := spec.CanonicalHost(e.Host)
		if err != nil {
			host = e.Host
		}
		return []any{host}
	}
	for _, a := range e.Addresses {
		if f == rr.IPv4 && !a.Is4() || f == rr.IPv6 && a.Is4() {
			continue
		}
		list = append(list, a)
	}
	return list
}

// within gives the part of answers that stays in its pools and comes from addresses that are new to these. stirs tells whether addresses
// have other weights at all.
func (m *measure) within(before, after parts, f table.Family) (total float64, stirs bool) {
	for i := range after {
		part, pool := m.withinPool(before, &after[i], f)
		total, stirs = total+part, stirs || pool
	}
	return total, stirs
}

func (m *measure) withinPool(before parts, is *part, f table.Family) (part float64, stirs bool) {
	was := before.find(is.pool)
	if was == nil {
		return 0, false
	}
	r := m.renewedOf(was.pool, is.pool, f)
	return min(was.of, is.of) * r.part, r.stirs
}
