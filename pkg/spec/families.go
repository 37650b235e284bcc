package spec

import (
	"fmt"
	"net/netip"
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
		has  Families
	}
	var steps []step
	var all Families
	catchAll := false
	for i, r := range s.Effective().Rules {
		steps = append(steps, step{"rule " + r.Name, familiesOf(s.PoolsOf(s.Rules[i].Pools), pool)})
		catchAll = catchAll || r.MatchesAll()
	}
	last := familiesOf(s.PoolsOf(s.LastResort), pool)
	if !catchAll {
		steps = append(steps, step{"lastResort", last})
	}
	for _, st := range steps {
		all = all.Or(st.has)
	}
	if all.Host {
		return false, false, true, nil
	}
	serve := func(family, qtype, label string, has func(Families) bool) bool {
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
				warnings = append(warnings, fmt.Sprintf("lastResort has no pool with %s addresses: %s is then answered as if all were up",
					label, qtype))
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
	v4 = serve(FamilyIPv4, "A", "IPv4", func(p Families) bool { return p.V4 })
	v6 = serve(FamilyIPv6, "AAAA", "IPv6", func(p Families) bool { return p.V6 })
	return v4, v6, false, warnings
}

// Served is ServedFamilies without the warnings, for who knows what each pool holds; a pool that is missing holds nothing.
func Served(s *Service, holds func(pool string) Families) (v4, v6, cname bool) {
	some, every, catchAll := Families{}, Families{V4: true, V6: true}, false
	step := func(refs []Target) {
		var has Families
		s.eachPool(refs, func(pool string) { has = has.Or(holds(pool)) })
		some, every.V4, every.V6 = some.Or(has), every.V4 && has.V4, every.V6 && has.V6
	}
	for i := range s.Rules {
		step(s.Rules[i].Pools)
		catchAll = catchAll || s.Rules[i].MatchesAll()
	}
	if !catchAll {
		step(s.LastResort)
	}
	if some.Host {
		return false, false, true
	}
	return every.V4 && s.Wants(FamilyIPv4), every.V6 && s.Wants(FamilyIPv6), false
}

// Wants reports whether the service is not narrowed to another family.
func (s *Service) Wants(family string) bool {
	return len(s.Families) == 0 || slices.Contains(s.Families, family)
}

// Families tells what the endpoints of some pools have.
type Families struct{ V4, V6, Host bool }

// Or gives what one of both has.
func (p Families) Or(o Families) Families {
	return Families{p.V4 || o.V4, p.V6 || o.V6, p.Host || o.Host}
}

func familiesOf(pools []string, pool func(name string) *Pool) (all Families) {
	for _, name := range pools {
		if p := pool(name); p != nil {
			all = all.Or(p.Families())
		}
	}
	return all
}

// Families tells what the pool's endpoints have, those included that can be found.
func (p *Pool) Families() (f Families) {
	for i := range p.Endpoints {
		e := &p.Endpoints[i]
		f.Host = f.Host || e.Host != ""
		for _, a := range e.Addresses {
			f.V4 = f.V4 || a.Is4()
			f.V6 = f.V6 || a.Is6()
		}
	}
	if p.DiscoverMode() == ModeEnforce { // types belong to the declaration: what is found changes none
		for i := range p.Discover {
			f.V4 = f.V4 || p.Discover[i].Has(netip.IPv4Unspecified())
			f.V6 = f.V6 || p.Discover[i].Has(netip.IPv6Unspecified())
		}
	}
	return f
}

// Split gives the pool as health and steering have it: where it is Apart, an endpoint with addresses of both families is two, a/ipv4 and
// a/ipv6. One with a Probe, which speaks for all of it, stays one. Of what is split already it changes nothing.
func (p *Pool) Split() *Pool {
	if !p.Apart || !slices.ContainsFunc(p.Endpoints, isOfBoth) {
		return p
	}
	split := *p
	split.Endpoints = make([]Endpoint, 0, 2*len(p.Endpoints))
	for _, e := range p.Endpoints {
		if !isOfBoth(e) {
			split.Endpoints = append(split.Endpoints, e)
			continue
		}
		four, six := e, e
		four.Name, six.Name = e.Name+"/"+FamilyIPv4, e.Name+"/"+FamilyIPv6
		four.Addresses, six.Addresses = nil, nil
		for _, a := range e.Addresses {
			if a.Is4() {
				four.Addresses = append(four.Addresses, a)
			} else {
				six.Addresses = append(six.Addresses, a)
			}
		}
		split.Endpoints = append(split.Endpoints, four, six)
	}
	return &split
}

func isOfBoth(e Endpoint) bool {
	return e.Probe == "" && slices.ContainsFunc(e.Addresses, netip.Addr.Is4) && slices.ContainsFunc(e.Addresses, netip.Addr.Is6)
}

// DeclaredName gives the name that an endpoint was declared with, of one that Split gave: of a/ipv6 it is a.
func DeclaredName(endpoint string) string {
	name, _, _ := strings.Cut(endpoint, "/")
	return name
}
