// Package retention has one elected control remove what is older than the platform keeps: generations of tenants, and zone content that
// nothing refers to any more. It goes on where whoever was elected before ended.
package retention

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/prune"
	"github.com/gti/gtm/pkg/store/state"
)

// How fast it goes, unless Pace says otherwise: one transaction of at most a hundred writes at a time, tenants in turn.
var defaultPace = Pace{Pass: time.Minute, Step: 50 * time.Millisecond, Sweep: time.Hour}

// lookPause is how long it waits for the mirror to be what the store holds before it looks again: at a start it seldom is.
const lookPause = time.Second

// mostFailures is how many tenants in a row may fail before the rest of them waits for the next pass.
const mostFailures = 3

// Store is what a Keeper needs of a *store.Client.
type Store interface {
	CampaignPruner(ctx context.Context, id string, lead func(context.Context, *prune.Pruner) error) error
}

// Config is what a Keeper needs.
type Config struct {
	ID     string // of this control
	Store  Store
	Mirror *state.Mirror
	// Current reports whether Mirror is what the store holds; otherwise nothing is removed.
	Current func() bool
	// Removing hears of generations before they go; its error stops that.
	Removing func([]state.Record) error

	Logger     *slog.Logger          // nil: silent
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // nil: time.Now
	Pace       Pace                  // what is 0 is as usual
}

// Pace is how often it looks, how long it rests between two transactions, and how long zone content that nothing refers to stays.
type Pace struct{ Pass, Step, Sweep time.Duration }

// Keeper keeps what is to be kept, and removes the rest while it is elected. It is safe for concurrent use.
type Keeper struct {
	cfg     Config
	metrics *metrics
	seen    map[string]seen // of the one that leads

	mu     sync.Mutex
	status api.Retention
}

// seen is why a tenant need not be looked at again.
type seen struct {
	head state.Generation
	next time.Time // when the next generation after the oldest was made; zero: there is none
	keep spec.Retention
}

// New makes a keeper, which removes nothing before Run.
func New(cfg Config) (*Keeper, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Pace = cfg.Pace.filled()
	k := &Keeper{cfg: cfg}
	var err error
	k.metrics, err = newMetrics(cfg.Registerer)
	return k, err
}

func (p Pace) filled() Pace {
	for _, f := range []struct{ is, usual *time.Duration }{{&p.Pass, &defaultPace.Pass}, {&p.Step, &defaultPace.Step},
		{&p.Sweep, &defaultPace.Sweep}} {
		if *f.is == 0 {
			*f.is = *f.usual
		}
	}
	return p
}

// Run stands for election, and removes while it is elected, until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	_ = k.cfg.Store.CampaignPruner(ctx, k.cfg.ID, k.lead)
}

// Status tells what is kept and what was done.
func (k *Keeper) Status() api.Retention {
	r := k.retention()
	k.mu.Lock()
	defer k.mu.Unlock()
	out := k.status
	out.For, out.Generations = r.For.String(), r.Generations
	return out
}

func (k *Keeper) retention() spec.Retention {
	v, _ := k.cfg.Mirror.Tenant(spec.Platform).Resources.Get(spec.Key{Tenant: spec.Platform, Kind: spec.KindTenant, Name: spec.Platform})
	if v.Resource == nil {
		return spec.EffectiveRetention(nil)
	}
	platform, _ := v.Resource.Spec.(*spec.Tenant)
	return spec.EffectiveRetention(platform)
}

func (k *Keeper) lead(ctx context.Context, p *prune.Pruner) error {
	k.cfg.Logger.Info("this control removes what is older than the retention now")
	k.note(func(s *api.Retention) { s.Pruner = true })
	k.metrics.pruner.Set(1)
	defer k.note(func(s *api.Retention) { s.Pruner = false })
	defer k.metrics.pruner.Set(0)
	k.seen = map[string]seen{}
	// gofail: var sweepSoon struct{}
	// k.cfg.Pace.Pass, k.cfg.Pace.Sweep = time.Second, time.Second
	t := &term{k: k, p: p}
	for ctx.Err() == nil {
		pause := min(lookPause, k.cfg.Pace.Pass)
		if k.cfg.Current() {
			k.tell(t.pass(ctx))
			pause = k.cfg.Pace.Pass
		}
		k.rest(ctx, pause)
	}
	return nil
}

// rest waits about so long, and reports whether ctx goes on.
func (k *Keeper) rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d + rand.N(d/10+1))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (k *Keeper) note(fn func(*api.Retention)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	fn(&k.status)
}

// tell tells a fault once, and when it is over.
func (k *Keeper) tell(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	var was string
	k.note(func(s *api.Retention) {
		was = s.Error
		s.Error = text
		if (text == "") != (was == "") {
			s.Since = k.cfg.Now().UTC()
		}
	})
	k.metrics.failing.Set(map[bool]float64{true: 1}[text != ""])
	switch {
	case text != "" && was == "":
		k.cfg.Logger.Warn("what is older than the retention cannot be removed, and the store grows; it is tried again", "error", err)
	case text == "" && was != "":
		k.cfg.Logger.Info("what is older than the retention is removed again")
	}
}

// term is one time of being elected.
type term struct {
	k *Keeper
	p *prune.Pruner
	// What is not younger than upTo may be swept from sweep on; zero: that is not decided yet.
	upTo  int64
	sweep time.Time
}

// pass goes through all tenants, a step of each in turn, until nothing is left to do.
func (t *term) pass(ctx context.Context) error {
	keep := t.k.retention()
	var first error
	for left := t.k.cfg.Mirror.Tenants(); len(left) > 0 && ctx.Err() == nil; {
		var again []string
		failures := 0
		for _, tenant := range left {
			if t.k.settled(tenant, keep) {
				continue
			}
			more, err := t.step(ctx, tenant, keep)
			if err != nil {
				first = cmp.Or(first, err)
				if failures++; failures == mostFailures {
					return first
				}
				continue
			}
			failures = 0
			if more {
				again = append(again, tenant)
				if !t.k.rest(ctx, t.k.cfg.Pace.Step) {
					return first
				}
			}
		}
		left = again
	}
	if first == nil {
		first = t.sweepTexts(ctx)
	}
	return first
}

// settled reports whether nothing of a tenant can have become old since it was looked at.
func (k *Keeper) settled(tenant string, keep spec.Retention) bool {
	s, known := k.seen[tenant]
	return known && s.keep == keep && s.head == k.cfg.Mirror.Tenant(tenant).Head &&
		(s.next.IsZero() || k.cfg.Now().Before(s.next.Add(time.Duration(keep.For))))
}

func (t *term) step(ctx context.Context, tenant string, keep spec.Retention) (more bool, err error) {
	age := time.Duration(keep.For)
	s, err := t.p.Tenant(ctx, tenant, prune.Keep{Before: t.k.cfg.Now().Add(-age), Least: keep.Generations},
		t.k.cfg.Removing)
	if err != nil {
		return false, err
	}
	delete(t.k.seen, tenant)
	if !s.More && s.Pinned == 0 {
		t.k.seen[tenant] = seen{s.Head, s.Next, keep}
	}
	if s.Removed > 0 {
		t.k.metrics.generations.Add(float64(s.Removed))
		t.k.note(func(st *api.Retention) { st.Removed += uint64(s.Removed) })
	}
	return s.More, nil
}

// sweepTexts removes zone content, when what is there has had time to be referred to.
func (t *term) sweepTexts(ctx context.Context) error {
	now := t.k.cfg.Now()
	if t.sweep.IsZero() {
		rev, err := t.p.Revision(ctx)
		if err == nil {
			t.upTo, t.sweep = rev, now.Add(t.k.cfg.Pace.Sweep)
		}
		return err
	}
	if now.Before(t.sweep) {
		return nil
	}
	removed, err := t.p.Sweep(ctx, t.upTo, func() error {
		t.k.rest(ctx, t.k.cfg.Pace.Step)
		return ctx.Err()
	})
	t.k.metrics.runs.Add(float64(removed))
	t.k.note(func(st *api.Retention) { st.Runs += uint64(removed) })
	if err == nil {
		t.sweep = time.Time{}
	}
	return err
}
