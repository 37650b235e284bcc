package policy

import (
	"fmt"
	"slices"
)

// Reach is where some of the clients of a rule are led, whatever is up: the pools of the rule and of lastResort that all fences admit which
// hold for these clients.
type Reach struct {
	Rule  int // of the service; NoRule: of clients that none matches
	Pools []string
}

// maxWays bounds in how many ways fences of policies may divide the clients of a rule. With more, all of these fences are taken to hold.
const maxWays = 64

// Reaches gives the reaches of each rule: one, or several, where rules of policies have fences of their own, since clients of different
// rules are led to different pools. One that leads nowhere is left out.
func (p *Policy) Reaches() []Reach { return p.reaches(maxWays) }

func (p *Policy) reaches(most int) (all []Reach) {
	add := func(at int, r *rule) {
		targets := p.last
		var fence *fence
		if r != nil {
			targets, fence = slices.Concat(r.targets, p.last), r.fence
		}
		for _, w := range p.ways(targets, most) {
			pools := p.names(w.fenced(p.fence).fenced(fence))
			known := func(before Reach) bool { return before.Rule == at && slices.Equal(before.Pools, pools) }
			if len(pools) > 0 && !slices.ContainsFunc(all, known) {
				all = append(all, Reach{at, pools})
			}
		}
	}
	for i := range p.rules {
		add(i, &p.rules[i])
		if p.rules[i].condition == everyone {
			return all // nobody gets to what stands behind it
		}
	}
	add(NoRule, nil)
	return all
}

// way is where targets lead clients that match the same rules of policies: pools, in order, and those that fences leave out.
type way struct {
	pools   []int
	outside []bool // of Policy.Pools; nil: none
}

func (w way) fenced(f *fence) way {
	if f == nil {
		return w
	}
	out := slices.Clone(f.outside)
	for i, is := range w.outside {
		out[i] = out[i] || is
	}
	return way{w.pools, out}
}

// and gives what comes of two targets of one list.
func (w way) and(o way) way {
	pools := slices.Clone(w.pools)
	for _, pool := range o.pools {
		if !slices.Contains(pools, pool) {
			pools = append(pools, pool)
		}
	}
	if w.outside == nil {
		return way{pools, o.outside}
	}
	return way{pools, o.outside}.fenced(&fence{outside: w.outside})
}

// ways gives the ways that targets lead, each once; with more than most, one that leads to all, under all fences.
func (p *Policy) ways(targets []target, most int) []way {
	all := []way{{}}
	for i := range targets {
		more := p.waysOf(&targets[i], most)
		next := make([]way, 0, len(all)*len(more))
		for _, a := range all {
			for _, b := range more {
				next = append(next, a.and(b))
			}
		}
		all = atMost(next, most)
	}
	return all
}

func atMost(all []way, most int) (out []way) {
	known := map[string]bool{}
	for _, w := range all {
		if key := fmt.Sprint(w.pools, w.outside); !known[key] {
			known[key] = true
			out = append(out, w)
		}
	}
	if len(out) <= most {
		return out
	}
	one := out[0]
	for _, w := range out[1:] {
		one = one.and(w)
	}
	return []way{one}
}

func (p *Policy) waysOf(t *target, most int) (all []way) {
	switch t.kind {
	case poolTarget:
		return []way{{pools: []int{t.pool}}}
	case nearestTarget, fastestTarget:
		var w way
		for i := range t.among {
			w.pools = append(w.pools, t.among[i].pool)
		}
		return []way{w}
	case policyTarget:
		for i := range t.rules {
			for _, w := range p.ways(t.rules[i].targets, most) {
				all = append(all, w.fenced(t.rules[i].fence).fenced(t.fence))
			}
			if t.rules[i].condition == everyone {
				return atMost(all, most)
			}
		}
		return atMost(append(all, way{}.fenced(t.fence)), most)
	}
	return p.ways(t.arms, most)
}

// names gives the pools of a way that its fences admit.
func (p *Policy) names(w way) (names []string) {
	for _, pool := range w.pools {
		if w.outside == nil || !w.outside[pool] {
			names = append(names, p.Pools[pool].Name)
		}
	}
	return names
}
