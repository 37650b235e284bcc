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
