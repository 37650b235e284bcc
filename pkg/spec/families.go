package spec

import (
	"fmt"
	"slices"
	"strings"
)

// The families that a service can be narrowed to.
const (
	FamilyIPv4 = "ipv4"
	FamilyIPv6 = "ipv6"
)

// ServedFamilies tells which types exist at a service's host: A (v4), AAAA (v6), or a CNAME alone. That is a
// matter of declaration, never of the client, of health or of weights: a family is served when every rule has a
// pool with it, and the last resort too where it is all that some clients have. pool gives a pool of the
// service's tenant, or nil; one that is missing counts for nothing. The warnings say what is left out and why,
// and where the last resort cannot help.
func ServedFamilies(s *Service, pool func(name string) *Pool) (v4, v6, cname bool, warnings []string) {
	type step struct {
		name string
		has  pools
	}
	var steps []step
	var all pools
	catchAll := false
	for i, r := range s.Effective().Rules {
		steps = append(steps, step{"rule " + r.Name, familiesOf(s.Rules[i].Pools, pool)})
		catchAll = catchAll || r.MatchesAll()
	}
	last := familiesOf(s.LastResort, pool)
	if !catchAll {
		steps = append(steps, step{"lastResort", last})
	}
	for _, st := range steps {
		all = all.or(st.has)
	}
	if all.host {
		return false, false, true, nil
	}
	serve := func(family, qtype, label string, has func(pools) bool) bool {
		if !has(all) || (len(s.Families) > 0 && !slices.Contains(s.Families, family)) {
			return false
		}
		var without []string
		for _, st := range steps {
			if !has(st.has) {
				without = append(without, st.name)
			}
		}
		if len(without) == 0 {
			if len(s.LastResort) > 0 && !has(last) {
				warnings = append(warnings, fmt.Sprintf("lastResort has no pool with %s addresses: %s is then answered as if all were up", label, qtype))
			}
			return true
		}
		verb := "has"
		if len(without) > 1 {
			verb = "have"
		}
		warnings = append(warnings, fmt.Sprintf("%s is not served: %s %s no pool with %s addresses",
			qtype, strings.Join(without, ", "), verb, label))
		return false
	}
	v4 = serve(FamilyIPv4, "A", "IPv4", func(p pools) bool { return p.v4 })
	v6 = serve(FamilyIPv6, "AAAA", "IPv6", func(p pools) bool { return p.v6 })
	return v4, v6, false, warnings
}

// pools is what some pools hold together.
type pools struct{ v4, v6, host bool }

func (p pools) or(o pools) pools { return pools{p.v4 || o.v4, p.v6 || o.v6, p.host || o.host} }

func familiesOf(refs []PoolRef, pool func(name string) *Pool) (all pools) {
	for _, ref := range refs {
		if p := pool(ref.Pool); p != nil {
			all = all.or(p.families())
		}
	}
	return all
}

func (p *Pool) families() (f pools) {
	for _, e := range p.Endpoints {
		f.host = f.host || e.Host != ""
		for _, a := range e.Addresses {
			f.v4 = f.v4 || a.Is4()
			f.v6 = f.v6 || a.Is6()
		}
	}
	return f
}
