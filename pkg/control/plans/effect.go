// Package plans gives plans the form of the API, and has those wait that need a second person.
package plans

import (
	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/change/effect"
	"github.com/gti/gtm/pkg/change/guards"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/dnswire"
)

// Add tells in a reply what a plan was made on, what it does to answers, and what guards say to it.
func Add(out *api.ApplyReply, p *change.Plan) {
	out.Base = map[string]uint64{}
	for t, g := range p.Base() {
		out.Base[t] = uint64(g)
	}
	out.Effect, out.Refusals = effectOf(p.Effect), refusalsOf(p.Refusals)
}

func refusalsOf(all []guards.Refusal) (list []api.Refusal) {
	for i := range all {
		r := &all[i]
		list = append(list, api.Refusal{Guard: r.Guard, Field: r.Field, Of: r.Of, Message: r.Text, Hint: r.Hint, Waits: r.Waits > 0,
			Observed: r.Observed})
	}
	return list
}

func effectOf(e *effect.Effect) *api.Effect {
	if e == nil {
		return nil
	}
	out := &api.Effect{At: e.At.UTC(), More: e.More, Same: e.Same, Skipped: e.Skipped, About: e.About}
	for _, t := range e.Tenants {
		out.Tenants = append(out.Tenants, api.TenantEffect{Tenant: t.Name, Queries: t.Queries, Moved: t.Moved})
	}
	for i := range e.Services {
		out.Services = append(out.Services, serviceOf(&e.Services[i]))
	}
	later := e.Later()
	for i := range later[:min(len(later), mostLater)] {
		out.Later = append(out.Later, serviceOf(&later[i]))
	}
	out.LaterMore = len(later) - len(out.Later)
	return out
}

// mostLater is how many services are told of that change more at another moment.
const mostLater = 100

// mostCountries is how many countries one entry names.
const mostCountries = 20

func serviceOf(s *effect.Service) api.ServiceEffect {
	out := api.ServiceEffect{Service: s.Key, At: s.At.UTC(), Moved: s.Moved, Within: s.Within, Gone: s.Gone,
		Pools: sharesOf(s.Pools), Sites: sharesOf(s.Sites),
		Rules: sharesOf(s.Rules), Capacity: api.ShareChange{Before: s.Capacity.Before, After: s.Capacity.After},
		SitesUp: api.Counts{Before: s.SitesUp[0], After: s.SitesUp[1]}, Notes: s.Notes, ByUsers: s.ByUsers}
	w := &s.Weighing
	out.Weighed = api.WeighedBy{By: w.By.String(), Queries: w.Queries, Samples: w.Samples, Edges: w.Edges, Newest: w.Newest}
	if len(s.Pools) > 0 {
		out.Type = dnswire.TypeString(s.Type.Type())
	}
	for _, m := range s.Moves {
		out.Moves = append(out.Moves, api.Move{From: m.From, To: m.To, Share: m.Share})
	}
	for _, p := range s.Places {
		out.Countries = append(out.Countries, api.CountryEffect{Country: p.Country, Users: p.Users, Moved: p.Moved})
	}
	for _, f := range s.Falls {
		out.Falls = append(out.Falls, api.Fall{How: f.How.String(), Users: f.Users,
			Countries: f.Countries[:min(len(f.Countries), mostCountries)]})
	}
	return out
}

func sharesOf(list []effect.Share) (out []api.ShareChange) {
	for _, s := range list {
		out = append(out, api.ShareChange{Name: s.Name, Before: s.Before, After: s.After})
	}
	return out
}
