package prober

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/pieces"
)

// neverUp fails if any verdict, over some time, says that what is checked at addr is up.
func (l *lab) neverUp(addr string, during time.Duration) {
	l.Helper()
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(time.Millisecond) {
		synctest.Wait()
		for name, f := range l.verdict("eu").Endpoints {
			if f.Of == addr && f.State != health.Down {
				l.Fatalf("endpoint %s at %s is %s", name, addr, f.State)
			}
		}
	}
}

// TestVerdictsFollowAddresses: they followed names, and a dead server whose address two endpoints swapped was up until it had
// failed again.
func TestVerdictsFollowAddresses(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(monitorRes("m", spec.Monitor{}), poolRes("eu", "m", s1, s2))
		l.set(probe.Failed, s1)
		l.start("fra")
		time.Sleep(settle)
		l.want("before", "eu", "a:down b:up")
		since := l.verdict("eu").Endpoints["a"].Since
		l.declare(poolRes("eu", "m", s2, s1))
		l.neverUp(s1, 100*time.Millisecond)
		l.want("swapped", "eu", "a:up b:down")
		if f := l.verdict("eu").Endpoints["b"]; !f.Since.Equal(since) || f.Reason != "refused" {
			t.Errorf("what is known did not move as it was: %+v", f)
		}
		l.neverUp(s1, settle)
		l.want("and checked", "eu", "a:up b:down")

		l.stop("fra") // what is stored moves as well
		l.declare(poolRes("eu", "m", s1, s2))
		l.start("fra")
		l.neverUp(s1, settle)
		l.want("swapped back meanwhile", "eu", "a:down b:up")
	})
}

// TestNewAddressesAreUnknown: neither a good nor a bad name is inherited.
func TestNewAddressesAreUnknown(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(monitorRes("m", spec.Monitor{}), poolRes("eu", "m", s1, s2, s5))
		l.set(probe.Failed, s1, s4)
		l.start("fra")
		time.Sleep(settle)
		l.want("before", "eu", "a:down b:up c:up")
		l.declare(poolRes("eu", "m", s3, s4, s5))
		time.Sleep(20 * time.Millisecond)
		l.want("moved away", "eu", "a:unknown b:unknown c:up")
		time.Sleep(settle)
		l.want("and checked", "eu", "a:up b:down c:up")
	})
}

// TestResultsOfTheOldAddressAreDropped: a check that ran while the plan changed counted for the endpoint's new address.
func TestResultsOfTheOldAddressAreDropped(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(monitorRes("m", spec.Monitor{}), poolRes("eu", "m", s1))
		w := newWorld(slog.New(slog.DiscardHandler))
		cfg := Config{ID: "fra", Store: l.fakeStore, check: l.servers.check}
		cfg.setDefaults()
		a := newAgent(cfg, w, newMetrics(nil))
		w.plans["shop"] = planOf(monitorRes("m", spec.Monitor{}), poolRes("eu", "m", s2))
		a.adopt("shop")
		for range 5 {
			a.result(probe.Result{ID: probe.ID{Tenant: "shop", Pool: "eu", Endpoint: "a"}, Of: s1, Outcome: probe.Failed, At: time.Now()})
		}
		known, _ := a.observation(health.PoolID{Tenant: "shop", Pool: "eu"})
		o := known.Observation
		if o.Endpoints["a"].State != health.Unknown || o.Endpoints["a"].Of != s2 {
			t.Errorf("%+v", o.Endpoints["a"])
		}
	})
}

// TestWhatHasNoPiecesIsKnown: a small pool that stands in the store as this prober wrote it has no pieces there, and is written without
// looking for any; not one of which a write failed, which is large, or of which the store holds something else, as after a restore.
func TestWhatHasNoPiecesIsKnown(t *testing.T) {
	id := health.PoolID{Tenant: "shop", Pool: "eu"}
	seen := func(n int) health.Observation {
		o := health.Observation{Vantage: "fra", Pool: id, Endpoints: map[string]health.Sight{}}
		for i := range n {
			o.Endpoints[fmt.Sprint("e", i)] = health.Sight{State: health.Up}
		}
		return o
	}
	for _, c := range []struct {
		endpoints int
		err       error
		want      bool
	}{{pieces.WholeMost, nil, true}, {pieces.WholeMost + 1, nil, false}, {1, errors.New("refused"), false}} {
		w := written{lone: true}
		if w.wrote(seen(c.endpoints), store.Written{Err: c.err, Whole: true}, time.Now()); w.lone != c.want {
			t.Errorf("of %d endpoints, after %v: %v", c.endpoints, c.err, w.lone)
		}
	}
	cfg := Config{ID: "fra", Store: newFakeStore()}
	cfg.setDefaults()
	w := newWorld(cfg.Logger)
	a := newAgent(cfg, w, newMetrics(nil))
	w.plans["shop"] = planOf(monitorRes("m", spec.Monitor{Rise: 1, Fall: 1}), poolRes("eu", "m", s1))
	a.adopt("shop")
	a.result(probe.Result{ID: probe.ID{Tenant: "shop", Pool: "eu", Endpoint: "a"}, Of: s1, Outcome: probe.Failed, At: time.Now()})
	step := func(what string, want bool) {
		t.Helper()
		if known, ok := a.observation(id); !ok || known.NoPieces != want {
			t.Errorf("%s: %v, %v", what, known.NoPieces, ok)
		}
	}
	step("before it is written", false)
	a.write(t.Context())
	step("written", true)
	known, _ := a.observation(id)
	w.see(known.Observation)
	a.audit()
	step("the store holds that", true)
	other := seen(1)
	w.see(other)
	a.audit()
	step("the store holds something else", false)
}
