package prober

import (
	"fmt"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// addRows notes which pools each rule of a service can lead to: its own and those of lastResort. lastResort by itself is such a rule for
// the clients that no rule takes, if there can be any. An alias has no rules: it answers by those of where it leads.
func (p *plan) addRows(key spec.Key, s *spec.Service) {
	e := s.Effective()
	for i := range e.Rules {
		p.addRow(key, fmt.Sprintf("rule %s of service %s", e.Rules[i].Name, key.Name), s.PoolsOf(e.Rules[i].Pools), s.PoolsOf(e.LastResort))
		if e.Rules[i].MatchesAll() {
			return // nobody gets to what stands behind it
		}
	}
	p.addRow(key, "lastResort of service "+key.Name, s.PoolsOf(e.LastResort))
}

func (p *plan) addRow(key spec.Key, name string, lists ...[]string) {
	row := health.Row{Name: name}
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
		d.Out = d.Resume == health.Enforce && held[id].Out.Enforced()
		all[id] = d
	}
	return all
}

// stands gives what operators and weights say of endpoints: as pkg/steer has it, those of the pool first and then those of an endpoint,
// where a drain of either holds.
func (p *plan) stands(id health.PoolID, pool *spec.Pool, now time.Time) map[string]health.Stand {
	var stands map[string]health.Stand
	set := func(endpoint string, s health.Stand) {
		if stands == nil {
			stands = map[string]health.Stand{}
		}
		stands[endpoint] = s
	}
	for i := range pool.Endpoints {
		e := &pool.Endpoints[i]
		stand, weight, drained := health.Judged, 1, false
		if e.Weight != nil {
			weight = *e.Weight
		}
		for _, whole := range []bool{true, false} {
			for _, h := range p.hands[id] {
				if whole != (h.endpoint == "") || !whole && h.endpoint != e.Name || !h.until.IsZero() && !now.Before(h.until) {
					continue
				}
				switch h.state {
				case spec.StateUp:
					stand = health.SaidUp
				case spec.StateDown:
					stand = health.SaidDown
				case spec.StateDrain:
					drained = true
				}
				if h.weight != nil {
					weight = *h.weight
				}
			}
		}
		switch {
		case drained, weight <= 0 && stand != health.Judged:
			set(e.Name, health.Drained)
		case weight <= 0:
			set(e.Name, health.Weightless)
		case stand != health.Judged:
			set(e.Name, stand)
		}
	}
	return stands
}

// brakeOf gives the brake of a tenant.
func brakeOf(own, platform *spec.Tenant) health.Brake {
	b := spec.EffectiveBrake(own, platform)
	share, _ := spec.ParseShare(b.Share) // EffectiveBrake gives one that can be read
	return health.Brake{Share: float64(share) / 100, Min: b.Min, Window: time.Duration(b.Window), Mode: health.Mode(b.Mode)}
}
