package explain

import (
	"fmt"
	"math"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/table"
)

// describe brings an explanation into the form of the API.
func describe(x *table.Explanation, by string) *api.Explanation {
	out := &api.Explanation{Host: x.Service.Spec.Host, Service: x.Service.Tenant + "/" + x.Service.Name,
		Generation: fmt.Sprintf("%s@%d", x.Service.Tenant, x.Generation), Scope: int(x.Scope), ScopeFrom: x.ScopeFrom,
		Drawn: x.Drawn, Text: x.Text(by, 0), Fallback: x.FallbackText(),
		Client: api.Client{Address: x.Asker.Prefix().String(), Source: "subnet", Place: x.Place.String(), ASN: x.Place.ASN,
			Point: x.Place.Point().String(), PointFrom: x.Place.PointSource(), Latency: nearestFirst(x.Place.Latency)}}
	if x.Resolver {
		out.Client.Source = "resolver"
	}
	if p, err := x.Asker.Addr().Prefix(int(x.PlaceBits)); err == nil {
		out.Client.Network = p.String()
	}
	if x.RuleIndex != policy.NoRule { // x.Index is the class, which of a service with a policy is no rule
		out.Rule = &api.MatchedRule{Index: x.RuleIndex, Name: x.Rule, Matched: x.Matched}
	} else {
		out.Notes = append(out.Notes, "no rule matches this client: lastResort answers")
	}
	describeTrace(out, x.Trace)
	if x.Service.AliasOf != "" {
		out.Notes = append(out.Notes, "alias of "+x.Service.AliasOf)
	}
	if x.Service.Is.Has(table.Pending) {
		out.Fallback = "the alias has not been resolved yet: SERVFAIL"
	}
	for _, p := range x.Pools {
		out.Pools = append(out.Pools, describePool(x, &p))
	}
	if x.NoSubnets() {
		out.Notes = append(out.Notes, table.NoSubnetsNote)
	}
	if x.Fixed {
		out.Notes = append(out.Notes, x.FixedNote())
	}
	out.Answer = api.ExampleAnswer{Type: dnswire.TypeString(x.Family.Type()), TTL: int(x.TTL), TTLFrom: x.TTLFrom, Records: x.Example()}
	return out
}

func nearestFirst(l *geo.Latency) (list []api.SiteLatency) {
	for _, s := range l.NearestFirst() {
		list = append(list, api.SiteLatency(s))
	}
	return list
}

// describeTrace tells how a policy came to its row.
func describeTrace(out *api.Explanation, t *policy.Trace) {
	if t == nil {
		return
	}
	for _, p := range t.Path {
		out.Path = append(out.Path, api.Passed(p))
	}
	out.Fence, out.Fenced = t.Fence, t.Fenced
	for _, c := range t.Choices {
		choice := api.Choosing{What: c.What, LastResort: c.LastResort, Note: c.Note}
		for _, r := range c.Candidates {
			choice.Candidates = append(choice.Candidates, api.Choice{Pool: r.Pool, Site: r.Site, Turn: r.Turn, AsListed: r.AsListed,
				Weight: r.Weight, Kilometres: known(r.Kilometres), Counts: known(r.Counts),
				Milliseconds: known(r.Milliseconds), Out: r.Out})
		}
		out.Choices = append(out.Choices, choice)
	}
}

// known rounds to one digit, and leaves out what is infinitely far, which JSON has no number for.
func known(f float64) *float64 {
	if math.IsInf(f, 1) {
		return nil
	}
	f = math.Round(10*f) / 10
	return &f
}

func describePool(x *table.Explanation, p *table.PoolInTurn) api.PoolInTurn {
	out := api.PoolInTurn{Pool: p.Pool.ID.Pool, Step: p.Step, Up: p.Up, Chosen: p.Chosen, Turns: x.Turns(p), Why: p.Why, Share: p.Share}
	if x.Drawn > 0 {
		out.Drawn = &p.Drawn
	}
	if p.LastResort {
		out.Why = "lastResort; " + out.Why
	}
	if p.Pool.Frozen {
		out.Why += "; frozen by the brake"
	}
	for i := range p.Pool.Candidates {
		out.Endpoints = append(out.Endpoints, describeCandidate(p, i))
	}
	return out
}

func describeCandidate(p *table.PoolInTurn, i int) api.Candidate {
	c := &p.Pool.Candidates[i]
	out := api.Candidate{Name: c.Endpoint.Name, Host: c.Endpoint.Host, Weight: c.Weight, Score: c.Score, State: string(c.State),
		Effective: p.Weights[i], Share: p.Shares[i], Out: c.Out, Held: c.Held, Note: c.Note}
	if p.DrawnFirst != nil {
		out.Drawn = &p.DrawnFirst[i]
	}
	if p.AsIfUp && out.Share > 0 {
		out.Out, out.AsIfUp = "", c.Out
	}
	for _, a := range c.Endpoint.Addresses {
		out.Addresses = append(out.Addresses, a.String())
	}
	return out
}
