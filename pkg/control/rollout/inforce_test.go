package rollout

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// weak is a Rollout that lets everything pass within a second.
var weak = &spec.Rollout{Groups: []spec.EdgeGroup{
	{Name: "all-but-one", Edges: []string{"canary-*", "fra-*"}, Soak: spec.Duration(time.Second)},
	{Name: "rest", Soak: spec.Duration(time.Second)}}}

// stored has the aim go through the store.
func (p *play) stored() {
	p.t.Helper()
	text, err := json.Marshal(&p.aim)
	if err != nil {
		p.t.Fatal(err)
	}
	p.aim = state.Aim{}
	if err := json.Unmarshal(text, &p.aim); err != nil {
		p.t.Fatal(err)
	}
}

// through leads a rollout of three groups to its end.
func (p *play) through(g state.Generation) {
	p.t.Helper()
	for _, at := range [][]state.Generation{{g, 1, 1}, {g, g, 1}, {g, g, g}} {
		p.expect(state.RolloutSoaking, at...)
		p.serve()
		p.after(2*time.Minute + 3*time.Second)
		p.stored()
	}
}

// TestARolloutEndsAsItSaid: the generation that deletes it goes through its groups, and only then edges are pointed at nothing.
func TestARolloutEndsAsItSaid(t *testing.T) {
	p := newPlay(t)
	p.serve()
	p.rules.own = nil // the tenant deletes it
	p.head(2)
	p.expect(state.RolloutSoaking, 2, 1, 1)
	p.serve()
	p.after(59 * time.Second)
	p.expect(state.RolloutSoaking, 2, 1, 1)
	for range 10 {
		p.serve()
		p.after(time.Minute)
		p.stored()
	}
	p.expect(state.RolloutDone, 2, 2, 2)
	p.rules.head = mark(2)
	follow(&p.aim, &p.rules, nil, p.now)
	if p.aim.Groups != nil || p.aim.Rollout != nil || p.aim.InForce != nil {
		t.Errorf("it has ended, and is %+v", p.aim)
	}
	p.head(3)
	if p.aim.Rollout != nil {
		t.Errorf("it begins again: %+v", p.aim.Rollout)
	}
}

// TestWhatWasStoppedStaysStopped though its Rollout is deleted: what came after goes through the groups, and by the gates that were.
func TestWhatWasStoppedStaysStopped(t *testing.T) {
	for _, platforms := range []bool{false, true} {
		p := newPlay(t)
		if platforms {
			p.rules = rules{platform: threeGroups}
			p.aim = state.Aim{Tenant: "shop"}
			p.head(1)
		}
		p.serve()
		p.head(2)
		p.s.failed = []string{"a gate has failed"}
		p.after(time.Second)
		p.expect(state.RolloutStopped, 1, 1, 1)
		p.s.failed = nil
		p.rules.own, p.rules.platform = nil, nil
		if platforms { // the platform's generation, and none of the tenant's
			p.head(2)
			p.expect(state.RolloutStopped, 1, 1, 1)
			if err := p.act("resume", ""); err != nil {
				t.Fatal(err)
			}
			p.look()
			p.through(2)
		} else {
			p.head(3)
			p.through(3)
		}
		p.follow(p.rules.head.Generation, nil)
		if p.aim.Groups != nil {
			t.Errorf("platform's %v: all is done, and it is %+v", platforms, p.aim)
		}
	}
}

// TestAWeakerRolloutIsJudgedByTheOneBefore: as is what is under way when it comes. It counts for what comes after.
func TestAWeakerRolloutIsJudgedByTheOneBefore(t *testing.T) {
	p := newPlay(t)
	p.serve()
	p.head(2)
	p.serve()
	p.rules.own = weak
	p.head(3) // while 2 soaks
	p.after(59 * time.Second)
	p.expect(state.RolloutSoaking, 2, 1, 1)
	for range 3 {
		p.serve()
		p.after(2*time.Minute + 3*time.Second)
	}
	p.expect(state.RolloutDone, 2, 2, 2)
	p.head(3) // it brings the weak one, and has three groups itself
	p.expect(state.RolloutSoaking, 3, 2, 2)
	p.stored()
	p.serve()
	p.after(59 * time.Second)
	p.expect(state.RolloutSoaking, 3, 2, 2)
	c := p.s.counts["canary-1"]
	c.Answers, c.ServFail = c.Answers+1000, 500
	p.s.counts["canary-1"] = c
	p.after(time.Second) // and the gates that it has not
	p.expect(state.RolloutStopped, 2, 2, 2)
	if !strings.Contains(p.aim.Rollout.Why, "SERVFAIL") {
		t.Errorf("why: %s", p.aim.Rollout.Why)
	}
	p.follow(4, func(state.Mark) bool { return false })
	p.expect(state.RolloutSoaking, 2, 2, 2)
	p.look()
	for range 3 {
		p.serve()
		p.after(2*time.Minute + 3*time.Second)
	}
	p.stored()
	p.expect(state.RolloutDone, 4, 4, 4)
	p.head(5) // now it is in force
	p.expect(state.RolloutSoaking, 5, 4)
	p.serve()
	p.after(3 * time.Second)
	p.serve()
	p.after(3 * time.Second)
	p.expect(state.RolloutDone, 5, 5)
}

// TestWhoseRolloutIsInForce: a tenant's own comes and goes over the platform's, each at the end of the generation that says so.
func TestWhoseRolloutIsInForce(t *testing.T) {
	p := newPlay(t)
	p.aim, p.rules = state.Aim{Tenant: "shop"}, rules{platform: threeGroups}
	p.head(1)
	p.serve()
	p.rules.own = weak
	p.head(2)
	p.through(2)
	p.head(3)
	p.expect(state.RolloutSoaking, 3, 2)
	if !p.aim.Own || !same(p.aim.InForce, weak) {
		t.Errorf("in force is %+v", p.aim.InForce)
	}
	p.rules.own, p.rules.unclear = nil, true // a newer gtm wrote one
	for range 2 {
		p.serve()
		p.after(3 * time.Second)
	}
	p.head(4)
	for range 2 {
		p.serve()
		p.after(3 * time.Second)
	}
	p.follow(4, nil)
	p.expect(state.RolloutDone, 4, 4)
	if !p.aim.Own || !same(p.aim.InForce, weak) {
		t.Errorf("of one that nobody understands, in force is %+v", p.aim.InForce)
	}
	p.rules.unclear = false // it is deleted
	p.head(5)
	for range 2 {
		p.serve()
		p.after(3 * time.Second)
	}
	p.follow(5, nil)
	p.expect(state.RolloutDone, 5, 5, 5)
	if p.aim.Own || !same(p.aim.InForce, threeGroups) {
		t.Errorf("without its own, in force is %+v", p.aim.InForce)
	}
	p.rules.platform = weak // and the platform's changes count when the platform has gone through with them
	p.follow(5, nil)
	p.expect(state.RolloutDone, 5, 5)
}

// TestOneThatNobodyUnderstandsIsNotTheTenants: it goes by the platform's, and ends with that.
func TestOneThatNobodyUnderstandsIsNotTheTenants(t *testing.T) {
	p := newPlay(t)
	p.aim, p.rules = state.Aim{Tenant: "shop"}, rules{platform: threeGroups}
	p.head(1)
	p.serve()
	p.rules.unclear = true
	p.head(2)
	p.through(2)
	p.head(2)
	if p.expect(state.RolloutDone, 2, 2, 2); p.aim.Own {
		t.Error("it is the tenant's own")
	}
	p.rules.platform = nil
	p.head(2)
	if p.aim.Groups != nil {
		t.Errorf("the platform has none any more, and it is %+v", p.aim)
	}
}

// TestThePlatformsIsInForceWhereThePlatformIs: for tenants, too, and not as it is declared.
func TestThePlatformsIsInForceWhereThePlatformIs(t *testing.T) {
	m := state.NewMirror()
	key := spec.Key{Tenant: spec.Platform, Kind: spec.KindRollout, Name: spec.Platform}
	is := func(want *spec.Rollout, values state.Values) {
		t.Helper()
		platform := state.TenantUpdate{Tenant: spec.Platform, Head: 1,
			Put: []state.Version{{Generation: 1, Resource: &spec.Resource{Key: key, Spec: weak}}}}
		m.Apply(state.Update{Full: true, Cursor: 1, Cluster: 7, Values: values,
			Tenants: []state.TenantUpdate{platform, {Tenant: "shop", Head: 1}}})
		if r := rulesOf(m, "shop"); r.first() != want {
			t.Errorf("in force is %+v", r.platform)
		}
	}
	groups := []state.AimedGroup{{Name: "rest", At: mark(1)}}
	is(weak, state.Values{})
	is(threeGroups, state.Aims.Put(state.Aim{Tenant: spec.Platform, Groups: groups, InForce: threeGroups}))
	is(weak, state.Aims.Put(state.Aim{Tenant: spec.Platform, Groups: groups})) // a control of before wrote it
	is(weak, state.Aims.Put(state.Aim{Tenant: spec.Platform, Accept: mark(1)}))
}

// TestNothingIsWrittenTwice: what was written, and read again, says what is declared.
func TestNothingIsWrittenTwice(t *testing.T) {
	r := *threeGroups
	r.Groups = []spec.EdgeGroup{threeGroups.Groups[0], threeGroups.Groups[1], threeGroups.Groups[2]}
	r.Groups[2].Edges, r.Gates.Probes = []string{}, []string{} // as YAML may say it
	for _, rules := range []rules{{own: &r, head: mark(1)}, {platform: &r, head: mark(1)}} {
		p := &play{t: t, now: began, aim: state.Aim{Tenant: "shop"}, rules: rules}
		p.follow(1, nil)
		p.stored()
		before := clone(p.aim)
		p.follow(1, nil)
		if !reflect.DeepEqual(p.aim, before) {
			t.Errorf("it was %+v, and is %+v", before, p.aim)
		}
	}
}

// TestAnAimOfBefore has nothing of what is in force: what is declared is, or else what its groups say.
func TestAnAimOfBefore(t *testing.T) {
	for _, own := range []*spec.Rollout{threeGroups, nil} {
		p := newPlay(t)
		p.serve()
		p.head(2)
		stop(&p.aim, "bad", "", p.now)
		p.aim.InForce, p.aim.Own, p.aim.Rollout.Brings = nil, false, nil
		p.rules.own = own
		p.head(2)
		p.expect(state.RolloutStopped, 1, 1, 1)
		p.head(3)
		p.expect(state.RolloutSoaking, 3, 1, 1)
	}
}

// TestWhatWaitedIsHeldByAnAbort: it has in it what was aborted.
func TestWhatWaitedIsHeldByAnAbort(t *testing.T) {
	p := newPlay(t)
	p.serve()
	p.head(2)
	p.serve()
	p.head(3)
	p.expect(state.RolloutSoaking, 2, 1, 1)
	if err := p.act("abort", "ticket 7"); err != nil {
		t.Fatal(err)
	}
	p.head(3)
	p.expect(state.RolloutStopped, 1, 1, 1)
	const want = "by hand: ticket 7; shop@3 waited, and begins with gtmctl rollout resume shop, or when there is a newer one"
	if why := p.aim.Rollout.Why; why != want {
		t.Errorf("why: %s", why)
	}
	if err := p.act("resume", ""); err != nil {
		t.Fatal(err)
	}
	p.look()
	p.expect(state.RolloutSoaking, 3, 1, 1)
}

// TestWhatWaitedBringsItsRollout: and what is resumed keeps that which it brought.
func TestWhatWaitedBringsItsRollout(t *testing.T) {
	p := newPlay(t)
	p.serve()
	p.head(2)
	p.serve()
	p.rules.own = weak
	p.head(3)
	for range 2 {
		if err := p.act("abort", ""); err != nil {
			t.Fatal(err)
		}
		p.stored()
		if err := p.act("resume", ""); err != nil {
			t.Fatal(err)
		}
		p.look()
		p.expect(state.RolloutSoaking, 3, 1, 1)
	}
	p.through(3)
	p.head(4)
	p.expect(state.RolloutSoaking, 4, 3)
	if !p.aim.Own {
		t.Error("it is not the tenant's own")
	}
}

func TestNotes(t *testing.T) {
	m := state.NewMirror()
	put := func(tenant string, g state.Generation, r *spec.Rollout) {
		u := state.TenantUpdate{Tenant: tenant, Head: g}
		key := spec.Key{Tenant: tenant, Kind: spec.KindRollout, Name: tenant}
		if u.Deleted = []spec.Key{key}; r != nil {
			u.Put, u.Deleted = []state.Version{{Generation: g, Resource: &spec.Resource{Key: key, Spec: r}}}, nil
		}
		m.Apply(state.Update{Cursor: int64(g), Cluster: 7, Full: len(m.Tenants()) == 0, Tenants: []state.TenantUpdate{u}})
	}
	put("shop", 1, threeGroups)
	a := &state.Aim{Tenant: "shop"}
	start(a, rulesOf(m, "shop"), began, "")
	note := func(want string) {
		t.Helper()
		if got := Note(m, a); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
	note("")
	put("shop", 2, weak)
	note("its Rollout is changed: until all groups have that generation")
	put("shop", 3, &spec.Rollout{})
	note("the Rollout that is declared cannot be gone by")
	put("shop", 4, nil)
	note("its Rollout is deleted: until")
	a.Own = false
	note("the platform has no Rollout any more")
	put(spec.Platform, 5, threeGroups)
	note("")
	put("shop", 6, weak)
	note("its own Rollout is declared: until")
	if r := rulesOf(m, spec.Platform); r.own == nil || r.platform != nil {
		t.Errorf("the platform's: %+v", r)
	}
}
