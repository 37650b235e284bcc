package control

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/gauges"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/store/state"
)

// pools gives every pool of every tenant with its health, sorted.
func (s *Server) pools(ctx context.Context) []api.Pool {
	all := []api.Pool{}
	for _, tenant := range s.tenants(ctx) {
		h := s.healthOf(tenant)
		for _, v := range sorted(h.state) {
			if _, ok := v.Resource.Spec.(*spec.Pool); ok {
				all = append(all, h.poolOf(v.Resource))
			}
		}
	}
	return all
}

// pool gives one pool; false: key names none.
func (s *Server) pool(key spec.Key) (api.Pool, bool) {
	h := s.healthOf(key.Tenant)
	v, ok := h.state.Resources.Get(key)
	if !ok || key.Kind != spec.KindPool {
		return api.Pool{}, false
	}
	return h.poolOf(v.Resource), true
}

// tenantHealth is what is known of a tenant's pools now, each of which is put together when it is asked for: one may depend on others.
type tenantHealth struct {
	tenant    string
	state     state.TenantState
	verdicts  map[health.PoolID]health.Verdict
	overrides map[string][]*spec.Resource // by pool
	now       time.Time
	silent    []string               // vantages
	steered   map[string]*steer.Pool // nil: it is being made
	found     func(id state.SourceID) *spec.Found
}

func (s *Server) healthOf(tenant string) *tenantHealth {
	h := &tenantHealth{tenant: tenant, state: s.cfg.Mirror.Joined(tenant), verdicts: s.cfg.Mirror.Verdicts(), now: s.cfg.Now(),
		steered: map[string]*steer.Pool{}, found: s.found}
	h.overrides = overridesOf(h.state, h.now)
	if known := s.health(); known != nil {
		h.silent = known.Silent
	}
	return h
}

// spec gives what is declared, nil where nothing is.
func (h *tenantHealth) spec(kind spec.Kind, name string) spec.Spec {
	v, ok := h.state.Resources.Get(spec.Key{Tenant: h.tenant, Kind: kind, Name: name})
	if !ok {
		return nil
	}
	return v.Resource.Spec
}

// verdict gives the verdict on a pool for clients of a region, or for all; nil: there is none.
func (h *tenantHealth) verdict(pool, region string) *health.Verdict {
	v, ok := h.verdicts[health.PoolID{Tenant: h.tenant, Pool: pool}.For(region)]
	if !ok {
		return nil
	}
	return &v
}

// pool gives what steer makes of a pool for clients of a region, or for all, as it does for answers; nil where it is not declared. One
// without regions is the same for all, and so is what it depends on.
func (h *tenantHealth) pool(name, region string) *steer.Pool {
	if p, ok := h.spec(spec.KindPool, name).(*spec.Pool); ok && !p.Regions {
		region = ""
	}
	key := health.PoolID{Pool: name}.For(region).Pool
	if p, known := h.steered[key]; known {
		return p
	}
	h.steered[key] = nil
	h.steered[key] = h.steer(name, region, h.overridesOn(name))
	return h.steered[key]
}

// regionsOf gives the regions for whose clients a pool is judged of itself, sorted.
func (h *tenantHealth) regionsOf(name string) (regions []string) {
	if p, ok := h.spec(spec.KindPool, name).(*spec.Pool); !ok || !p.Regions {
		return nil
	}
	for _, region := range geo.Continents {
		if h.verdict(name, region) != nil {
			regions = append(regions, region)
		}
	}
	return regions
}

// overridesOn gives the overrides of a pool that are in force.
func (h *tenantHealth) overridesOn(pool string) (all []*spec.Override) {
	for _, o := range h.overrides[pool] {
		all = append(all, o.Spec.(*spec.Override))
	}
	return all
}

func (h *tenantHealth) steer(name, region string, overrides []*spec.Override) *steer.Pool {
	declared, ok := h.spec(spec.KindPool, name).(*spec.Pool)
	if !ok {
		return nil
	}
	effective := declared.Effective()
	verdict := h.verdict(name, "")
	if v := h.verdict(name, region); v != nil {
		verdict = v
	}
	p := steer.NewPool(health.PoolID{Tenant: h.tenant, Pool: name}, &effective, verdict, overrides, h.now)
	on := func(pool string) *steer.Pool { return h.pool(pool, region) }
	p.DependOn(declared, steer.DownBy(declared, on, func(service string) []string {
		if s, ok := h.spec(spec.KindService, service).(*spec.Service); ok {
			return s.RulePools()
		}
		return nil
	}))
	return p
}

// services gives the services of a tenant, sorted, and whether any pool of their rules is up.
func (h *tenantHealth) services() (all []gauges.Service) {
	for _, v := range sorted(h.state) {
		s, ok := v.Resource.Spec.(*spec.Service)
		if !ok || len(s.RulePools()) == 0 { // an alias
			continue
		}
		up := slices.ContainsFunc(s.RulePools(), func(pool string) bool {
			p := h.pool(pool, "")
			return p != nil && p.Up
		})
		all = append(all, gauges.Service{Name: v.Resource.Name, Up: up})
	}
	return all
}

// unserved lists the services that have no pool that is up.
func (s *Server) unserved(ctx context.Context) (keys []spec.Key) {
	for _, tenant := range s.tenants(ctx) {
		for _, service := range s.healthOf(tenant).services() {
			if !service.Up {
				keys = append(keys, spec.Key{Tenant: tenant, Kind: spec.KindService, Name: service.Name})
			}
		}
	}
	return keys
}

// scores gives what a hold of a service writes down: what is known of its pools, overrides apart.
func (h *tenantHealth) scores(s *spec.Service) map[string]spec.Scores {
	known := map[string]spec.Scores{}
	for _, name := range s.AllPools() {
		if p := h.steer(name, "", nil); p != nil {
			known[name] = p.Scores()
		}
		for _, region := range h.regionsOf(name) {
			known[health.PoolID{Pool: name}.For(region).Pool] = h.steer(name, region, nil).Scores()
		}
	}
	return known
}

// holds lists what is held, with what would be otherwise.
func (s *Server) holds(ctx context.Context) (all []api.Hold) {
	for _, tenant := range s.tenants(ctx) {
		h := s.healthOf(tenant)
		for _, v := range sorted(h.state) {
			o, ok := v.Resource.Spec.(*spec.Override)
			if !ok || o.Hold == nil {
				continue
			}
			if o.At(h.now).Holds {
				all = append(all, h.holdOf(v.Resource.Name, o))
			}
		}
	}
	return all
}

func (h *tenantHealth) holdOf(name string, o *spec.Override) api.Hold {
	out := api.Hold{Service: h.tenant + "/" + o.Service, Override: name, Reason: o.Reason, Author: o.Author, Expires: o.Expires.String()}
	for _, pool := range slices.Sorted(maps.Keys(o.Hold)) {
		of, region := health.PoolID{Pool: pool}.Declared()
		declared, ok := h.spec(spec.KindPool, of.Pool).(*spec.Pool)
		if !ok {
			continue
		}
		effective := declared.Effective()
		if held, apart := steer.Held(h.pool(of.Pool, region).In(region), &effective, o, h.overridesOn(of.Pool), h.now); apart {
			out.Apart = append(out.Apart, "pool "+pool+": "+held.Why)
		}
	}
	return out
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
func (h *tenantHealth) poolOf(r *spec.Resource) api.Pool {
	declared, verdict, steered := r.Spec.(*spec.Pool), h.verdict(r.Name, ""), h.pool(r.Name, "")
	out := api.Pool{Tenant: r.Tenant, Pool: r.Name, Site: declared.Site, Monitor: strings.Join(declared.Monitors(), ", "),
		MinHealthy: declared.MinHealthy,
		Up:         steered.Up, Why: steered.Why, Would: steered.Would(), Endpoints: []api.Endpoint{}}
	if verdict != nil {
		out.Frozen, out.Brake, out.Judge = verdict.Frozen, brakeText(*verdict), verdict.Judge
		out.Out = outOf(declared, verdict.Out, steered)
	}
	for _, o := range h.overrides[r.Name] {
		out.Overrides = append(out.Overrides, overrideOf(o, h.now))
	}
	out.Sources = sourcesOf(declared, h.foundFor(r))
	by := declared.FoundBy(h.foundFor(r))
	for i := range steered.Candidates {
		c := &steered.Candidates[i]
		e := endpointOf(c, steer.Known(verdict, c.Endpoint))
		e.Source = by[c.Endpoint.Name]
		out.Endpoints = append(out.Endpoints, e)
	}
	for _, region := range h.regionsOf(r.Name) {
		out.Regions = append(out.Regions, h.regionOf(declared, r.Name, region, out.Endpoints))
	}
	if declared.Regions && verdict != nil && len(out.Regions) == 0 {
		out.Unregioned = "regions: true does nothing now: two vantages of its monitor must stand on a continent for it to be judged there"
	}
	return out
}

// regionOf tells of a pool as it is for clients of a region; all are the endpoints as they are for all.
func (h *tenantHealth) regionOf(declared *spec.Pool, name, region string, all []api.Endpoint) api.PoolRegion {
	verdict, steered := h.verdict(name, region), h.pool(name, region)
	out := api.PoolRegion{Region: region, Up: steered.Up, Why: steered.Why, Vantages: verdict.Vantages, Frozen: verdict.Frozen,
		Brake: brakeText(*verdict), Out: outOf(declared, verdict.Out, steered)}
	for _, v := range verdict.Vantages {
		if slices.Contains(h.silent, v) {
			out.Silent = append(out.Silent, v)
		}
	}
	if all := len(verdict.Vantages); len(out.Silent) > 0 && all-len(out.Silent) < all/2+1 {
		verb := "are"
		if len(out.Silent) == 1 {
			verb = "is"
		}
		out.Undecided = fmt.Sprintf("%d of %d vantages of %s %s silent, and it stays as it is, but for what changes for all",
			len(out.Silent), all, region, verb)
		out.Why += "; " + out.Undecided
	}
	for i := range steered.Candidates {
		c := &steered.Candidates[i]
		if e := endpointOf(c, steer.Known(verdict, c.Endpoint)); e.State != all[i].State || e.Held {
			out.Endpoints = append(out.Endpoints, e)
		}
	}
	return out
}

// outOf tells that a pool is kept out, or would be.
func outOf(declared *spec.Pool, out *health.Out, steered *steer.Pool) *api.PoolOut {
	if out == nil || declared.ResumeMode() == spec.ModeOff {
		return nil
	}
	return &api.PoolOut{Since: out.Since, Why: out.Why, Observed: out.Observed, Ready: steered.Enough}
}

func endpointOf(c *steer.Candidate, finding health.Finding) api.Endpoint {
	if finding.State == "" {
		finding = health.Finding{State: health.Unknown, Score: 1}
	}
	e := api.Endpoint{
		Name: c.Endpoint.Name, Host: c.Endpoint.Host, Probe: c.Endpoint.Probe, Weight: c.Weight, Effective: c.Effective,
		Out: c.Out, Held: c.Held != "",
		State: string(finding.State), Score: finding.Score, Since: finding.Since, Reason: finding.Reason, Note: c.Note,
		Watched: finding.Watched,
	}
	for _, address := range slices.Clip(c.Endpoint.Addresses) {
		e.Addresses = append(e.Addresses, address.String())
	}
	return e
}
