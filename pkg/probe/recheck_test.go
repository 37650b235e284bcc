package probe

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// gaps are the times between checks of a target that began.
func (b *bench) gaps(id ID) (all []time.Duration) {
	starts := b.starts(id)
	for i := 1; i < len(starts); i++ {
		all = append(all, starts[i].Sub(starts[i-1]))
	}
	return all
}

// rechecked is a target with checks every 10 s, and after 2 s where a result calls for another.
func rechecked(took time.Duration) Target {
	x := target("shop", "a", 10*time.Second, took)
	x.Check.Recheck = 2 * time.Second
	return x
}

// TestAResultCallsForAnotherOne: those that it asks for come after recheck, from the beginning of the one before, or when that ends; others
// at the interval.
func TestAResultCallsForAnotherOne(t *testing.T) {
	for _, took := range []time.Duration{0, time.Second, 5 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			b, calls := newBench(t, 8), 0
			b.soon = func(Result) bool { calls++; return calls > 3 && calls <= 6 }
			x := rechecked(took)
			b.Set("shop", []Target{x})
			time.Sleep(100 * time.Second)
			for i, gap := range b.gaps(x.ID)[:9] {
				want := 10 * time.Second
				if i >= 3 && i < 6 {
					want = max(2*time.Second, took)
				}
				if gap < want*95/100 || gap > want*105/100 {
					t.Errorf("checks of %v: gap %d is %v, want about %v", took, i, gap, want)
				}
			}
		})
	}
}

// TestRechecksAreBoundedForEachTarget: one whose every result calls for another is checked twice as often as usual at most, but for the
// first of them, and one that was quiet has them again.
func TestRechecksAreBoundedForEachTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, always := newBench(t, 8), true
		b.soon = func(Result) bool { return always }
		x := rechecked(0)
		b.Set("shop", []Target{x})
		time.Sleep(10 * time.Second)
		const hours = 10
		time.Sleep(hours * time.Hour)
		n := len(b.starts(x.ID))
		if usual := hours * 360; n > 2*usual+recheckBurst+2 || n < usual*3/2 {
			t.Errorf("%d checks, the interval alone makes %d", n, usual)
		}
		b.Scheduler.mu.Lock()
		always = false
		b.Scheduler.mu.Unlock()
		time.Sleep(time.Hour)
		b.Scheduler.mu.Lock()
		always = true
		b.Scheduler.mu.Unlock()
		before := len(b.starts(x.ID))
		time.Sleep(51 * time.Second)
		if n := len(b.starts(x.ID)) - before; n < recheckBurst-1 || n > recheckBurst+3 {
			t.Errorf("%d checks in 51 s after an hour of quiet", n)
		}
	})
}

// TestRechecksGiveWay: where there is more to do than can be done, checks come at their interval only.
func TestRechecksGiveWay(t *testing.T) {
	for targets, most := range map[int]int{100: 100 * 20, 1000: 20} { // 16 at once of 190 ms each: 84 a second
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, 16)
			b.soon = func(Result) bool { return true }
			list := many("shop", targets, 10*time.Second, 190*time.Millisecond)
			for i := range list {
				list[i].Check.Recheck = time.Second
			}
			b.Set("shop", list)
			time.Sleep(3 * time.Minute)
			before := testutil.ToFloat64(b.metrics.rechecks)
			time.Sleep(3 * time.Minute)
			n := int(testutil.ToFloat64(b.metrics.rechecks) - before)
			if n > most || n < most/2 && targets == 100 {
				t.Errorf("%d targets had %d rechecks in 3 min, want about %d", targets, n, most)
			}
		})
	}
}
