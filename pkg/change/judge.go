package change

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/change/effect"
	"github.com/gti/gtm/pkg/change/guards"
	"github.com/gti/gtm/pkg/demand"
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
		return p.unbroken(append(refused, waiting...))
	case len(refused) > 0:
		return &RefusedError{Refusals: append(refused, waiting...)}
	case len(waiting) > 0 && !approved:
		return &RefusedError{Refusals: waiting, Waits: true}
	}
	return nil
}

// unbroken gives those refusals that whoever breaks the glass may not pass over.
func (p *Plan) unbroken(all []guards.Refusal) error {
	var stay []guards.Refusal
	for _, r := range all {
		if p.in.MayBreak == nil || !p.in.MayBreak(&r) {
			stay = append(stay, r)
		}
	}
	if len(stay) == 0 {
		return nil
	}
	return &RefusedError{Refusals: stay}
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
	p.ground = tenants
	var binding []*spec.Resource
	if !p.in.Unbounded {
		binding = guards.Binding(p.state, tenants)
	}
	weighs := slices.ContainsFunc(binding, func(r *spec.Resource) bool { return r.Spec.(*spec.Guard).Weighs() })
	unknown := ""
	if len(services) > 0 && (weighs || p.in.Foresee) {
		var err error
		p.Effect, err = j.foresee(services)
		switch {
		case err == nil:
			p.Warnings.Add(p.Effect.Warnings()...)
		case weighs && p.in.BreakGlass == "":
			return fmt.Errorf("%w, which a guard asks for; in an emergency: --break-glass REASON", err)
		default: // it is worth making without
			unknown = err.Error()
			p.Warnings.Add(&spec.Error{Msg: unknown})
		}
	}
	if len(binding) == 0 {
		return nil
	}
	judged := &guards.Change{Guards: binding, Now: j.now(), Copied: p.in.Copied, Effect: p.Effect, Unknown: unknown,
		Hour: sync.OnceValue(func() map[spec.Key]float64 { return j.hour(ctx) })}
	for _, st := range j.steps {
		judged.Steps = append(judged.Steps, guards.Step{Key: st.Key, Deleted: st.Action == Delete})
	}
	p.Refusals = guards.Judge(judged)
	if j.err != nil && p.in.BreakGlass != "" { // then it is for those to say who may break the glass
		judged.Unknown, j.err = j.err.Error(), nil
		p.Refusals = guards.Judge(judged)
		p.Warnings.Add(&spec.Error{Msg: judged.Unknown})
	}
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
	seen  *demand.Sum
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
	if j.c.cfg.Seen != nil {
		j.seen = j.c.cfg.Seen()
	}
	return j.effect(j.p.state, j.after, services, nil), nil
}

// now is when the plan was made.
func (j *judging) now() time.Time {
	if j.p.in.now.IsZero() {
		return j.c.cfg.Now()
	}
	return j.p.in.now
}

// effect works out what becomes of services from one state to another, as of some moments; nil: as of those that matter.
func (j *judging) effect(before, after spec.Lookup, services []spec.Key, moments []time.Time) *effect.Effect {
	at, byHand := j.now(), true
	for _, st := range j.steps {
		byHand = byHand && st.Key.Kind == spec.KindOverride
		if o, ok := specOf(st.new).(*spec.Override); ok {
			at = latest(at, settled(o, at))
		}
	}
	join := j.p.state.join
	return effect.Of(effect.Input{Before: foundSet{before, join, nil}, After: foundSet{after, join, nil}, Services: services,
		Verdict: j.c.cfg.Verdict, World: j.world, Seen: j.seen, At: at, Now: j.now(), ByHand: byHand, Moments: moments})
}

// JudgeFound tells what guards say to lists of endpoints that come to pools of a tenant: by what they leave of capacity and sites. What
// moves is not bounded, since lists change as machines come and go.
func (c *Changer) JudgeFound(ctx context.Context, tenant string, lists []spec.Found) ([]guards.Refusal, error) {
	now, err := c.cfg.State(ctx)
	if err != nil {
		return nil, err
	}
	now = now.at(c.cfg.Now())
	var binding []*spec.Resource
	for _, r := range guards.Binding(now, map[string]bool{tenant: true}) {
		if g := r.Spec.(*spec.Guard); g.LeastCapacity != "" || g.LeastSites > 0 {
			binding = append(binding, r.With(&spec.Guard{Tenants: g.Tenants, Mode: g.Mode, LeastCapacity: g.LeastCapacity,
				LeastSites: g.LeastSites, BreakGlass: g.BreakGlass}))
		}
	}
	if len(binding) == 0 {
		return nil, nil
	}
	var steps []Step
	for _, l := range lists {
		steps = append(steps, Step{Key: spec.Key{Tenant: l.Tenant, Kind: spec.KindPool, Name: l.Pool}})
	}
	services := concerned(now, newOverlay(now), steps)
	if len(services) == 0 {
		return nil, nil
	}
	judged := &guards.Change{Guards: binding, Now: now.now}
	if judged.Effect, err = c.ofFound(now, lists, services); err != nil { // which whoever breaks the glass passes over
		judged.Unknown = err.Error()
		for _, st := range steps {
			judged.Steps = append(judged.Steps, guards.Step{Key: st.Key})
		}
	}
	return guards.Judge(judged), nil
}

// ofFound works out what lists of endpoints do to answers.
func (c *Changer) ofFound(now *State, lists []spec.Found, services []spec.Key) (e *effect.Effect, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			e, err = nil, fmt.Errorf("what the endpoints do to answers cannot be told: gtmd has a fault here: %v", fault)
		}
	}()
	world, err := c.cfg.World()
	if err != nil {
		return nil, fmt.Errorf("what the endpoints do to answers cannot be told, which a guard asks for: %w", err)
	}
	return effect.Of(effect.Input{Before: foundSet{now, now.join, nil}, After: foundSet{now, now.join, lists}, Services: services,
		Verdict: c.cfg.Verdict, World: world, At: now.now}), nil
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
