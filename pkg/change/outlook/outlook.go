// Package outlook tells from which pools a service answers at a time, by what is declared, measured and overridden. It asks pkg/steer, as
// edges do, and knows no clients: shares are those of the clients of a rule, whoever and however many they are.
package outlook

import (
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
)

// Looker looks at one tenant at a time. It is for one goroutine, and for as long as what it looks at stays as it is.
type Looker struct {
	set     spec.Lookup
	tenant  string
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
	if r := l.set.Get(spec.Key{Tenant: l.tenant, Kind: spec.KindPool, Name: name}); r != nil {
		p = steer.NewPool(id, r.Spec.(*spec.Pool), l.verdict(id), l.ofPools[name], l.now)
	}
	l.pools[name] = p
	return p
}

// Rules gives the rules of a service; none: it has none, as an alias, or is not there.
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
		refs, next := steer.Rule(s.Rules[i].Pools, overrides, l.now)
		out := Rule{Name: effective.Rules[i].Name, TTL: s.RuleTTLSeconds(i), Next: next}
		out.Pools = l.look(refs, s.Rules[i].Pools, steer.RuleWeights(s.Rules[i].Pools, overrides, l.now))
		last := l.look(s.LastResort, s.LastResort, steer.RuleWeights(s.LastResort, nil, l.now))
		switch {
		case share(refs, out.Pools, false):
		case share(s.LastResort, last, false):
			out.Tier, out.Pools = LastResort, append(out.Pools, last...)
		case share(s.LastResort, last, true):
			out.Tier, out.Pools = AllDown, append(out.Pools, last...)
		default:
			share(refs, out.Pools, true)
			out.Tier = AllDown
		}
		for _, p := range out.Pools {
			if state := l.pool(p.Name); state != nil && !state.Next.IsZero() && (out.Next.IsZero() || state.Next.Before(out.Next)) {
				out.Next = state.Next
			}
		}
		rules[i] = out
	}
	return rules
}

// look tells of the pools of a rule: refs as they are compiled, and declared with its weights as overrides have them.
func (l *Looker) look(refs, declared []spec.PoolRef, weights []float64) []Pool {
	pools := make([]Pool, len(refs))
	for i, ref := range refs {
		pools[i] = Pool{Name: ref.Pool}
		for j, d := range declared {
			if d.Pool != ref.Pool {
				continue
			}
			if pools[i].Declared = d.Weight; d.Weight > 0 || ref.Weight > 0 {
				pools[i].Weight = weights[j]
			}
		}
		p := l.pool(ref.Pool)
		if p == nil {
			continue
		}
		pools[i].Site, pools[i].Up, pools[i].Why, pools[i].Endpoints = p.Site, p.Up, p.Why, len(p.Candidates)
		for j := range p.Candidates {
			if p.Candidates[j].Effective > 0 {
				pools[i].Taking++
			}
		}
	}
	return pools
}

// share gives the pools of the first step that has one which is up (or any, where all are taken) their shares; false: there is none.
func share(refs []spec.PoolRef, pools []Pool, all bool) bool {
	for i := 0; i < len(refs); {
		end := i + 1
		for end < len(refs) && refs[end-1].Weight > 0 && refs[end].Weight > 0 {
			end++
		}
		total := 0
		for j := i; j < end; j++ {
			if pools[j].Up || all {
				total += max(1, refs[j].Weight)
			}
		}
		for j := i; j < end && total > 0; j++ {
			if pools[j].Up || all {
				pools[j].Share = float64(max(1, refs[j].Weight)) / float64(total)
			}
		}
		if total > 0 {
			return true
		}
		i = end
	}
	return false
}
