package probe

import (
	"container/heap"
	"container/list"
	"context"
	"encoding/json"
	"hash/fnv"
	"io"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Target is a check that is made again and again.
type Target struct {
	ID    ID
	Of    string // what is checked, in the caller's words: results have it
	Check Check
}

// SchedulerConfig says how a Scheduler works.
type SchedulerConfig struct {
	// Check makes one check, as Checker.Check does. It must end when its context does.
	Check func(context.Context, Check) Result
	// OnResult takes the results, one at a time, and reports whether the next check should come sooner: after Check.Recheck. It is
	// called under the scheduler's lock, so that after Set no result of a replaced target comes any more; it must be quick and must not
	// call the scheduler.
	OnResult func(Result) (soon bool)
	// Concurrency is how many sockets quick checks have at once. 0: 256.
	Concurrency int
	// Slow is how many those have at most that are not quick. 0: 16 times Concurrency.
	Slow int
	// Vantage makes this prober's phases differ from those of others.
	Vantage    string
	Clock      func() time.Time // nil: time.Now
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// Scheduler makes the checks of its targets at their intervals.
//
// Targets with equal checks, whosever they are, have one check made, and each its result.
//
// Each check has a phase in its interval by what it does, so that neither a start nor a restart sends all checks at once, and two
// probers check at different moments. What is due waits in a queue of its pool; tenants take turns, and so do the pools of each. A check of
// several targets waits in the queue of each, and is made on account of the first whose turn comes: none waits for another's.
//
// A check begins in the quick budget, of Concurrency slots. One that takes longer than quickTime goes on in the slow budget, and gives
// its slots back: targets that hang for the whole timeout do not delay the checks of others, as long as the slow budget has slots. Each
// socket that a check may have open takes a slot, so one of an endpoint with several addresses takes several.
//
// In either budget a tenant may always have its share: the slots by the number of tenants. It may have more only while a quarter of the
// budget stays free. A pool may always have its share of that, and more only while a quarter of that or half of the budget stays free. So
// where even the slow budget is full, the pools that fill it wait. What a tenant has beyond its share is lent: where another one lacks
// slots of its own, the latest checks of it that hang are cut off, without a result, and wait again. An idle target costs an entry in a
// heap.
//
// A check without sockets, of a signal, waits for nothing: it is made in no queue, at its first moment, then at its intervals, and at once
// when Look says that there is news.
type Scheduler struct {
	cfg     SchedulerConfig
	metrics *metrics
	wake    chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	targets map[string]map[ID]*owner // by tenant
	tasks   map[uint64]*task         // by hash; of two checks with one hash, which is a curiosity, the first
	due     dueHeap
	queues  queues
}

// quickTime is how long a check is quick: most answers come sooner, and most failures that are not timeouts.
const quickTime = 200 * time.Millisecond

// recheckBurst is enough for the most results that a monitor may want in a row, down and up again.
const recheckBurst = 20

// owner is a target in the scheduler.
type owner struct {
	id   ID
	of   string
	task *task
	at   int           // among the task's owners
	line *line         // its pool's queue
	wait *list.Element // in there; nil: it does not wait
}

// task is one check and those who want it made. It waits in the heap or in its owners' queues, or it runs.
type task struct {
	check  Check
	hash   uint64   // of check and vantage
	owners []*owner // none: it was removed, and a check that still runs has no result
	slots  int      // that the check takes while it runs
	due    time.Time
	index  int // in the heap; -1: not there
	round  uint64
	// hurried is how many checks came sooner than the interval, less the others; not less than 0.
	hurried int
	queued  bool               // its owners wait
	cancel  context.CancelFunc // while it runs

	line  *line // while it runs: on whose account
	began time.Time
	in    *list.List // while it runs: fresh, overdue or hung
	seat  *list.Element
	cut   bool // it gives its slots back, and goes to the end of its line
}

// move puts a task that runs at the end of a list.
func (t *task) move(to *list.List) {
	if t.in != nil {
		t.in.Remove(t.seat)
	}
	t.in, t.seat = to, to.PushBack(t)
}

// NewScheduler makes a scheduler without targets.
func NewScheduler(cfg SchedulerConfig) *Scheduler {
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = 256
	}
	if cfg.Slow <= 0 {
		cfg.Slow = 16 * cfg.Concurrency
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Scheduler{
		cfg:     cfg,
		metrics: newMetrics(cfg.Registerer),
		wake:    make(chan struct{}, 1),
		targets: make(map[string]map[ID]*owner),
		tasks:   make(map[uint64]*task),
		queues:  newQueues(cfg.Concurrency, cfg.Slow),
	}
}

// Set makes targets, which all belong to tenant, all that is checked of that tenant. Targets whose check stays as it was keep their
// rhythm; others start anew, and what runs for nobody any more is cancelled.
func (s *Scheduler) Set(tenant string, targets []Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Clock()
	wanted := make(map[ID]bool, len(targets))
	for _, t := range targets {
		wanted[t.ID] = true
		t.Check.Interval = max(t.Check.Interval, time.Millisecond)
		old := s.targets[tenant][t.ID]
		if old != nil && reflect.DeepEqual(old.task.check, t.Check) {
			old.of = t.Of
			continue
		}
		if old != nil {
			s.drop(old)
		}
		s.add(t, now)
	}
	for id, o := range s.targets[tenant] {
		if !wanted[id] {
			s.drop(o)
		}
	}
	s.signal()
}

func (s *Scheduler) add(t Target, now time.Time) {
	k := s.taskOf(t.Check, now)
	o := &owner{id: t.ID, of: t.Of, task: k, at: len(k.owners)}
	k.owners = append(k.owners, o)
	if s.targets[t.ID.Tenant] == nil {
		s.targets[t.ID.Tenant] = make(map[ID]*owner)
	}
	s.targets[t.ID.Tenant][t.ID] = o
	s.queues.join(o)
	s.metrics.targets.Inc()
	if len(k.owners) > 1 {
		s.metrics.shared.Inc()
	}
}

// taskOf gives the task of an equal check, or a new one.
func (s *Scheduler) taskOf(c Check, now time.Time) *task {
	hash := s.hash(&c)
	old := s.tasks[hash]
	if old != nil && reflect.DeepEqual(old.check, c) {
		return old
	}
	k := &task{check: c, hash: hash, due: now.Add(phase(hash, c.Interval, now)), slots: min(c.sockets(), s.cfg.Concurrency, s.cfg.Slow)}
	if k.slots == 0 {
		k.due = now
	}
	if old == nil {
		s.tasks[hash] = k
	}
	heap.Push(&s.due, k)
	return k
}

// Look has checks without sockets made at once. IDs that are no targets, or have others, are passed over.
func (s *Scheduler) Look(ids []ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Clock()
	for _, id := range ids {
		if o := s.targets[id.Tenant][id]; o != nil && o.task.slots == 0 {
			o.task.due = now
			heap.Fix(&s.due, o.task.index)
		}
	}
	s.signal()
}

func (s *Scheduler) drop(o *owner) {
	t := o.task
	delete(s.targets[o.id.Tenant], o.id)
	if len(s.targets[o.id.Tenant]) == 0 {
		delete(s.targets, o.id.Tenant)
	}
	last := len(t.owners) - 1
	t.owners[o.at] = t.owners[last]
	t.owners[o.at].at = o.at
	t.owners[last] = nil
	t.owners = t.owners[:last]
	s.queues.leave(o)
	s.metrics.targets.Dec()
	if last > 0 {
		s.metrics.shared.Dec()
		return
	}
	if s.tasks[t.hash] == t {
		delete(s.tasks, t.hash)
	}
	if t.index >= 0 {
		heap.Remove(&s.due, t.index)
	}
	if t.cancel != nil {
		t.cancel()
	}
}

// phase gives how long after now the place in its interval comes that a check has by its hash.
func phase(hash uint64, interval time.Duration, now time.Time) time.Duration {
	n := uint64(interval)
	return time.Duration((mix(hash)%n + n - uint64(now.UnixNano())%n) % n)
}

// hash is the same after a restart. Checks with equal hashes need not be equal.
func (s *Scheduler) hash(c *Check) uint64 {
	h := fnv.New64a()
	io.WriteString(h, s.cfg.Vantage+"\x00")
	_ = json.NewEncoder(h).Encode(c) // what JSON cannot tell does not tell checks apart here
	return h.Sum64()
}

// jitter gives what to add to a pause of one round: -5 % to +5 %. It follows from name and round, and needs no randomness.
func (t *task) jitter(pause time.Duration) time.Duration {
	tenth := uint64(pause/10) + 1
	return time.Duration(mix(t.hash+t.round)%tenth) - time.Duration(tenth/2)
}

// next gives when a task is due again. soon: its result calls for another one, which begins sooner as long as the target has not had
// recheckBurst such checks more than usual ones. So a target is never checked twice as often as its interval says, in the long run. One
// that began late already has none: there is more to do than can be done.
func (s *Scheduler) next(t *task, soon bool) time.Time {
	t.round++
	c := &t.check
	soon = soon && c.Recheck > 0 && c.Recheck < c.Interval
	if soon && t.hurried < recheckBurst && t.began.Sub(t.due) < c.Recheck {
		t.hurried++
		s.metrics.rechecks.Inc()
		return t.began.Add(c.Recheck + t.jitter(c.Recheck))
	}
	t.hurried = max(0, t.hurried-1)
	return t.due.Add(c.Interval + t.jitter(c.Interval))
}

// mix spreads every bit over all others (the finalizer of SplitMix64).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// Run makes checks until ctx ends, and returns when the last one has. It is called once.
func (s *Scheduler) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer s.running.Wait()
	for {
		timer.Reset(s.dispatch(ctx))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.wake:
		case <-timer.C:
		}
	}
}

func (s *Scheduler) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// dispatch starts what is due and may run, and gives how long until the next target is due, or a check is not quick any more.
func (s *Scheduler) dispatch(ctx context.Context) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Clock()
	for len(s.due) > 0 && !s.due[0].due.After(now) {
		t := heap.Pop(&s.due).(*task)
		if t.slots > 0 {
			s.queues.push(t)
			continue
		}
		t.began = now
		s.deliver(t, s.check(ctx, t))
	}
	next := s.queues.yield(now)
	for t := s.queues.next(now); t != nil; t = s.queues.next(now) {
		s.start(ctx, t, now)
		if next.IsZero() {
			next = now.Add(quickTime)
		}
	}
	s.metrics.waiting.Set(float64(s.queues.waiting))
	s.metrics.slow.Set(float64(s.queues.budgets[slow].taken))
	if next.IsZero() {
		next = now.Add(time.Hour)
	}
	if len(s.due) > 0 && s.due[0].due.Before(next) {
		next = s.due[0].due
	}
	return next.Sub(now)
}

func (s *Scheduler) start(ctx context.Context, t *task, now time.Time) {
	s.metrics.lag.Observe(now.Sub(t.due).Seconds())
	s.metrics.inFlight.Inc()
	ctx, t.cancel = context.WithCancel(ctx)
	s.running.Go(func() {
		r := s.check(ctx, t)
		s.finish(ctx, t, r)
	})
}

// check makes one check; a panic in it costs this one result.
func (s *Scheduler) check(ctx context.Context, t *task) (r Result) {
	defer func() {
		if p := recover(); p != nil {
			s.cfg.Logger.Error("a check panicked", "type", t.check.Type, "at", t.check.address(), "panic", p)
			r = Result{Outcome: Unable, Reason: "internal error", At: s.cfg.Clock()}
		}
	}()
	return s.cfg.Check(ctx, t.check)
}

// finish takes the slots of a check back, and delivers its result.
func (s *Scheduler) finish(ctx context.Context, t *task, r Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cancelled, cut := ctx.Err() != nil, t.cut // it was dropped or cut off, or the scheduler ends
	t.cancel()
	t.cancel = nil
	s.queues.done(t)
	s.metrics.inFlight.Dec()
	s.signal()
	if cut && len(t.owners) > 0 {
		s.metrics.cut.Inc()
		t.due = s.cfg.Clock()
		heap.Push(&s.due, t)
	}
	if !cancelled {
		s.deliver(t, r)
	}
}

// deliver gives a result to all who want it, and puts the task back.
func (s *Scheduler) deliver(t *task, r Result) {
	s.metrics.count(t.check.Type, r)
	soon := false
	for _, o := range t.owners {
		r.ID, r.Of = o.id, o.of
		soon = s.cfg.OnResult(r) || soon
	}
	t.due = s.next(t, soon)
	if now := s.cfg.Clock(); t.due.Before(now) {
		t.due = now // late: rounds that were missed are not made up for
	}
	heap.Push(&s.due, t)
}
