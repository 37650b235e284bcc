package probe

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// lateness gives by how much checks of the pools of a tenant began too late at most, beside their jitter, and how many there were.
func (b *bench) lateness(healthy func(ID) bool, interval time.Duration) (worst time.Duration, checks int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, starts := range b.started {
		if !healthy(id) {
			continue
		}
		checks += len(starts)
		for i := 1; i < len(starts); i++ {
			worst = max(worst, starts[i].Sub(starts[i-1])-interval-interval/20)
		}
	}
	return worst, checks
}

// crowd is n pools of 50 endpoints each, of which the first few hang.
func crowd(tenant string, n, hanging int, interval, timeout time.Duration) (list []Target) {
	for p := range n {
		took := 20 * time.Millisecond
		if p < hanging {
			took = timeout
		}
		for e := range 50 {
			id := ID{tenant, fmt.Sprintf("p%03d", p), fmt.Sprint("e", e)}
			list = append(list, Target{ID: id, Check: played(id, interval, timeout, took)})
		}
	}
	return list
}

// TestHangingTargetsDelayNobodyElse: 20 % of them took all places for as long as they hung, and another pool's failure was seen after
// 16.8 s in place of 8.3 s.
func TestHangingTargetsDelayNobodyElse(t *testing.T) {
	const interval, timeout = 10 * time.Second, 5 * time.Second
	for _, tc := range []struct {
		name           string
		own, elsewhere int // of 100 pools of the same tenant, and of another
	}{
		{"nothing hangs", 0, 0}, {"pools of the same tenant hang", 20, 0}, {"pools of another tenant hang", 0, 20}, {"both", 20, 20},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, 256)
				b.Set("shop", crowd("shop", 100, tc.own, interval, timeout))
				b.Set("other", crowd("other", 100, tc.elsewhere, interval, timeout))
				time.Sleep(time.Minute)
				worst, checks := b.lateness(func(id ID) bool { return id.Tenant == "shop" && id.Pool >= "p020" }, interval)
				t.Logf("%d checks of healthy pools, at most %v late", checks, worst)
				if worst > 0 || checks < 20_000 {
					t.Errorf("%d checks of healthy pools, one %v late", checks, worst)
				}
			})
		})
	}
}

// TestAFullSlowRoomHoldsUpThoseWhoFillIt: even where more hangs than there are sockets for, the others are checked in time.
func TestAFullSlowRoomHoldsUpThoseWhoFillIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const interval, timeout = 10 * time.Second, 5 * time.Second
		b := &bench{started: map[ID][]time.Time{}, active: map[string]int{}, cut: map[string]int{}}
		b.Scheduler = NewScheduler(SchedulerConfig{Concurrency: 64, Slow: 32, Check: b.play, OnResult: b.record, Vantage: "v"})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); b.Run(ctx) }()
		b.Set("shop", crowd("shop", 20, 4, interval, timeout)) // 200 hang for 5 s in 10 s: they want 100 places of 96
		b.Set("other", crowd("other", 10, 2, interval, timeout))
		for range 120 {
			time.Sleep(time.Second)
			b.Scheduler.mu.Lock()
			if r := b.queues.budgets; r[quick].taken > 64 || r[slow].taken > 32 {
				t.Errorf("%+v", r)
			}
			b.Scheduler.mu.Unlock()
		}
		worst, checks := b.lateness(func(id ID) bool { return id.Pool >= "p004" }, interval)
		t.Logf("%d checks of healthy pools, at most %v late", checks, worst)
		if worst > time.Second || checks < 10_000 {
			t.Errorf("%d checks of healthy pools, one %v late", checks, worst)
		}
		if worst, checks = b.lateness(func(id ID) bool { return id.Tenant == "shop" && id.Pool < "p004" }, interval); checks < 500 {
			t.Errorf("what hangs is hardly checked: %d times, up to %v late", checks, worst)
		}
		cancel()
		<-done
	})
}
