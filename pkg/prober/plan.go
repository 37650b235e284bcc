package prober

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/probe/checks"
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
	placed bool                               // policies or fences ask where pools are
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
	endpoints []string                 // in the pool's order
	checks    map[string][]probe.Check // of each endpoint, as the rule's parts; without a type: it cannot be made
	of        map[string]string        // what is checked of each endpoint
	rule      *health.Rule
	vantages  []string
	quorum    int
	agree     map[string]int
	span      time.Duration // until a vantage that went blind has all of it down
	unsure    bool          // findings tell whether they are
	recovery  bool          // findings tell of recoveries, which endpoints start slowly behind
	regions   bool          // it is judged for the clients of each region, too
}

// spanOf gives how long it takes at most until all checks of a vantage that fail have turned their endpoints down: intervals vary, and
// a check may wait for its turn.
func spanOf(monitors []*spec.Monitor) (span time.Duration) {
	for _, declared := range monitors {
		m := declared.Effective()
		span = max(span, (time.Duration(m.Fall)+1)*time.Duration(m.Interval)+time.Duration(m.Timeout))
	}
	return span
}

// asks reports whether a vantage is to check the pool.
func (p *poolPlan) asks(vantage string) bool {
	return len(p.vantages) == 0 || slices.Contains(p.vantages, vantage)
}

// makePlan reads a tenant's resources, and those of the platform that they refer to. broken are those that cannot be decoded.
func makePlan(resources, platform state.Resources, broken map[spec.Key]bool) *plan {
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
			s = s.Split()
			p.sets[health.PoolID{Tenant: key.Tenant, Pool: key.Name}] = s
			p.addPool(key, s, resources)
		case *spec.Service:
			p.addRows(key, s, policySet{resources, platform})
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
		for i := range pp.rule.Parts {
			pp.rule.Parts[i].Limits.Unsure = unsure[id]
		}
		pp.unsure = unsure[id]
	}
	for _, rows := range p.rows { // what the brake says names the first that stops it
		slices.SortFunc(rows, func(a, b health.Row) int { return strings.Compare(a.Name, b.Name) })
	}
	slices.Sort(p.faults)
	return p
}

func (p *plan) addPool(key spec.Key, pool *spec.Pool, resources state.Resources) {
	names := pool.Monitors()
	if len(names) == 0 {
		return // without a monitor there is no verdict: its endpoints are unknown, and answer
	}
	id := health.PoolID{Tenant: key.Tenant, Pool: key.Name}
	monitors := make([]*spec.Monitor, len(names))
	for i, name := range names {
		declared, ok := resources.Get(spec.Key{Tenant: key.Tenant, Kind: spec.KindMonitor, Name: name})
		if !ok {
			p.held[id] = true
			p.faults = append(p.faults, fmt.Sprintf("%s: monitor %q is missing or cannot be read; the last verdict holds", key, name))
			return
		}
		monitors[i] = declared.Resource.Spec.(*spec.Monitor)
	}
	pp := &poolPlan{
		id: id, checks: make(map[string][]probe.Check, len(pool.Endpoints)), of: make(map[string]string, len(pool.Endpoints)),
		rule: ruleOf(pool, names, monitors), vantages: monitors[0].Vantages, quorum: monitors[0].Quorum, // all have the same
		agree: monitors[0].Agree, span: spanOf(monitors),
		recovery: pool.SlowStart > 0, regions: pool.Regions,
	}
	for _, e := range pool.Endpoints {
		pp.endpoints = append(pp.endpoints, e.Name)
		pp.of[e.Name] = e.Checked()
		list, made := make([]probe.Check, len(monitors)), 0
		for i, m := range monitors {
			check, err := checks.New(key.Tenant, key.Name, m, e)
			if err != nil {
				p.faults = append(p.faults, fmt.Sprintf("%s: endpoint %q is not checked%s: %v", key, e.Name, pp.by(i), err))
				continue
			}
			list[i] = check
			made++
		}
		if made > 0 {
			pp.checks[e.Name] = list
		}
	}
	p.pools[id] = pp
}

// ruleOf says how the monitors of a pool are combined.
func ruleOf(pool *spec.Pool, names []string, monitors []*spec.Monitor) *health.Rule {
	r := &health.Rule{Need: 1}
	for i, m := range monitors {
		e := m.Effective()
		r.Parts = append(r.Parts, health.Part{Name: names[i], Said: m.Type == spec.TypeSignal, Limits: health.Limits{Rise: e.Rise,
			Fall: e.Fall, Latency: time.Duration(e.Latency), Plain: e.Score == spec.ScorePlain}})
	}
	c := pool.Checks
	if c == nil {
		return r
	}
	r.Need = c.Needed()
	for i := range r.Parts[len(c.Of):] {
		r.Parts[len(c.Of)+i].Role = health.Watched
		if i < len(c.Critical) {
			r.Parts[len(c.Of)+i].Role = health.Critical
		}
	}
	return r
}

// by names one of several monitors for a message.
func (p *poolPlan) by(part int) string {
	if len(p.rule.Parts) == 1 {
		return ""
	}
	return " by " + p.rule.Parts[part].Name
}

// target names what one part checks of an endpoint for the scheduler, and back: a:web-ok, or the endpoint alone where there is one part.
// Names of endpoints and monitors have no colon.
func target(endpoint string, rule *health.Rule, part int) string {
	if len(rule.Parts) == 1 {
		return endpoint
	}
	return endpoint + ":" + rule.Parts[part].Name
}

func targetOf(target string, rule *health.Rule) (endpoint string, part int) {
	endpoint, name, several := strings.Cut(target, ":")
	if !several && len(rule.Parts) == 1 {
		return endpoint, 0
	}
	return endpoint, slices.IndexFunc(rule.Parts, func(p health.Part) bool { return p.Name == name })
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
