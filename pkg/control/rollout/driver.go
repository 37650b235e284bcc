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
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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
}

// Eyes see edges, and what they serve.
type Eyes interface {
	// AllEdges gives the edges that are known, as they are now.
	AllEdges(ctx context.Context) ([]api.Edge, error)
	// Counts asks an edge what it counted of a tenant's answers.
	Counts(ctx context.Context, edge, tenant string) (state.Counts, error)
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
)

// Config is what a Driver needs.
type Config struct {
	ID     string // of this control
	Store  Store
	Mirror *state.Mirror
	Eyes   Eyes
	// Query asks a Prometheus server; nil: over HTTP.
	Query func(ctx context.Context, server, query string) (float64, error)

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

// work gives the tenants that have a rollout, or edges that are still pointed at something.
func (d *Driver) work() map[string]*spec.Rollout {
	m := d.cfg.Mirror
	platform, _ := m.Tenant(spec.Platform).Resources.Get(spec.Key{Tenant: spec.Platform, Kind: spec.KindRollout, Name: spec.Platform})
	work := map[string]*spec.Rollout{}
	for _, tenant := range m.Tenants() {
		own, _ := m.Tenant(tenant).Resources.Get(spec.Key{Tenant: tenant, Kind: spec.KindRollout, Name: tenant})
		if r := spec.RolloutOf(own.Resource, platform.Resource); r != nil {
			work[tenant] = r
		}
	}
	for tenant, a := range state.Aims.All(m) {
		if _, ok := work[tenant]; !ok && len(a.Groups) > 0 {
			work[tenant] = nil
		}
	}
	maps.DeleteFunc(work, func(_ string, r *spec.Rollout) bool { return r != nil && len(r.Groups) == 0 }) // not lawful: all stays as it is
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
func (d *Driver) followAll(ctx context.Context, work map[string]*spec.Rollout) error {
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
func (d *Driver) watchAll(ctx context.Context, work map[string]*spec.Rollout) (asked int) {
	var soaking []string
	for tenant, r := range work {
		if a, ok := state.Aims.Get(d.cfg.Mirror, tenant); ok && r != nil && a.Rollout != nil && a.Rollout.State == state.RolloutSoaking {
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
			d.watch(ctx, tenant, work[tenant], edges)
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
func (d *Driver) follow(ctx context.Context, a state.Aim, r *spec.Rollout) error {
	defer d.guard(a.Tenant)
	t := d.cfg.Mirror.Tenant(a.Tenant)
	head := state.MarkOf(t)
	edit := func(a *state.Aim) {
		follow(a, r, head, func(since state.Mark) bool { return d.onlyOverrides(ctx, a.Tenant, since, head) }, d.cfg.Now().UTC())
	}
	next := clone(a)
	if edit(&next); reflect.DeepEqual(next, a) || head.Generation == 0 {
		return nil
	}
	return d.write(ctx, a, func(stored *state.Aim) { edit(stored) })
}

// write edits an aim as the driver, and tells of what has changed.
func (d *Driver) write(ctx context.Context, was state.Aim, edit func(*state.Aim)) error {
	is, err := d.cfg.Store.EditAim(ctx, was.Tenant, true, func(a *state.Aim) error { edit(a); return nil })
	if err != nil {
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
func (d *Driver) watch(ctx context.Context, tenant string, r *spec.Rollout, edges []api.Edge) {
	defer d.guard(tenant)
	a, ok := state.Aims.Get(d.cfg.Mirror, tenant)
	if !ok || a.Rollout == nil || a.Rollout.State != state.RolloutSoaking || a.Rollout.Stage >= len(a.Groups) {
		return
	}
	s := d.see(ctx, &a, r, edges)
	next, now := clone(a), d.cfg.Now().UTC()
	if watch(&next, r, &s, now); reflect.DeepEqual(next, a) {
		return
	}
	_ = d.write(ctx, a, func(stored *state.Aim) {
		if same := stored.Rollout; same != nil && same.State == state.RolloutSoaking && same.To == a.Rollout.To &&
			same.Stage == a.Rollout.Stage { // nobody paused it, or led it on, meanwhile
			watch(stored, r, &s, now)
		}
	})
}

// see asks what there is to know of the group that soaks.
func (d *Driver) see(ctx context.Context, a *state.Aim, r *spec.Rollout, edges []api.Edge) sight {
	s := sight{edges: edges, counts: map[string]state.Counts{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, asksOnce)
	for _, e := range edgesOf(a, edges, a.Rollout.Stage) {
		if e.Status == nil {
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			counts, err := d.cfg.Eyes.Counts(ctx, e.ID, a.Tenant)
			var failed string
			for _, host := range r.Gates.Probes {
				if e.Status.Tenants[a.Tenant] != uint64(a.Rollout.To.Generation) {
					break
				}
				if err := d.cfg.Eyes.Answers(ctx, e.ID, host); err != nil && failed == "" {
					failed = fmt.Sprintf("edge %s has no answer for the probe %s: %s", e.ID, host, err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				s.counts[e.ID] = counts
			} else if len(s.blind) < blindnessMax {
				s.blind = append(s.blind, fmt.Sprintf("edge %s does not tell what it counted: %s", e.ID, err))
			}
			if failed != "" {
				s.failed = append(s.failed, failed)
			}
		})
	}
	wg.Wait()
	slices.Sort(s.failed)
	d.seeOthers(ctx, a.Tenant, r, &s)
	return s
}

// seeOthers asks whom edges know nothing of.
func (d *Driver) seeOthers(ctx context.Context, tenant string, r *spec.Rollout, s *sight) {
	if least, err := spec.ParseShare(r.Gates.Healthy); err == nil {
		if up, all := d.cfg.Eyes.Up(tenant); all > 0 && 100*up < least*all {
			s.failed = append(s.failed, fmt.Sprintf("%d of %d endpoints are up: gates.healthy wants %s", up, all, r.Gates.Healthy))
		}
	}
	if p := r.Gates.Prometheus; p != nil {
		switch value, err := d.cfg.Query(ctx, p.URL, p.Query); {
		case err != nil:
			s.blind = append(s.blind, "Prometheus gives no answer: "+err.Error())
		case value > p.Most:
			s.failed = append(s.failed, fmt.Sprintf("the query of gates.prometheus gives %g: at most %g is allowed", value, p.Most))
		}
	}
}

// onlyOverrides reports whether nothing but overrides was changed since a generation: those wait for no rollout.
func (d *Driver) onlyOverrides(ctx context.Context, tenant string, since, head state.Mark) bool {
	n := int(head.Generation) - int(since.Generation)
	if n <= 0 || n > historyMost {
		return false
	}
	records, err := d.cfg.Store.History(ctx, tenant, n)
	if err != nil || len(records) != n {
		return false
	}
	for _, r := range records {
		touched := append(slices.Clone(r.Put), r.Deleted...)
		other := func(k spec.Key) bool { return k.Kind != spec.KindOverride }
		if len(touched) == 0 || slices.ContainsFunc(touched, other) {
			return false
		}
	}
	return true
}

// clone gives an aim that can be changed.
func clone(a state.Aim) state.Aim {
	if a.Groups = slices.Clone(a.Groups); a.Rollout != nil {
		p := *a.Rollout
		p.Base, p.Pools, p.Waits = maps.Clone(p.Base), maps.Clone(p.Pools), slices.Clone(p.Waits)
		a.Rollout = &p
	}
	return a
}
