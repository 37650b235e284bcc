package change

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// TooManyError: a tenant makes more changes an hour than its quota has. Nothing was made.
type TooManyError struct {
	Tenant string
	Limit  int
	Wait   time.Duration // then one more can be made
	Ask    string        // whom, for more
}

func (e *TooManyError) Error() string {
	return fmt.Sprintf("%s made %d changes within the last hour, as many as its quota allows: try again in %s, or %s", e.Tenant, e.Limit,
		e.Wait.Round(time.Second), e.Ask)
}

// mayChange refuses a change of a tenant that made as many within the last hour as it may. History tells that, to all controls alike: the
// change that is as many back is within the hour.
func (c *Changer) mayChange(ctx context.Context, p *Plan) error {
	if p.in.Unbounded {
		return nil
	}
	now := c.cfg.Now()
	platform := platformOf(p.state)
	for _, tenant := range tenantsOf(p) {
		limit := spec.EffectiveQuota(platform, tenant).Changes
		head := p.state.Head(tenant)
		if tenant == spec.Platform || uint64(head) < uint64(limit) {
			continue
		}
		at, err := c.cfg.Store.MadeAt(ctx, tenant, head-state.Generation(limit)+1)
		if err != nil {
			return err
		}
		if wait := at.Add(time.Hour).Sub(now); wait > 0 {
			return &TooManyError{Tenant: tenant, Limit: limit, Wait: wait, Ask: spec.AskToRaise(platform, tenant, "changes")}
		}
	}
	return nil
}

// hour gives how much of what the plan moves would differ from an hour ago, where that is more than without the plan. What the platform
// shares was then as it was, too.
func (j *judging) hour(ctx context.Context) map[spec.Key]float64 {
	shifts := j.p.Effect.Shifts()
	moving := map[spec.Key]bool{}
	past := &pastSet{j.p.state, map[string]state.TenantState{}}
	for _, at := range shifts {
		for k, s := range at {
			if s.Moved > 0 || s.Stirs {
				moving[k] = true
				past.then[k.Tenant], past.then[spec.Platform] = state.TenantState{}, state.TenantState{}
			}
		}
	}
	for _, tenant := range sortedKeys(past.then) {
		then, err := j.c.hourAgo(ctx, j.p.state, tenant, j.now().Add(-time.Hour))
		if err != nil {
			j.err = fmt.Errorf("what %s was an hour ago cannot be read, which a guard asks for: %w", tenant, err)
			return nil
		}
		past.then[tenant] = then
	}
	services := slices.SortedFunc(maps.Keys(moving), spec.Key.Compare)
	moments := j.p.Effect.Moments()
	without := j.effect(past, j.p.state, services, moments).Shifts()
	with := j.effect(past, j.after, services, moments).Shifts()
	out := map[spec.Key]float64{}
	for at := range with {
		for k, s := range with[at] {
			if moves := shifts[at][k]; (moves.Moved > 0 || moves.Stirs) && s.Apart > without[at][k].Apart {
				out[k] = max(out[k], s.Apart)
			}
		}
	}
	return out
}

// recentOnes is how many changes of a tenant are read at once to find its state of an hour ago; behind them it is searched for.
const recentOnes = 20

// hourAgo gives the state of a tenant at a time not long ago.
func (c *Changer) hourAgo(ctx context.Context, now *State, tenant string, at time.Time) (state.TenantState, error) {
	records, err := c.cfg.Store.History(ctx, tenant, recentOnes)
	if err != nil {
		return state.TenantState{}, err
	}
	found := slices.IndexFunc(records, func(r state.Record) bool { return !r.Time.IsZero() && !r.Time.After(at) })
	switch {
	case found == 0 || len(records) == 0:
		return now.tenants[tenant], nil
	case found > 0:
		return c.cfg.Store.Read(ctx, tenant, records[found].Generation)
	}
	oldest := records[len(records)-1].Generation
	last, err := c.lastBefore(ctx, tenant, oldest, at)
	if err != nil || last == 0 { // it is younger
		return state.TenantState{}, err
	}
	then, err := c.cfg.Store.Read(ctx, tenant, last)
	var removed *store.RemovedError
	if errors.As(err, &removed) {
		return c.cfg.Store.Read(ctx, tenant, removed.Oldest)
	}
	return then, err
}

// mostDamaged is how many damaged records in a row do not lead the search astray.
const mostDamaged = 8

// lastBefore searches for the last generation that was made before or at a time, below one that was made later; 0: there is none. Records
// that are removed are older than all that are not.
func (c *Changer) lastBefore(ctx context.Context, tenant string, below state.Generation, at time.Time) (state.Generation, error) {
	var failed error
	later := func(g state.Generation) bool { // as the first of it and its successors of which that is known
		for next := g; next < min(below, g+mostDamaged) && failed == nil; next++ {
			made, err := c.cfg.Store.MadeAt(ctx, tenant, next)
			if failed = err; err == nil && !made.IsZero() {
				return made.After(at)
			}
		}
		return false
	}
	first := sort.Search(int(below)-1, func(i int) bool { return later(state.Generation(i) + 1) })
	return state.Generation(first), failed
}

// pastSet is a state, of which some tenants are as they were.
type pastSet struct {
	*State
	then map[string]state.TenantState
}

func (p *pastSet) Get(k spec.Key) *spec.Resource {
	then, is := p.then[k.Tenant]
	if !is {
		return p.State.Get(k)
	}
	v, _ := then.Resources.Get(k)
	return v.Resource
}

func (p *pastSet) Of(kind spec.Kind) iter.Seq[*spec.Resource] {
	return func(yield func(*spec.Resource) bool) {
		for r := range p.State.Of(kind) {
			if _, is := p.then[r.Tenant]; !is && !yield(r) {
				return
			}
		}
		for _, t := range p.then {
			for k, v := range t.Resources.All() {
				if k.Kind == kind && !yield(v.Resource) {
					return
				}
			}
		}
	}
}
