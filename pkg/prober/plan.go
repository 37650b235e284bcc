package prober

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// plan is what one tenant wants checked and judged. Immutable.
type plan struct {
	pools map[health.PoolID]*poolPlan
	// held are pools that exist but cannot be read, or whose monitor cannot: nothing is known of what they want, so what was
	// observed and judged stays.
	held   map[health.PoolID]bool
	hands  map[health.PoolID][]*spec.Override // operators' hands on pools
	rows   map[health.PoolID][]health.Row     // the rules that name each pool
	sets   map[health.PoolID]*spec.Pool       // every pool, also those without a monitor
	tenant *spec.Tenant                       // nil: none is declared
	faults []string                           // for the log
}

// settings gives what the tenant sets for all of itself; nil: nothing.
func (p *plan) settings() *spec.Tenant {
	if p == nil {
		return nil
	}
	return p.tenant
}

// poolPlan is one pool with a monitor.
type poolPlan struct {
	id        health.PoolID
	endpoints []string // in the pool's order
	checks    map[string]probe.Check
	of        map[string]string // what is checked of each endpoint
	limits    health.Limits
	vantages  []string
	quorum    int
	agree     map[string]int
	span      time.Duration // until a vantage that went blind has all of it down
	recovery  bool          // findings tell of recoveries, which endpoints start slowly behind
}

// spanOf gives how long it takes at most until all checks of a vantage that fail have turned their endpoints down: intervals vary, and
// a check may wait for its turn.
func spanOf(m *spec.Monitor) time.Duration {
	return (time.Duration(m.Fall)+1)*time.Duration(m.Interval) + time.Duration(m.Timeout)
}

// asks reports whether a vantage is to check the pool.
func (p *poolPlan) asks(vantage string) bool {
	return len(p.vantages) == 0 || slices.Contains(p.vantages, vantage)
}

// makePlan reads a tenant's resources. broken are those that stand in the store and cannot be decoded.
func makePlan(resources state.Resources, broken map[spec.Key]bool) *plan {
	p := &plan{pools: map[health.PoolID]*poolPlan{}, held: map[health.PoolID]bool{}, hands: map[health.PoolID][]*spec.Override{},
		rows: map[health.PoolID][]health.Row{}, sets: map[health.PoolID]*spec.Pool{}}
	unsure := map[health.PoolID]bool{} // pools of which services ask whether they are
	for key := range broken {
		if _, ok := resources.Get(key); !ok && key.Kind == spec.KindPool {
			p.held[health.PoolID{Tenant: key.Tenant, Pool: key.Name}] = true
		}
	}
	for key, v := range resources.All() {
		switch s := v.Resource.Spec.(type) {
		case *spec.Pool:
			p.sets[health.PoolID{Tenant: key.Tenant, Pool: key.Name}] = s
			p.addPool(key, s, resources)
		case *spec.Service:
			p.addRows(key, s)
			if s.TTLUnsure != nil {
				for _, name := range s.AllPools() {
					unsure[health.PoolID{Tenant: key.Tenant, Pool: name}] = true
				}
			}
		case *spec.Override:
			if s.Hold == nil { // evidence goes on, whatever is frozen
				p.addOverride(key, s)
			}
		case *spec.Tenant:
			p.tenant = s
		}
	}
	for id, pp := range p.pools {
		pp.limits.Unsure = unsure[id]
	}
	for _, rows := range p.rows { // what the brake says names the first that stops it
		slices.SortFunc(rows, func(a, b health.Row) int { return strings.Compare(a.Name, b.Name) })
	}
	slices.Sort(p.faults)
	return p
}

func (p *plan) addPool(key spec.Key, pool *spec.Pool, resources state.Resources) {
	if pool.Monitor == "" {
		return // without a monitor there is no verdict: its endpoints are unknown, and answer
	}
	id := health.PoolID{Tenant: key.Tenant, Pool: key.Name}
	declared, ok := resources.Get(spec.Key{Tenant: key.Tenant, Kind: spec.KindMonitor, Name: pool.Monitor})
	if !ok {
		p.held[id] = true
		p.faults = append(p.faults, fmt.Sprintf("%s: monitor %q is missing or cannot be read; the last verdict holds", key, pool.Monitor))
		return
	}
	monitor := declared.Resource.Spec.(*spec.Monitor)
	m := monitor.Effective()
	pp := &poolPlan{
		id: id, checks: make(map[string]probe.Check, len(pool.Endpoints)), of: make(map[string]string, len(pool.Endpoints)),
		limits: health.Limits{Rise: m.Rise, Fall: m.Fall}, vantages: m.Vantages, quorum: m.Quorum, agree: m.Agree,
		span:     spanOf(&m),
		recovery: pool.SlowStart > 0,
	}
	for _, e := range pool.Endpoints {
		pp.endpoints = append(pp.endpoints, e.Name)
		pp.of[e.Name] = e.Checked()
		check, err := probe.NewCheck(key.Tenant, monitor, e)
		if err != nil {
			p.faults = append(p.faults, fmt.Sprintf("%s: endpoint %q is not checked: %v", key, e.Name, err))
			continue
		}
		pp.checks[e.Name] = check
	}
	p.pools[id] = pp
}

func (p *plan) addOverride(key spec.Key, o *spec.Override) {
	for _, t := range []struct {
		field string
		time  spec.Time
	}{{"expires", o.Expires}, {"starts", o.Starts}} {
		if _, ok := t.time.Moment(); !ok && !t.time.IsZero() {
			p.faults = append(p.faults, fmt.Sprintf("%s: %s %q is not RFC 3339; the brake ignores the override", key, t.field, t.time))
			return
		}
	}
	if o.Service != "" {
		return // of a rule's pools, which the brake has no part in
	}
	id := health.PoolID{Tenant: key.Tenant, Pool: o.Pool}
	p.hands[id] = append(p.hands[id], o)
}
