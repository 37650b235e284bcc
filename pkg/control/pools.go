package control

import (
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

// overridesOf gives the overrides that hold at now, by pool.
func overridesOf(state state.TenantState, now time.Time) map[string][]*spec.Resource {
	byPool := map[string][]*spec.Resource{}
	for _, v := range sorted(state) {
		o, ok := v.Resource.Spec.(*spec.Override)
		if !ok {
			continue
		}
		if !o.At(now).Holds {
			continue
		}
		byPool[o.Pool] = append(byPool[o.Pool], v.Resource)
	}
	return byPool
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
		out.Overrides = append(out.Overrides, api.Override{Name: o.Name, Endpoint: s.Endpoint, State: s.State, Weight: s.Weight,
			Reason: s.Reason, Author: s.Author, Expires: s.Expires.String()})
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
