package prober

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
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
		o, _, _ := a.observation(health.PoolID{Tenant: "shop", Pool: "eu"})
		if o.Endpoints["a"].State != health.Unknown || o.Endpoints["a"].Of != s2 {
			t.Errorf("%+v", o.Endpoints["a"])
		}
	})
}
