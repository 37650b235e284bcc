// Package signals takes what owners of endpoints say of them, and writes it to the store: what changes a state before it is answered, what
// only goes on now and then.
package signals

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/pace"
	"github.com/gti/gtm/pkg/store/state"
)

// Store is what an Intake needs of a *store.Client.
type Store interface {
	ChangeSignals(ctx context.Context, at store.SignalKey,
		change func(now map[string]health.Signal) (map[string]health.Signal, bool)) (bytes int, err error)
	FollowSignals(ctx context.Context, fn func(store.SignalUpdate) error) error
}

// Config says how an Intake works.
type Config struct {
	Store Store
	// Mirror is the followed state, and Current reports whether it is as the store has it.
	Mirror     *state.Mirror
	Current    func() bool
	Now        func() time.Time // nil: time.Now
	Logger     *slog.Logger     // nil: silent
	Registerer prometheus.Registerer
}

const (
	// paceEvery is how often what changes no state is written of a pool.
	paceEvery = 5 * time.Second
	// leastCost is what a write takes of its tenant's share at least, in bytes: small ones cost etcd as much as that.
	leastCost = 1 << 10
	// forgetAfter is how long what expired of endpoints that are gone is kept.
	forgetAfter = time.Hour
	// sweepEvery is how often that is looked for.
	sweepEvery = 10 * time.Minute
	// tidyEvery is how often those who write no more leave their share to others.
	tidyEvery = 30 * time.Second
)

// Errors of Push.
var (
	// ErrAway: the store did not take what was written last.
	ErrAway = errors.New("the store takes no signals at present")
)

// LateError: a tenant has written as much as it may.
type LateError struct {
	Tenant string
	Wait   time.Duration
}

func (e *LateError) Error() string {
	return fmt.Sprintf("%s changes the states of its endpoints faster than its share of the store allows; nothing was taken, "+
		"try again in %s", e.Tenant, e.Wait.Round(time.Second/10))
}

// Intake is where signals come in. Its methods are safe for concurrent use.
//
// A push that changes what is known of an endpoint's state, or comes after silence, is firm: it is written at once, and whoever pushed
// waits for that. So is one that says again what is not written yet. All other ones, scores, loads and those that only prolong what holds,
// wait, and are written every five seconds for each pool. What says the same as before is written when half of the time is over for which
// it was to hold. What waits and is older than what another control wrote meanwhile is dropped: its owner speaks again.
type Intake struct {
	cfg     Config
	metrics *metrics
	wake    chan struct{}

	mu      sync.Mutex
	stored  map[store.SignalKey]map[string]health.Signal // as the store has it; the maps are never changed
	queues  map[health.PoolID]*queue
	running map[string]int // writes, by tenant
	budget  *pace.Budget
	late    map[string]bool // tenants of which the log said that they are
	away    time.Time       // until then the store is not asked for what can wait
	why     error
}

// queue is what waits of a pool, or is being written.
type queue struct {
	waiting, writing map[string]*entry // by endpoint
	due              time.Time         // of what waits
	wrote            time.Time
}

// isFirm reports whether somebody waits for it. His tenant's share was asked when he came.
func (q *queue) isFirm() bool {
	for _, e := range q.waiting {
		if e.firm != nil {
			return true
		}
	}
	return false
}

// entry is what is to be said of an endpoint.
type entry struct {
	said health.Signal // without a State: nothing any more
	base health.Signal // what it follows on
	firm []*ticket     // of those who wait for it; nil: it can wait
}

// ticket is held by whoever waits for firm entries.
type ticket struct {
	left int // guarded by the intake
	err  error
	done chan struct{}
}

func (t *ticket) stamp(err error) {
	if t.err == nil {
		t.err = err
	}
	if t.left--; t.left == 0 {
		close(t.done)
	}
}

// New makes an intake that has heard nothing.
func New(cfg Config) (*Intake, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(cfg.Registerer)
	if err != nil {
		return nil, err
	}
	return &Intake{cfg: cfg, metrics: m, wake: make(chan struct{}, 1), stored: map[store.SignalKey]map[string]health.Signal{},
		queues: map[health.PoolID]*queue{}, running: map[string]int{}, budget: pace.New(), late: map[string]bool{}}, nil
}

// Push takes what is said of endpoints of a pool, all of which it has; without a State: nothing any more. It returns when all that is firm
// is written. refused are those that are not believed, and why: what was said before holds.
func (i *Intake) Push(ctx context.Context, pool health.PoolID, said map[string]health.Signal) (refused map[string]string, err error) {
	t, refused, err := i.take(pool, said)
	if err != nil || t == nil {
		return refused, err
	}
	select {
	case <-t.done:
		return refused, t.err
	case <-ctx.Done():
		return refused, ctx.Err()
	}
}

func (i *Intake) take(pool health.PoolID, said map[string]health.Signal) (*ticket, map[string]string, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	now := i.cfg.Now()
	firm, refused := map[string]bool{}, map[string]string{}
	for name, s := range said {
		last, stored := i.last(pool, name), i.stored[store.SignalKeyOf(pool, name)][name]
		if s.State != "" {
			last, stored = unlessSilent(last, now), unlessSilent(stored, now)
		}
		if why := s.Load.Doubt(last.Load); why != "" && s.State == health.Up {
			refused[name] = why
		} else if s.State != last.State || s.State != stored.State {
			firm[name] = true
		}
	}
	if wait := i.budget.WaitTenant(pool.Tenant, now); wait > 0 && len(firm) > 0 {
		i.metrics.count("late", len(said))
		return nil, nil, &LateError{pool.Tenant, wait}
	}
	if len(firm) == 0 && now.Before(i.away) {
		i.metrics.count("failed", len(said))
		return nil, nil, fmt.Errorf("%w, and nothing was taken: %w", ErrAway, i.why)
	}
	q := i.queues[pool]
	if q == nil {
		q = &queue{waiting: map[string]*entry{}}
		i.queues[pool] = q
	}
	var t *ticket
	if len(firm) > 0 {
		t = &ticket{left: len(firm), done: make(chan struct{})}
	}
	for name, s := range said {
		i.add(pool, q, name, s, refused[name], firm[name], t, now)
	}
	i.metrics.count("refused", len(refused))
	i.signal()
	return t, refused, nil
}

// add has something wait to be written; i.mu is held.
func (i *Intake) add(pool health.PoolID, q *queue, name string, s health.Signal, refused string, firm bool, t *ticket, now time.Time) {
	e := &entry{said: s, base: i.base(pool, name)}
	due := now
	switch last := i.last(pool, name); {
	case firm:
		e.firm = []*ticket{t}
	case refused != "" && (last.State == "" || last.Refused != ""):
		return // nobody to tell, or told already
	case refused != "":
		i.cfg.Logger.Warn("a signal is not believed, and what was said before holds", "endpoint", pool.String()+"/"+name, "why", refused,
			"by", s.By)
		e.said = last
		e.said.Refused = refused
	case s.State == "" || says(last, s, now):
		i.metrics.count("merged", 1)
		return
	}
	if e.firm == nil && q.wrote.Add(paceEvery).After(now) {
		due = q.wrote.Add(paceEvery)
	}
	if len(q.waiting) == 0 || due.Before(q.due) {
		q.due = due
	}
	if before := q.waiting[name]; before != nil {
		e.base, e.firm = before.base, append(before.firm, e.firm...) // who waits for the word before waits for this one in its place
	}
	q.waiting[name] = e
}

// unlessSilent gives a signal that still holds, and else nothing.
func unlessSilent(s health.Signal, now time.Time) health.Signal {
	if now.Before(s.Until) {
		return s
	}
	return health.Signal{}
}

// says reports whether what was said last says the same as s, and holds long enough: then s need not be written.
func says(last, s health.Signal, now time.Time) bool {
	if last.State != s.State || last.Word() != s.Word() && (last.Load == health.Load{} || last.Word().Score != s.Word().Score) {
		return false
	}
	return last.By == s.By && last.Reason == s.Reason && last.Refused == "" && (last.Load == health.Load{}) == (s.Load == health.Load{}) &&
		!last.Until.After(s.Until) && last.Until.Sub(now) >= s.Until.Sub(now)/2
}

// last gives what was said last of an endpoint, whether it is written or not; i.mu is held.
func (i *Intake) last(pool health.PoolID, name string) health.Signal {
	if q := i.queues[pool]; q != nil && q.waiting[name] != nil {
		return q.waiting[name].said
	}
	return i.base(pool, name)
}

// base gives what the store has of an endpoint, or will have in a moment; i.mu is held.
func (i *Intake) base(pool health.PoolID, name string) health.Signal {
	if q := i.queues[pool]; q != nil && q.writing[name] != nil {
		return q.writing[name].said
	}
	return i.stored[store.SignalKeyOf(pool, name)][name]
}

func (i *Intake) signal() {
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

// Of gives what is said of the endpoints of a pool, also what has expired.
func (i *Intake) Of(pool health.PoolID) map[string]health.Signal {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := map[string]health.Signal{}
	for group := range store.SignalGroups {
		maps.Copy(all, i.stored[store.SignalKey{Pool: pool, Group: group}])
	}
	if q := i.queues[pool]; q != nil {
		for _, entries := range []map[string]*entry{q.writing, q.waiting} {
			for name, e := range entries {
				all[name] = e.said
			}
		}
	}
	maps.DeleteFunc(all, func(_ string, s health.Signal) bool { return s.State == "" })
	return all
}

// Endpoints gives the endpoints of a pool whose signals count; nil: there is no such pool, or nobody goes by them.
func (i *Intake) Endpoints(id health.PoolID) map[string]bool {
	resources := i.cfg.Mirror.Tenant(id.Tenant).Resources
	v, ok := resources.Get(spec.Key{Tenant: id.Tenant, Kind: spec.KindPool, Name: id.Pool})
	if !ok {
		return nil
	}
	pool := i.cfg.Mirror.Join(v.Resource).Spec.(*spec.Pool)
	signalled := slices.ContainsFunc(pool.Monitors(), func(name string) bool {
		m, ok := resources.Get(spec.Key{Tenant: id.Tenant, Kind: spec.KindMonitor, Name: name})
		return ok && m.Resource.Spec.(*spec.Monitor).Type == spec.TypeSignal
	})
	if !signalled {
		return nil
	}
	endpoints := make(map[string]bool, len(pool.Endpoints))
	for _, e := range pool.Endpoints {
		endpoints[e.Name] = true
	}
	return endpoints
}
