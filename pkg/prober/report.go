package prober

import (
	"context"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gti/gtm/pkg/health"
)

// How observations are written: so many at once, and so long after a failure.
const (
	writers  = 16
	retryMin = 100 * time.Millisecond
	retryMax = 2 * time.Second
)

// report writes what is dirty, until ctx ends. What the store does not take stays dirty, and is written as it is then.
func (a *agent) report(ctx context.Context) error {
	ticker := time.NewTicker(sweep)
	defer ticker.Stop()
	retry := retryMin
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
			a.audit()
			continue
		case <-a.world.reread:
			a.audit()
			continue
		case <-a.wake:
		}
		if !pause(ctx, gather) {
			return ctx.Err()
		}
		if err := a.write(ctx); err == nil {
			retry = retryMin
			continue
		} else if ctx.Err() == nil {
			a.cfg.Logger.Warn("observations could not be written; they will be, again", "error", err)
		}
		if !pause(ctx, retry) {
			return ctx.Err()
		}
		retry = min(2*retry, retryMax)
	}
}

// write writes all that is dirty once, and gives the first error.
func (a *agent) write(ctx context.Context) error {
	a.mu.Lock()
	dirty := slices.Collect(maps.Keys(a.dirty))
	clear(a.dirty)
	a.mu.Unlock()
	var g errgroup.Group
	g.SetLimit(writers)
	for _, id := range dirty {
		g.Go(func() error {
			err := a.writeOne(ctx, id)
			a.metrics.countWrite(err)
			if err != nil {
				a.mu.Lock()
				defer a.mu.Unlock()
				a.touch(id)
			}
			return err
		})
	}
	return g.Wait()
}

func (a *agent) writeOne(ctx context.Context, id health.PoolID) error {
	o, ok := a.observation(id)
	if !ok {
		return a.cfg.Store.DeleteObservation(ctx, a.cfg.ID, id)
	}
	return a.cfg.Store.PutObservation(ctx, o)
}

// observation gives what is known of a pool now; not ok: it is not watched.
func (a *agent) observation(id health.PoolID) (health.Observation, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.pools[id.Tenant][id]
	if w == nil {
		return health.Observation{}, false
	}
	o := health.Observation{Vantage: a.cfg.ID, Pool: id, Endpoints: make(map[string]health.Sight, len(w.endpoints))}
	for name, t := range w.endpoints {
		o.Endpoints[name] = t.Sight()
	}
	return o, true
}

// audit marks the pools of which the store holds something else than is known here: it was restored, or someone deleted it.
func (a *agent) audit() {
	a.mu.Lock()
	tenants := slices.Collect(maps.Keys(a.pools))
	a.mu.Unlock()
	for _, tenant := range tenants {
		stored := a.world.seenBy(a.cfg.ID, tenant)
		a.mu.Lock()
		for id, w := range a.pools[tenant] {
			if !w.matches(stored[id]) {
				a.touch(id)
			}
		}
		a.mu.Unlock()
	}
}

// matches tells whether an observation says what is known. What is Unknown need not be told.
func (w *watched) matches(o health.Observation) bool {
	for name, t := range w.endpoints {
		s, told := o.Endpoints[name]
		known := t.Sight()
		if !told && (known.State != health.Unknown || known.Blind) {
			return false
		}
		if told && (s.State != known.State || s.Score != known.Score || s.Blind != known.Blind || s.Of != known.Of) {
			return false
		}
	}
	return true
}
