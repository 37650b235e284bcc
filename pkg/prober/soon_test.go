package prober

import (
	"testing"
	"time"

	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
)

// TestADeathIsKnownSoon: with checks every second and fall 2 the verdict comes within an interval and a fifth, with their jitter and the
// way of the news; so does recovery. It took two intervals.
func TestADeathIsKnownSoon(t *testing.T) {
	inLab(t, func(l *lab) {
		rnd := gtmtest.Random(t)
		l.declare(monitorRes("m", spec.Monitor{Fall: 2, Rise: 2}), poolRes("eu", "m", "198.51.100.1", "198.51.100.2"),
			rulesRes("web", []string{"eu"}))
		l.start("fra")
		time.Sleep(settle)
		var most time.Duration
		for range 100 {
			time.Sleep(11*time.Minute + time.Duration(rnd.IntN(int(time.Second)))) // before is forgotten
			for _, turn := range []struct {
				outcome probe.Outcome
				state   health.State
			}{{probe.Failed, health.Down}, {probe.Passed, health.Up}} {
				began := time.Now()
				l.set(turn.outcome, "198.51.100.1")
				for l.verdict("eu").Endpoints["a"].State != turn.state && time.Since(began) < time.Minute {
					time.Sleep(5 * time.Millisecond)
				}
				most = max(most, time.Since(began))
				time.Sleep(time.Second + time.Duration(rnd.IntN(int(time.Second))))
			}
		}
		if t.Log("at most", most); most > 1300*time.Millisecond {
			t.Errorf("it took %s", most)
		}
	})
}

// TestScoresAsTheMonitorSays: what checks take counts where the monitor has a target, and nothing does where it wants plain states.
func TestScoresAsTheMonitorSays(t *testing.T) {
	for _, tc := range []struct {
		monitor spec.Monitor
		score   float64
	}{
		{spec.Monitor{}, 1},
		{spec.Monitor{Latency: spec.Duration(100 * time.Millisecond)}, 0.5},
		{spec.Monitor{Latency: spec.Duration(200 * time.Millisecond)}, 1},
	} {
		inLab(t, func(l *lab) {
			l.result["198.51.100.1"] = probe.Result{Outcome: probe.Passed, Latency: 200 * time.Millisecond}
			l.declare(monitorRes("m", tc.monitor), poolRes("eu", "m", "198.51.100.1", "198.51.100.2"), rulesRes("web", []string{"eu"}))
			l.start("fra")
			time.Sleep(time.Minute)
			if f := l.verdict("eu").Endpoints["a"]; f.State != health.Up || f.Score != tc.score {
				t.Errorf("%+v: %+v", tc.monitor, f)
			}
			tc.monitor = spec.Monitor{Score: spec.ScorePlain, Fall: 10, Recheck: spec.Duration(time.Second)}
			l.declare(monitorRes("m", tc.monitor))
			time.Sleep(time.Minute)
			for i := range 20 {
				l.set(map[bool]probe.Outcome{true: probe.Failed, false: probe.Passed}[i%2 == 0], "198.51.100.1")
				time.Sleep(time.Second)
				if f := l.verdict("eu").Endpoints["a"]; f.State != health.Up || f.Score != 1 {
					t.Errorf("%+v: %+v", tc.monitor, f)
				}
			}
		})
	}
}
