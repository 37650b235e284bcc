package prober

import (
	"fmt"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/store/state"
)

// addRows notes which pools each rule of a service can lead to: its own and those of lastResort, as far as fences admit them. lastResort by
// itself is such a rule for the clients that no rule takes, if there can be any. An alias has no rules: it answers by those of where it
// leads. Where rules of policies have fences of their own, clients of each are led as by a rule of its own.
func (p *plan) addRows(key spec.Key, s *spec.Service, set policySet) {
	e := s.Effective()
	refuses := e.AllDown == spec.AllDownServfail
	name := func(rule int) string {
		if rule == policy.NoRule {
			return "lastResort of service " + key.Name
		}
		return fmt.Sprintf("rule %s of service %s", e.Rules[rule].Name, key.Name)
	}
	if !policy.Simple(&e) {
		p.placed = true
		if of, err := policy.New(key.Tenant, &e, set, 0); err == nil {
			for _, r := range of.Reaches() {
				p.addRow(key, name(r.Rule), refuses, r.Pools)
			}
			return
		} // what it names is not whole, which others tell
	}
	for i := range e.Rules {
		p.addRow(key, name(i), refuses, s.PoolsOf(e.Rules[i].Pools), s.PoolsOf(e.LastResort))
		if e.Rules[i].MatchesAll() {
			return // nobody gets to what stands behind it
		}
	}
	p.addRow(key, name(policy.NoRule), refuses, s.PoolsOf(e.LastResort))
}

// policySet is what policies look things up in: a tenant's resources and the platform's.
type policySet struct{ own, platform state.Resources }

// Pool gives a pool, with its site.
func (s policySet) Pool(tenant, name string) *policy.Pool {
	v, ok := s.own.Get(spec.Key{Tenant: tenant, Kind: spec.KindPool, Name: name})
	if !ok {
		return policy.PoolAt(name, "", nil)
	}
	var site *spec.Site
	at := v.Resource.Spec.(*spec.Pool).Site
	if v, ok := s.platform.Get(spec.Key{Tenant: spec.Platform, Kind: spec.KindSite, Name: at}); ok && at != "" {
		site, _ = v.Resource.Spec.(*spec.Site)
	}
	return policy.PoolAt(name, at, site)
}

// Policy gives the tenant's own policy, or else the platform's.
func (s policySet) Policy(tenant, name string) (owner string, p *spec.Policy) {
	owner = tenant
	v, ok := s.own.Get(spec.Key{Tenant: owner, Kind: spec.KindPolicy, Name: name})
	if !ok {
		owner = spec.Platform
		v, ok = s.platform.Get(spec.Key{Tenant: owner, Kind: spec.KindPolicy, Name: name})
	}
	if ok {
		p, _ = v.Resource.Spec.(*spec.Policy)
	}
	return owner, p
}

// places reports whether an update changes of the platform what tenants' policies go by: where sites are, and what policies say.
func places(t state.TenantUpdate) bool {
	is := func(k spec.Key) bool { return k.Kind == spec.KindSite || k.Kind == spec.KindPolicy }
	return t.Tenant == spec.Platform && (slices.ContainsFunc(t.Deleted, is) ||
		slices.ContainsFunc(t.Put, func(v state.Version) bool { return is(v.Resource.Key) }))
}

func (p *plan) addRow(key spec.Key, name string, refuses bool, lists ...[]string) {
	row := health.Row{Name: name, Refuses: refuses}
	named := map[health.PoolID]bool{}
	for _, list := range lists {
		for _, pool := range list {
			if id := (health.PoolID{Tenant: key.Tenant, Pool: pool}); !named[id] {
				named[id] = true
				row.Pools = append(row.Pools, id)
			}
		}
	}
	for id := range named {
		p.rows[id] = append(p.rows[id], row)
	}
}

// declared gives what the brake must know of the pools. held are their verdicts.
func (p *plan) declared(held map[health.PoolID]health.Verdict, now time.Time) map[health.PoolID]health.Declared {
	all := make(map[health.PoolID]health.Declared, len(p.sets))
	for id, pool := range p.sets {
		d := health.Declared{Rows: p.rows[id], Size: len(pool.Endpoints), Needs: pool.Needs, Stands: p.stands(id, pool, now),
			Resume: health.Mode(pool.ResumeMode())}
		if pp := p.pools[id]; pp != nil {
			d.Span = pp.span
		}
		d.Out = d.Resume == health.Enforce && held[id].Out.Enforced()
		all[id] = d
	}
	return all
}

// stands gives what operators and weights say of endpoints, as pkg/steer has it.
func (p *plan) stands(id health.PoolID, pool *spec.Pool, now time.Time) map[string]health.Stand {
	hands := p.hands[id]
	if len(hands) == 0 && !slices.ContainsFunc(pool.Endpoints, func(e spec.Endpoint) bool { return e.Weight != nil && *e.Weight <= 0 }) {
		return nil // as nearly all pools are
	}
	stands := map[string]health.Stand{}
	steered := steer.NewPool(id, pool, nil, hands, now)
	for i := range steered.Candidates {
		c := &steered.Candidates[i]
		stand := health.Judged
		switch c.State {
		case health.Up:
			stand = health.SaidUp
		case health.Down:
			stand = health.SaidDown
		}
		switch {
		case c.Drained, c.Weight <= 0 && stand != health.Judged:
			stands[c.Endpoint.Name] = health.Drained
		case c.Weight <= 0:
			stands[c.Endpoint.Name] = health.Weightless
		case stand != health.Judged:
			stands[c.Endpoint.Name] = stand
		}
	}
	return stands
}

// brakeOf gives the brake of a tenant.
func brakeOf(own, platform *spec.Tenant) health.Brake {
	b := spec.EffectiveBrake(own, platform)
	share, _ := spec.ParseShare(b.Share) // EffectiveBrake gives one that can be read
	everywhere, _ := spec.ParseShare(b.Everywhere)
	return health.Brake{Share: float64(share) / 100, Min: b.Min, Window: time.Duration(b.Window), Mode: health.Mode(b.Mode),
		Everywhere: float64(everywhere) / 100}
}
