package prober

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
)

// out tells of pool eu: "in", "out" or "observed".
func (l *lab) out() string {
	switch out := l.verdict("eu").Out; {
	case out == nil:
		return "in"
	case out.Observed:
		return "observed"
	}
	return "out"
}

func (l *lab) wantOut(what, want string) {
	l.Helper()
	if time.Sleep(settle); l.out() != want {
		l.Errorf("%s: %s, want %s", what, l.out(), want)
	}
}

// TestAPoolThatFailedStaysOut: through a new judge, until a person resumes it, which does nothing while it is down; by the modes.
func TestAPoolThatFailedStaysOut(t *testing.T) {
	inLab(t, func(l *lab) {
		eu := poolRes("eu", "m", "198.51.100.1", "198.51.100.2")
		eu.Spec.(*spec.Pool).Resume = spec.ResumeManual
		l.declare(monitorRes("m", spec.Monitor{Quorum: 1}), eu, rulesRes("web", []string{"eu"})) // nyc alone decides
		resume := store.Release{Tenant: "shop", Pool: "eu", Reason: "checked", Resume: true}
		l.start("fra")
		l.wantOut("all is well", "in")
		l.set(probe.Failed, "198.51.100.1")
		l.wantOut("one is left", "in")
		l.set(probe.Failed, "198.51.100.2")
		l.wantOut("it failed", "out")
		since := l.verdict("eu").Out.Since
		l.release(resume)
		l.wantOut("it is down still", "out")
		l.set(probe.Passed, "198.51.100.1", "198.51.100.2")
		l.wantOut("it is up", "out")
		l.want("its endpoints are", "eu", "a:up b:up")
		l.stop("fra")
		l.setAlive("fra", false)
		l.start("nyc")
		l.wantOut("another judge", "out")
		if now := l.verdict("eu").Out.Since; !now.Equal(since) {
			t.Errorf("since %s, was %s", now, since)
		}
		l.release(store.Release{Tenant: "shop", Reason: "a release of the brake"})
		l.wantOut("another word", "out")
		l.release(resume)
		l.wantOut("resumed", "in")
		if _, left := l.releasedSo(); len(left) != 0 {
			t.Errorf("left %+v", left)
		}
		observed := *eu.Spec.(*spec.Pool)
		observed.Modes = &spec.PoolModes{Resume: spec.ModeObserve}
		l.declare(&spec.Resource{Key: eu.Key, Spec: &observed})
		l.set(probe.Failed, "198.51.100.1", "198.51.100.2")
		l.wantOut("it failed again", "observed")
		l.set(probe.Passed, "198.51.100.1", "198.51.100.2")
		l.wantOut("and is up", "observed")
		l.declare(eu)
		l.wantOut("what was observed does not act", "in")
	})
}

// TestAskedForAlone: a verdict tells of doubts and recoveries where somebody reads of them, and nowhere else.
func TestAskedForAlone(t *testing.T) {
	for _, asks := range []bool{false, true} {
		inLab(t, func(l *lab) {
			eu, web := poolRes("eu", "m", "198.51.100.1", "198.51.100.2"), rulesRes("web", []string{"eu"})
			if asks {
				five := spec.Duration(5 * time.Second)
				eu.Spec.(*spec.Pool).SlowStart, web.Spec.(*spec.Service).TTLUnsure = spec.Duration(time.Minute), &five
			}
			l.declare(monitorRes("m", spec.Monitor{Fall: 5, Recheck: spec.Duration(time.Second)}), eu, web)
			l.start("fra")
			time.Sleep(settle)
			l.set(probe.Failed, "198.51.100.1")
			time.Sleep(2 * time.Second)
			if f := l.verdict("eu").Endpoints["a"]; f.State != health.Up || f.Unsure != asks {
				t.Errorf("asked %v, amid its thresholds: %+v", asks, f)
			}
			time.Sleep(settle)
			l.set(probe.Passed, "198.51.100.1")
			time.Sleep(settle)
			if f := l.verdict("eu").Endpoints["a"]; f.State != health.Up || f.Unsure || f.Recovered != asks {
				t.Errorf("asked %v, recovered: %+v", asks, f)
			}
		})
	}
}

// TestDoubtsAreWrittenSeldom: whatever share of an endpoint's checks fails, at one a second, doubts add at most two observations and two
// verdicts a minute.
func TestDoubtsAreWrittenSeldom(t *testing.T) {
	const hours = 1
	for _, loss := range []float64{0, 0.01, 0.05, 0.2, 0.5} {
		count := func(asks bool) (obs, verdicts int) {
			inLab(t, func(l *lab) {
				rnd := rand.New(rand.NewPCG(1, uint64(loss*1000)))
				eu, web := poolRes("eu", "m", "198.51.100.1", "198.51.100.2"), rulesRes("web", []string{"eu"})
				if five := spec.Duration(5 * time.Second); asks {
					web.Spec.(*spec.Service).TTLUnsure = &five
				}
				l.declare(monitorRes("m", spec.Monitor{}), eu, web)
				l.start("fra")
				time.Sleep(settle)
				obsBefore, verdictsBefore := l.writes()
				for range hours * 3600 {
					l.set(map[bool]probe.Outcome{true: probe.Failed, false: probe.Passed}[rnd.Float64() < loss], "198.51.100.1")
					time.Sleep(time.Second)
				}
				obs, verdicts = l.writes()
				obs, verdicts = obs-obsBefore, verdicts-verdictsBefore
			})
			return obs, verdicts
		}
		obs, verdicts := count(false)
		obsAsked, verdictsAsked := count(true)
		told := fmt.Sprintf("loss %.2f: %d observations and %d verdicts an hour, %d and %d with doubts", loss, obs, verdicts, obsAsked,
			verdictsAsked)
		t.Log(told)
		if most := 2 * 60 * hours; obsAsked > obs+most || verdictsAsked > verdicts+most || loss > 0 && obsAsked == obs {
			t.Error(told)
		}
	}
}
