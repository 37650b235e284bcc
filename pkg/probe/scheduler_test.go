package probe

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// bench is a scheduler whose checks are played: they take as long as their Path says and pass.
type bench struct {
	*Scheduler
	mu      sync.Mutex
	started map[ID][]time.Time
	results []Result
	now     int // checks that run
	most    int
	active  map[string]int    // by tenant (in Host)
	cut     map[string]int    // checks that were cancelled, likewise
	soon    func(Result) bool // which results call for another one; nil: none
}

// newBench starts a scheduler inside of a synctest bubble, where time stands still until everything waits.
func newBench(t *testing.T, concurrency int) *bench {
	b := &bench{started: map[ID][]time.Time{}, active: map[string]int{}, cut: map[string]int{}}
	b.Scheduler = NewScheduler(SchedulerConfig{Concurrency: concurrency, Check: b.play, OnResult: b.record, Vantage: "v"})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return b
}

func (b *bench) play(ctx context.Context, c Check) Result {
	var id ID
	fmt.Sscan(c.Host, &id.Tenant, &id.Pool, &id.Endpoint)
	b.mu.Lock()
	b.started[id] = append(b.started[id], time.Now())
	b.now++
	b.most = max(b.most, b.now)
	b.active[id.Tenant]++
	b.mu.Unlock()
	took, _ := time.ParseDuration(c.Path)
	select {
	case <-ctx.Done():
	case <-time.After(took):
	}
	b.mu.Lock()
	if ctx.Err() != nil {
		b.cut[id.Tenant]++
	}
	b.now--
	b.active[id.Tenant]--
	b.mu.Unlock()
	if c.Body == "panic" {
		panic("played")
	}
	return Result{Outcome: Passed, Reason: c.Name, At: time.Now()}
}

func (b *bench) record(r Result) bool {
	b.results = append(b.results, r)
	return b.soon != nil && b.soon(r)
}

// take gives the results so far, and forgets them.
func (b *bench) take() []Result {
	synctest.Wait()
	b.Scheduler.mu.Lock()
	defer b.Scheduler.mu.Unlock()
	r := b.results
	b.results = nil
	return r
}

func (b *bench) starts(id ID) []time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.started[id])
}

// target makes one whose checks take so long.
func target(tenant, endpoint string, interval, took time.Duration) Target {
	id := ID{tenant, "p", endpoint}
	return Target{ID: id, Check: played(id, interval, interval, took)}
}

// played is a check of one address that play understands.
func played(id ID, interval, timeout, took time.Duration) Check {
	return Check{Type: "tcp", Interval: interval, Timeout: timeout, Path: took.String(), Addrs: make([]netip.AddrPort, 1),
		Host: fmt.Sprint(id.Tenant, " ", id.Pool, " ", id.Endpoint)}
}

func many(tenant string, n int, interval, took time.Duration) (list []Target) {
	for i := range n {
		list = append(list, target(tenant, fmt.Sprint("e", i), interval, took))
	}
	return list
}

func (s *Scheduler) phaseOf(t Target, now time.Time) time.Duration {
	return phase(s.hash(&t.Check), t.Check.Interval, now)
}

func TestIntervalAndJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 8)
		x := target("shop", "a", 10*time.Second, time.Second)
		b.Set("shop", []Target{x})
		time.Sleep(1000 * time.Second)
		starts := b.starts(x.ID)
		if n := len(starts); n < 95 || n > 106 {
			t.Errorf("%d checks in 100 intervals", n)
		}
		gaps := map[time.Duration]bool{}
		for i := 1; i < len(starts); i++ {
			gap := starts[i].Sub(starts[i-1])
			gaps[gap] = true
			if gap < 9500*time.Millisecond || gap > 10500*time.Millisecond {
				t.Fatalf("gap of %v", gap)
			}
		}
		if len(gaps) < 50 {
			t.Errorf("only %d different gaps: no jitter", len(gaps))
		}
	})
}

// A start of many targets is spread over their interval, another prober's differently, and a restart keeps the phases.
func TestPhasesAreSpread(t *testing.T) {
	now := time.Unix(1_700_000_000, 123)
	a, b := NewScheduler(SchedulerConfig{Vantage: "a"}), NewScheduler(SchedulerConfig{Vantage: "b"})
	var tenths [10]int
	same := 0
	for _, x := range many("shop", 10_000, 10*time.Second, 0) {
		p := a.phaseOf(x, now)
		if p < 0 || p >= 10*time.Second {
			t.Fatalf("phase %v", p)
		}
		tenths[p/time.Second]++
		if b.phaseOf(x, now) == p {
			same++
		}
		later := now.Add(37 * time.Second)
		if d := later.Add(a.phaseOf(x, later)).Sub(now.Add(p)); d%(10*time.Second) != 0 {
			t.Fatalf("a restart moved the phase by %v", d)
		}
	}
	for i, n := range tenths {
		if n < 850 || n > 1150 {
			t.Errorf("%d of 10000 in tenth %d", n, i)
		}
	}
	if same > 10 {
		t.Errorf("%d phases are the same at two vantages", same)
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 16)
		b.Set("shop", many("shop", 5000, time.Second, 100*time.Millisecond))
		time.Sleep(60 * time.Second)
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.most > 16 {
			t.Errorf("%d checks at once", b.most)
		}
		for id, starts := range b.started {
			if len(starts) == 0 {
				t.Errorf("%s was never checked", id)
			}
		}
		// 16 at once of 100 ms each: 160 per second and the queue takes turns, so all 5000 had one within 32 s.
		if len(b.started) != 5000 {
			t.Errorf("%d of 5000 checked", len(b.started))
		}
	})
}

// One tenant with very many, very slow targets does not delay another's.
func TestTenantsAreFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 32)
		b.Set("hog", many("hog", 2000, time.Minute, time.Minute))
		b.Set("hog2", many("hog2", 2000, time.Minute, time.Minute))
		time.Sleep(10 * time.Minute)
		small := target("small", "a", time.Second, 10*time.Millisecond)
		b.Set("small", []Target{small})
		time.Sleep(30 * time.Second)
		if n := len(b.starts(small.ID)); n < 28 {
			t.Errorf("the small tenant had %d checks in 30 s", n)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.active["hog"] < 10 || b.active["hog2"] < 10 {
			t.Errorf("what is free is not used: %v", b.active)
		}
	})
}

// Tenants take turns, however much each has waiting.
func TestQueuesTakeTurns(t *testing.T) {
	q := newQueues(100, 100)
	for _, id := range []ID{{"a", "p", "1"}, {"a", "p", "2"}, {"a", "p", "3"}, {"a", "q", "4"}, {"b", "p", "5"}, {"b", "p", "6"},
		{"c", "p", "7"}} {
		k := &task{slots: 1}
		k.owners = []*owner{{id: id, task: k}}
		q.join(k.owners[0])
		q.push(k)
	}
	order := ""
	for x := q.next(time.Time{}); x != nil; x = q.next(time.Time{}) {
		order += x.owners[0].id.Endpoint
	}
	if order != "1574623" {
		t.Errorf("order %s", order)
	}
}

func TestReplacingTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 8)
		x := target("shop", "a", time.Minute, 30*time.Second)
		x.Check.Name = "old"
		b.Set("shop", []Target{x})
		time.Sleep(61*time.Second + b.phaseOf(x, time.Now()) + time.Second)
		b.take()
		b.Set("shop", []Target{x}) // no change: what runs goes on
		y := x
		y.Check.Name = "new"
		b.Set("shop", []Target{y})
		synctest.Wait()
		b.mu.Lock()
		if b.now != 0 {
			t.Error("the old check still runs")
		}
		b.mu.Unlock()
		time.Sleep(2 * time.Minute)
		fresh := b.take()
		if len(fresh) == 0 {
			t.Error("no result of the new target")
		}
		for _, r := range fresh {
			if r.Reason != "new" || r.ID != x.ID {
				t.Errorf("result of %s %q", r.ID, r.Reason)
			}
		}
		b.Set("shop", nil)
		b.take()
		time.Sleep(10 * time.Minute)
		if len(b.take()) != 0 {
			t.Error("a removed target is still checked")
		}
		b.Scheduler.mu.Lock()
		defer b.Scheduler.mu.Unlock()
		if len(b.targets)+len(b.tasks)+len(b.due)+len(b.queues.lanes)+b.queues.waiting+b.queues.active+
			b.queues.budgets[quick].taken+b.queues.budgets[slow].taken != 0 {
			t.Errorf("orphans: %d tasks, %d due, %+v", len(b.tasks), len(b.due), &b.queues)
		}
	})
}

// An unchanged target keeps its rhythm when others come and go.
func TestSetKeepsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 8)
		x := target("shop", "a", 10*time.Second, 0)
		for i := range 1000 {
			b.Set("shop", []Target{x, target("shop", fmt.Sprint("b", i), 10*time.Second, 0)})
			time.Sleep(time.Second)
		}
		if n := len(b.starts(x.ID)); n < 95 || n > 106 {
			t.Errorf("%d checks in 100 intervals", n)
		}
	})
}

func TestPanicCostsOneResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 8)
		bad := target("shop", "bad", time.Second, 0)
		bad.Check.Body = "panic"
		good := target("shop", "good", time.Second, 0)
		b.Set("shop", []Target{bad, good})
		time.Sleep(10 * time.Second)
		outcomes := map[string]map[Outcome]int{"bad": {}, "good": {}}
		for _, r := range b.take() {
			outcomes[r.ID.Endpoint][r.Outcome]++
		}
		if outcomes["bad"][Unable] < 9 || outcomes["bad"][Passed] != 0 || outcomes["good"][Passed] < 9 {
			t.Errorf("%v", outcomes)
		}
	})
}

// Random lives of many tenants leave the books balanced: no target lost, none checked twice at once.
func TestSchedulerBooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(1, 2))
		b := newBench(t, 10)
		sets := map[string]int{}
		for range 300 {
			tenant := fmt.Sprint("t", rng.IntN(6))
			var set []Target
			for e := range rng.IntN(8) {
				x := target(tenant, fmt.Sprint(e), 5*time.Second, time.Duration(rng.IntN(3000))*time.Millisecond)
				x.ID.Pool = fmt.Sprint("p", rng.IntN(2))
				if x.Check.Port = uint16(rng.IntN(2)); rng.IntN(2) == 0 {
					x.Check.Host = fmt.Sprint("all p ", e) // as other tenants may have it
				}
				set = append(set, x)
			}
			b.Set(tenant, set)
			sets[tenant] = len(set)
			time.Sleep(time.Duration(rng.IntN(2000)) * time.Millisecond)
			b.checkBooks(t, sets)
		}
	})
}

func (b *bench) checkBooks(t *testing.T, sets map[string]int) {
	t.Helper()
	b.Scheduler.mu.Lock()
	defer b.Scheduler.mu.Unlock()
	var taken [budgets]int
	entries, ready := 0, 0
	for tenant, l := range b.queues.lanes {
		var own [budgets]int
		targets := 0
		for _, p := range l.pools {
			entries, targets = entries+p.waiting.Len(), targets+p.targets
			for kind := range budgets {
				own[kind] += p.taken[kind]
			}
			if (p.turn == nil) != (p.waiting.Len() == 0) {
				t.Fatalf("%s/%s has %d entries, and its turn is %v", tenant, p.pool, p.waiting.Len(), p.turn)
			}
		}
		if l.ready.Len() > 0 {
			ready++
		}
		if (l.turn == nil) != (l.ready.Len() == 0) {
			t.Fatalf("%s has %d pools that wait, and its turn is %v", tenant, l.ready.Len(), l.turn)
		}
		for kind := range budgets {
			taken[kind] += l.taken[kind]
		}
		if targets != sets[tenant] || len(b.targets[tenant]) != sets[tenant] || own != l.taken {
			t.Fatalf("%s: %d targets, %d of them known, want %d; taken %v of pools, %v", tenant, targets, len(b.targets[tenant]),
				sets[tenant], own, l.taken)
		}
	}
	b.checkTasks(t, entries)
	q := &b.queues
	if taken != [budgets]int{q.budgets[quick].taken, q.budgets[slow].taken} || taken[quick] > 10 || taken[slow] > 160 ||
		q.fresh.Len()+q.overdue.Len() != taken[quick] || q.ready.Len() != ready {
		t.Fatalf("taken %v: %+v", taken, q)
	}
}

// checkTasks finds each task in one of three states, with all who want it, and equal ones once.
func (b *bench) checkTasks(t *testing.T, entries int) {
	t.Helper()
	seen := map[*task]int{}
	for _, owners := range b.targets {
		for _, o := range owners {
			seen[o.task]++
			if (o.wait != nil) != o.task.queued || o.task.owners[o.at] != o {
				t.Fatalf("%s is not where it should be: %+v of %+v", o.id, o, o.task)
			}
		}
	}
	queued := 0
	for k, n := range seen {
		if k.queued {
			queued, entries = queued+1, entries-n
		}
		if states := btoi(k.queued) + btoi(k.index >= 0) + btoi(k.cancel != nil); states != 1 || n != len(k.owners) {
			t.Fatalf("a task of %d owners has %d, and is in %d states: %+v", n, len(k.owners), states, k)
		}
		if b.tasks[k.hash] != k {
			t.Fatalf("%+v is made twice", k.check)
		}
	}
	if queued != b.queues.waiting || entries != 0 || len(seen) != len(b.tasks) {
		t.Fatalf("%d tasks wait, %d are counted; %d entries are of nobody; %d tasks of %d", queued, b.queues.waiting, entries, len(b.tasks),
			len(seen))
	}
}

func btoi(is bool) int {
	if is {
		return 1
	}
	return 0
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := prometheus.NewPedanticRegistry()
		s := NewScheduler(SchedulerConfig{Registerer: r, OnResult: func(Result) bool { return false },
			Check: func(context.Context, Check) Result { return Result{Outcome: Failed, Latency: time.Second} }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); s.Run(ctx) }()
		s.Set("shop", []Target{target("shop", "a", time.Second, 0)})
		time.Sleep(3 * time.Second)
		cancel()
		<-done
		if n := testutil.ToFloat64(s.metrics.checks.WithLabelValues("tcp", "failed")); n < 2 || n > 4 {
			t.Errorf("%v checks counted", n)
		}
		if n := testutil.ToFloat64(s.metrics.targets); n != 1 {
			t.Errorf("%v targets", n)
		}
		problems, err := testutil.GatherAndLint(r)
		if err != nil || len(problems) > 0 {
			t.Errorf("%v %v", problems, err)
		}
	})
}
