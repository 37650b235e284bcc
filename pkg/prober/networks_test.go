package prober

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
)

// What vantages of several networks see passes the brake at once; what those of one network see is held, and the verdict says why.
func TestSeveralNetworksPassTheBrake(t *testing.T) {
	for _, tc := range []struct {
		networks [3]string
		frozen   bool
		why      string
	}{
		{[3]string{"AS1", "AS2", "AS3"}, false, ""},
		{[3]string{"AS1", "AS2", ""}, false, ""},
		{[3]string{"AS1", "AS1", "AS1"}, true, "; no two who say so are known to be of different networks"},
		{[3]string{"AS1", "", ""}, true, "; no two who say so are known to be of different networks"},
		{[3]string{}, true, "; nobody knows the networks of those who say so"},
	} {
		t.Run(strings.Join(tc.networks[:], ","), func(t *testing.T) {
			inLab(t, func(l *lab) {
				vantages := []string{"ams", "fra", "sin"}
				pool, addrs := sized("only", 2, 6)
				l.declare(monitorRes("m", spec.Monitor{Vantages: vantages}), pool, rulesRes("web", []string{"only"}))
				for i, v := range vantages {
					l.where[v] = health.Vantage{Network: tc.networks[i]}
					l.start(v)
				}
				time.Sleep(settle)
				l.set(probe.Failed, addrs[:5]...)
				time.Sleep(settle)
				v := l.verdict("only")
				if tc.frozen {
					l.want("held", "only", "a:up b:up c:up d:up e:up f:up frozen")
				} else {
					l.want("believed", "only", "a:down b:down c:down d:down e:down f:up")
				}
				if v.Endpoints["a"].Proven == tc.frozen || !strings.HasSuffix(v.Cause, tc.why) {
					t.Errorf("proven %v, cause %q", v.Endpoints["a"].Proven, v.Cause)
				}
			})
		})
	}
}

// What one vantage says is held until the rest of the pool has stood for the window, whoever judges then; nothing else need happen.
func TestTheRestProvesWhatIsHeld(t *testing.T) {
	for _, change := range []bool{false, true} {
		inLab(t, func(l *lab) {
			pool, addrs := sized("only", 2, 6)
			l.declare(monitorRes("m", spec.Monitor{Vantages: []string{"fra"}}), pool, rulesRes("web", []string{"only"}))
			l.start("fra")
			time.Sleep(settle)
			l.set(probe.Failed, addrs[:5]...)
			time.Sleep(40 * time.Second)
			l.want("held", "only", "a:up b:up c:up d:up e:up f:up frozen")
			if change {
				l.stop("fra")
				time.Sleep(time.Second)
				l.ahead["fra"] = -time.Hour // its wall clock has no say
				l.start("fra")
			}
			time.Sleep(10 * time.Second)
			l.want("still held", "only", "a:up b:up c:up d:up e:up f:up frozen")
			time.Sleep(20 * time.Second)
			l.want("proven", "only", "a:down b:down c:down d:down e:down f:up")
			l.set(probe.Passed, addrs...)
			time.Sleep(settle)
			l.want("all is well", "only", "a:up b:up c:up d:up e:up f:up")
		})
	}
}

// A monitor that asks for a vantage of Asia turns nothing down without one, however many of Europe agree.
func TestRegionsMustAgree(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(monitorRes("m", spec.Monitor{Agree: map[string]int{"AS": 1}}), poolRes("eu", "m", s1, s2))
		for v, region := range map[string]string{"ams": "EU-NL", "fra": "EU-DE", "sin": "AS-SG"} {
			l.where[v] = health.Vantage{Region: region}
			l.start(v)
		}
		time.Sleep(settle)
		l.want("all well", "eu", "a:up b:up")
		l.setBlind(true, "ams", "fra")
		time.Sleep(settle)
		l.want("Asia objects", "eu", "a:up b:up")
		const reason = "held: 2 (1 of AS) must say down, and 2 of 3 vantages: timeout"
		if got := l.verdict("eu").Endpoints["a"].Reason; got != reason {
			t.Errorf("reason %q, want %q", got, reason)
		}
		l.stop("sin")
		time.Sleep(settle)
		l.want("Asia is silent, which is no vote", "eu", "a:up b:up")
		l.set(probe.Failed, s1)
		l.start("sin")
		time.Sleep(settle)
		l.want("Asia agrees on one", "eu", "a:down b:up")
	})
}

// A prober that goes blind takes no tenant down, however small: when nearly everything fails of most tenants, all is held. A judge that
// comes then holds on, and when the prober sees again all is as before.
func TestNearlyEverythingFails(t *testing.T) {
	inLab(t, func(l *lab) {
		tenants := []string{"shop", "other", "third"}
		for i, tenant := range tenants {
			pool, _ := sized("only", 2+i, 3)
			l.declareOf(tenant, monitorRes("m", spec.Monitor{Vantages: []string{"fra"}}), pool, rulesRes("web", []string{"only"}))
		}
		states := func() (all []string) {
			l.states("only") // waits
			l.fakeStore.mu.Lock()
			defer l.fakeStore.mu.Unlock()
			for _, tenant := range tenants {
				v := l.verdicts[health.PoolID{Tenant: tenant, Pool: "only"}]
				word := string(v.Endpoints["a"].State)
				if v.Frozen {
					word += " frozen"
				}
				all = append(all, word)
			}
			return all
		}
		want := func(what string, all ...string) {
			t.Helper()
			if got := states(); !slices.Equal(got, all) {
				t.Errorf("%s: %v, want %v", what, got, all)
			}
		}
		l.start("fra")
		time.Sleep(settle)
		want("all well", "up", "up", "up")
		l.setBlind(true, "fra")
		time.Sleep(settle)
		want("the prober is blind", "up frozen", "up frozen", "up frozen")
		cause := l.verdict("only").Cause
		if !strings.HasPrefix(cause, "9 of 9 endpoints of all tenants that were up failed within 1m, and rule 1 of service web ") {
			t.Errorf("cause %q", cause)
		}
		_, before := l.writes()
		l.stop("fra")
		l.start("fra")
		time.Sleep(2 * sweep)
		want("another judge", "up frozen", "up frozen", "up frozen")
		if _, after := l.writes(); after != before {
			t.Errorf("%d verdicts were written, by a judge that knows nothing else", after-before)
		}
		l.setBlind(false, "fra")
		time.Sleep(settle)
		want("it sees again", "up", "up", "up")
		l.set(probe.Failed, "192.0.2.1", "192.0.2.2", "192.0.2.3")
		time.Sleep(settle)
		want("a small tenant fails alone", "down", "up", "up")
	})
}
