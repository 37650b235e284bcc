// Package outlook tells from which pools a service answers at a time, by what is declared, measured and overridden. It asks pkg/steer, as
// edges do, and knows no clients: shares are those of the clients of a rule, whoever and however many they are.
package outlook

import (
	"slices"
	"time"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
)

// Looker looks at one tenant at a time. It is for one goroutine, and for as long as what it looks at stays as it is.
type Looker struct {
	set     spec.Lookup
	tenant  string
	region  string // for whose clients it looks; empty: all
	verdict func(health.PoolID) *health.Verdict
	now     time.Time

	ofPools, ofServices map[string][]*spec.Override
	pools               map[string]*steer.Pool
}

// New makes a Looker. verdict gives what is known of a pool; nil: nothing is.
func New(set spec.Lookup, tenant string, verdict func(health.PoolID) *health.Verdict, now time.Time) *Looker {
	l := &Looker{set: set, tenant: tenant, verdict: verdict, now: now, ofPools: map[string][]*spec.Override{},
		ofServices: map[string][]*spec.Override{}, pools: map[string]*steer.Pool{}}
	for r := range set.Of(spec.KindOverride) {
		if o := r.Spec.(*spec.Override); r.Tenant != tenant {
			continue
		} else if o.Service != "" {
			l.ofServices[o.Service] = append(l.ofServices[o.Service], o)
		} else {
			l.ofPools[o.Pool] = append(l.ofPools[o.Pool], o)
		}
	}
	return l
}

// In gives a Looker at what clients of a region get; empty: what is known for all.
func (l *Looker) In(region string) *Looker {
	in := *l
	in.region, in.pools = region, map[string]*steer.Pool{}
	return &in
}

// Regions gives those for whose clients one of a service's pools is judged of itself, sorted.
func (l *Looker) Regions(s *spec.Service) (regions []string) {
	for _, region := range geo.Continents {
		if slices.ContainsFunc(s.AllPools(), func(name string) bool { return l.declared(name) != nil && l.judged(name, region) != nil }) {
			regions = append(regions, region)
		}
	}
	return regions
}

// Reaches reports whether a rule may be that of clients of a region.
func Reaches(r *spec.Rule, region string) bool {
	return r.When == nil || len(r.When.Geo) == 0 ||
		slices.ContainsFunc(r.When.Geo, func(place string) bool { return health.Within(place, region) })
}

// Rule is one rule of a service.
type Rule struct {
	Name  string
	TTL   uint32    // of its answers, in seconds
	Pools []Pool    // in the order of failover, those of lastResort last where they answer
	Tier  Tier      // where its answers come from
	Next  time.Time // when overrides next change the weights of these, or of their endpoints; zero: never
}

// Tier is how far a rule has to go for its answers.
type Tier string

// The tiers.
const (
	Normal     Tier = ""
	LastResort Tier = "lastResort"
	AllDown    Tier = "all are down"
)

// Pool is one pool of a rule.
type Pool struct {
	Name     string
	Site     string
	Declared int     // its weight; 0: it is a step by itself
	Weight   float64 // as overrides have it
	Share    float64 // its part of the rule's answers
	Up       bool
	Why      string
	// UpPools are the pools that are up: one of itself, or of those that it chooses from by place.
	UpPools int
	// Endpoints are those that it has, and Taking those of them that take clients now.
	Endpoints, Taking int
}

// pool gives the state of a pool; nil: there is none.
func (l *Looker) pool(name string) *steer.Pool {
	if p, ok := l.pools[name]; ok {
		return p
	}
	id := health.PoolID{Tenant: l.tenant, Pool: name}
	var p *steer.Pool
	if declared := l.declared(name); declared != nil {
		verdict := l.judged(name, l.region)
		if verdict == nil {
			verdict = l.verdict(id)
		}
		p = steer.NewPool(id, declared, verdict, l.ofPools[name], l.now)
	}
	l.pools[name] = p
	return p
}

// declared gives a pool as it is declared; nil: there is none.
func (l *Looker) declared(name string) *spec.Pool {
	r := l.set.Get(spec.Key{Tenant: l.tenant, Kind: spec.KindPool, Name: name})
	if r == nil {
		return nil
	}
	return r.Spec.(*spec.Pool)
}

// judged gives the verdict on a pool for the clients of a region; nil: that for all holds there.
func (l *Looker) judged(name, region string) *health.Verdict {
	if region == "" || !l.declared(name).Regions {
		return nil
	}
	return l.verdict(health.PoolID{Tenant: l.tenant, Pool: name}.For(region))
}

// Rules gives the rules of a service, as they are for the clients of the Looker's region; none: it has none, as an alias, or is not there.
func (l *Looker) Rules(service string) []Rule {
	r := l.set.Get(spec.Key{Tenant: l.tenant, Kind: spec.KindService, Name: service})
	if r == nil {
		return nil
	}
	s := r.Spec.(*spec.Service)
	effective := s.Effective()
	rules := make([]Rule, len(s.Rules))
	for i := range s.Rules {
		var overrides []*spec.Override
		for _, o := range l.ofServices[service] {
			if o.OfRule(service, s, i) {
				overrides = append(overrides, o)
			}
		}
		targets, next := steer.Rule(s.Rules[i].Pools, overrides, l.now)
		out := Rule{Name: effective.Rules[i].Name, TTL: s.RuleTTLSeconds(i), Next: next}
		own := l.look(s, targets, &s.Rules[i], steer.RuleWeights(s.Rules[i].Pools, overrides, l.now))
		lastRule := spec.Rule{Pools: s.LastResort, Fence: s.Rules[i].Fence}
		last := l.look(s, s.LastResort, &lastRule, steer.RuleWeights(s.LastResort, nil, l.now))
		switch {
		case share(own, false):
		case share(last, false):
			out.Tier = LastResort
		case share(last, true), share(own, true):
			out.Tier = AllDown
		}
		out.Pools = poolsOf(own)
		if out.Tier != Normal {
			out.Pools = append(out.Pools, poolsOf(last)...)
		}
		for _, name := range s.PoolsOf(s.Rules[i].Pools) {
			if state := l.pool(name); state != nil && !state.Next.IsZero() && (out.Next.IsZero() || state.Next.Before(out.Next)) {
				out.Next = state.Next
			}
		}
		rules[i] = out
	}
	return rules
}

// A step is pools that share.
type step []member

type member struct {
	Pool
	weight int // among its neighbours; 0: it is a step by itself
}

// look tells of the steps of a rule: targets as they are compiled, and declared as it is, with its weights as overrides have them. What
// leads
// to pools by the client's place is told as one, by what it is: where it leads is not the same for all clients.
func (l *Looker) look(s *spec.Service, targets []spec.Target, declared *spec.Rule, weights map[string]float64) (steps []step) {
	for i := range targets {
		t := &targets[i]
		var of step
		if split := t.More().Split; split != nil && t.Weight == 0 {
			for j := range split {
				of = append(of, l.member(s, &split[j], declared, weights))
			}
		} else {
			of = step{l.member(s, t, declared, weights)}
		}
		if i > 0 && t.Weight > 0 && targets[i-1].Weight > 0 {
			steps[len(steps)-1] = append(steps[len(steps)-1], of...)
			continue
		}
		steps = append(steps, of)
	}
	return steps
}

func (l *Looker) member(s *spec.Service, t *spec.Target, declared *spec.Rule, weights map[string]float64) member {
	m := member{Pool: Pool{Name: t.Pool, Weight: weights[t.Pool]}, weight: t.Weight}
	if list, i := declared.Entry(t.Pool); i >= 0 {
		m.Declared = list[i].Weight
	}
	if !t.IsPool() {
		m.Name, m.Declared, m.Weight = t.String(), t.Weight, float64(t.Weight)
		m.Site = "by place: " + m.Name
	}
	for _, name := range s.PoolsOf([]spec.Target{*t}) {
		p := l.pool(name)
		if p == nil || l.fenced(p, s.Fence) || l.fenced(p, declared.Fence) {
			continue
		}
		if t.IsPool() {
			m.Site, m.Why = p.Site, p.Why
		}
		if p.Up {
			m.Up, m.UpPools = true, m.UpPools+1
		}
		m.Endpoints += len(p.Candidates)
		for i := range p.Candidates {
			if p.Candidates[i].Effective > 0 {
				m.Taking++
			}
		}
	}
	return m
}

// fenced reports whether a fence leaves a pool out, for all clients of a rule. Those of the policies that it uses are not looked at.
func (l *Looker) fenced(p *steer.Pool, fence []string) bool {
	if len(fence) == 0 {
		return false
	}
	region := ""
	if r := l.set.Get(spec.Key{Tenant: spec.Platform, Kind: spec.KindSite, Name: p.Site}); r != nil {
		region = r.Spec.(*spec.Site).Region
	}
	return !policy.Inside(region, fence)
}

// share gives the members of the first step that has one which is up (or any, where all are taken) their shares; false: there is none.
func share(steps []step, all bool) bool {
	for _, s := range steps {
		total := 0
		for i := range s {
			if s[i].Up || all {
				total += max(1, s[i].weight)
			}
		}
		for i := range s {
			if s[i].Up || all {
				s[i].Share = float64(max(1, s[i].weight)) / float64(total)
			}
		}
		if total > 0 {
			return true
		}
	}
	return false
}

func poolsOf(steps []step) (pools []Pool) {
	for _, s := range steps {
		for i := range s {
			pools = append(pools, s[i].Pool)
		}
	}
	return pools
}
