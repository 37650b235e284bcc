package probe

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// shared is a target of a tenant with a check that others have, too. It is played as "all".
func shared(tenant string, interval, took time.Duration) Target {
	return Target{ID: ID{tenant, "p", "x"}, Of: "of " + tenant, Check: played(ID{"all", "p", "x"}, interval, interval, took)}
}

// TestEqualChecksAreOne: whoever has a target with the same check has its result, with a name and words of its own; what differs in
// anything is made by itself. It goes on in its rhythm while one of them is left.
func TestEqualChecksAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 8)
		all := ID{"all", "p", "x"}
		for i := range 5 {
			tenant := fmt.Sprint("t", i)
			b.Set(tenant, []Target{shared(tenant, 10*time.Second, time.Second)})
			time.Sleep(700 * time.Millisecond)
		}
		other := shared("other", 10*time.Second, time.Second)
		other.Check.Headers = map[string]string{"Authorization": "its own"}
		b.Set("other", []Target{other})
		time.Sleep(10 * time.Second)
		b.take()
		before := len(b.starts(all))
		time.Sleep(100 * time.Second)
		if n := len(b.starts(all)) - before; n < 19 || n > 22 { // two checks
			t.Errorf("%d checks in 10 intervals", n)
		}
		got := map[string]int{}
		for _, r := range b.take() {
			if r.Of != "of "+r.ID.Tenant {
				t.Errorf("%s has %q", r.ID, r.Of)
			}
			got[r.ID.Tenant]++
		}
		for _, tenant := range []string{"t0", "t1", "t2", "t3", "t4", "other"} {
			if got[tenant] < 9 || got[tenant] > 11 {
				t.Errorf("%s had %d results in 10 intervals", tenant, got[tenant])
			}
		}
		b.Set("other", nil)
		for i := range 4 {
			b.Set(fmt.Sprint("t", i), nil)
			time.Sleep(700 * time.Millisecond)
		}
		b.take()
		before = len(b.starts(all))
		time.Sleep(100 * time.Second)
		if n := len(b.starts(all)) - before; n < 9 || n > 11 {
			t.Errorf("%d checks in 10 intervals for the one that is left", n)
		}
		for i, gap := range b.gaps(all)[before:] {
			if gap < 9500*time.Millisecond || gap > 10500*time.Millisecond {
				t.Errorf("gap %d of %v", i, gap)
			}
		}
		for _, r := range b.take() {
			if r.ID.Tenant != "t4" {
				t.Errorf("%s has a result, and is gone", r.ID)
			}
		}
		b.Set("t4", nil)
		before = len(b.starts(all))
		time.Sleep(time.Minute)
		if n := len(b.starts(all)); n != before {
			t.Error("nobody is left, and it is made")
		}
	})
}

// TestASharedCheckStarvesNobody: one who has everything hang, and the same check as a small tenant, does not keep that one's from being
// made: it waits in both queues.
func TestASharedCheckStarvesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 16)
		hog := func(tenant string) []Target {
			return append([]Target{shared(tenant, time.Second, 10*time.Millisecond)}, hanging(tenant, 1000, 1, time.Hour)...)
		}
		b.Set("hog", hog("hog"))
		b.Set("hog2", hog("hog2"))
		time.Sleep(2 * time.Hour)
		all := ID{"all", "p", "x"}
		before := len(b.starts(all))
		time.Sleep(10 * time.Minute)
		if n := len(b.starts(all)) - before; n > 300 {
			t.Fatalf("%d checks in 10 min: those who hang do not fill their shares", n)
		}
		b.Set("small", []Target{shared("small", time.Second, 10*time.Millisecond)})
		time.Sleep(time.Second)
		b.take()
		time.Sleep(time.Minute)
		results := 0
		for _, r := range b.take() {
			if r.ID.Tenant == "small" {
				results++
			}
		}
		if results < 57 {
			t.Errorf("the small tenant had %d results in a minute", results)
		}
	})
}

// TestOneOfThemCallsForAnother: a result that calls for another check for one target brings it to all of them.
func TestOneOfThemCallsForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 8)
		b.soon = func(r Result) bool { return r.ID.Tenant == "a" }
		for _, tenant := range []string{"a", "b"} {
			x := shared(tenant, 10*time.Second, 0)
			x.Check.Recheck = time.Second
			b.Set(tenant, []Target{x})
		}
		time.Sleep(25 * time.Second)
		got := map[string]int{}
		for _, r := range b.take() {
			got[r.ID.Tenant]++
		}
		if got["a"] < 14 || got["a"] != got["b"] {
			t.Errorf("%v", got)
		}
	})
}

// TestEqualHashesAreNotEnough: two checks that only have their hash in common are made each by itself.
func TestEqualHashesAreNotEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 8)
		x, y := target("a", "x", time.Second, 0), target("b", "y", time.Second, 0)
		b.Set("a", []Target{x})
		b.Scheduler.mu.Lock()
		first := b.targets["a"][x.ID].task
		delete(b.tasks, first.hash)
		first.hash = b.hash(&y.Check)
		b.tasks[first.hash] = first
		b.Scheduler.mu.Unlock()
		b.Set("b", []Target{y})
		time.Sleep(10 * time.Second)
		if m, n := len(b.starts(x.ID)), len(b.starts(y.ID)); m < 9 || n < 9 {
			t.Errorf("%d and %d checks in 10 intervals", m, n)
		}
		b.Set("b", nil)
		b.Scheduler.mu.Lock()
		defer b.Scheduler.mu.Unlock()
		if b.tasks[first.hash] != first {
			t.Error("the one that is left is not found any more")
		}
	})
}

// TestWhatIsCheckedIsTold in the words of the last Set, also where the check stays.
func TestWhatIsCheckedIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 8)
		x := target("a", "x", time.Second, 0)
		for _, of := range []string{"before", "after"} {
			x.Of = of
			b.Set("a", []Target{x})
			time.Sleep(3 * time.Second)
			for _, r := range b.take() {
				if r.Of != of {
					t.Errorf("told of %q, want %q", r.Of, of)
				}
			}
		}
	})
}

// TestWhoLeavesAQueueLeavesTheOthers: a check that waits goes on to wait for those who still want it.
func TestWhoLeavesAQueueLeavesTheOthers(t *testing.T) {
	q := newQueues(1, 1)
	k := &task{slots: 1}
	for i, tenant := range []string{"a", "b", "c"} {
		o := &owner{id: ID{tenant, "p", "x"}, task: k, at: i}
		k.owners = append(k.owners, o)
		q.join(o)
	}
	q.push(k)
	first := k.owners[0]
	k.owners = k.owners[1:]
	q.leave(first)
	if q.waiting != 1 || !k.queued || q.ready.Len() != 2 || len(q.lanes) != 2 {
		t.Errorf("%d wait, queued %v, %d tenants have a turn, %d are there", q.waiting, k.queued, q.ready.Len(), len(q.lanes))
	}
	if got := q.next(time.Time{}); got != k || got.line.lane.tenant != "b" || q.waiting != 0 || q.ready.Len() != 0 {
		t.Errorf("next is %+v; %d wait, %d tenants have a turn", got, q.waiting, q.ready.Len())
	}
}

// TestWhatIsCutOffAndRemovedIsGone: nobody waits for it.
func TestWhatIsCutOffAndRemovedIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 8)
		x := target("a", "x", time.Minute, time.Minute)
		b.Set("a", []Target{x})
		time.Sleep(90 * time.Second)
		b.Scheduler.mu.Lock()
		k := b.targets["a"][x.ID].task
		k.cut = true
		b.queues.budgets[slow].leaving, k.line.lane.leaving[slow] = 1, 1
		b.Scheduler.mu.Unlock()
		b.Set("a", nil)
		time.Sleep(time.Minute)
		b.Scheduler.mu.Lock()
		defer b.Scheduler.mu.Unlock()
		if len(b.due)+b.queues.waiting+len(b.queues.lanes)+b.queues.budgets[slow].leaving != 0 {
			t.Errorf("%d are due, %d wait: %+v", len(b.due), b.queues.waiting, &b.queues)
		}
	})
}
