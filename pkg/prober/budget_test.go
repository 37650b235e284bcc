package prober

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
)

// TestAGreedyTenantIsLateAndNobodyElse: one tenant's flapping pool used up etcd's quota for all.
func TestAGreedyTenantIsLateAndNobodyElse(t *testing.T) {
	b, now := newBudget(), testStart
	greedy, modest := 0, 0
	const span = 10 * time.Minute
	for end := now.Add(span); now.Before(end); now = now.Add(50 * time.Millisecond) {
		for i := range 100 { // as many pools as it likes
			if id := (health.PoolID{Tenant: "greedy", Pool: fmt.Sprint(i)}); b.wait(id, now) == 0 {
				b.count(id, now)
				b.pay("greedy", 50_000, now)
				greedy += 50_000
			}
		}
		id := health.PoolID{Tenant: "modest", Pool: "eu"}
		if now.Sub(testStart)%time.Second == 0 {
			if wait := b.wait(id, now); wait != 0 {
				t.Fatalf("the modest one waits for %s after %s", wait, now.Sub(testStart))
			}
			b.count(id, now)
			b.pay("modest", 6000, now)
			modest++
		}
	}
	if most := tenantBurst + tenantRate*int(span.Seconds()) + 50_000; greedy > most || greedy < most/2 {
		t.Errorf("greedy wrote %d bytes, of at most %d", greedy, most)
	}
	if modest != int(span.Seconds()) {
		t.Errorf("modest wrote %d times", modest)
	}
}

// TestManyGreedyTenantsKeepTheTotal: 200 tenants who write all they may.
func TestManyGreedyTenantsKeepTheTotal(t *testing.T) {
	b, now, sum := newBudget(), testStart, 0
	const span = 20 * time.Minute
	for end := now.Add(span); now.Before(end); now = now.Add(time.Second) {
		for i := range 200 {
			if tenant := fmt.Sprint(i); b.waitTenant(tenant, now) == 0 {
				b.pay(tenant, 10_000, now)
				sum += 10_000
			}
		}
	}
	// A burst each, which is smaller the more there are: 64 MiB times the 200th harmonic number, 5.9, at the worst.
	if most := 6*totalBurst + totalRate*int(span.Seconds()) + 200*10_000; sum > most {
		t.Errorf("%d bytes in %s, of at most %d", sum, span, most)
	}
}

func TestAPoolHasItsPace(t *testing.T) {
	b, now := newBudget(), testStart
	id := health.PoolID{Tenant: "shop", Pool: "eu"}
	for n := range paceBurst {
		if wait := b.wait(id, now); wait != 0 {
			t.Fatalf("write %d waits for %s", n+1, wait)
		}
		b.count(id, now)
	}
	if wait := b.wait(id, now); wait != paceEvery {
		t.Errorf("one more waits for %s", wait)
	}
	if wait := b.wait(health.PoolID{Tenant: "shop", Pool: "us"}, now); wait != 0 {
		t.Errorf("another pool waits for %s", wait)
	}
	now = now.Add(paceEvery)
	if wait := b.wait(id, now); wait != 0 {
		t.Errorf("after its time it waits for %s", wait)
	}
	b.tidy(now.Add(time.Hour))
	if len(b.pools)+len(b.tenants) != 0 {
		t.Errorf("still known: %v %v", b.pools, b.tenants)
	}
}

// TestWhoHasLittleLeftIsWrittenLessOften: what a cut changes by and by is gathered before its tenant has used up all that it may write.
func TestWhoHasLittleLeftIsWrittenLessOften(t *testing.T) {
	for _, tc := range []struct {
		spent, writes int // within a minute
	}{{0, 127}, {tenantBurst * 3 / 4, 127}, {tenantBurst*3/4 + 10_000_000/4, 33}} {
		b, id, writes := newBudget(), health.PoolID{Tenant: "shop", Pool: "eu"}, 0
		for now := testStart; now.Before(testStart.Add(time.Minute)); now = now.Add(10 * time.Millisecond) {
			b.tenants["shop"] = &purse{left: float64(tenantBurst - tc.spent), at: now}
			if b.wait(id, now) == 0 {
				b.count(id, now)
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
	b, now := newBudget(), testStart
	b.pay("shop", tenantBurst+tenantRate, now)
	wait := b.waitTenant("shop", now)
	if wait < 900*time.Millisecond || wait > 1100*time.Millisecond {
		t.Errorf("%s", wait)
	}
	if wait := b.waitTenant("shop", now.Add(wait)); wait != 0 {
		t.Errorf("then %s more", wait)
	}
}

var testStart = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

// TestARefusedVerdictIsItsOwn: a verdict that the store does not take had all others wait with it.
func TestARefusedVerdictIsItsOwn(t *testing.T) {
	inLab(t, func(l *lab) {
		l.refuse = "eu"
		l.declare(monitorRes("m", spec.Monitor{Vantages: []string{"fra"}, Rise: 1, Fall: 1}), poolRes("eu", "m", s1),
			poolRes("us", "m", s2))
		l.start("fra")
		time.Sleep(settle)
		l.want("the other one", "us", "a:up")
		time.Sleep(2 * beat)
		troubles := func() []string {
			l.fakeStore.mu.Lock()
			defer l.fakeStore.mu.Unlock()
			return l.pulses[len(l.pulses)-1].Troubles
		}
		l.want("refused", "eu", "none")
		if got := troubles(); len(got) != 1 || !strings.HasPrefix(got[0], "shop/eu: the store does not take its verdict") {
			t.Errorf("%q", got)
		}
		l.fakeStore.mu.Lock()
		l.refuse = ""
		l.fakeStore.mu.Unlock()
		time.Sleep(refusedMax + beat)
		l.want("taken", "eu", "a:up")
		if got := troubles(); len(got) != 0 {
			t.Errorf("still %q", got)
		}
	})
}

// TestAFlapIsWrittenInPieces: of a large pool that flaps for five minutes, each write is of a piece, and there are two a second at most,
// but for a whole when pieces have taken as much, or, where an older program reads it, once a minute. What is stored at the end is what is
// known.
func TestAFlapIsWrittenInPieces(t *testing.T) {
	for _, older := range []bool{false, true} {
		t.Run(fmt.Sprint("older ", older), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { flapInPieces(t, older) }) })
	}
}

func flapInPieces(t *testing.T, older bool) {
	f := newFakeStore()
	cfg := Config{ID: "fra", Store: f}
	cfg.setDefaults()
	w := newWorld(cfg.Logger)
	a := newAgent(cfg, w, newMetrics(nil))
	w.older, a.plain = older, older
	pool := crowd(1000)
	w.plans["shop"] = planOf(monitorRes("m", spec.Monitor{Rise: 1, Fall: 1}),
		&spec.Resource{Key: poolKey("eu"), Spec: pool})
	a.adopt("shop")
	id := health.PoolID{Tenant: "shop", Pool: "eu"}
	passes := false
	flap := func() {
		at := probe.ID{Tenant: "shop", Pool: "eu", Endpoint: "endpoint-0007"}
		r := probe.Result{ID: at, Of: "198.18.0.7", At: time.Now(), Outcome: probe.Unable}
		if passes = !passes; passes {
			r.Outcome = probe.Passed
		}
		a.result(r)
	}
	const span = 5 * time.Minute
	for end := time.Now().Add(span); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		flap()
		a.write(t.Context())
	}
	time.Sleep(time.Second)
	a.write(t.Context())
	f.mu.Lock()
	defer f.mu.Unlock()
	writes, wholes := int(span/paceEvery)+paceBurst+2, 2 // the first one, and that of 600 pieces of 300 bytes, which take 180,000
	if older {
		wholes = 6
	}
	if f.putObs > writes || f.wholeObs != wholes {
		t.Errorf("%d writes of at most %d, %d of them wholes, want %d", f.putObs, writes, f.wholeObs, wholes)
	}
	stored := f.obs[store.ObservationKey{Vantage: "fra", Pool: id}]
	known, _, _ := a.observation(id)
	if !sameSights(stored.Endpoints, known.Endpoints) || len(a.dirty) != 0 {
		t.Errorf("stored is %+v", stored.Endpoints["endpoint-0007"])
	}
}

// TestAnOlderProgramIsWrittenFor: what stands in the store may be what it does not read, so all is written anew when it comes, once.
func TestAnOlderProgramIsWrittenFor(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(monitorRes("m", spec.Monitor{}), &spec.Resource{Key: poolKey("eu"), Spec: crowd(20)}, poolRes("us", "m", s1))
		l.start("fra")
		time.Sleep(5 * time.Minute)
		obs, verdicts := l.writes()
		wholes := func() [2]int {
			l.fakeStore.mu.Lock()
			defer l.fakeStore.mu.Unlock()
			return [2]int{l.wholeObs, l.wholeVerdicts}
		}
		before := wholes()
		l.fakeStore.mu.Lock()
		l.older = "edge old"
		l.fakeStore.mu.Unlock()
		time.Sleep(5 * time.Minute)
		if o, v := l.writes(); o != obs+2 || v != verdicts+2 || wholes() != [2]int{before[0] + 2, before[1] + 2} {
			t.Errorf("%d observations and %d verdicts of two pools, wholes %v and before %v", o-obs, v-verdicts, wholes(), before)
		}
		l.fakeStore.mu.Lock()
		l.older = ""
		l.fakeStore.mu.Unlock()
		obs, verdicts = l.writes()
		time.Sleep(5 * time.Minute)
		if o, v := l.writes(); o != obs || v != verdicts {
			t.Errorf("it is gone, and %d observations and %d verdicts were written", o-obs, v-verdicts)
		}
	})
}

// TestWhoCannotBeAskedMayBeOld: until all could be asked once, and what was known of them holds while they cannot.
func TestWhoCannotBeAskedMayBeOld(t *testing.T) {
	inLab(t, func(l *lab) {
		for _, step := range []struct {
			unasked bool
			older   string
			may     bool
		}{{true, "", true}, {false, "", false}, {true, "", false}, {false, "edge old", true}, {true, "", true}} {
			l.fakeStore.mu.Lock()
			l.unasked, l.older = step.unasked, step.older
			l.fakeStore.mu.Unlock()
			if l.probers["fra"] == nil {
				l.start("fra")
			}
			time.Sleep(sweep + time.Second)
			if got := l.probers["fra"].world.hasOlder(); got != step.may {
				t.Errorf("%+v: %v", step, got)
			}
		}
	})
}
