package prober

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// signalRes makes a monitor of type signal, which is looked at every ten seconds.
func signalRes(name string, m spec.Monitor) *spec.Resource {
	m.Type = spec.TypeSignal
	return &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindMonitor, Name: name}, Spec: &m}
}

// finding waits until all has been done that does not wait for a time, and gives what is found of an endpoint.
func (l *lab) finding(pool, endpoint string) health.Finding {
	time.Sleep(100 * time.Millisecond) // what gathers news
	synctest.Wait()
	f := l.verdict(pool).Endpoints[endpoint]
	f.Since, f.Of = time.Time{}, ""
	return f
}

func (l *lab) wantFinding(what, pool, endpoint string, want health.Finding) {
	l.Helper()
	if got := l.finding(pool, endpoint); got != want {
		l.Errorf("%s: %+v\nwant %+v", what, got, want)
	}
}

// TestWhatIsSaidCounts: at once, and as it is said.
func TestWhatIsSaidCounts(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(signalRes("agent", spec.Monitor{}), poolRes("eu", "agent", s1, s2))
		for _, v := range []string{"ams", "fra", "sin"} {
			l.start(v)
		}
		time.Sleep(settle)
		l.want("nothing is said", "eu", "a:unknown b:unknown")
		if f := l.finding("eu", "a"); f.Reason != "not checked: no signal" {
			t.Errorf("%+v", f)
		}
		up := health.Finding{State: health.Up, Score: 1}
		for _, tc := range []struct {
			name string
			said health.Signal
			want health.Finding
		}{
			{"up", health.Signal{State: health.Up}, up},
			{"down", health.Signal{State: health.Down, By: "agent-7", Reason: "draining"},
				health.Finding{State: health.Down, Reason: "3 of 3 vantages: signal: down by agent-7: draining"}},
			{"down by another", health.Signal{State: health.Down, By: "agent-8", Reason: "broken"},
				health.Finding{State: health.Down, Reason: "3 of 3 vantages: signal: down by agent-8: broken"}},
			{"up again", health.Signal{State: health.Up}, up},
			{"a score", health.Signal{State: health.Up, Score: 0.52, By: "lb"},
				health.Finding{State: health.Up, Score: 0.5, Reason: "signal: score 0.52 by lb"}},
			{"a load", health.Signal{State: health.Up, Load: health.Load{Current: 250, Target: 100}},
				health.Finding{State: health.Up, Score: 0.4, Reason: "signal: load 250 of 100"}},
			{"less load", health.Signal{State: health.Up, Load: health.Load{Current: 90, Target: 100}},
				health.Finding{State: health.Up, Score: 0.45, Reason: ""}},
			{"a score again", health.Signal{State: health.Up, Score: 1}, up},
			{"at its capacity", health.Signal{State: health.Up, Load: health.Load{Current: 120, Target: 100, Most: 120}},
				health.Finding{State: health.Up, Score: 0.05, Reason: "signal: load 120 of 100"}},
		} {
			l.say("eu", "a", tc.said, time.Hour, 0)
			got := l.finding("eu", "a")
			if tc.want.Score == 0.45 {
				got.Reason = "" // of when it was loaded
			}
			if got != tc.want {
				t.Errorf("%s: %+v\nwant %+v", tc.name, got, tc.want)
			}
		}
		l.want("b", "eu", "a:up b:unknown")
	})
}

// TestASignalExpires: as long after it was heard as it was to hold, whatever clocks say. Then the last verdict holds, or it is down.
func TestASignalExpires(t *testing.T) {
	for _, tc := range []struct {
		silent string
		want   string
	}{{"", "a:up b:unknown"}, {spec.SilentDown, "a:down b:unknown"}} {
		for _, ahead := range []time.Duration{0, time.Hour, -time.Hour} {
			t.Run(fmt.Sprint(tc.silent, ahead), func(t *testing.T) {
				inLab(t, func(l *lab) {
					l.declare(signalRes("agent", spec.Monitor{Silent: tc.silent}), poolRes("eu", "agent", s1, s2))
					l.start("fra")
					time.Sleep(settle)
					l.say("eu", "a", health.Signal{State: health.Up}, 30*time.Second, ahead)
					time.Sleep(29 * time.Second)
					l.want("it holds", "eu", "a:up b:unknown")
					if l.finding("eu", "a").Reason != "" {
						t.Error(l.finding("eu", "a").Reason)
					}
					time.Sleep(12 * time.Second)
					l.want("silent", "eu", tc.want)
					if f := l.finding("eu", "a"); !strings.Contains(f.Reason, "no signal since ") {
						t.Errorf("%+v", f)
					}
					l.say("eu", "a", health.Signal{State: health.Up}, 30*time.Second, ahead)
					l.wantFinding("back", "eu", "a", health.Finding{State: health.Up, Score: 1})
				})
			})
		}
	}
}

// TestADownThatExpiredIsTold: it holds, and does not read as if its owner still said so.
func TestADownThatExpiredIsTold(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(signalRes("agent", spec.Monitor{}), poolRes("eu", "agent", s1))
		l.start("fra")
		time.Sleep(settle)
		l.say("eu", "a", health.Signal{State: health.Down, Reason: "boom"}, 30*time.Second, 0)
		l.wantFinding("said", "eu", "a", health.Finding{State: health.Down, Reason: "signal: down: boom"})
		time.Sleep(time.Minute)
		const want = "signal: down: boom; now not checked: no signal since "
		if f := l.finding("eu", "a"); f.State != health.Down || !strings.HasPrefix(f.Reason, want) {
			t.Errorf("%+v", f)
		}
		_, before := l.writes()
		time.Sleep(5 * time.Minute)
		if _, after := l.writes(); after != before {
			t.Errorf("%d verdicts more for the same", after-before)
		}
		l.say("eu", "a", health.Signal{State: health.Down, Reason: "boom"}, 30*time.Second, 0)
		l.wantFinding("said again", "eu", "a", health.Finding{State: health.Down, Reason: "signal: down: boom"})
	})
}

// TestAStoreThatIsAwayIsNoSilence: whoever could not say anything has as long as his word holds, once the store is heard again.
func TestAStoreThatIsAwayIsNoSilence(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(signalRes("agent", spec.Monitor{Silent: spec.SilentDown}), poolRes("eu", "agent", s1))
		l.start("fra")
		time.Sleep(settle)
		l.say("eu", "a", health.Signal{State: health.Up}, time.Minute, 0)
		l.finding("eu", "a")
		l.setStatus("stale")
		time.Sleep(5 * time.Minute)
		l.want("away", "eu", "a:up")
		l.again()
		l.setStatus("current")
		time.Sleep(55 * time.Second)
		l.want("heard again", "eu", "a:up")
		time.Sleep(20 * time.Second)
		l.want("nothing was said", "eu", "a:down")
		l.stop("fra")
		l.start("fra")
		time.Sleep(settle)
		l.want("a new prober", "eu", "a:down")
	})
}

// TestANewCheckHasItsMinute: nobody can say anything before the pool goes by it, so a live one is not taken down as it begins to.
func TestANewCheckHasItsMinute(t *testing.T) {
	inLab(t, func(l *lab) {
		l.declare(monitorRes("web", spec.Monitor{}), signalRes("job", spec.Monitor{Silent: spec.SilentDown}), poolRes("eu", "web", s1))
		l.start("fra")
		time.Sleep(settle + 10*time.Minute)
		l.want("by another monitor", "eu", "a:up")
		for _, addrs := range [][]string{{s1}, {s1, s2}} { // the pool, then an endpoint of it
			was := strings.Repeat(" b:unknown", len(addrs)-1)
			l.declare(poolRes("eu", "job", addrs...))
			time.Sleep(30 * time.Second)
			l.declare(poolRes("other", "job", s3)) // what is applied beside does not begin it anew
			time.Sleep(25 * time.Second)
			l.want("as before", "eu", "a:up"+was)
			l.say("eu", "a", health.Signal{State: health.Up}, time.Hour, 0)
		}
		time.Sleep(20 * time.Second)
		l.want("nothing was said of b", "eu", "a:up b:down")
	})
}

// TestABrokenAgentIsHeld: three vantages of three networks prove nothing where all of them repeat what one agent says.
func TestABrokenAgentIsHeld(t *testing.T) {
	inLab(t, func(l *lab) {
		pool, _ := sized("only", 2, 6)
		pool.Spec.(*spec.Pool).Monitor = "agent"
		l.declare(signalRes("agent", spec.Monitor{}), pool, rulesRes("web", []string{"only"}))
		for i, v := range []string{"ams", "fra", "sin"} {
			l.where[v] = health.Vantage{Network: fmt.Sprint("AS", i)}
			l.start(v)
		}
		names := strings.Split("abcdef", "")
		for _, name := range names {
			l.say("only", name, health.Signal{State: health.Up}, time.Hour, 0)
		}
		time.Sleep(settle)
		l.want("well", "only", "a:up b:up c:up d:up e:up f:up")
		l.say("only", "a", health.Signal{State: health.Down}, time.Hour, 0)
		time.Sleep(time.Second)
		l.want("one", "only", "a:down b:up c:up d:up e:up f:up")
		for _, name := range names[1:5] {
			l.say("only", name, health.Signal{State: health.Down}, time.Hour, 0)
		}
		time.Sleep(time.Second)
		l.want("most", "only", "a:up b:up c:up d:up e:up f:up frozen")
		if v := l.verdict("only"); !strings.HasSuffix(v.Cause, "; a signal alone says so") {
			t.Error(v.Cause)
		}
	})
}

// TestAnAgentBesideAnotherCheck: the server is asked, and its agent can take it out; what it says is no proof, what is seen is.
func TestAnAgentBesideAnotherCheck(t *testing.T) {
	inLab(t, func(l *lab) {
		pool := poolRes("eu", "", s1)
		pool.Spec.(*spec.Pool).Checks = &spec.Checks{Of: []string{"web"}, Critical: []string{"agent"}}
		l.declare(pool, monitorRes("web", spec.Monitor{}), signalRes("agent", spec.Monitor{}))
		l.start("fra")
		time.Sleep(settle)
		if f := l.finding("eu", "a"); f.State != health.Unknown || f.Reason != "agent (critical): not checked: no signal" {
			t.Errorf("%+v", f)
		}
		l.say("eu", "a", health.Signal{State: health.Up}, time.Hour, 0)
		l.wantFinding("both", "eu", "a", health.Finding{State: health.Up, Score: 1})
		l.say("eu", "a", health.Signal{State: health.Down}, time.Hour, 0)
		l.wantFinding("the agent", "eu", "a", health.Finding{State: health.Down, Reason: "agent (critical): signal: down"})
	})
}

// TestWhoOnlyHearsSeesNothing: what owners say is up makes no witness of a prober whose link is broken.
func TestWhoOnlyHearsSeesNothing(t *testing.T) {
	up := health.Sight{State: health.Up, Score: 1}
	said, blind := up, up
	said.Said, blind.Blind = true, true
	sights := map[string]health.Sight{"a": up, "b": said, "c": blind, "d": {State: health.Down}}
	if n := seenUp(health.Observation{Endpoints: sights}); n != 1 {
		t.Errorf("it sees %d", n)
	}
}

// TestFamiliesApartHaveOneOwner: what he says is of both.
func TestFamiliesApartHaveOneOwner(t *testing.T) {
	inLab(t, func(l *lab) {
		pool := poolRes("eu", "agent", s1)
		p := pool.Spec.(*spec.Pool)
		p.Apart, p.Endpoints[0].Addresses = true, append(p.Endpoints[0].Addresses, netip.MustParseAddr("2001:db8::1"))
		l.declare(signalRes("agent", spec.Monitor{}), pool)
		l.start("fra")
		time.Sleep(settle)
		l.say("eu", "a", health.Signal{State: health.Down}, time.Hour, 0)
		l.finding("eu", "a")
		l.want("both", "eu", "a/ipv4:down a/ipv6:down")
	})
}
