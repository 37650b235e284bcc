// Package rollout has the generations of tenants reach groups of edges one after the other. Of several controls one is elected to drive:
// it points groups at generations, watches them while they soak, and points them back where a gate fails. What it knows stands in the
// store, so that another one goes on.
package rollout

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/change/effect"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// Store is what a Driver needs of a *store.Client.
type Store interface {
	CampaignDriver(ctx context.Context, id string, lead func(context.Context) error) error
	EditAim(ctx context.Context, tenant string, fenced bool, edit func(*state.Aim) error) (state.Aim, error)
	History(ctx context.Context, tenant string, limit int) ([]state.Record, error)
	Read(ctx context.Context, tenant string, at state.Generation) (state.TenantState, error)
}

// Eyes see edges, and what they serve.
type Eyes interface {
	// AllEdges gives the edges that are known, as they are now.
	AllEdges(ctx context.Context) ([]api.Edge, error)
	// Counts asks an edge what it counted of a tenant's answers; speed: and how long one takes.
	Counts(ctx context.Context, edge, tenant string, speed bool) (state.Counts, error)
	// Answers reports whether an edge has an answer for a steered host.
	Answers(ctx context.Context, edge, host string) error
	// Up tells how many of a tenant's monitored endpoints are up.
	Up(tenant string) (up, all int)
}

// How often is looked, and what is done at once.
const (
	lookEvery    = time.Second
	lookPause    = 100 * time.Millisecond // between two looks at what was told
	edgesSecond  = 200                    // edges that are asked a second
	tenantsOnce  = 8
	asksOnce     = 16
	historyMost  = 100 // generations that are looked through for overrides
	blindnessMax = 5   // of what is told
	othersMost   = 32  // edges that have not got the generation, which are asked to compare with
)

// Config is what a Driver needs.
type Config struct {
	ID     string // of this control
	Store  Store
	Mirror *state.Mirror
	Eyes   Eyes
	// Query asks a Prometheus server; nil: over HTTP.
	Query func(ctx context.Context, server, query string) (float64, error)

	// World is by what the effect of a generation is worked out; nil: it is not, and gates.shift compares with before.
	World func() (*effect.World, error)

	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // nil: time.Now
}

// Driver drives rollouts, while it is elected.
type Driver struct {
	cfg     Config
	metrics *metrics
}

// New makes a driver, which does nothing before Run.
func New(cfg Config) (*Driver, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Query == nil {
		cfg.Query = queryPrometheus
	}
	m, err := newMetrics(cfg.Registerer)
	return &Driver{cfg: cfg, metrics: m}, err
}

// Run drives until ctx ends. It stands for election where there are rollouts.
func (d *Driver) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if len(d.work()) > 0 {
			standing, stop := context.WithCancel(ctx)
			_ = d.cfg.Store.CampaignDriver(standing, d.cfg.ID, func(elected context.Context) error {
				err := d.drive(elected)
				if errors.Is(err, errNothing) {
					stop()
					return nil
				}
				return err
			})
			stop()
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookEvery):
		}
	}
}

// errNothing: no tenant has a rollout any more.
var errNothing = errors.New("there are no rollouts")

// work gives what stands for the tenants that have a rollout, or edges that are still pointed at something.
func (d *Driver) work() map[string]*rules {
	m := d.cfg.Mirror
	work := map[string]*rules{}
	for _, tenant := range m.Tenants() {
		a, _ := state.Aims.Get(m, tenant)
		if r := rulesOf(m, tenant); r.first() != nil || len(a.Groups) > 0 {
			work[tenant] = r
		}
	}
	return work
}

// drive looks again and again: at what is declared when something was told, and at edges every second, or less often where there are many.
func (d *Driver) drive(ctx context.Context) error {
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		changed := d.cfg.Mirror.Changed()
		work := d.work()
		if len(work) == 0 {
			return errNothing
		}
		if err := d.followAll(ctx, work); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
			sleep(ctx, lookPause)
		case <-tick.C:
			asked := d.watchAll(ctx, work)
			tick.Reset(max(lookEvery, time.Duration(asked)*time.Second/edgesSecond))
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// followAll points at what is new.
func (d *Driver) followAll(ctx context.Context, work map[string]*rules) error {
	for _, tenant := range slices.Sorted(maps.Keys(work)) {
		a, _ := state.Aims.Get(d.cfg.Mirror, tenant)
		a.Tenant = tenant
		if err := d.follow(ctx, a, work[tenant]); errors.Is(err, store.ErrNotLeader) {
			return err
		}
	}
	d.metrics.show(d.cfg.Mirror)
	return nil
}

// watchAll looks at what soaks, and gives how many edges it has asked. One tenant whose turn fails takes nobody else's.
func (d *Driver) watchAll(ctx context.Context, work map[string]*rules) (asked int) {
	var soaking []string
	for tenant := range work {
		if a, ok := state.Aims.Get(d.cfg.Mirror, tenant); ok && a.Rollout != nil && a.Rollout.State == state.RolloutSoaking {
			soaking = append(soaking, tenant)
		}
	}
	if len(soaking) == 0 {
		return 0
	}
	edges, err := d.cfg.Eyes.AllEdges(ctx)
	if err != nil {
		d.cfg.Logger.Warn("rollouts stand still: the edges cannot be listed", "error", err)
		return 0
	}
	slots := make(chan struct{}, tenantsOnce)
	var wg sync.WaitGroup
	for _, tenant := range soaking {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			d.watch(ctx, tenant, edges)
		})
	}
	wg.Wait()
	return len(edges) * (1 + len(soaking))
}

// guard keeps a fault of one tenant's turn from the others, and from control.
func (d *Driver) guard(tenant string) {
	if fault := recover(); fault != nil {
		d.cfg.Logger.Error("a rollout stands still: driving it panicked", "tenant", tenant, "panic", fault)
	}
}

// follow writes what follows from what is declared and from the newest generation.
func (d *Driver) follow(ctx context.Context, a state.Aim, r *rules) error {
	defer d.guard(a.Tenant)
	if r.head.Generation == 0 {
		return nil
	}
	next := clone(a)
	follow(&next, r, func(since state.Mark) bool { return d.passes(ctx, &next, since, r.head) }, d.cfg.Now().UTC())
	return d.write(ctx, a, next)
}

// errMoved: somebody else wrote where a rollout points.
var errMoved = errors.New("it is another one by now")

// write replaces an aim as the driver, and tells of what has changed. Where it is another one meanwhile, since a person paused it or
// another control led it on, it is left as it is: what was decided was about what stood there before.
func (d *Driver) write(ctx context.Context, was, next state.Aim) error {
	if reflect.DeepEqual(was, next) {
		return nil
	}
	is, err := d.cfg.Store.EditAim(ctx, was.Tenant, true, func(a *state.Aim) error {
		if a.Rollout != nil && !reflect.DeepEqual(*a, was) { // one that is damaged is written anew
			return errMoved
		}
		accept := a.Accept
		if *a = next; accept != (state.Mark{}) { // a person may have written it where there was no rollout yet: nobody takes it back
			a.Accept = accept
		}
		return nil
	})
	switch {
	case errors.Is(err, errMoved):
		return nil
	case err != nil:
		if ctx.Err() == nil {
			d.cfg.Logger.Warn("a rollout cannot be written, and stands still", "tenant", was.Tenant, "error", err)
		}
		return err
	}
	tell(d.cfg.Logger, was.Rollout, is.Rollout, &is)
	return nil
}

// tell logs what became of a rollout.
func tell(log *slog.Logger, was, is *state.Progress, a *state.Aim) {
	if was != nil && is == nil {
		log.Info("there is no rollout any more: all edges go by the newest generation", "of", a.Tenant)
	}
	if is == nil || was != nil && was.State == is.State && was.Stage == is.Stage && was.To == is.To {
		return
	}
	to := fmt.Sprintf("%s@%d", a.Tenant, is.To.Generation)
	switch is.State {
	case state.RolloutStopped:
		log.Error("A ROLLOUT WAS STOPPED, and went back", "of", to, "to", fmt.Sprintf("%s@%d", a.Tenant, is.From.Generation), "why", is.Why)
	case state.RolloutSoaking:
		log.Info("a rollout goes on", "of", to, "group", a.Groups[is.Stage].Name)
	case state.RolloutDone:
		log.Info("a rollout is done: all edges are pointed at it", "of", to)
	}
}

// watch looks at the group of a tenant that soaks.
func (d *Driver) watch(ctx context.Context, tenant string, edges []api.Edge) {
	defer d.guard(tenant)
	a, ok := state.Aims.Get(d.cfg.Mirror, tenant)
	if !ok || a.InForce == nil || a.Rollout == nil || a.Rollout.State != state.RolloutSoaking || a.Rollout.Stage >= len(a.Groups) {
		return
	}
	_ = d.write(ctx, a, d.look(ctx, &a, edges))
}

// look gives what becomes of an aim by what is seen now.
func (d *Driver) look(ctx context.Context, a *state.Aim, edges []api.Edge) state.Aim {
	s := d.see(ctx, a, edges)
	next := clone(*a)
	if p := next.Rollout; p.Stage == 0 && !next.Groups[0].At.Same(p.To) && !d.planned(ctx, a, p) {
		return next
	}
	watch(&next, &s, d.cfg.Now().UTC())
	return next
}

// passes reports whether what was changed since a generation waits for no rollout: overrides, and updates of zones by their keys, which
// reach no further than the zones let them, unless the Rollout has them wait.
func (d *Driver) passes(ctx context.Context, a *state.Aim, since, head state.Mark) bool {
	n := int(head.Generation) - int(since.Generation)
	if n <= 0 || n > historyMost {
		return false
	}
	records, err := d.cfg.Store.History(ctx, a.Tenant, n)
	if err != nil || len(records) != n {
		return false
	}
	updates := a.InForce == nil || a.InForce.Updates != spec.UpdatesStaged
	return !slices.ContainsFunc(records, func(r state.Record) bool { return !passes(&r, updates) })
}

// passes reports whether a change waits for no rollout.
func passes(r *state.Record, updates bool) bool {
	touched := append(slices.Clone(r.Put), r.Deleted...)
	if len(touched) == 0 {
		return false
	}
	update := updates && strings.HasPrefix(r.Author, change.KeyAuthor)
	return !slices.ContainsFunc(touched, func(k spec.Key) bool {
		return k.Kind != spec.KindOverride && !(update && k.Kind == spec.KindZone)
	})
}

// clone gives an aim that can be changed.
func clone(a state.Aim) state.Aim {
	if a.Groups = slices.Clone(a.Groups); a.Rollout != nil {
		p := *a.Rollout
		p.Base, p.Pools, p.Waits, p.Others = maps.Clone(p.Base), maps.Clone(p.Pools), slices.Clone(p.Waits), maps.Clone(p.Others)
		a.Rollout = &p
	}
	return a
}
