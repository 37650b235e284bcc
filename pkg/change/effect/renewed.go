package effect

import (
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

// renewedOf gives which part of what a pool answers with comes from addresses that are new to it.
func (m *measure) renewedOf(was, is *steer.Pool, f table.Family) float64 {
	if was == is {
		return 0
	}
	key := renewal{was, is, f}
	part, known := m.renewals[key]
	if !known {
		part = renewed(was, is, f)
		m.renewals[key] = part
	}
	return part
}

func renewed(was, is *steer.Pool, f table.Family) float64 {
	known := map[any]bool{}
	for i := range was.Candidates {
		if c := &was.Candidates[i]; standing(c) > 0 {
			for _, t := range targets(c.Endpoint, f) {
				known[t] = true
			}
		}
	}
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
			if !known[t] {
				n++
			}
		}
		part := float64(n) / float64(len(list))
		w := float64(standing(c))
		all, fresh = all+w, fresh+w*part
		taking, freshNow = taking+c.Effective, freshNow+c.Effective*part
	}
	out := 0.0
	if all > 0 {
		out = fresh / all
	}
	if taking > 0 {
		out = max(out, freshNow/taking)
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

// within gives the part of answers that stays in its pools and comes from addresses that are new to these.
func (m *measure) within(before, after parts, f table.Family) (total float64) {
	for i := range after {
		total += m.withinPool(before, &after[i], f)
	}
	return total
}

func (m *measure) withinPool(before parts, is *part, f table.Family) float64 {
	was := before.find(is.pool)
	if was == nil {
		return 0
	}
	return min(was.of, is.of) * m.renewedOf(was.pool, is.pool, f)
}
