package probe

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// hanging are n targets of a tenant, each with so many addresses, that hang for their whole interval.
func hanging(tenant string, n, addresses int, interval time.Duration) (list []Target) {
	for _, t := range many(tenant, n, interval, interval) {
		t.Check.Addrs = make([]netip.AddrPort, addresses)
		list = append(list, t)
	}
	return list
}

// held gives the sockets of a tenant, and of all.
func (b *bench) held(tenant string) (own, all int) {
	b.Scheduler.mu.Lock()
	defer b.Scheduler.mu.Unlock()
	for _, r := range b.queues.budgets {
		all += r.taken
	}
	if l := b.queues.lanes[tenant]; l != nil {
		own = l.taken[quick] + l.taken[slow]
	}
	return own, all
}

// TestATenantHasItsShareBesideGreedyOnes: places beyond the shares of those who had taken them were theirs until their checks ended, and a
// check of an endpoint with many addresses took as many places as it liked. Who came later had none of its share for up to a minute, and
// then between an eighth and all of it.
func TestATenantHasItsShareBesideGreedyOnes(t *testing.T) {
	for _, tc := range []struct{ greedy, theirs, own, slots int }{
		{20, 1, 1, 256}, {1, 1, 1, 64}, {3, 1, 1, 64}, {20, 16, 1, 64}, {5, 1, 8, 64}, {3, 16, 16, 64}} {
		t.Run(fmt.Sprintf("%d greedy ones of %d addresses, own of %d", tc.greedy, tc.theirs, tc.own), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, tc.slots)
				for i := range tc.greedy {
					name := fmt.Sprint("greedy", i)
					b.Set(name, hanging(name, 32*tc.slots/tc.theirs/tc.greedy, tc.theirs, 20*time.Minute))
				}
				time.Sleep(45 * time.Minute)
				if _, all := b.held(""); all < 12*tc.slots {
					t.Fatalf("the greedy ones hold only %d places", all)
				}
				b.Set("small", hanging("small", 12*tc.slots/tc.own, tc.own, 10*time.Second))
				time.Sleep(12 * time.Second) // longer than its interval: all of it is due
				n := tc.greedy + 1
				quickShare, slowShare := tc.slots/n/tc.own*tc.own, 16*tc.slots/n/tc.own*tc.own // whole checks
				for range 100 {
					time.Sleep(time.Second)
					own, all := b.held("small")
					if own < quickShare+slowShare {
						t.Fatalf("it holds %d places, its share is %d and %d", own, quickShare, slowShare)
					}
					if all > 17*tc.slots {
						t.Fatalf("%d places are taken", all)
					}
				}
				own, all := b.held("small")
				t.Logf("of %d places that are taken it holds %d; its share is %d", all, own, quickShare+slowShare)
			})
		})
	}
}

// Who is within its share is never cut off, and who was cut off comes to its turn again.
func TestWhoIsCutOffWaitsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 16) // and 256
		b.Set("greedy", hanging("greedy", 1000, 1, 30*time.Minute))
		b.Set("modest", hanging("modest", 80, 1, time.Hour))
		time.Sleep(90 * time.Minute)
		b.Set("small", hanging("small", 100, 1, time.Minute))
		time.Sleep(70 * time.Second)
		b.mu.Lock()
		if b.cut["modest"] > 0 || b.cut["greedy"] == 0 { // how many depends on when the checks of others began
			t.Errorf("cut off: %v", b.cut)
		}
		b.mu.Unlock()
		b.take()
		time.Sleep(70 * time.Minute)
		done := map[string]int{}
		for _, r := range b.take() {
			if r.Outcome != Passed {
				t.Fatalf("a check that was cut off told %+v", r)
			}
			done[r.ID.Tenant]++
		}
		if done["greedy"] < 85*2 || done["small"] < 85*60 || done["modest"] < 80 {
			t.Errorf("%v", done)
		}
	})
}

// An endpoint of more addresses than may be, as an older program stored it, is checked so many at a time and takes no more places.
func TestPlacesOfACheck(t *testing.T) {
	for _, tc := range []struct{ addresses, want int }{{0, 2}, {1, 1}, {2, 2}, {16, 16}, {1500, 16}} {
		c := Check{Addrs: make([]netip.AddrPort, tc.addresses)}
		if got := c.sockets(); got != tc.want {
			t.Errorf("%d addresses take %d places, want %d", tc.addresses, got, tc.want)
		}
	}
}

// TestAStormOfChecksLeavesAnothersOnTime: a tenant whose checks want many times the places that there are has its own late, and those of
// another come within their interval as ever.
func TestAStormOfChecksLeavesAnothersOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 64)
		b.Set("storm", many("storm", 3000, time.Second, 300*time.Millisecond)) // 900 places
		time.Sleep(30 * time.Second)
		const interval, watched = 2 * time.Second, time.Minute
		b.Set("calm", many("calm", 20, interval, 100*time.Millisecond))
		time.Sleep(2 * interval) // each has begun
		from := time.Now()
		time.Sleep(watched)
		b.mu.Lock()
		defer b.mu.Unlock()
		counts, late := map[string]int{}, map[string]time.Duration{}
		for id, started := range b.started {
			last := from
			for _, at := range started {
				if at.Before(from) {
					continue
				}
				counts[id.Tenant]++
				late[id.Tenant] = max(late[id.Tenant], at.Sub(last)-interval)
				last = at
			}
		}
		if want := 20 * int(watched/interval) * 9 / 10; counts["calm"] < want || late["calm"] > interval/2 {
			t.Errorf("of the other tenant %d checks began, at least %d should have, the latest late by %s", counts["calm"], want,
				late["calm"])
		}
		if counts["storm"] > 3000*60/2 {
			t.Errorf("the storm has %d checks: it is none", counts["storm"])
		}
		t.Logf("%v checks began, the latest late by %v", counts, late)
	})
}
