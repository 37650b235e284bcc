package prober

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/pieces"
)

// How observations are written: so many requests at once, of so many pools at most, and so long after a failure.
const (
	writers  = 16
	together = 100
	retryMin = 100 * time.Millisecond
	retryMax = 2 * time.Second
)

// wholeEvery is how often a large pool is written as a whole, which is all that programs go by that know no pieces, or not all of
// them: as long as its tenant has half of its burst left, so that wholes never make changes late.
const wholeEvery = time.Minute

// report writes what is dirty, until ctx ends. What the store does not take, and what its tenant or pool has written too much of, stays
// dirty, and is written as it is then.
func (a *agent) report(ctx context.Context) error {
	ticker := time.NewTicker(sweep)
	defer ticker.Stop()
	due := time.NewTimer(0)
	defer due.Stop()
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
		case <-due.C:
		}
		if !pause(ctx, gather) {
			return ctx.Err()
		}
		if wait := a.write(ctx); wait > 0 {
			due.Reset(wait)
		}
	}
}

// write writes all that is dirty and may be written once, and tells how long the first of the rest must wait; 0: there is none.
func (a *agent) write(ctx context.Context) (wait time.Duration) {
	ready := a.ready(time.Now())
	var g errgroup.Group
	g.SetLimit(writers)
	var once sync.Once
	pools := slices.SortedFunc(maps.Keys(ready), comparePools)
	for some := range slices.Chunk(pools, min(max(1, len(pools)/writers), together)) {
		g.Go(func() error {
			if err := a.writeSome(ctx, some, ready); err != nil && ctx.Err() == nil {
				once.Do(func() {
					a.cfg.Logger.Warn("observations could not be written; they will be, again", "error", err)
				})
			}
			return nil
		})
	}
	_ = g.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for id := range a.dirty {
		if d := a.waits(id, now); d > 0 && (wait == 0 || d < wait) {
			wait = d
		}
	}
	return wait
}

// ready takes what may be written now, with what it is likely to cost, which is paid already: pools of one tenant do not overdraw together.
func (a *agent) ready(now time.Time) map[health.PoolID]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	ready := map[health.PoolID]int{}
	late := map[string]bool{}
	for id := range a.dirty {
		if a.waits(id, now) > 0 {
			late[id.Tenant] = late[id.Tenant] || a.budget.WaitTenant(id.Tenant, now) > 0
			continue
		}
		ready[id] = a.cost(id, now)
		a.budget.Pay(id.Tenant, ready[id], now)
		a.budget.Count(id, now)
		delete(a.dirty, id)
	}
	n := 0
	for tenant, is := range late {
		if !is {
			continue
		}
		if n++; !a.late[tenant] {
			a.late[tenant] = true
			a.cfg.Logger.Warn("a tenant's endpoints change faster than its share of the store allows; what is told of them is late",
				"tenant", tenant)
		}
	}
	a.metrics.late.WithLabelValues("observations").Set(float64(n))
	return ready
}

// waits tells how long a pool must wait; a.mu is held.
func (a *agent) waits(id health.PoolID, now time.Time) time.Duration {
	return max(a.budget.Wait(id, now), a.failed[id].until.Sub(now))
}

// writeSome writes what is known of some pools now, and corrects what was paid for them. Its error is the first of any of them.
func (a *agent) writeSome(ctx context.Context, pools []health.PoolID, paid map[health.PoolID]int) (first error) {
	var writes []store.ObservationWrite
	wrote := map[health.PoolID]store.Written{}
	for _, id := range pools {
		if w, ok := a.observation(id); ok {
			writes = append(writes, w)
		} else {
			wrote[id] = store.Written{Err: a.cfg.Store.DeleteObservation(ctx, a.cfg.ID, id)}
		}
	}
	if len(writes) > 0 {
		maps.Copy(wrote, a.cfg.Store.WriteObservations(ctx, writes))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for _, w := range writes {
		if watched := a.pools[w.Observation.Pool.Tenant][w.Observation.Pool]; watched != nil {
			watched.wrote(w.Observation, wrote[w.Observation.Pool], now)
		}
	}
	for id, w := range wrote {
		a.metrics.countWrite(w.Err)
		a.metrics.bytes.WithLabelValues("observations").Add(float64(w.Bytes))
		a.budget.Pay(id.Tenant, w.Bytes-paid[id], now)
		if w.Err == nil {
			delete(a.failed, id)
			continue
		}
		if first == nil {
			first = fmt.Errorf("pool %s: %w", id, w.Err)
		}
		a.failed[id] = a.failed[id].after(now, retryMin, retryMax)
		a.dirty[id] = true
	}
	return first
}

// observation gives what is known of a pool now, and what the store holds of it if only what differs is to be written; not ok: it is not
// watched.
func (a *agent) observation(id health.PoolID) (_ store.ObservationWrite, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.pools[id.Tenant][id]
	if w == nil {
		return store.ObservationWrite{}, false
	}
	o := health.Observation{Vantage: a.cfg.ID, Pool: id, Endpoints: make(map[string]health.Sight, len(w.endpoints))}
	for name, t := range w.endpoints {
		o.Endpoints[name] = t.Sight()
	}
	write := store.ObservationWrite{Observation: o, NoPieces: w.lone}
	if !a.wholeDue(id.Tenant, w, time.Now()) {
		write.Was = w.last
	}
	return write, true
}

// written is what the store holds of a pool.
type written struct {
	last *health.Observation // nil: not known
	wholes
	bytes int  // of the last write
	lone  bool // that was a whole of a small pool, and is known to stand there without pieces
}

// wrote notes what came of a write.
func (w *written) wrote(o health.Observation, got store.Written, now time.Time) {
	w.last, w.lone = nil, got.Err == nil && len(o.Endpoints) <= pieces.WholeMost
	if got.Err != nil {
		return
	}
	if len(o.Endpoints) > pieces.WholeMost {
		w.last = &o
	}
	w.bytes = got.Bytes
	w.wholes.wrote(got, now)
}

// wholeDue reports whether it is time to write a pool as a whole; a.mu is held.
func (a *agent) wholeDue(tenant string, w *watched, now time.Time) bool {
	return w.due(len(w.endpoints), a.plain, now) && a.budget.Ample(tenant, now)
}

// cost guesses what the next write of a pool costs; a.mu is held.
func (a *agent) cost(id health.PoolID, now time.Time) int {
	const perEndpoint, packed, ofPieces = 100, 15, 500
	w := a.pools[id.Tenant][id]
	switch {
	case w == nil:
		return 0
	case w.bytes == 0 || w.last == nil || a.wholeDue(id.Tenant, w, now):
		if a.plain {
			return perEndpoint * len(w.endpoints)
		}
		return packed*len(w.endpoints) + ofPieces
	case !w.inPieces:
		return ofPieces
	}
	return w.bytes
}

// audit marks the pools of which the store holds something else than is known here, since it was restored, or someone deleted it; and those
// that have been in pieces for long. It also forgets who has not written for long.
func (a *agent) audit() {
	older := a.world.hasOlder()
	a.mu.Lock()
	anew := older && !a.plain // what stands there may be packed
	a.plain = older
	tenants := slices.Collect(maps.Keys(a.pools))
	now := time.Now()
	a.budget.Tidy(now)
	maps.DeleteFunc(a.late, func(tenant string, _ bool) bool { return a.budget.WaitTenant(tenant, now) == 0 })
	maps.DeleteFunc(a.failed, func(id health.PoolID, _ backoff) bool { return !a.dirty[id] })
	a.mu.Unlock()
	for _, tenant := range tenants {
		stored := a.world.seenBy(a.cfg.ID, tenant)
		a.mu.Lock()
		for id, w := range a.pools[tenant] {
			if anew || w.last != nil && !sameSights(stored[id].Endpoints, w.last.Endpoints) {
				w.last = nil
				a.touch(id)
			}
			same := w.matches(stored[id])
			w.lone = w.lone && same // it may be another store
			if !same || w.inPieces && a.wholeDue(tenant, w, now) {
				a.touch(id)
			}
		}
		a.mu.Unlock()
	}
}

// sameSights reports whether two observations say the same.
func sameSights(a, b map[string]health.Sight) bool {
	return maps.EqualFunc(a, b, func(x, y health.Sight) bool {
		same := x.Since.Equal(y.Since)
		x.Since = y.Since
		return same && x == y
	})
}

// matches reports whether an observation says what is known. What is Unknown need not be told.
func (w *watched) matches(o health.Observation) bool {
	for name, t := range w.endpoints {
		s, had := o.Endpoints[name]
		known := t.Sight()
		if !had && (known.State != health.Unknown || known.Blind) {
			return false
		}
		if had && (s.State != known.State || s.Score != known.Score || s.Blind != known.Blind || s.Of != known.Of ||
			s.Unsure != known.Unsure || s.Said != known.Said || s.Watched != known.Watched) {
			return false
		}
	}
	return true
}

// backoff is when something that failed is tried again.
type backoff struct {
	until time.Time
	pause time.Duration
}

// after gives the next one, which waits twice as long, within least and most.
func (b backoff) after(now time.Time, least, most time.Duration) backoff {
	b.pause = min(max(2*b.pause, least), most)
	b.until = now.Add(b.pause)
	return b
}
