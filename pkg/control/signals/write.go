package signals

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store"
)

// How signals are written: so many pools at once, so many of a tenant, and so long after a failure.
const (
	writers      = 16
	writersOfOne = 4
	retryAfter   = 2 * time.Second
	gather       = 2 * time.Millisecond // news become one write
	lastTime     = 2 * time.Second      // for what waits when control stops
)

// Run follows what the store has, and writes what waits, until ctx ends. It runs once.
func (i *Intake) Run(ctx context.Context) error {
	var writing sync.WaitGroup
	writing.Go(func() { i.write(ctx) })
	err := i.cfg.Store.FollowSignals(ctx, i.heard)
	writing.Wait()
	return err
}

// heard takes what the store has.
func (i *Intake) heard(u store.SignalUpdate) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if u.Full {
		clear(i.stored)
	}
	for _, g := range u.Put {
		i.set(g.SignalKey, g.Endpoints)
	}
	return nil
}

// set notes what the store has; i.mu is held.
func (i *Intake) set(key store.SignalKey, said map[string]health.Signal) {
	if i.stored[key] = said; len(said) == 0 {
		delete(i.stored, key)
	}
}

// write writes what is due, until ctx ends, and then what waits, once.
func (i *Intake) write(ctx context.Context) {
	sweep, tidy := time.NewTicker(sweepEvery), time.NewTicker(tidyEvery)
	defer sweep.Stop()
	defer tidy.Stop()
	due := time.NewTimer(time.Hour)
	defer due.Stop()
	var running sync.WaitGroup
	for {
		select {
		case <-ctx.Done():
			running.Wait()
			i.writeLast(ctx)
			return
		case <-sweep.C:
			i.sweep(ctx)
		case <-tidy.C:
			i.mu.Lock()
			i.budget.Tidy(i.cfg.Now())
			i.mu.Unlock()
		case <-i.wake:
			select {
			case <-ctx.Done():
			case <-time.After(gather):
			}
		case <-due.C:
		}
		for _, id := range i.ready(i.cfg.Now()) {
			running.Go(func() {
				i.writePool(ctx, id)
				i.signal()
			})
		}
		due.Reset(i.next(i.cfg.Now()))
	}
}

// writeLast writes what could wait, when control stops.
func (i *Intake) writeLast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTime)
	defer cancel()
	for ctx.Err() == nil {
		pools := i.ready(i.cfg.Now().Add(paceEvery))
		if len(pools) == 0 {
			return
		}
		for _, id := range pools {
			i.writePool(ctx, id)
		}
	}
}

// ready takes the pools that are to be written now, those that wait longest first, as many as may be written at once.
func (i *Intake) ready(now time.Time) (pools []health.PoolID) {
	i.mu.Lock()
	defer i.mu.Unlock()
	var due []health.PoolID
	late := map[string]bool{}
	for id, q := range i.queues {
		switch {
		case len(q.writing) > 0:
		case len(q.waiting) == 0:
			if now.Sub(q.wrote) > paceEvery {
				delete(i.queues, id)
			}
		case q.due.After(now):
		case !q.isFirm() && i.budget.WaitTenant(id.Tenant, now) > 0:
			late[id.Tenant] = true
		default:
			due = append(due, id)
		}
	}
	i.tellLate(late, now)
	slices.SortFunc(due, func(a, b health.PoolID) int {
		return cmp.Or(i.queues[a].due.Compare(i.queues[b].due), cmp.Compare(a.String(), b.String()))
	})
	for _, id := range due {
		if len(pools)+i.writes() >= writers {
			break
		}
		if i.running[id.Tenant] >= writersOfOne {
			continue
		}
		q := i.queues[id]
		q.writing, q.waiting, q.wrote = q.waiting, map[string]*entry{}, now
		i.budget.Pay(id.Tenant, leastCost, now)
		i.running[id.Tenant]++
		pools = append(pools, id)
	}
	return pools
}

// tellLate tells of the tenants that wait for their share, each once; i.mu is held.
func (i *Intake) tellLate(late map[string]bool, now time.Time) {
	for tenant := range late {
		if !i.late[tenant] {
			i.cfg.Logger.Warn("a tenant's signals change faster than its share of the store allows; what is told of them is late",
				"tenant", tenant)
		}
		i.late[tenant] = true
	}
	maps.DeleteFunc(i.late, func(tenant string, _ bool) bool { return i.budget.WaitTenant(tenant, now) == 0 })
	i.metrics.late.Set(float64(len(i.late)))
}

// writes is how many pools are being written; i.mu is held.
func (i *Intake) writes() (n int) {
	for _, running := range i.running {
		n += running
	}
	return n
}

// next tells how long nothing is due.
func (i *Intake) next(now time.Time) time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	wait := time.Hour
	if i.writes() >= writers {
		return wait // the next one that ends wakes
	}
	for id, q := range i.queues {
		if len(q.waiting) > 0 && len(q.writing) == 0 && i.running[id.Tenant] < writersOfOne {
			until := q.due.Sub(now)
			if !q.isFirm() {
				until = max(until, i.budget.WaitTenant(id.Tenant, now))
			}
			wait = min(wait, until)
		}
	}
	return max(wait, time.Millisecond)
}

// writePool writes what was taken of a pool, a group after the other.
func (i *Intake) writePool(ctx context.Context, id health.PoolID) {
	i.mu.Lock()
	groups := map[int]map[string]*entry{}
	for name, e := range i.queues[id].writing {
		key := store.SignalKeyOf(id, name)
		if groups[key.Group] == nil {
			groups[key.Group] = map[string]*entry{}
		}
		groups[key.Group][name] = e
	}
	i.mu.Unlock()
	paid := leastCost
	for group, entries := range groups {
		key := store.SignalKey{Pool: id, Group: group}
		said, bytes, err := i.writeGroup(ctx, key, entries)
		i.done(key, entries, said, err)
		i.mu.Lock()
		i.budget.Pay(id.Tenant, max(bytes, leastCost)-paid, i.cfg.Now())
		i.mu.Unlock()
		paid = 0
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.queues[id].writing = nil
	if i.running[id.Tenant]--; i.running[id.Tenant] == 0 {
		delete(i.running, id.Tenant)
	}
}

// writeGroup writes entries, and gives what the store has then.
func (i *Intake) writeGroup(ctx context.Context, key store.SignalKey, entries map[string]*entry) (said map[string]health.Signal, bytes int,
	err error) {
	declared, now := i.Endpoints(key.Pool), i.cfg.Now()
	bytes, err = i.cfg.Store.ChangeSignals(ctx, key, func(stored map[string]health.Signal) (map[string]health.Signal, bool) {
		said = maps.Clone(stored)
		if said == nil {
			said = map[string]health.Signal{}
		}
		maps.DeleteFunc(said, func(name string, s health.Signal) bool { return !declared[name] && now.Sub(s.Until) > forgetAfter })
		changed := len(said) < len(stored)
		for name, e := range entries {
			was := said[name]
			if e.firm == nil && !was.Equal(e.base) || was.Equal(e.said) {
				continue // another control was told more lately
			}
			if said[name] = e.said; e.said.State == "" {
				delete(said, name)
			}
			changed = true
		}
		return said, changed
	})
	return said, bytes, err
}

// done notes what came of a write. What could wait is tried again, unless there is something newer.
func (i *Intake) done(key store.SignalKey, entries map[string]*entry, said map[string]health.Signal, err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.metrics.wrote(len(entries), err)
	q, now := i.queues[key.Pool], i.cfg.Now()
	if err == nil {
		i.set(key, said)
		i.away, i.why = time.Time{}, nil
	} else {
		if i.why == nil {
			i.cfg.Logger.Warn("signals could not be written; what can wait will be, again", "pool", key.Pool.String(), "error", err)
		}
		i.away, i.why = now.Add(retryAfter), err
	}
	for name, e := range entries {
		switch {
		case err == nil:
		case q.waiting[name] != nil:
			q.waiting[name].base = e.base // what it followed on is not there
		case e.firm == nil && now.Before(e.said.Until):
			q.waiting[name] = e
			q.due = now.Add(retryAfter)
		}
		for _, t := range e.firm {
			t.stamp(err)
		}
	}
}

// sweep takes away what is said of pools and endpoints that are gone.
func (i *Intake) sweep(ctx context.Context) {
	if !i.cfg.Current() {
		return
	}
	i.mu.Lock()
	var old []store.SignalKey
	for key, said := range i.stored {
		declared := i.Endpoints(key.Pool)
		for name, s := range said {
			if !declared[name] && i.cfg.Now().Sub(s.Until) > forgetAfter {
				old = append(old, key)
				break
			}
		}
	}
	i.mu.Unlock()
	for _, key := range old {
		if _, _, err := i.writeGroup(ctx, key, nil); err != nil {
			return // the store is away; there will be another time
		}
	}
}
