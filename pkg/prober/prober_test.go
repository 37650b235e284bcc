package prober

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

const s1, s2, s3, s4, s5, s6 = "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6"

// settle is longer than rise and fall of the tests' monitors need.
const settle = 10 * time.Second

func TestEvidenceBecomesVerdicts(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(monitorRes("m", spec.Monitor{}), poolRes("eu", "m", s1, s2), poolRes("plain", "", s3))
		l.start("fra")
		time.Sleep(10 * time.Millisecond)
		l.want("never probed", "eu", "a:unknown b:unknown")
		time.Sleep(settle)
		l.want("all well", "eu", "a:up b:up")
		l.want("no monitor, no verdict", "plain", "none")
		if l.count(s3) != 0 {
			t.Error("a pool without a monitor was checked")
		}
		obs, verdicts := l.writes()
		time.Sleep(time.Hour)
		if o, v := l.writes(); o != obs || v != verdicts {
			t.Errorf("an hour without news: %d observations and %d verdicts were written", o-obs, v-verdicts)
		}
		l.set(probe.Failed, s2)
		time.Sleep(settle)
		l.want("one fails", "eu", "a:up b:down")
		if f := l.verdict("eu").Endpoints["b"]; f.Reason != "refused" || f.Score != 0 || l.verdict("eu").Judge != "fra" {
			t.Errorf("%+v", l.verdict("eu"))
		}
		l.set(probe.Passed, s2)
		time.Sleep(settle)
		l.want("it recovers", "eu", "a:up b:up")
	})
}

// From the check that decides to the stored verdict it takes less than 100 ms.
func TestVerdictsAreQuick(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(monitorRes("m", spec.Monitor{}), poolRes("eu", "m", s1, s2))
		l.start("fra")
		time.Sleep(settle)
		l.set(probe.Failed, s1)
		time.Sleep(settle)
		l.want("failed", "eu", "a:down b:up")
		o := l.obs[store.ObservationKey{Vantage: "fra", Pool: health.PoolID{Tenant: "shop", Pool: "eu"}}]
		if took := l.verdictAt.Sub(o.Endpoints["a"].Since); took > 50*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

// A restart neither forgets nor invents.
func TestRestart(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(monitorRes("m", spec.Monitor{}), poolRes("eu", "m", s1, s2))
		l.set(probe.Failed, s1)
		l.start("fra")
		time.Sleep(settle)
		l.want("before", "eu", "a:down b:up")
		before := l.verdict("eu")
		l.stop("fra")
		time.Sleep(time.Hour)
		l.want("a dead prober changes nothing", "eu", "a:down b:up")
		obs, verdicts := l.writes()
		l.start("fra")
		time.Sleep(time.Hour)
		if o, v := l.writes(); o != obs || v != verdicts {
			t.Errorf("a restart wrote %d observations and %d verdicts", o-obs, v-verdicts)
		}
		if !l.verdict("eu").Equal(before) {
			t.Errorf("%+v became %+v", before, l.verdict("eu"))
		}
		// What is different after a restart counts as any other news.
		l.stop("fra")
		l.set(probe.Passed, s1)
		l.set(probe.Failed, s2)
		l.start("fra")
		time.Sleep(settle)
		l.want("news after a restart", "eu", "a:up b:down")
	})
}

// Old evidence does not vote before the prober has looked again.
func TestAliveOnceItHasLooked(t *testing.T) {
	inLab(t, func(l *lab) {
		slow := spec.Monitor{}
		m := monitorRes("m", slow)
		m.Spec.(*spec.Monitor).Interval = spec.Duration(4 * time.Second)
		l.declare(m, poolRes("eu", "m", s1, s2))
		l.start("fra")
		for l.count(s1) == 0 || l.count(s2) == 0 {
			l.fakeStore.mu.Lock()
			alive := l.alive["fra"]
			l.fakeStore.mu.Unlock()
			if alive {
				t.Fatal("alive before it looked")
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		l.fakeStore.mu.Lock()
		defer l.fakeStore.mu.Unlock()
		if !l.alive["fra"] {
			t.Error("it has looked and is not alive")
		}
	})
}

func TestSeveralProbers(t *testing.T) {
	inLab(t, func(l *lab) {
		vantages := []string{"ams", "fra", "sin"}
		l.declare(monitorRes("m", spec.Monitor{Vantages: vantages}), poolRes("eu", "m", s1, s2))
		for _, v := range vantages {
			l.start(v)
		}
		l.start("outsider")
		time.Sleep(settle)
		l.want("all well", "eu", "a:up b:up")
		if len(l.obs) != 3 {
			t.Errorf("%d observations of 3 vantages", len(l.obs))
		}
		l.fakeStore.mu.Lock()
		first := l.leader
		l.fakeStore.mu.Unlock()
		before := l.verdict("eu")
		l.stop(first)
		time.Sleep(settle)
		if l.fakeStore.mu.Lock(); l.leader == "" || l.leader == first {
			t.Errorf("the judge after %s is %q", first, l.leader)
		}
		l.fakeStore.mu.Unlock()
		if !l.verdict("eu").Equal(before) {
			t.Errorf("a new judge changed %+v to %+v", before, l.verdict("eu"))
		}
		l.set(probe.Failed, s2)
		time.Sleep(settle)
		l.want("two or three of three", "eu", "a:up b:down")
	})
}

// Two of three vantages are dead: the third cannot decide alone, and says why nothing moves.
func TestQuorumCountsTheConfigured(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(monitorRes("m", spec.Monitor{Vantages: []string{"ams", "fra", "sin"}}), poolRes("eu", "m", s1))
		for _, v := range []string{"ams", "fra", "sin"} {
			l.start(v)
		}
		time.Sleep(settle)
		l.stop("ams")
		l.stop("fra")
		l.set(probe.Failed, s1)
		time.Sleep(settle)
		l.want("held", "eu", "a:up")
		if r := l.verdict("eu").Endpoints["a"].Reason; r != "held: 2 must say down, and 1 of 3 vantages: refused; ams, fra are silent" {
			t.Errorf("reason %q", r)
		}
		l.start("ams")
		time.Sleep(settle)
		l.want("a second one agrees", "eu", "a:down")
	})
}

func TestPoolsComeAndGo(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(monitorRes("m", spec.Monitor{}), poolRes("eu", "m", s1, s2), poolRes("us", "m", s3))
		l.start("fra")
		time.Sleep(settle)
		l.declare(poolRes("eu", "m", s1, s2, s4))
		time.Sleep(20 * time.Millisecond)
		l.want("a new endpoint is unknown", "eu", "a:up b:up c:unknown")
		time.Sleep(settle)
		l.want("and is checked", "eu", "a:up b:up c:up")
		l.declare(poolRes("eu", "m", s1))
		time.Sleep(settle)
		l.want("endpoints are gone", "eu", "a:up")
		if o := l.obs[store.ObservationKey{Vantage: "fra", Pool: health.PoolID{Tenant: "shop", Pool: "eu"}}]; len(o.Endpoints) != 1 {
			t.Errorf("still observed: %+v", o)
		}
		l.remove(poolKey("eu"))
		l.declare(poolRes("us", "", s3))
		time.Sleep(settle)
		l.want("a pool is gone", "eu", "none")
		l.want("a monitor is gone", "us", "none")
		if len(l.obs) != 0 {
			t.Errorf("still observed: %+v", l.obs)
		}
		checks := l.count(s1)
		time.Sleep(settle)
		if l.count(s1) != checks {
			t.Error("what is gone is still checked")
		}
	})
}

// What went while no prober ran is cleaned up; what merely cannot be read is not.
func TestCleaningUpAfterTheFact(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(monitorRes("m", spec.Monitor{}), poolRes("eu", "m", s1), poolRes("us", "m", s2), poolRes("sg", "m", s3),
			monitorRes("m2", spec.Monitor{}), poolRes("jp", "m2", s4))
		l.start("fra")
		time.Sleep(settle)
		l.stop("fra")
		l.remove(poolKey("us"))
		l.spoil(poolKey("sg"))
		l.spoil(spec.Key{Tenant: "shop", Kind: spec.KindMonitor, Name: "m2"})
		l.start("fra")
		time.Sleep(settle)
		l.want("still there", "eu", "a:up")
		l.want("gone", "us", "none")
		l.want("unreadable: held", "sg", "a:up")
		l.want("its monitor unreadable: held", "jp", "a:up")
		if len(l.obs) != 3 {
			t.Errorf("%d observations, want those of eu, sg and jp", len(l.obs))
		}
	})
}

func TestBrakeAndOverride(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(monitorRes("m", spec.Monitor{}), poolRes("eu", "m", s1, s2, s3), poolRes("us", "m", s4, s5, s6),
			rulesRes("web", []string{"eu", "us"}))
		l.start("fra")
		time.Sleep(settle)
		l.set(probe.Failed, s1, s2, s3)
		time.Sleep(settle)
		l.want("half fails", "eu", "a:down b:down c:down")
		l.set(probe.Failed, s4, s5, s6)
		time.Sleep(settle)
		l.want("the other half within a minute: held", "us", "a:up b:up c:up frozen")
		if r := l.verdict("us").Endpoints["a"].Reason; r != "held by the brake: refused" {
			t.Errorf("reason %q", r)
		}
		l.stop("fra") // a new judge goes on with the brake as it was
		l.start("fra")
		time.Sleep(time.Hour)
		l.want("still held", "us", "a:up b:up c:up frozen")
		until := time.Now().Add(time.Hour).Format(time.RFC3339)
		l.declare(overrideRes("o", spec.Override{Pool: "us", State: "down", Reason: "fire", Expires: spec.TimeOf(until)}))
		time.Sleep(settle)
		l.want("an operator acts", "us", "a:down b:down c:down")
		l.set(probe.Passed, s1, s2, s3, s4, s5, s6)
		time.Sleep(settle)
		l.want("all well", "us", "a:up b:up c:up")
	})
}

func TestWritesAreTriedAgain(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(monitorRes("m", spec.Monitor{}), poolRes("eu", "m", s1))
		l.start("fra")
		time.Sleep(settle)
		l.fakeStore.mu.Lock()
		l.failObs, l.failVerdicts = 5, 5
		l.fakeStore.mu.Unlock()
		l.set(probe.Failed, s1)
		time.Sleep(sweep/2 + settle/3) // before the sweep would mend it
		l.want("after failed writes", "eu", "a:down")
	})
}

// A pool whose monitor is gone keeps its verdict and its evidence, and is not checked.
func TestDanglingMonitor(t *testing.T) {
	inLab(t, func(l *lab) {
		m := monitorRes("m", spec.Monitor{})
		l.declare(m, poolRes("eu", "m", s1))
		l.start("fra")
		time.Sleep(settle)
		l.remove(m.Key)
		time.Sleep(settle)
		checks := l.count(s1)
		time.Sleep(settle)
		l.want("held", "eu", "a:up")
		if len(l.obs) != 1 || l.count(s1) != checks {
			t.Errorf("%d observations, %d further checks", len(l.obs), l.count(s1)-checks)
		}
	})
}

// While the store is one that went back, nothing is judged by it; once that is accepted, everything is.
func TestRefusedStore(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(monitorRes("m", spec.Monitor{}), poolRes("eu", "m", s1))
		l.start("fra")
		time.Sleep(settle)
		l.setStatus(state.Refused)
		l.set(probe.Failed, s1)
		time.Sleep(time.Hour)
		l.want("refused", "eu", "a:up")
		l.setStatus(state.Current)
		time.Sleep(time.Second)
		l.want("accepted", "eu", "a:down")
	})
}

// TestReadiness: a prober is ready while its word counts.
func TestReadiness(t *testing.T) {
	inLab(t, func(l *lab) {
		want := func(step, says string) {
			t.Helper()
			synctest.Wait()
			err := l.probers["fra"].Ready()
			if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
				t.Errorf("%s: %v, want %q", step, err, says)
			}
		}
		l.probers["fra"] = mustNew(l.T, Config{ID: "fra", Store: l.fakeStore})
		want("before it runs", "no configuration yet: the store is connecting")
		l.declare(monitorRes("m", spec.Monitor{}), poolRes("eu", "m", s1))
		l.start("ams") // who is alive and not fra
		time.Sleep(settle)
		l.start("fra")
		want("before the first look", "vantage fra does not count yet")
		time.Sleep(firstRoundTime)
		want("in step", "")
		l.setAlive("fra", false)
		want("its lease ran out", "vantage fra does not count yet")
		l.setAlive("fra", true)
		l.setStatus(state.Stale)
		want("out of contact", "the store is stale")
		l.setStatus(state.Refused)
		want("refused", "the store is refused")
		l.setStatus(state.Current)
		want("again", "")
	})
}

// What is told in full replaces what was heard before.
func TestObservationsToldAnew(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(monitorRes("m", spec.Monitor{Quorum: 2}), poolRes("eu", "m", s1))
		other := health.Observation{Vantage: "ghost", Pool: health.PoolID{Tenant: "shop", Pool: "eu"},
			Endpoints: map[string]health.Sight{"a": {State: health.Up, Score: 1}}}
		l.PutObservation(context.Background(), other)
		l.setAlive("ghost", true)
		l.start("fra")
		time.Sleep(settle)
		l.want("two of two", "eu", "a:up")
		l.set(probe.Failed, s1)
		time.Sleep(settle)
		const before = "held: 2 must say down, and 1 of 2 vantages: refused"
		if r := l.verdict("eu").Endpoints["a"].Reason; r != before {
			t.Errorf("reason %q", r)
		}
		l.fakeStore.mu.Lock()
		delete(l.obs, store.ObservationKey{Vantage: "ghost", Pool: other.Pool})
		delete(l.alive, "ghost")
		l.fakeStore.mu.Unlock()
		l.again()
		time.Sleep(3 * time.Second) // the judge waits a second for vantages to correct what is old
		if r := l.verdict("eu").Endpoints["a"].Reason; r != "held: 2 must say down, and refused" {
			t.Errorf("reason %q", r)
		}
	})
}

// What someone deletes or turns back in the store is written again, without any transition.
func TestAudit(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(monitorRes("m", spec.Monitor{}), poolRes("eu", "m", s1), poolRes("us", "m", s2))
		l.start("fra")
		time.Sleep(settle)
		eu, us := health.PoolID{Tenant: "shop", Pool: "eu"}, health.PoolID{Tenant: "shop", Pool: "us"}
		l.DeleteObservation(context.Background(), "fra", eu)
		l.DeleteVerdict(context.Background(), eu)
		l.PutObservation(context.Background(), health.Observation{Vantage: "fra", Pool: us,
			Endpoints: map[string]health.Sight{"a": {State: health.Up, Score: 0.5}}})
		time.Sleep(2 * sweep)
		l.want("written again", "eu", "a:up")
		if o := l.obs[store.ObservationKey{Vantage: "fra", Pool: eu}]; o.Endpoints["a"].State != health.Up {
			t.Errorf("eu: %+v", o)
		}
		if o := l.obs[store.ObservationKey{Vantage: "fra", Pool: us}]; o.Endpoints["a"].Score != 1 {
			t.Errorf("us: %+v", o)
		}
		if f := l.verdict("us").Endpoints["a"]; f.Score != 1 {
			t.Errorf("us: %+v", f)
		}
	})
}

// A vantage that cannot check an endpoint says so, and its old evidence does not vote.
func TestBlindness(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(monitorRes("m", spec.Monitor{}), poolRes("eu", "m", s1))
		l.set(probe.Unable, s1)
		l.start("fra")
		time.Sleep(settle)
		l.want("never checked", "eu", "a:unknown")
		if r := l.verdict("eu").Endpoints["a"].Reason; r != "not checked: refused" {
			t.Errorf("reason %q", r)
		}
		l.set(probe.Passed, s1)
		time.Sleep(settle)
		l.set(probe.Unable, s1)
		time.Sleep(settle)
		l.want("held", "eu", "a:up")
	})
}

func TestBadID(t *testing.T) {
	for _, id := range []string{"", "a/b", "a b"} {
		if _, err := New(Config{ID: id, Store: newFakeStore()}); err == nil {
			t.Errorf("%q was accepted", id)
		}
	}
}

// What the store holds is not what the judge wrote, as after a restore: that is mended at once, not in the next sweep.
func TestVerdictsThatTheStoreLostAreWrittenAtOnce(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(monitorRes("m", spec.Monitor{}), poolRes("eu", "m", s1, s2), poolRes("us", "m", s3, s4))
		l.set(probe.Failed, s1, s3)
		l.start("fra")
		time.Sleep(settle + 3*time.Second) // between two sweeps
		l.want("before", "eu", "a:down b:up")
		right := l.verdict("eu")
		lose := func(full bool) {
			l.fakeStore.mu.Lock()
			defer l.fakeStore.mu.Unlock()
			old := right
			old.Endpoints = map[string]health.Finding{"a": {State: health.Up, Score: 1}, "b": {State: health.Up, Score: 1}}
			l.verdicts[right.Pool] = old
			gone := health.PoolID{Tenant: "shop", Pool: "us"}
			delete(l.verdicts, gone)
			verdicts := state.Changes[health.PoolID, health.Verdict]{Put: []health.Verdict{old}}
			u := state.Update{Full: full}
			if full {
				u.Tenants = []state.TenantUpdate{{Tenant: "shop", Head: l.head}}
				for _, v := range l.declared {
					u.Tenants[0].Put = append(u.Tenants[0].Put, v)
				}
			} else {
				verdicts.Deleted = []health.PoolID{gone}
			}
			state.Verdicts.Set(&u, verdicts)
			l.tellConfig(u)
		}
		for _, full := range []bool{false, true} {
			lose(full)
			time.Sleep(100 * time.Millisecond)
			l.want("mended", "eu", "a:down b:up")
			l.want("written again", "us", "a:down b:up")
		}
		_, before := l.writes()
		time.Sleep(time.Hour)
		if _, after := l.writes(); after != before {
			t.Errorf("%d verdicts were written in an hour without news", after-before)
		}
	})
}

// Observations of a store that went back are old: each prober corrects its own before the judge believes them.
func TestOldObservationsAreCorrectedBeforeTheyAreJudged(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(monitorRes("m", spec.Monitor{}), poolRes("eu", "m", s1, s2))
		l.set(probe.Failed, s1)
		l.start("fra")
		l.start("nyc")
		time.Sleep(settle + 3*time.Second)
		l.want("before", "eu", "a:down b:up")
		_, before := l.writes()
		l.fakeStore.mu.Lock()
		for key, o := range l.obs {
			o.Endpoints = map[string]health.Sight{"a": {State: health.Up, Score: 1}, "b": {State: health.Down, Reason: "old"}}
			l.obs[key] = o
		}
		l.fakeStore.mu.Unlock()
		l.again()
		time.Sleep(2 * time.Second)
		l.want("after", "eu", "a:down b:up")
		if _, after := l.writes(); after != before {
			t.Errorf("%d verdicts were written on old evidence", after-before)
		}
		for key, o := range l.obs {
			if o.Endpoints["a"].State != health.Down {
				t.Errorf("%s tells %+v still", key.Vantage, o)
			}
		}
	})
}
