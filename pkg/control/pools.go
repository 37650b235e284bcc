package control

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/store/state"
)

// pools gives every pool of every tenant with its health, sorted.
func (s *Server) pools() []api.Pool {
	all := []api.Pool{}
	verdicts, now := s.cfg.Mirror.Verdicts(), s.cfg.Now()
	for _, tenant := range s.cfg.Mirror.Tenants() {
		state := s.cfg.Mirror.Tenant(tenant)
		overrides := overridesOf(state, now)
		for _, v := range sorted(state) {
			if _, ok := v.Resource.Spec.(*spec.Pool); ok {
				all = append(all, poolOf(v.Resource, verdicts, overrides[v.Resource.Name], now))
			}
		}
	}
	return all
}

// pool gives one pool; false: key names none.
func (s *Server) pool(key spec.Key) (api.Pool, bool) {
	state := s.cfg.Mirror.Tenant(key.Tenant)
	v, ok := state.Resources.Get(key)
	if !ok || key.Kind != spec.KindPool {
		return api.Pool{}, false
	}
	now := s.cfg.Now()
	return poolOf(v.Resource, s.cfg.Mirror.Verdicts(), overridesOf(state, now)[key.Name], now), true
}

// overridesOf gives the overrides of pools that hold at now, by pool.
func overridesOf(state state.TenantState, now time.Time) map[string][]*spec.Resource {
	byPool := map[string][]*spec.Resource{}
	for _, v := range sorted(state) {
		if o, ok := v.Resource.Spec.(*spec.Override); ok && o.Service == "" && o.At(now).Holds {
			byPool[o.Pool] = append(byPool[o.Pool], v.Resource)
		}
	}
	return byPool
}

// overrideOf tells of an override as it stands at now.
func overrideOf(r *spec.Resource, now time.Time) api.Override {
	o := r.Spec.(*spec.Override)
	term := o.At(now)
	out := api.Override{Name: r.Name, Service: o.Service, Rule: o.Rule, Pool: o.Pool, Endpoint: o.Endpoint, State: o.State,
		Reason: o.Reason,
		Author: o.Author, Expires: o.Expires.String(), Next: term.Next}
	begins := term.From
	if !term.Holds {
		out.Starts, begins = term.Next, term.Next
	}
	if w := o.Weight; w != nil {
		if out.Weight = &w.To; o.Ramps() {
			out.Over, out.There = w.Over.String(), begins.Add(time.Duration(w.Over))
		}
	}
	if c := o.Schedule; c != nil {
		out.Recurs = fmt.Sprintf("%s for %s, by the clocks of %s", c.Cron, c.For, cmp.Or(c.Zone, "UTC"))
	}
	return out
}

// poolOf puts together what is declared, measured and overridden; steer decides, as it does for answers.
func poolOf(r *spec.Resource, verdicts map[health.PoolID]health.Verdict, overrides []*spec.Resource, now time.Time) api.Pool {
	id, declared := health.PoolID{Tenant: r.Tenant, Pool: r.Name}, r.Spec.(*spec.Pool)
	verdict, judged := verdicts[id]
	out := api.Pool{
		Tenant: r.Tenant, Pool: r.Name, Site: declared.Site, Monitor: declared.Monitor, MinHealthy: declared.MinHealthy,
		Frozen: verdict.Frozen, Brake: brakeText(verdict), Judge: verdict.Judge, Endpoints: []api.Endpoint{},
	}
	specs := make([]*spec.Override, 0, len(overrides))
	for _, o := range overrides {
		s := o.Spec.(*spec.Override)
		specs = append(specs, s)
		out.Overrides = append(out.Overrides, overrideOf(o, now))
	}
	var known *health.Verdict
	if judged {
		known = &verdict
	}
	effective := declared.Effective()
	steered := steer.NewPool(id, &effective, known, specs, now)
	out.Up, out.Why = steered.Up, steered.Why
	for i := range steered.Candidates {
		out.Endpoints = append(out.Endpoints, endpointOf(&steered.Candidates[i], steer.Known(known, steered.Candidates[i].Endpoint)))
	}
	return out
}

func endpointOf(c *steer.Candidate, finding health.Finding) api.Endpoint {
	if finding.State == "" {
		finding = health.Finding{State: health.Unknown, Score: 1}
	}
	e := api.Endpoint{
		Name: c.Endpoint.Name, Host: c.Endpoint.Host, Weight: c.Weight, Effective: c.Effective, Out: c.Out, Held: c.Held != "",
		State: string(finding.State), Score: finding.Score, Since: finding.Since, Reason: finding.Reason,
	}
	for _, address := range slices.Clip(c.Endpoint.Addresses) {
		e.Addresses = append(e.Addresses, address.String())
	}
	return e
}
