package pace

import (
	"fmt"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/health"
)

// TestAGreedyTenantIsLateAndNobodyElse: one tenant's flapping pool used up etcd's quota for all.
func TestAGreedyTenantIsLateAndNobodyElse(t *testing.T) {
	b, now := New(), testStart
	greedy, modest := 0, 0
	const span = 10 * time.Minute
	for end := now.Add(span); now.Before(end); now = now.Add(50 * time.Millisecond) {
		for i := range 100 { // as many pools as it likes
			if id := (health.PoolID{Tenant: "greedy", Pool: fmt.Sprint(i)}); b.Wait(id, now) == 0 {
				b.Count(id, now)
				b.Pay("greedy", 50_000, now)
				greedy += 50_000
			}
		}
		id := health.PoolID{Tenant: "modest", Pool: "eu"}
		if now.Sub(testStart)%time.Second == 0 {
			if wait := b.Wait(id, now); wait != 0 {
				t.Fatalf("the modest one waits for %s after %s", wait, now.Sub(testStart))
			}
			b.Count(id, now)
			b.Pay("modest", 6000, now)
			modest++
		}
	}
	if most := TenantBurst + TenantRate*int(span.Seconds()) + 50_000; greedy > most || greedy < most/2 {
		t.Errorf("greedy wrote %d bytes, of at most %d", greedy, most)
	}
	if modest != int(span.Seconds()) {
		t.Errorf("modest wrote %d times", modest)
	}
}

// TestManyGreedyTenantsKeepTheTotal: 200 tenants who write all they may.
func TestManyGreedyTenantsKeepTheTotal(t *testing.T) {
	b, now, sum := New(), testStart, 0
	const span = 20 * time.Minute
	for end := now.Add(span); now.Before(end); now = now.Add(time.Second) {
		for i := range 200 {
			if tenant := fmt.Sprint(i); b.WaitTenant(tenant, now) == 0 {
				b.Pay(tenant, 10_000, now)
				sum += 10_000
			}
		}
	}
	// A burst each, which is smaller the more there are: 64 MiB times the 200th harmonic number, 5.9, at the worst.
	if most := 6*TotalBurst + TotalRate*int(span.Seconds()) + 200*10_000; sum > most {
		t.Errorf("%d bytes in %s, of at most %d", sum, span, most)
	}
}

func TestAPoolHasItsPace(t *testing.T) {
	b, now := New(), testStart
	id := health.PoolID{Tenant: "shop", Pool: "eu"}
	for n := range PoolBurst {
		if wait := b.Wait(id, now); wait != 0 {
			t.Fatalf("write %d waits for %s", n+1, wait)
		}
		b.Count(id, now)
	}
	if wait := b.Wait(id, now); wait != PoolEvery {
		t.Errorf("one more waits for %s", wait)
	}
	if wait := b.Wait(health.PoolID{Tenant: "shop", Pool: "us"}, now); wait != 0 {
		t.Errorf("another pool waits for %s", wait)
	}
	now = now.Add(PoolEvery)
	if wait := b.Wait(id, now); wait != 0 {
		t.Errorf("after its time it waits for %s", wait)
	}
	b.Tidy(now.Add(time.Hour))
	if len(b.pools)+len(b.tenants) != 0 {
		t.Errorf("still known: %v %v", b.pools, b.tenants)
	}
}

// TestWhoHasLittleLeftIsWrittenLessOften: what a cut changes by and by is gathered before its tenant has used up all that it may write.
func TestWhoHasLittleLeftIsWrittenLessOften(t *testing.T) {
	for _, tc := range []struct {
		spent, writes int // within a minute
	}{{0, 127}, {TenantBurst * 3 / 4, 127}, {TenantBurst*3/4 + 10_000_000/4, 33}} {
		b, id, writes := New(), health.PoolID{Tenant: "shop", Pool: "eu"}, 0
		for now := testStart; now.Before(testStart.Add(time.Minute)); now = now.Add(10 * time.Millisecond) {
			b.tenants["shop"] = &purse{left: float64(TenantBurst - tc.spent), at: now}
			if b.Wait(id, now) == 0 {
				b.Count(id, now)
				writes++
			}
		}
		if writes < tc.writes-2 || writes > tc.writes+2 {
			t.Errorf("with %d spent it is written %d times, want %d", tc.spent, writes, tc.writes)
		}
	}
}

// TestADebtIsWaitedFor: what is written is not cut, so a purse can be overdrawn.
func TestADebtIsWaitedFor(t *testing.T) {
	b, now := New(), testStart
	b.Pay("shop", TenantBurst+TenantRate, now)
	wait := b.WaitTenant("shop", now)
	if wait < 900*time.Millisecond || wait > 1100*time.Millisecond {
		t.Errorf("%s", wait)
	}
	if wait := b.WaitTenant("shop", now.Add(wait)); wait != 0 {
		t.Errorf("then %s more", wait)
	}
}

var testStart = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
