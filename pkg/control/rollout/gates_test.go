package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/store/state"
)

// TestTooFewQueriesAreNoSuccess: nor a failure. The group soaks for twice its time, and what is said of it then is that nobody could tell.
func TestTooFewQueriesAreNoSuccess(t *testing.T) {
	p := newPlay(t)
	p.idle = everybody
	p.serve()
	p.head(2)
	p.serve()
	p.after(time.Second)
	p.answer("canary-1", state.Counts{Answers: 99, ServFail: 99, Pools: map[string]uint64{"web/eu": 99}})
	p.after(118 * time.Second)
	p.expect(state.RolloutSoaking, 2, 1, 1)
	if u := p.aim.Rollout.Untold; len(u) != 2 || u[0] != "gates.servfail has too few queries to tell: fewer than 100" {
		t.Errorf("untold: %q", u)
	}
	p.after(3 * time.Second)
	p.expect(state.RolloutSoaking, 2, 2, 1)
	if why := p.aim.Rollout.Why; !strings.HasPrefix(why, "group canary was not judged: gates.servfail has too few") {
		t.Errorf("why: %s", why)
	}
	late := newPlay(t) // what comes in the longer time counts
	late.idle = everybody
	late.serve()
	late.head(2)
	late.serve()
	late.after(90 * time.Second)
	late.expect(state.RolloutSoaking, 2, 1, 1)
	late.answer("canary-1", state.Counts{Answers: 1000, ServFail: 20})
	late.after(time.Second)
	late.expect(state.RolloutStopped, 1, 1, 1)
}

// TestAnEdgeThatTellsNothingBlindsNoOther: SERVFAIL and NXDOMAIN are judged by the others, and shifts, of which the sum is one, are not.
func TestAnEdgeThatTellsNothingBlindsNoOther(t *testing.T) {
	p := &state.Progress{Base: map[string]state.Counts{"a": {Answers: 1000}, "b": {Answers: 1000, ServFail: 1000}},
		Pools: map[string]uint64{"web/eu": 1000, "web/us": 1000}}
	for _, c := range []struct {
		is          state.Counts
		why, untold string
	}{
		{state.Counts{Answers: 2000, ServFail: 100}, "SERVFAIL is 10.0% of 1000 answers, and was 0.0%", ""},
		{state.Counts{Answers: 2000, NXDomain: 100}, "NXDOMAIN is 10.0% of 1000 answers, and was 0.0%", ""},
		{state.Counts{Answers: 2000, Pools: map[string]uint64{"web/eu": 9000}}, "", "gates.shift cannot tell: edge b does not"},
	} {
		why, untold := countsFailed(&threeGroups.Gates, p, &sight{counts: map[string]state.Counts{"a": c.is}})
		if got := strings.Join(untold, "; "); !strings.HasPrefix(why, c.why) || !strings.HasPrefix(got, c.untold) ||
			(why == "") != (c.why == "") || (got == "") != (c.untold == "") {
			t.Errorf("%+v: %q, %q", c.is, why, got)
		}
	}
}

// TestAGroupWithoutHistory is compared with those that have not got the generation, in the same time.
func TestAGroupWithoutHistory(t *testing.T) {
	for _, c := range []struct {
		name           string
		canary, others state.Counts
		want, why      string
	}{
		{"as elsewhere", state.Counts{Answers: 1000, NXDomain: 300}, state.Counts{Answers: 1000, NXDomain: 290}, state.RolloutSoaking, ""},
		{"more than elsewhere", state.Counts{Answers: 1000, NXDomain: 300}, state.Counts{Answers: 1000, NXDomain: 200},
			state.RolloutStopped,
			"NXDOMAIN is 30.0% of 1000 answers, and is 20.0% in groups that have not got it: gates.nxdomain allows 5% more"},
		{"nobody knows", state.Counts{Answers: 1000, NXDomain: 300}, state.Counts{Answers: 40}, state.RolloutSoaking,
			"gates.nxdomain has too few queries of before, and of other groups, to compare with: fewer than 100"},
		{"SERVFAIL elsewhere, too", state.Counts{Answers: 1000, ServFail: 300}, state.Counts{Answers: 1000, ServFail: 300},
			state.RolloutSoaking, ""},
		{"SERVFAIL is never right", state.Counts{Answers: 1000, ServFail: 20}, state.Counts{}, state.RolloutStopped,
			"SERVFAIL is 2.0% of 1000 answers, and should be 0.0%: gates.servfail allows 1% more"},
	} {
		p := newPlay(t)
		p.idle = everybody
		p.s.counts = map[string]state.Counts{"canary-1": {Started: began, Answers: 99},
			"fra-1": {Started: began, Answers: 5000, ServFail: 4000},
			"syd-1": {Started: began}} // what others gave before counts for nothing
		p.serve()
		p.head(2)
		p.serve()
		p.after(time.Second)
		p.answer("canary-1", c.canary)
		p.answer("fra-1", c.others)
		p.after(time.Second)
		at := []state.Generation{2, 1, 1}
		if c.want == state.RolloutStopped {
			at[0] = 1
		}
		p.expect(c.want, at...)
		if got := p.aim.Rollout.Why + strings.Join(p.aim.Rollout.Untold, "; "); got != c.why {
			t.Errorf("%s: %q, want %q", c.name, got, c.why)
		}
	}
}

// TestSlowerAnswersFail where they are slower again and again; a bad moment holds the group, and no more.
func TestSlowerAnswersFail(t *testing.T) {
	fast := func() *play {
		p := newPlay(t)
		r := *threeGroups
		r.Gates.Latency = "50%"
		p.aim.InForce, p.rules.own, p.aim.Rollout.Brings = &r, &r, &r
		for id, c := range p.s.counts {
			c.Nanos = 1000
			p.s.counts[id] = c
		}
		p.serve()
		p.head(2)
		p.serve()
		return p
	}
	takes := func(p *play, nanos uint64, times time.Duration) {
		c := p.s.counts["canary-1"]
		c.Nanos = nanos
		p.s.counts["canary-1"] = c
		p.after(times * time.Second)
	}
	p := fast()
	takes(p, 1500, 10)
	p.expect(state.RolloutSoaking, 2, 1, 1)
	takes(p, 1501, 4)
	p.expect(state.RolloutSoaking, 2, 1, 1)
	takes(p, 1400, 1)
	takes(p, 1501, 4)
	p.expect(state.RolloutSoaking, 2, 1, 1)
	takes(p, 1501, 1)
	p.expect(state.RolloutStopped, 1, 1, 1)
	if got := p.aim.Rollout.Why; got != "an answer takes edge canary-1 1.5 µs, and took 1.0 µs: gates.latency allows 50% more" {
		t.Errorf("why: %s", got)
	}
	late := fast()
	takes(late, 1000, 59)
	takes(late, 1600, 3) // its time is over, and it may be slow
	late.expect(state.RolloutSoaking, 2, 1, 1)
	takes(late, 1000, 2)
	late.expect(state.RolloutSoaking, 2, 2, 1)
	nobody := fast()
	c := nobody.aim.Rollout.Base["canary-1"]
	c.Nanos = 0
	nobody.aim.Rollout.Base["canary-1"] = c
	takes(nobody, 5000, 90)
	nobody.expect(state.RolloutSoaking, 2, 1, 1)
	if u := nobody.aim.Rollout.Untold; len(u) != 1 || !strings.HasPrefix(u[0], "gates.latency has no edge that can tell") {
		t.Errorf("untold: %q", u)
	}
}

// TestAShiftIsComparedWithItsPlan: what was planned may move, and what was not may not.
func TestAShiftIsComparedWithItsPlan(t *testing.T) {
	planned := []state.Flow{{Service: "web", From: "us", To: "eu", Part: 0.9}, {Service: "other", From: "eu", To: "us", Part: 1}}
	for _, c := range []struct {
		name    string
		planned []state.Flow
		eu, us  uint64
		why     string
	}{
		{"as planned", planned, 950, 50, ""},
		{"nearly", planned, 780, 220, ""},
		{"not at all", planned, 500, 500, "45% of the answers of service web come from other pools than was planned: gates.shift allows"},
		{"the other way", planned, 50, 950, "90% of the answers"},
		{"nothing was planned", nil, 950, 50, "45% of the answers of service web moved between its pools: gates.shift allows 20%"},
		{"from nowhere", []state.Flow{{Service: "web", To: "eu", Part: 1}}, 750, 250, ""},
		{"from nowhere, and none came", []state.Flow{{Service: "web", To: "eu", Part: 1}}, 500, 500, "25% of"},
		{"from nowhere and to nowhere", []state.Flow{{Service: "web", To: "eu", Part: 0.5}, {Service: "web", From: "us", Part: 1}},
			1000, 0, ""},
		{"to nowhere", []state.Flow{{Service: "web", From: "us", Part: 1}}, 1000, 0, ""},
		{"all to nowhere", []state.Flow{{Service: "web", From: "us", Part: 1}, {Service: "web", From: "eu", Part: 1}}, 500, 500, "100% of"},
	} {
		p := newPlay(t)
		p.idle = everybody
		p.serve()
		p.head(2)
		p.aim.Rollout.Planned = c.planned
		p.serve()
		p.after(time.Second)
		p.answer("canary-1", state.Counts{Answers: 1000, NXDomain: 100, Pools: map[string]uint64{"web/eu": c.eu, "web/us": c.us}})
		p.after(time.Second)
		if got := p.aim.Rollout.Why; !strings.HasPrefix(got, c.why) || c.why == "" && got != "" {
			t.Errorf("%s: %q, want %q", c.name, got, c.why)
		}
	}
}
