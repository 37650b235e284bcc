package gather

import (
	"cmp"
	"slices"

	"github.com/gti/gtm/pkg/change/effect"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/demand"
)

// fewCountries is how many are told of each of several services. Of one that is asked for, all are.
const fewCountries = 10

// Query says of what to tell. Empty: of all.
type Query struct {
	Tenant, Service string
	Sees            func(tenant string) bool
	Limit           int // services at most
}

// List tells who asks for what.
func (g *Gatherer) List(q Query) api.Demand {
	sum := g.Sum()
	out := api.Demand{Edges: g.Heard(), Tenants: []api.DemandOf{}, Services: []api.DemandOf{}}
	for _, tenant := range sum.Tenants() {
		if q.Tenant != "" && q.Tenant != tenant || !q.Sees(tenant) {
			continue
		}
		countries := fewCountries
		if q.Tenant != "" {
			countries = 0
		}
		if q.Service == "" {
			out.Tenants = append(out.Tenants, of(tenant, "", sum.Tenant(tenant), countries))
		}
		services := sum.ServicesOf(tenant)
		if q.Service != "" {
			services = slices.DeleteFunc(services, func(name string) bool { return name != q.Service })
		}
		out.More += max(0, len(services)-q.Limit)
		for _, name := range services[:min(len(services), q.Limit)] {
			countries := fewCountries
			if q.Service != "" {
				countries = 0
			}
			out.Services = append(out.Services, of(tenant, name, sum.Service(tenant, name), countries))
		}
	}
	slices.SortFunc(out.Services, func(a, b api.DemandOf) int {
		return cmp.Or(cmp.Compare(b.Queries, a.Queries), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Service, b.Service))
	})
	if more := len(out.Services) - q.Limit; more > 0 {
		out.Services, out.More = out.Services[:q.Limit], out.More+more
	}
	return out
}

// of tells of one thing, and of so many countries; 0: of all.
func of(tenant, service string, t *demand.Total, countries int) api.DemandOf {
	out := api.DemandOf{Tenant: tenant, Service: service, Queries: t.Queries, Samples: t.Samples, Enough: effect.Enough(t), Edges: t.Edges,
		Newest: t.Newest.UTC(), Countries: []api.DemandCountry{}}
	for _, p := range t.Parts() {
		if t.Queries > 0 {
			out.Countries = append(out.Countries, api.DemandCountry{Country: p.Country, Share: p.Queries / t.Queries})
		}
	}
	if countries > 0 {
		out.Countries = out.Countries[:min(len(out.Countries), countries)]
	}
	return out
}
