package change

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/change/effect"
	"github.com/gti/gtm/pkg/change/guards"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// builtinWorld opens the built-in geography.
var builtinWorld = effect.Opener()

// Known gives what a mirror knows of pools, as Config wants it.
func Known(m *state.Mirror) func(health.PoolID) *health.Verdict {
	return func(id health.PoolID) *health.Verdict {
		if v, ok := m.Verdict(id); ok {
			return &v
		}
		return nil
	}
}

// RefusedError: guards do not let a change pass. Nothing of it was made.
type RefusedError struct {
	Refusals []guards.Refusal
	// Waits tells that a second person may let it pass: nothing else speaks against it.
	Waits bool
}

// Faults gives one fault for each guard's word.
func (e *RefusedError) Faults() (faults spec.Errors) {
	for i := range e.Refusals {
		faults.Add(e.Refusals[i].Fault())
	}
	return faults
}

func (e *RefusedError) Error() string { return e.Faults().Error() }

// SamePerson reports whether two authors may be one person, so that one cannot approve what the other asked for.
func SamePerson(a, b string) bool { return a == b || a == "" || b == "" }

// judged gives what guards refuse of a plan; nil: it may be made. A plan that no Changer made is judged now.
func (c *Changer) judged(ctx context.Context, p *Plan) error {
	if err := c.judge(ctx, p); err != nil {
		return err
	}
	return p.Refused()
}

// Refused gives what guards refuse of the plan, as a *RefusedError; nil: it may be made.
func (p *Plan) Refused() error {
	refused, waiting, _ := guards.Split(p.Refusals)
	switch approved := p.in.Approved != "" && !SamePerson(p.in.Approved, p.Author); {
	case p.in.BreakGlass != "":
		return nil
	case len(refused) > 0:
		return &RefusedError{Refusals: append(refused, waiting...)}
	case len(waiting) > 0 && !approved:
		return &RefusedError{Refusals: waiting, Waits: true}
	}
	return nil
}

// judge works out what a plan does to answers, and what guards say to it. It does so once.
func (c *Changer) judge(ctx context.Context, p *Plan) error {
	if p.judged || p.Empty() {
		return nil
	}
	p.judged = true
	j := &judging{c: c, p: p, after: newOverlay(p.state)}
	tenants := map[string]bool{}
	for _, part := range p.Parts {
		j.after = j.after.with(part.Steps)
		j.steps = append(j.steps, part.Steps...)
		tenants[part.Tenant] = true
	}
	services := concerned(p.state, j.after, j.steps)
	for _, k := range services {
		tenants[k.Tenant] = true
	}
	var binding []*spec.Resource
	if !p.in.Unbounded {
		binding = guards.Binding(p.state, tenants)
	}
	weighs := slices.ContainsFunc(binding, func(r *spec.Resource) bool { return r.Spec.(*spec.Guard).Weighs() })
	if len(services) > 0 && (weighs || p.in.Foresee) {
		var err error
		p.Effect, err = j.foresee(services)
		switch {
		case err == nil:
			p.Warnings.Add(p.Effect.Warnings()...)
		case weighs && p.in.BreakGlass == "":
			return fmt.Errorf("%w, which a guard asks for; in an emergency: --break-glass REASON", err)
		default: // it is worth making without
			p.Warnings.Add(&spec.Error{Msg: err.Error()})
		}
	}
	if len(binding) == 0 {
		return nil
	}
	judged := &guards.Change{Guards: binding, Now: j.now(), Copied: p.in.Copied, Effect: p.Effect,
		Hour: sync.OnceValue(func() map[spec.Key]float64 { return j.hour(ctx) })}
	for _, st := range j.steps {
		judged.Steps = append(judged.Steps, guards.Step{Key: st.Key, Deleted: st.Action == Delete})
	}
	p.Refusals = guards.Judge(judged)
	_, _, observed := guards.Split(p.Refusals)
	for i := range observed {
		fault := observed[i].Fault()
		fault.Msg, fault.Hint = "a guard that observes would refuse this: "+fault.Msg, ""
		p.Warnings.Add(fault)
	}
	return j.err
}

// judging is the work on one plan.
type judging struct {
	c     *Changer
	p     *Plan
	after *overlay
	steps []Step
	world *effect.World
	err   error
}

// foresee works out the effect of the plan. A fault of ours in there stops no change by itself.
func (j *judging) foresee(services []spec.Key) (e *effect.Effect, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			e, err = nil, fmt.Errorf("what the change does to answers cannot be told: gtmd has a fault here: %v", fault)
		}
	}()
	if j.world, err = j.c.cfg.World(); err != nil {
		return nil, fmt.Errorf("what the change does to answers cannot be told: %w", err)
	}
	return j.effect(j.p.state, j.after, services), nil
}

// now is when the plan was made.
func (j *judging) now() time.Time {
	if j.p.in.now.IsZero() {
		return j.c.cfg.Now()
	}
	return j.p.in.now
}

func (j *judging) effect(before, after spec.Lookup, services []spec.Key) *effect.Effect {
	at := j.now()
	for _, st := range j.steps {
		if o, ok := specOf(st.new).(*spec.Override); ok {
			at = latest(at, settled(o, at))
		}
	}
	join := j.p.state.join
	return effect.Of(effect.Input{Before: foundSet{before, join}, After: foundSet{after, join}, Services: services,
		Verdict: j.c.cfg.Verdict, World: j.world, At: at})
}

// hour gives how much of what the plan moves would differ from an hour ago, where that is more than without the plan.
func (j *judging) hour(ctx context.Context) map[spec.Key]float64 {
	of := map[string][]spec.Key{}
	all := j.p.Effect.All()
	for i := range all {
		if k := all[i].Key; all[i].Moved > 0 {
			of[k.Tenant] = append(of[k.Tenant], k)
		}
	}
	out := map[spec.Key]float64{}
	for _, tenant := range sortedKeys(of) {
		then, err := j.c.hourAgo(ctx, j.p.state, tenant, j.now().Add(-time.Hour))
		if err != nil {
			j.err = fmt.Errorf("what %s was an hour ago cannot be read, which a guard asks for: %w", tenant, err)
			return nil
		}
		past := &pastSet{j.p.state, tenant, then}
		now := map[spec.Key]float64{}
		for _, s := range j.effect(past, j.p.state, of[tenant]).All() {
			now[s.Key] = s.Moved
		}
		for _, s := range j.effect(past, j.after, of[tenant]).All() {
			if s.Moved > now[s.Key] {
				out[s.Key] = s.Moved
			}
		}
	}
	return out
}

// mostOfHour is how many changes of a tenant are looked through for its state of an hour ago; behind as many the oldest of them counts.
const mostOfHour = 1000

// hourAgo gives the state of a tenant at a time not long ago.
func (c *Changer) hourAgo(ctx context.Context, now *State, tenant string, at time.Time) (state.TenantState, error) {
	for limit := 20; ; limit = min(10*limit, mostOfHour) {
		records, err := c.cfg.Store.History(ctx, tenant, limit)
		if err != nil {
			return state.TenantState{}, err
		}
		found := slices.IndexFunc(records, func(r state.Record) bool { return !r.Time.IsZero() && !r.Time.After(at) })
		switch {
		case found == 0:
			return now.tenants[tenant], nil
		case found > 0:
			return c.cfg.Store.Read(ctx, tenant, records[found].Generation)
		case len(records) < limit: // it is younger
			return state.TenantState{}, nil
		case limit == mostOfHour:
			return c.cfg.Store.Read(ctx, tenant, records[limit-1].Generation)
		}
	}
}

// pastSet is a state, of which one tenant is as it was.
type pastSet struct {
	*State
	tenant string
	then   state.TenantState
}

func (p *pastSet) Get(k spec.Key) *spec.Resource {
	if k.Tenant != p.tenant {
		return p.State.Get(k)
	}
	v, _ := p.then.Resources.Get(k)
	return v.Resource
}

func (p *pastSet) Of(kind spec.Kind) iter.Seq[*spec.Resource] {
	return func(yield func(*spec.Resource) bool) {
		for r := range p.State.Of(kind) {
			if r.Tenant != p.tenant && !yield(r) {
				return
			}
		}
		for k, v := range p.then.Resources.All() {
			if k.Kind == kind && !yield(v.Resource) {
				return
			}
		}
	}
}

// concerned gives the services whose answers steps can change, sorted: those that stand in them, and those that use what does.
func concerned(before *State, after *overlay, steps []Step) []spec.Key {
	seen := map[spec.Key]bool{}
	var todo []spec.Key
	add := func(k spec.Key) {
		switch k.Kind {
		case spec.KindService, spec.KindPool, spec.KindPolicy, spec.KindSite, spec.KindMap:
			if !seen[k] {
				seen[k] = true
				todo = append(todo, k)
			}
		}
	}
	for _, st := range steps {
		add(st.Key)
		for _, r := range []*spec.Resource{before.Get(st.Key), st.new} {
			if o, ok := specOf(r).(*spec.Override); ok {
				if o.Service != "" {
					add(spec.Key{Tenant: r.Tenant, Kind: spec.KindService, Name: o.Service})
				}
				if o.Service == "" {
					add(spec.Key{Tenant: r.Tenant, Kind: spec.KindPool, Name: o.Pool})
				}
			}
		}
	}
	for len(todo) > 0 {
		k := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		users := map[spec.Key]bool{}
		before.index.addUsers(users, k)
		for user := range users {
			add(user)
		}
	}
	maps.DeleteFunc(seen, func(k spec.Key, _ bool) bool { return k.Kind != spec.KindService })
	return slices.SortedFunc(maps.Keys(seen), spec.Key.Compare)
}
