package probe

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gti/gtm/pkg/spec"
)

// TestASignalWaitsForNothing: it is looked at when it is new, at its intervals and when there is news, however much waits in its pool, and
// takes no slot.
func TestASignalWaitsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 1)
		hanging := many("shop", 500, time.Hour, 50*time.Minute)
		signal := target("shop", "signal", 10*time.Second, 0)
		signal.Check.Type, signal.Check.Addrs = spec.TypeSignal, nil
		began := time.Now()
		b.Set("shop", append(hanging, signal))
		time.Sleep(59 * time.Minute)
		b.Scheduler.mu.Lock()
		waiting := b.queues.waiting
		b.Scheduler.mu.Unlock()
		starts := b.starts(signal.ID)
		if waiting == 0 || len(starts) < 59*6*95/100 || len(starts) > 59*6*105/100 || !starts[0].Equal(began) {
			t.Errorf("%d wait, %d looks, the first one after %s", waiting, len(starts), starts[0].Sub(began))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		before := len(b.starts(signal.ID))
		b.Look([]ID{signal.ID, hanging[0].ID, {Tenant: "nobody"}})
		synctest.Wait()
		after := b.starts(signal.ID)
		if len(after) != before+1 || !after[before].Equal(time.Now()) || len(b.starts(hanging[0].ID)) > 1 {
			t.Errorf("news: %d looks, %d checks of what hangs", len(after)-before, len(b.starts(hanging[0].ID)))
		}
		time.Sleep(9 * time.Second)
		if n := len(b.starts(signal.ID)); n != before+1 {
			t.Errorf("then %d more before its interval", n-before-1)
		}
		b.Set("shop", hanging)
		time.Sleep(time.Minute)
		b.Look([]ID{signal.ID})
		if n := len(b.starts(signal.ID)); n != before+1 {
			t.Errorf("one that is gone is looked at")
		}
	})
}
