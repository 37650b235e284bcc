package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/store/state"
)

// paused has a canary whose answers moved as planned, and that was paused and resumed since.
func paused(t *testing.T, meanwhile func(*play)) *play {
	t.Helper()
	p := newPlay(t)
	p.idle = everybody
	p.serve()
	p.head(2)
	p.aim.Rollout.Planned = []state.Flow{{Service: "web", From: "us", To: "eu", Part: 0.9}}
	p.serve()
	p.after(time.Second)
	p.answer("canary-1", state.Counts{Answers: 10_000, Pools: map[string]uint64{"web/eu": 9500, "web/us": 500}})
	for _, action := range []string{"pause", "resume"} {
		if err := p.act(action, ""); err != nil {
			t.Fatal(err)
		}
		if action == "pause" {
			meanwhile(p)
		}
	}
	p.after(time.Second)
	return p
}

// TestAPauseForgetsNoBefore: the plan is of what the group gave before, and not of what it gives since.
func TestAPauseForgetsNoBefore(t *testing.T) {
	p := paused(t, func(*play) {})
	if r := p.aim.Rollout; r.Base["canary-1"].Answers != 10_000 || r.Pools["web/us"] != 4000 || len(r.Others) != 2 || r.Resumed {
		t.Fatalf("after the pause it knows %+v", r)
	}
	p.answer("canary-1", state.Counts{Answers: 10_000, Pools: map[string]uint64{"web/eu": 9500, "web/us": 500}})
	p.after(30 * time.Second)
	p.expect(state.RolloutSoaking, 2, 1, 1)
	p.after(32 * time.Second)
	p.expect(state.RolloutSoaking, 2, 2, 1)
}

// TestARestartInAPauseIsNoFault: what that edge gave before is gone, and nobody can tell of shifts.
func TestARestartInAPauseIsNoFault(t *testing.T) {
	p := paused(t, func(p *play) {
		for _, id := range []string{"canary-1", "fra-1"} {
			p.edges[id].Status.Started = began.Add(time.Hour)
			p.s.counts[id] = state.Counts{Started: began.Add(time.Hour), Answers: 50, Pools: map[string]uint64{"web/eu": 50}}
		}
	})
	p.expect(state.RolloutSoaking, 2, 1, 1)
	r := p.aim.Rollout
	if r.Base["canary-1"].Answers != 50 || r.Others["fra-1"].Answers != 50 || r.Others["syd-1"].Answers != 10_000 || !r.PoolsLost {
		t.Errorf("after the pause it knows %+v", r)
	}
	p.answer("canary-1", state.Counts{Answers: 1000, Pools: map[string]uint64{"web/us": 1000}})
	p.after(time.Second)
	p.expect(state.RolloutSoaking, 2, 1, 1)
	if u := p.aim.Rollout.Untold; len(u) == 0 || !strings.HasPrefix(u[len(u)-1], "gates.shift cannot tell what the group gave before") {
		t.Errorf("untold: %q", u)
	}
	p.edges["canary-1"].Status.Started = began.Add(2 * time.Hour) // and after it, it is one
	p.after(time.Second)
	p.expect(state.RolloutStopped, 1, 1, 1)
}

// TestPoolsOfALateEdgeAreNoted: also where the edges before it had none, which is stored as nothing.
func TestPoolsOfALateEdgeAreNoted(t *testing.T) {
	r := &state.Progress{Base: map[string]state.Counts{"canary-1": {}}}
	note(r, &sight{counts: map[string]state.Counts{"canary-2": {Pools: map[string]uint64{"web/eu": 7}}}}, true)
	if r.Pools["web/eu"] != 7 || len(r.Base) != 2 {
		t.Errorf("%+v", r)
	}
}

// TestAPlanEndsWithItsRollout: it holds for all groups, and no longer.
func TestAPlanEndsWithItsRollout(t *testing.T) {
	for action, want := range map[string]string{"abort": state.RolloutStopped, "promote": state.RolloutDone} {
		p := paused(t, func(*play) {})
		p.aim.Rollout.LeftOut = []string{"other"}
		for n := 1; p.aim.Rollout.State == state.RolloutSoaking; n++ {
			if r := p.aim.Rollout; len(r.Planned) != 1 || len(r.LeftOut) != 1 {
				t.Errorf("before %s %d it is %+v", action, n, r)
			}
			if err := p.act(action, ""); err != nil {
				t.Fatal(err)
			}
		}
		if r := p.aim.Rollout; r.State != want || len(r.Planned) > 0 || len(r.LeftOut) > 0 {
			t.Errorf("after %s it is %+v", action, r)
		}
	}
}
