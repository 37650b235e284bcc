package rollout

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

var (
	began       = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	threeGroups = &spec.Rollout{Groups: []spec.EdgeGroup{{Name: "canary", Edges: []string{"canary-*"}, Soak: spec.Duration(time.Minute)},
		{Name: "eu", Edges: []string{"fra-*"}, Soak: spec.Duration(2 * time.Minute)}, {Name: "rest", Soak: spec.Duration(time.Minute)}},
		Gates: spec.Gates{ServFail: "1%", NXDomain: "5%", Shift: "20%"}}
)

func mark(g state.Generation) state.Mark { return state.Mark{Generation: g, ID: string(rune('a' + g))} }

// play is a rollout of the shop, by virtual time.
type play struct {
	t     *testing.T
	now   time.Time
	aim   state.Aim
	rules rules
	idle  map[string]bool // edges that nobody asks
	edges map[string]*api.Edge
	s     sight
}

// newPlay has three edges, one in each group, and generation 1 everywhere.
func newPlay(t *testing.T) *play {
	p := &play{t: t, now: began, aim: state.Aim{Tenant: "shop"}, edges: map[string]*api.Edge{}, rules: rules{own: threeGroups}}
	p.s.counts = map[string]state.Counts{}
	for _, id := range []string{"canary-1", "fra-1", "syd-1"} {
		p.edges[id] = &api.Edge{ID: id, State: api.EdgeAlive, Status: &api.EdgeStatus{ID: id, Started: began,
			Source: api.Source{State: "current"}, Tenants: map[string]uint64{}, IDs: map[string]string{}}}
		p.s.counts[id] = state.Counts{Started: began, Answers: 10_000, NXDomain: 1000,
			Pools: map[string]uint64{"web/eu": 4000, "web/us": 4000}}
	}
	p.head(1)
	return p
}

func (p *play) head(g state.Generation) {
	p.follow(g, func(state.Mark) bool { return false })
	p.look()
}

// follow has the driver hear of a generation.
func (p *play) follow(g state.Generation, passes func(state.Mark) bool) {
	p.rules.head = mark(g)
	r := p.rules
	follow(&p.aim, &r, passes, p.now)
}

// act has a person act.
func (p *play) act(action, reason string) error {
	newest := state.TenantState{Head: p.rules.head.Generation, ID: p.rules.head.ID}
	if p.rules.own != nil {
		newest.Resources = state.NewResources(state.Version{Generation: newest.Head, Resource: &spec.Resource{Key: spec.Key{Tenant: "shop",
			Kind: spec.KindRollout, Name: "shop"}, Spec: p.rules.own}})
	}
	return Act(&p.aim, &Order{Action: action, By: "ann", Reason: reason, Newest: newest}, p.now)
}

// look has the driver look once.
func (p *play) look() {
	p.s.edges = nil
	for _, id := range []string{"canary-1", "fra-1", "syd-1"} {
		p.s.edges = append(p.s.edges, *p.edges[id])
	}
	if p.aim.Rollout == nil || p.aim.Rollout.State != state.RolloutSoaking {
		return
	}
	s := p.s
	s.counts, s.others = map[string]state.Counts{}, map[string]state.Counts{} // those of the group, and of later ones, are asked
	for id, c := range p.s.counts {
		switch group := p.aim.Group(id); {
		case group == p.aim.Rollout.Stage:
			s.counts[id] = c
		case group > p.aim.Rollout.Stage:
			s.others[id] = c
		}
	}
	watch(&p.aim, &s, p.now)
}

// serve has all edges serve what they are pointed at.
func (p *play) serve() {
	for id, e := range p.edges {
		if e.Status != nil {
			at := p.aim.Groups[p.aim.Group(id)].At
			e.Status.Tenants["shop"], e.Status.IDs["shop"] = uint64(at.Generation), at.ID
		}
	}
}

// after lets time go by, and looks each second.
func (p *play) after(d time.Duration) {
	for end := p.now.Add(d); p.now.Before(end); {
		p.now = p.now.Add(time.Second)
		p.clients()
		p.look()
	}
}

// clients ask each edge 100 times a second, a tenth of them for names that are not there.
func (p *play) clients() {
	for id, c := range p.s.counts {
		if p.idle[id] {
			continue
		}
		pools := map[string]uint64{"web/eu": c.Pools["web/eu"] + 40, "web/us": c.Pools["web/us"] + 40}
		c.Answers, c.NXDomain, c.Pools = c.Answers+100, c.NXDomain+10, pools
		p.s.counts[id] = c
	}
}

// expect compares the generations of the groups, in order.
func (p *play) expect(want string, at ...state.Generation) {
	p.t.Helper()
	var got []state.Generation
	for _, g := range p.aim.Groups {
		got = append(got, g.At.Generation)
	}
	if r := p.aim.Rollout; r.State != want || !slices.Equal(got, at) {
		p.t.Fatalf("it is %s at %v (%s; waits for %q), want %s at %v", r.State, got, r.Why, r.Waits, want, at)
	}
}

func TestGroupsGetAGenerationInOrder(t *testing.T) {
	p := newPlay(t)
	p.expect(state.RolloutDone, 1, 1, 1)
	p.serve()
	p.head(2)
	p.expect(state.RolloutSoaking, 2, 1, 1)
	p.after(time.Hour)
	p.expect(state.RolloutSoaking, 2, 1, 1) // the canary does not serve it yet
	if w := p.aim.Rollout.Waits; len(w) != 1 || !strings.Contains(w[0], "edge canary-1 answers from shop@1") {
		t.Errorf("it waits for %q", w)
	}
	p.serve()
	p.after(30 * time.Second)
	p.head(3) // what comes meanwhile waits
	p.expect(state.RolloutSoaking, 2, 1, 1)
	p.after(33 * time.Second)
	p.expect(state.RolloutSoaking, 2, 2, 1)
	p.serve()
	p.after(2*time.Minute + 3*time.Second)
	p.expect(state.RolloutSoaking, 2, 2, 2)
	p.serve()
	p.after(time.Minute + 2*time.Second)
	p.expect(state.RolloutDone, 2, 2, 2)
	p.head(3)
	p.expect(state.RolloutSoaking, 3, 2, 2)
}

func TestAFailedGateGoesBack(t *testing.T) {
	for _, c := range []struct {
		name, why string
		fail      func(p *play)
	}{
		{"refused", "edge canary-1 refuses it: shop/Service/web: it would be empty", func(p *play) {
			p.edges["canary-1"].Status.Held = []api.HeldTenant{{Tenant: "shop", Refused: 2, Why: "shop/Service/web: it would be empty"}}
		}},
		{"crashed", "edge canary-1 crashed on it", func(p *play) {
			p.edges["canary-1"].Status.Held = []api.HeldTenant{{Tenant: "shop", Refused: 2, Crashed: true}}
		}},
		{"restarted", "edge canary-1 has restarted", func(p *play) { p.edges["canary-1"].Status.Started = began.Add(time.Hour) }},
		{"silent", "edge canary-1 is silent", func(p *play) {
			p.edges["canary-1"].Status, p.edges["canary-1"].State = nil, api.EdgeSilent
		}},
		{"broken", "edge canary-1 does not serve shop/Service/web as declared: no pool", func(p *play) {
			p.edges["canary-1"].Status.Broken = []api.Broken{{Resource: "shop/Service/old"},
				{Resource: "shop/Service/web", Error: "no pool"}}
			p.edges["fra-1"].Status.Broken = []api.Broken{{Resource: "shop/Service/old"}}
		}},
		{"SERVFAIL", "SERVFAIL is 2.0% of 1000 answers, and was 0.0%: gates.servfail allows 1% more", func(p *play) {
			c := p.s.counts["canary-1"]
			c.Answers, c.ServFail = c.Answers+1000, 20
			p.s.counts["canary-1"] = c
		}},
		{"NXDOMAIN", "NXDOMAIN is 16.0% of 1000 answers, and was 10.0%", func(p *play) {
			c := p.s.counts["canary-1"]
			c.Answers, c.NXDomain = c.Answers+1000, c.NXDomain+160
			p.s.counts["canary-1"] = c
		}},
		{"shift", "30% of the answers of service web moved", func(p *play) {
			c := p.s.counts["canary-1"]
			c.Pools = map[string]uint64{"web/eu": 4800, "web/us": 4200}
			p.s.counts["canary-1"] = c
		}},
		{"others", "the query of gates.prometheus gives 7", func(p *play) {
			p.s.failed = []string{"the query of gates.prometheus gives 7: at most 1 is allowed"}
		}},
	} {
		p := newPlay(t)
		p.idle = everybody
		p.serve()
		p.head(2)
		p.serve()
		p.after(10 * time.Second)
		c.fail(p)
		p.after(time.Second)
		p.expect(state.RolloutStopped, 1, 1, 1)
		if !strings.Contains(p.aim.Rollout.Why, c.why) {
			t.Errorf("%s: %q", c.name, p.aim.Rollout.Why)
		}
		p.s.failed = nil
		p.head(2)
		p.expect(state.RolloutStopped, 1, 1, 1) // not again by itself
		p.head(3)
		p.expect(state.RolloutSoaking, 3, 1, 1)
	}
}

var everybody = map[string]bool{"canary-1": true, "fra-1": true, "syd-1": true}

// answer has an edge count more answers.
func (p *play) answer(edge string, add state.Counts) {
	c := p.s.counts[edge]
	c.Answers, c.ServFail, c.NXDomain = c.Answers+add.Answers, c.ServFail+add.ServFail, c.NXDomain+add.NXDomain
	pools := map[string]uint64{}
	for _, pool := range []string{"web/eu", "web/us"} {
		pools[pool] = c.Pools[pool] + add.Pools[pool]
	}
	c.Pools = pools
	p.s.counts[edge] = c
}

func TestWithinItsGatesARolloutGoesOn(t *testing.T) {
	p := newPlay(t)
	p.idle = everybody
	p.serve()
	p.head(2)
	p.serve()
	p.after(time.Second)
	p.answer("canary-1", state.Counts{Answers: 1000, ServFail: 9, NXDomain: 140, Pools: map[string]uint64{"web/eu": 600, "web/us": 400}})
	p.after(63 * time.Second)
	p.expect(state.RolloutSoaking, 2, 2, 1)
	if p.aim.Rollout.Why != "" {
		t.Errorf("why: %s", p.aim.Rollout.Why)
	}
}

// TestWhatAGroupGaveBeforeIsKnownBeforeItIsPointed: with much traffic, the first second of the new mix looked like the old one.
func TestWhatAGroupGaveBeforeIsKnownBeforeItIsPointed(t *testing.T) {
	p := newPlay(t)
	p.serve()
	p.follow(2, func(state.Mark) bool { return false })
	p.expect(state.RolloutSoaking, 1, 1, 1)
	p.look()
	p.expect(state.RolloutSoaking, 2, 1, 1)
	if p.aim.Rollout.Base["canary-1"].Answers != 10_000 || p.aim.Rollout.Pools["web/eu"] != 4000 {
		t.Errorf("%+v", p.aim.Rollout)
	}
}

// TestGroupsThatHaveItAreWatchedOn: also when the next one soaks.
func TestGroupsThatHaveItAreWatchedOn(t *testing.T) {
	p := newPlay(t)
	p.serve()
	p.head(2)
	p.serve()
	p.after(63 * time.Second)
	p.expect(state.RolloutSoaking, 2, 2, 1)
	p.edges["canary-1"].Status.Held = []api.HeldTenant{{Tenant: "other", Refused: 2}, {Tenant: "shop", Refused: 1}}
	p.after(time.Second)
	p.expect(state.RolloutSoaking, 2, 2, 1) // what it refuses else is another matter
	p.edges["canary-1"].Status.Held = []api.HeldTenant{{Tenant: "shop", Refused: 2, Crashed: true}}
	p.after(time.Second)
	p.expect(state.RolloutStopped, 1, 1, 1)
}

// TestAnEdgeThatFellSilentAtOnceFails: before anybody asked what it had counted.
func TestAnEdgeThatFellSilentAtOnceFails(t *testing.T) {
	p := newPlay(t)
	p.serve()
	before, since := p.now.Add(-time.Hour), p.now.Add(time.Second)
	delete(p.s.counts, "canary-1")
	p.head(2)
	e := p.edges["canary-1"]
	e.Status, e.State, e.Since = nil, api.EdgeSilent, &before
	p.after(time.Minute)
	p.expect(state.RolloutSoaking, 2, 1, 1) // it was silent before, and is waited for
	e.Since = &since
	p.after(time.Second)
	p.expect(state.RolloutStopped, 1, 1, 1)
}

// TestBlindnessHolds: a gate of which nothing is heard does not open.
func TestBlindnessHolds(t *testing.T) {
	p := newPlay(t)
	p.serve()
	p.head(2)
	p.serve()
	p.s.blind = []string{"Prometheus gives no answer: refused"}
	p.after(time.Hour)
	p.expect(state.RolloutSoaking, 2, 1, 1)
	p.edges["canary-1"].Status = nil // it cannot be asked, and holds its lease
	p.s.blind = nil
	p.after(time.Hour)
	p.expect(state.RolloutSoaking, 2, 1, 1)
}

func TestOverridesWaitForNoRollout(t *testing.T) {
	p := newPlay(t)
	p.follow(2, func(since state.Mark) bool { return since == mark(1) })
	p.expect(state.RolloutDone, 2, 2, 2)
	p.follow(2, nil)
	p.expect(state.RolloutDone, 2, 2, 2) // and the Rollout stays the tenant's own
	p.head(3)
	p.serve()
	stop(&p.aim, "bad", "", p.now)
	p.follow(4, func(since state.Mark) bool { return since == mark(3) })
	p.expect(state.RolloutStopped, 2, 2, 2) // an override on top of what is bad makes nothing good
	if p.aim.Rollout.Bad != mark(4) {
		t.Errorf("bad is %v", p.aim.Rollout.Bad)
	}
}

func TestAnotherHistoryIsTakenAsItIs(t *testing.T) {
	p := newPlay(t)
	p.serve()
	p.head(5)
	p.follow(3, nil) // a restored store was accepted while a rollout went on: that is a person's matter
	p.expect(state.RolloutSoaking, 5, 1, 1)
	stop(&p.aim, "it is gone", "", p.now)
	p.head(5)
	p.expect(state.RolloutStopped, 1, 1, 1)
	q := newPlay(t)
	q.head(1)
	reset(&q.aim, threeGroups.Groups, mark(5), q.now, "")
	q.head(3)
	q.expect(state.RolloutDone, 3, 3, 3)
}

func TestByHand(t *testing.T) {
	p := newPlay(t)
	act := func(action string, want bool) {
		t.Helper()
		err := p.act(action, "ticket 1")
		var refused *ActError
		if (err == nil) != want || err != nil && !errors.As(err, &refused) {
			t.Fatalf("%s: %v", action, err)
		}
	}
	act("pause", false)
	act("abort", false)
	p.serve()
	p.head(2)
	act("resume", false)
	act("pause", true)
	p.serve()
	p.after(time.Hour)
	p.expect(state.RolloutPaused, 2, 1, 1)
	act("resume", true)
	p.after(30 * time.Second)
	act("promote", true)
	p.look()
	p.expect(state.RolloutSoaking, 2, 2, 1)
	act("abort", true)
	p.expect(state.RolloutStopped, 1, 1, 1)
	if r := p.aim.Rollout; r.By != "ann" || r.Why != "by hand: ticket 1" {
		t.Errorf("%+v", r)
	}
	act("promote", false)
	act("resume", true)
	p.look()
	p.expect(state.RolloutSoaking, 2, 1, 1)
	for range 3 {
		act("promote", true)
		p.look()
	}
	p.expect(state.RolloutDone, 2, 2, 2)
	if err := Act(&state.Aim{Tenant: "other"}, &Order{Action: "pause", By: "ann"}, p.now); err == nil {
		t.Error("there is none to pause")
	}
}

func TestAGroupThatIsPromotedAtOnceIsPointedToo(t *testing.T) {
	p := newPlay(t)
	p.serve()
	p.follow(2, func(state.Mark) bool { return false }) // and the driver has not looked since
	for stage, at := range [][]state.Generation{{2, 1, 1}, {2, 2, 1}} {
		if err := p.act("promote", ""); err != nil {
			t.Fatalf("of group %d: %v", stage, err)
		}
		p.expect(state.RolloutSoaking, at...)
	}
	if err := p.act("promote", ""); err != nil {
		t.Fatal(err)
	}
	p.expect(state.RolloutDone, 2, 2, 2)
}

func TestAnswersOfPrometheus(t *testing.T) {
	for _, c := range []struct {
		body string
		want float64
		ok   bool
	}{
		{`{"status":"success","data":{"resultType":"scalar","result":[1700000000,"0.5"]}}`, 0.5, true},
		{`{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"-3"]},{"value":[1,"-2"]}]}}`, -2, true},
		{`{"status":"success","data":{"resultType":"vector","result":[]}}`, 0, false},
		{`{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"NaN"]}]}}`, 0, false},
		{`{"status":"error","error":"parse error"}`, 0, false},
		{`<html>`, 0, false},
	} {
		if got, err := parseAnswer([]byte(c.body)); got != c.want || (err == nil) != c.ok {
			t.Errorf("%s: %v, %v", c.body, got, err)
		}
	}
}
