package rollout

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/change/effect"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// Bounds of what an aim holds of a plan.
const (
	mostFlows   = 1000
	mostLeftOut = 100 // names of services
	leftOutRest = "*" // stands for all services that the plan has nothing of
)

// planTries is at how many looks a plan is tried to be worked out, until the first group is pointed without one: a store that hiccups is
// well again by then.
const planTries = 5

// planned notes a plan before the first group is pointed. false: there is none yet, and the next look tries again.
func (d *Driver) planned(ctx context.Context, a *state.Aim, p *state.Progress) bool {
	var err error
	p.Planned, p.LeftOut, err = d.plan(ctx, a)
	if err == nil {
		p.PlanTries, p.Waits = 0, nil
		return true
	}
	if p.PlanTries++; p.PlanTries < planTries {
		p.Waits = []string{"what it is to do to answers is not known yet: " + err.Error()}
		return false
	}
	p.PlanTries, p.Waits = 0, nil
	d.cfg.Logger.Warn("what a generation is to do to answers is not known: gates.shift compares with before", "tenant", a.Tenant,
		"generation", a.Rollout.To.Generation, "error", err)
	return true
}

// plan works out what a generation is to do to the answers of the services that are counted by pool. By countries, as plans are: which
// clients a group has is not known; what each pool is to give away is applied to what the group's pools gave. Without a plan nothing is
// planned, and the gate compares with before.
func (d *Driver) plan(ctx context.Context, a *state.Aim) (flows []state.Flow, leftOut []string, err error) {
	if d.cfg.World == nil || a.InForce.Gates.Shift == "" {
		return nil, nil, nil
	}
	e, err := d.effect(ctx, a)
	if err != nil {
		return nil, nil, err
	}
	flows, leftOut = keep(e.All(), e.Skipped > 0)
	return flows, leftOut, nil
}

// keep gives the flows of as many services as an aim holds. Of the others it gives the names: half of a service's flows would have the
// other half count as unplanned. skipped: there are more services, of which nothing is known.
func keep(all []effect.Service, skipped bool) (flows []state.Flow, leftOut []string) {
	for i := range all {
		if of := flowsOf(&all[i]); len(flows)+len(of) <= mostFlows {
			flows = append(flows, of...)
		} else {
			leftOut = append(leftOut, all[i].Key.Name)
		}
	}
	if skipped || len(leftOut) > mostLeftOut {
		leftOut = []string{leftOutRest}
	}
	return flows, leftOut
}

// flowsOf gives which part of each pool's answers goes where, and what comes from clients that had none.
func flowsOf(s *effect.Service) (flows []state.Flow) {
	answered := 0.0
	for i := range s.Pools {
		answered += s.Pools[i].Before
	}
	for _, m := range s.AllMoves() {
		i := slices.IndexFunc(s.Pools, func(p effect.Share) bool { return p.Name == m.From })
		switch {
		case m.From == "" && answered > 0: // without any answer before, there is nothing to compare with
			flows = append(flows, state.Flow{Service: s.Key.Name, To: m.To, Part: m.Share / answered})
		case m.From != "" && i >= 0 && s.Pools[i].Before > 0:
			flows = append(flows, state.Flow{Service: s.Key.Name, From: m.From, To: m.To, Part: min(1, m.Share/s.Pools[i].Before)})
		}
	}
	return flows
}

// effect compares the generation that the groups are at with the one that they are led to, both with the newest overrides, as edges do.
func (d *Driver) effect(ctx context.Context, a *state.Aim) (e *effect.Effect, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			e, err = nil, fmt.Errorf("working it out panicked: %v", fault)
		}
	}()
	world, err := d.cfg.World()
	if err != nil {
		return nil, err
	}
	was, err := d.cfg.Store.Read(ctx, a.Tenant, a.Rollout.From.Generation)
	if err != nil {
		return nil, err
	}
	is, m := d.cfg.Mirror.Tenant(a.Tenant), d.cfg.Mirror
	if !state.MarkOf(is).Same(a.Rollout.To) {
		if is, err = d.cfg.Store.Read(ctx, a.Tenant, a.Rollout.To.Generation); err != nil {
			return nil, err
		}
	}
	before := &declaredSet{mirror: m, tenants: map[string]state.TenantState{}}
	for _, name := range m.Tenants() {
		before.tenants[name] = m.Tenant(name)
	}
	newest := before.tenants[a.Tenant]
	after := before.with(a.Tenant, is.Overridden(newest))
	before = before.with(a.Tenant, was.Overridden(newest))
	var services []spec.Key
	for k, v := range was.Resources.All() {
		if s, ok := v.Resource.Spec.(*spec.Service); ok && s.Metrics {
			services = append(services, k)
		}
	}
	slices.SortFunc(services, spec.Key.Compare)
	at := d.cfg.Now() // other moments would cost as much each, and nobody reads them
	return effect.Of(effect.Input{Before: before, After: after, Services: services, World: world, At: at, Moments: []time.Time{at},
		Verdict: func(id health.PoolID) *health.Verdict {
			if v, ok := m.Verdict(id); ok {
				return &v
			}
			return nil
		}}), nil
}

// declaredSet is what all tenants declare, with what sources found.
type declaredSet struct {
	mirror  *state.Mirror
	tenants map[string]state.TenantState
}

// with gives a set in which one tenant is otherwise.
func (d *declaredSet) with(tenant string, t state.TenantState) *declaredSet {
	out := &declaredSet{mirror: d.mirror, tenants: map[string]state.TenantState{}}
	for name, has := range d.tenants {
		out.tenants[name] = has
	}
	out.tenants[tenant] = t
	return out
}

// Get is part of spec.Lookup.
func (d *declaredSet) Get(k spec.Key) *spec.Resource {
	v, ok := d.tenants[k.Tenant].Resources.Get(k)
	if !ok {
		return nil
	}
	return d.mirror.Join(v.Resource)
}

// Of is part of spec.Lookup.
func (d *declaredSet) Of(kind spec.Kind) iter.Seq[*spec.Resource] {
	return func(yield func(*spec.Resource) bool) {
		for _, t := range d.tenants {
			for k, v := range t.Resources.All() {
				if k.Kind == kind && !yield(d.mirror.Join(v.Resource)) {
					return
				}
			}
		}
	}
}
