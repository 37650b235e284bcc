package change

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/change/outlook"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// Outlook is what an edit leaves of the rules that have to do with it.
type Outlook struct {
	At    time.Time     // when all of it has come about: at the end of ramps
	Rules []RuleOutlook // those that it changes, as far as there is room for them
	More  int           // how many more it changes
	TTL   uint32        // the longest of answers of the services that have to do with it, in seconds

	empty string // a rule that it leaves without a pool that is up
}

// maxOutlook is how many rules an Outlook has.
const maxOutlook = 100

// RuleOutlook is one rule, without the edit and with it.
type RuleOutlook struct {
	Service       spec.Key
	Region        string // for clients of that, where it is otherwise than for all
	Before, After outlook.Rule
}

// Same reports whether the edit changes nothing of what can be told of the rule.
func (r *RuleOutlook) Same() bool {
	return r.Before.Tier == r.After.Tier && slices.Equal(r.Before.Pools, r.After.Pools)
}

// up counts the pools of a rule's own that are up.
func up(r outlook.Rule) (n int) {
	for _, p := range r.Pools {
		if p.Up && r.Tier == outlook.Normal {
			n++
		}
	}
	return n
}

// Foreseen gives an edit that tells what it leaves in out, each time that it is asked; and that is refused with an *AskError, unless it is
// forced, where a rule would be left with no pool that is up.
func Foreseen(edit Edit, tenant string, verdict func(health.PoolID) *health.Verdict, forced bool, out *Outlook) Edit {
	return func(s *State) ([]*spec.Resource, []spec.Key, error) {
		put, deleted, err := edit(s)
		if err != nil {
			return nil, nil, err
		}
		*out = foresee(s, newOverlay(s).with(stepsOf(put, deleted)), tenant, put, verdict)
		if out.empty != "" && !forced {
			return nil, nil, &AskError{out.empty + " would have no pool left that is up"}
		}
		return put, deleted, nil
	}
}

// foundSet is a set whose pools have what their sources found, and some lists that are new.
type foundSet struct {
	spec.Lookup
	join func(*spec.Resource, []spec.Found) *spec.Resource
	news []spec.Found
}

func (j foundSet) Get(k spec.Key) *spec.Resource {
	r := j.Lookup.Get(k)
	if j.join == nil {
		return r
	}
	return j.join(r, j.news)
}

func stepsOf(put []*spec.Resource, deleted []spec.Key) []Step {
	steps := make([]Step, 0, len(put)+len(deleted))
	for _, r := range put {
		steps = append(steps, Step{Update, r.Key, nil, r})
	}
	for _, k := range deleted {
		steps = append(steps, Step{Action: Delete, Key: k})
	}
	return steps
}

func foresee(s *State, after *overlay, tenant string, put []*spec.Resource, verdict func(health.PoolID) *health.Verdict) Outlook {
	out := Outlook{At: s.now}
	users := map[spec.Key]bool{}
	for _, r := range put {
		o, ok := r.Spec.(*spec.Override)
		switch {
		case !ok:
			s.index.addUsers(users, r.Key)
		case o.Service != "":
			users[spec.Key{Tenant: tenant, Kind: spec.KindService, Name: o.Service}] = true
		default:
			s.index.addUsers(users, spec.Key{Tenant: tenant, Kind: spec.KindPool, Name: o.Pool})
		}
		if ok {
			out.At = latest(out.At, settled(o, s.now))
		}
	}
	before := outlook.New(foundSet{s, s.join, nil}, tenant, verdict, out.At)
	behind := outlook.New(foundSet{after, s.join, nil}, tenant, verdict, out.At)
	for _, k := range slices.SortedFunc(maps.Keys(users), spec.Key.Compare) {
		service, ok := specOf(s.Get(k)).(*spec.Service)
		if !ok {
			continue
		}
		all := rulesIn("", k, before, behind)
		for i := range all {
			out.take(&all[i])
		}
		for _, region := range before.Regions(service) {
			for i, r := range rulesIn(region, k, before, behind) {
				if outlook.Reaches(&service.Rules[i], region) && !r.as(&all[i]) {
					out.take(&r)
				}
			}
		}
		out.TTL = max(out.TTL, service.LongestTTLSeconds())
	}
	return out
}

// rulesIn looks at a service's rules for the clients of a region; empty: for all.
func rulesIn(region string, k spec.Key, before, behind *outlook.Looker) []RuleOutlook {
	was, is := before.In(region).Rules(k.Name), behind.In(region).Rules(k.Name)
	rules := make([]RuleOutlook, len(was))
	for i := range was {
		rules[i] = RuleOutlook{k, region, was[i], is[i]}
	}
	return rules
}

// as reports whether the rule answers as the other one, whose words may be others, without the edit and with it.
func (r *RuleOutlook) as(o *RuleOutlook) bool {
	same := func(a, b outlook.Rule) bool {
		return a.Tier == b.Tier && slices.EqualFunc(a.Pools, b.Pools, func(p, q outlook.Pool) bool {
			p.Why, q.Why = "", ""
			return p == q
		})
	}
	return same(r.Before, o.Before) && same(r.After, o.After)
}

// take adds a rule, if the edit changes it.
func (out *Outlook) take(r *RuleOutlook) {
	if up(r.Before) > 0 && up(r.After) == 0 && out.empty == "" {
		out.empty = fmt.Sprintf("rule %s of service %s/%s", r.After.Name, r.Service.Tenant, r.Service.Name)
		if r.Region != "" {
			out.empty += ", for clients of " + r.Region + ","
		}
	}
	switch {
	case r.Same():
	case len(out.Rules) < maxOutlook:
		out.Rules = append(out.Rules, *r)
	default:
		out.More++
	}
}

// settled gives the time from which an override that is declared at now has all of its effect.
func settled(o *spec.Override, now time.Time) time.Time {
	term := o.At(now)
	from := now
	switch {
	case term.Holds && !term.From.IsZero():
		from = term.From
	case !term.Holds:
		from = term.Next
	}
	if o.Ramps() {
		from = from.Add(time.Duration(o.Weight.Over))
	}
	return from
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
