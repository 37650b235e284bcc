package prober

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// A judge that takes over while the brake holds a pool without regions knows in each region since when: what failed then counts there, too.
func TestANewJudgeKnowsInRegionsSinceWhenTheBrakeHolds(t *testing.T) {
	for _, changes := range []bool{false, true} {
		t.Run(fmt.Sprint("changes ", changes), func(t *testing.T) {
			inLab(t, func(l *lab) {
				lone, ofLone := sized("lone", 2, 4)
				other, ofOther := sized("other", 3, 5)
				here, ofHere := sized("here", 4, 4)
				l.declare(append(withRegions(here), lone, other, monitorRes("m", spec.Monitor{}), rulesRes("own", []string{"lone"}),
					rulesRes("web", []string{"here", "other"}))...)
				all := []string{"ams", "fra", "nrt", "sin"}
				for i, v := range all {
					l.where[v] = health.Vantage{Region: []string{"EU", "AS"}[i/2], Network: "AS1"}
					l.start(v)
				}
				time.Sleep(settle)
				for _, v := range all {
					l.setCut(true, v, slices.Concat(ofLone, ofOther[:3])...)
				}
				time.Sleep(settle)
				l.want("the brake holds", "lone", "a:up b:up c:up d:up frozen")
				l.want("it has a refuge", "other", "a:down b:down c:down d:up e:up")
				if changes {
					judge := l.judging()
					l.stop(judge)
					l.start(judge)
				}
				time.Sleep(settle)
				for _, v := range all {
					l.setCut(true, v, ofHere...)
				}
				time.Sleep(settle)
				for _, of := range []string{"here", "here@EU", "here@AS"} {
					l.want("all of it fails", of, "a:up b:up c:up d:up frozen")
				}
			})
		})
	}
}

// What says no time is as old as the term: an age without bounds would make all that failed old, and what is held proven.
func TestAgesOfWhatSaysNoTime(t *testing.T) {
	now := time.Now()
	a := newAges(now.Add(-time.Minute), now)
	for what, age := range map[string]time.Duration{
		"frozen": a.frozen("shop@EU", time.Time{}),
		"held":   a.heldFor(health.Verdict{}),
		"down":   a.down(health.PoolID{}, "a", health.Finding{}),
	} {
		if age > time.Hour {
			t.Errorf("%s for %v", what, age)
		}
	}
	if age := a.frozen("shop", now.Add(-time.Hour)); age < 59*time.Minute {
		t.Errorf("frozen for %v", age)
	}
}
