package change

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/change/effect"
	"github.com/gti/gtm/pkg/change/guards"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// TestGuardsSeeWhatAnOverrideHides: eu is drained for an hour, so that what is changed of it moves nobody; what comes then is judged.
func TestGuardsSeeWhatAnOverrideHides(t *testing.T) {
	other := "kind: Pool\ntenant: shop\nname: eu\nspec: {site: fra, endpoints: [{name: a, addresses: [203.0.113.1]}, " +
		"{name: b, addresses: [203.0.113.2]}]}\n"
	smaller := "kind: Pool\ntenant: shop\nname: eu\nspec: {site: fra, endpoints: [{name: a, addresses: [198.51.100.1]}]}\n"
	for _, c := range []struct {
		name, guard, refused, passes, field, says string
		waits                                     bool
	}{
		{"shift", "{largestShift: {change: 30%}}", webOf(1), webOf(49), "spec.largestShift.change", "49% of its answers would come from " +
			"another pool", false},
		{"shift, to where the drain has sent them", "{largestShift: {change: 30%}}", webOf(100), webOf(79), "spec.largestShift.change",
			"50% of its answers would come from another pool", false},
		{"shift, by addresses", "{largestShift: {change: 30%}}", other, smaller, "spec.largestShift.change",
			"50% of its answers would come from addresses that are new to their pool", false},
		{"hour", "{largestShift: {hour: 30%}}", webOf(1), webOf(49), "spec.largestShift.hour", "49% of its answers", false},
		{"approval", "{approval: {above: 30%}}", webOf(1), webOf(49), "spec.approval", "a second person", true},
		{"sites", "{leastSites: 2}", webOf(100), webOf(99), "spec.leastSites", "pools at 1 of its sites would be up (without this 2)",
			false},
		{"capacity", "{leastCapacity: 80%}", smaller, webOf(1), "spec.leastCapacity",
			"75% of the endpoints of its rules would take clients (without this 100%)", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ch, _, now := guarded(t, "")
			drain := Drain(Target{"shop", "eu", ""}, Hand{Reason: "x", Author: "ann", Expires: now.Add(time.Hour)})
			mustApply(t, ch, Input{Edit: drain})
			*now = now.Add(59 * time.Minute) // the hour before it ends is not the one before it was made
			mustApply(t, ch, Input{Put: decode(t, guardOf("shop", c.guard))})
			_, err := ch.Apply(context.Background(), mustPlan(t, ch, Input{Put: decode(t, c.refused)}))
			fields, waits := refusals(err)
			if len(fields) != 1 || fields[0] != c.field || waits != c.waits || !strings.Contains(err.Error(), c.says) ||
				c.name != "hour" && !strings.Contains(err.Error(), "as of 2026-01-02T06:04:05Z, when overrides of now have changed, ") {
				t.Errorf("got %v (%v)", err, fields)
			}
			mustApply(t, ch, Input{Put: decode(t, c.passes)})
		})
	}
}

// TestABoundIsToldOnce: now, where it is passed already now.
func TestABoundIsToldOnce(t *testing.T) {
	ch, _, now := guarded(t, "")
	mustApply(t, ch, Input{Put: decode(t, "kind: Override\ntenant: shop\nname: s\nspec: {service: web, rule: r, pool: us, weight: 150, "+
		"reason: x, expires: "+now.Add(time.Hour).Format(time.RFC3339)+"}\n"+guardOf("shop", "{largestShift: {change: 10%}}"))})
	_, err := ch.Apply(context.Background(), mustPlan(t, ch, Input{Put: decode(t, webOf(99))}))
	if fields, _ := refusals(err); len(fields) != 1 || !strings.Contains(err.Error(), "24.3% of its answers would come") {
		t.Errorf("got %v", err)
	}
}

// TestADrainCanBeProlonged, and taken back by itself: nothing moves but what was let pass when it was made.
func TestADrainCanBeProlonged(t *testing.T) {
	ch, _, now := guarded(t, "")
	target := Target{"shop", "eu", ""}
	for long := time.Hour; long < 4*time.Hour; long += time.Hour {
		mustApply(t, ch, Input{Edit: Drain(target, Hand{Reason: "x", Author: "ann", Expires: now.Add(long)})})
		mustApply(t, ch, Input{Put: decode(t, guardOf("shop", "{largestShift: {change: 30%, hour: 30%}, approval: {above: 30%}}")),
			BreakGlass: "test", MayBreak: anybody})
	}
	mustApply(t, ch, Input{Edit: Drain(target, Hand{Reason: "x", Author: "ann"})}) // for ever
}

// TestTheHourOfThePlatform: what the platform changed of what tenants share counts in the hour of their services.
func TestTheHourOfThePlatform(t *testing.T) {
	site := func(lon int) string {
		return fmt.Sprintf("kind: Site\ntenant: platform\nname: fra\nspec: {region: EU-DE, location: {lat: 40, lon: %d}}\n", lon)
	}
	for _, owner := range []string{"shop", "platform"} {
		ch, _, now := guarded(t, "")
		mustApply(t, ch, Input{Put: decode(t, site(10)+"---\nkind: Site\ntenant: platform\nname: iad\nspec: {region: NA-US, location: "+
			"{lat: 38.9, lon: -77.4}}\n---\n"+nearby(""))})
		mustApply(t, ch, Input{Put: decode(t, guardOf(owner, "{largestShift: {hour: 30%}}"))})
		*now = now.Add(2 * time.Hour)
		steps := []string{site(140), nearby("us: 60%")}
		first := mustPlan(t, ch, Input{Put: decode(t, steps[0]), Foresee: true})
		if _, err := ch.Apply(context.Background(), first); err != nil {
			t.Fatal(err)
		}
		second := mustPlan(t, ch, Input{Put: decode(t, steps[1]), Foresee: true})
		a, b := first.Effect.Services[0].Moved, second.Effect.Services[0].Moved
		if a < 0.05 || a > 0.3 || b < 0.05 || b > 0.3 || a+b < 0.3 {
			t.Fatalf("moves %v and %v: this shows nothing", a, b)
		}
		_, err := ch.Apply(context.Background(), second)
		if fields, _ := refusals(err); len(fields) != 1 || fields[0] != "spec.largestShift.hour" {
			t.Errorf("a guard of %s: %v and then %v move: got %v", owner, a, b, err)
		}
	}
}

// TestAddressesOfAnHourAgo: a pool gets another address with little weight, and then all of its weight goes there.
func TestAddressesOfAnHourAgo(t *testing.T) {
	pool := func(old, fresh int) Input {
		return Input{Put: decode(t, fmt.Sprintf("kind: Pool\ntenant: shop\nname: eu\nspec: {site: fra, endpoints: [{name: a, addresses: "+
			"[198.51.100.1], weight: %d}, {name: b, addresses: [203.0.113.1], weight: %d}]}\n", old, fresh))}
	}
	ch, _, now := guarded(t, "")
	mustApply(t, ch, Input{Put: decode(t, strings.Replace(webOf(0), "[eu]", "[eu, us]", 1))})
	mustApply(t, ch, pool(1000, 0))
	mustApply(t, ch, Input{Put: decode(t, guardOf("shop", "{largestShift: {change: 30%, hour: 30%}}"))})
	*now = now.Add(2 * time.Hour)
	mustApply(t, ch, pool(1000, 1))
	mustApply(t, ch, drainOf("eu", "a"))
	mustApply(t, ch, Input{Edit: Undrain(Target{"shop", "eu", "a"})})
	_, err := ch.Apply(context.Background(), mustPlan(t, ch, pool(0, 1)))
	if fields, _ := refusals(err); len(fields) != 1 || fields[0] != "spec.largestShift.hour" ||
		!strings.Contains(err.Error(), "100% of its answers would come from other pools or addresses than an hour ago") {
		t.Errorf("got %v", err)
	}
	mustApply(t, ch, pool(1000, 300))
	mustApply(t, ch, pool(1000, 0)) // as it was
	*now = now.Add(2 * time.Hour)
	mustApply(t, ch, pool(1000, 1))
	*now = now.Add(2 * time.Hour)
	mustApply(t, ch, pool(0, 1)) // which it has known for more than an hour
}

func nearby(bias string) string {
	return "kind: Service\ntenant: shop\nname: web\nspec: {host: web.shop.gtm.example., rules: [{name: r, pools: [{nearest: [eu, us], " +
		"band: 1%, bias: {" + bias + "}}]}]}\n"
}

// TestTheStateOfAnHourAgoIsFound among any number of changes, some of whose records are damaged or removed.
func TestTheStateOfAnHourAgoIsFound(t *testing.T) {
	m := newMemStore()
	c := New(Config{Store: m, Now: time.Now})
	const all = 5000
	for g := range all {
		m.states["shop"] = append(m.states["shop"], state.TenantState{Head: state.Generation(g + 1)})
		m.records["shop"] = append(m.records["shop"], state.Record{Tenant: "shop", Generation: state.Generation(g + 1),
			Time: clock.Add(time.Duration(g/3) * time.Second)})
	}
	for _, damaged := range []int{10, 1000, 1001, 1002, 2490, 3000, 4990} {
		m.records["shop"][damaged].Time = time.Time{}
	}
	now := &State{tenants: map[string]state.TenantState{"shop": {Head: all}}}
	for _, at := range []time.Duration{-time.Second, 0, 1, time.Second, 100 * time.Second, 500 * time.Second, 999 * time.Second,
		1234567 * time.Millisecond, 1660 * time.Second, 1665 * time.Second, 1666 * time.Second, time.Hour} {
		got, err := c.hourAgo(context.Background(), now, "shop", clock.Add(at))
		if err != nil {
			t.Fatal(err)
		}
		want := state.Generation(0)
		for i, r := range m.records["shop"] {
			if !r.Time.IsZero() && !r.Time.After(clock.Add(at)) {
				want = state.Generation(i + 1)
			}
		}
		if got.Head < want || got.Head > want+1 || got.Head > want && !m.records["shop"][want].Time.IsZero() {
			t.Errorf("at %s: %d, want %d", at, got.Head, want)
		}
	}
	pruned := New(Config{Store: &prunedStore{m, 4000}, Now: time.Now})
	for at, want := range map[time.Duration]state.Generation{time.Second: 4000, 1500 * time.Second: 4503} {
		got, err := pruned.hourAgo(context.Background(), now, "shop", clock.Add(at))
		if err != nil || got.Head != want {
			t.Errorf("of a store that was pruned, at %s: %d, %v", at, got.Head, err)
		}
	}
	if _, err := New(Config{Store: &deafStore{m}}).hourAgo(context.Background(), now, "shop", clock); err == nil {
		t.Error("a store that gives no answer is none without changes")
	}
}

// prunedStore keeps no generation before one.
type prunedStore struct {
	*memStore
	oldest state.Generation
}

func (p *prunedStore) MadeAt(ctx context.Context, tenant string, g state.Generation) (time.Time, error) {
	if g < p.oldest {
		return time.Time{}, nil
	}
	return p.memStore.MadeAt(ctx, tenant, g)
}

func (p *prunedStore) Read(ctx context.Context, tenant string, at state.Generation) (state.TenantState, error) {
	if at < p.oldest {
		return state.TenantState{}, &store.RemovedError{Tenant: tenant, At: at, Oldest: p.oldest, To: 5000}
	}
	return p.memStore.Read(ctx, tenant, at)
}

// deafStore does not tell when changes were made.
type deafStore struct{ *memStore }

func (d *deafStore) MadeAt(context.Context, string, state.Generation) (time.Time, error) {
	return time.Time{}, errors.New("no answer")
}

// TestOthersWriteWhileAPlanIsJudgedAnew: who was overtaken judges again before it has others wait.
func TestOthersWriteWhileAPlanIsJudgedAnew(t *testing.T) {
	_, m, now := guarded(t, guardOf("shop", "{largestShift: {change: 30%}}"))
	asked, judging, judged := 0, make(chan struct{}), make(chan struct{})
	ch := New(Config{Store: m, Now: func() time.Time { return *now }, World: func() (*effect.World, error) {
		if asked++; asked == 2 {
			close(judging)
			<-judged
		}
		return builtinWorld()
	}})
	other := New(Config{Store: m, Now: func() time.Time { return *now }})
	plan := mustPlan(t, ch, Input{Put: decode(t, webOf(60))})
	mustApply(t, other, Input{Put: decode(t, "kind: Site\ntenant: platform\nname: sin\nspec: {}\n")}) // another process comes first
	ended := make(chan error, 1)
	go func() {
		_, err := ch.Apply(context.Background(), plan)
		ended <- err
	}()
	<-judging
	cafe := mustPlan(t, ch, Input{Put: decode(t, poolOf("cafe", "p", "198.51.100.9"))})
	made := make(chan error, 1)
	go func() {
		_, err := ch.Apply(context.Background(), cafe)
		made <- err
	}()
	select {
	case err := <-made:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("a writer waits for the judgement of another one's plan")
	}
	close(judged)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if asked != 2 {
		t.Errorf("judged %d times: what cafe wrote does not concern shop", asked)
	}
}

// TestAPlanIsJudgedOnWhatItIsMadeOn: what moved while it was judged anew, and concerns it, has it judged again.
func TestAPlanIsJudgedOnWhatItIsMadeOn(t *testing.T) {
	_, m, now := guarded(t, guardOf("shop", "{leastSites: 2}"))
	other := New(Config{Store: m, Now: func() time.Time { return *now }})
	asked := 0
	ch := New(Config{Store: m, Now: func() time.Time { return *now }, World: func() (*effect.World, error) {
		if asked++; asked > 1 && asked < 8 { // each time that it is judged anew another process comes between
			mustApply(t, other, Input{Put: decode(t, fmt.Sprintf("kind: Site\ntenant: platform\nname: s%d\nspec: {}\n", asked))})
		}
		return builtinWorld()
	}})
	plan := mustPlan(t, ch, drainOf("eu", "a"))
	mustApply(t, other, Input{Edit: drainOf("eu", "b").Edit})
	_, err := ch.Apply(context.Background(), plan)
	if fields, _ := refusals(err); len(fields) == 0 || asked != 2 {
		t.Errorf("got %v, judged %d times", err, asked)
	}
	plan = mustPlan(t, ch, Input{Put: decode(t, webOf(60))})
	mustApply(t, other, Input{Put: decode(t, "kind: Site\ntenant: platform\nname: late\nspec: {}\n")})
	if recs, err := ch.Apply(context.Background(), plan); err != nil || len(recs) != 1 {
		t.Errorf("got %+v, %v", recs, err)
	}
	if asked < 8 {
		t.Errorf("judged %d times, on states that were gone", asked)
	}
}

// TestWhatAPlanStandsOn is the tenants that it changes, relies on, and concerns, and the platform, whose guards and policies count.
func TestWhatAPlanStandsOn(t *testing.T) {
	at := func(moved string) *State {
		s := &State{tenants: map[string]state.TenantState{}}
		for _, tenant := range []string{"platform", "shop", "cafe", "bar", "other"} {
			s.tenants[tenant] = state.TenantState{Head: 1, ID: "a"}
		}
		if tenant, other, _ := strings.Cut(moved, " "); other != "" { // the same number in a store that went back
			s.tenants[tenant] = state.TenantState{Head: 1, ID: "b"}
		} else if tenant != "" {
			s.tenants[tenant] = state.TenantState{Head: 2, ID: "b"}
		}
		return s
	}
	p := &Plan{state: at(""), ground: map[string]bool{"shop": true}, Parts: []Part{{Tenant: "cafe", Reads: []string{"bar"}}}}
	for moved, want := range map[string]bool{"": true, "other": true, "platform": false, "shop": false, "cafe": false, "bar": false,
		"shop again": false} {
		if got := p.standsOn(at(moved)); got != want {
			t.Errorf("%q moved: %v", moved, got)
		}
	}
}

// TestWhatAChangeConcernsMovesWhileItIsJudged: the platform moves a site, and meanwhile a tenant has its clients go to the nearest one.
func TestWhatAChangeConcernsMovesWhileItIsJudged(t *testing.T) {
	site := func(name string, lat, lon int) Input {
		return Input{Put: decode(t, fmt.Sprintf("kind: Site\ntenant: platform\nname: %s\nspec: {region: EU-DE, "+
			"location: {lat: %d, lon: %d}}\n", name, lat, lon))}
	}
	_, m, now := guarded(t, "")
	other := New(Config{Store: m, Now: func() time.Time { return *now }})
	mustApply(t, other, site("fra", 40, 10))
	mustApply(t, other, site("iad", 38, -77))
	mustApply(t, other, Input{Put: decode(t, webOf(0)+guardOf("shop", "{largestShift: {change: 30%}}"))})
	asked := 0
	ch := New(Config{Store: m, Now: func() time.Time { return *now }, World: func() (*effect.World, error) {
		if asked++; asked == 2 {
			mustApply(t, other, Input{Put: decode(t, nearby("")), BreakGlass: "test", MayBreak: anybody})
		}
		return builtinWorld()
	}})
	plan := mustPlan(t, ch, site("fra", -40, -150))
	mustApply(t, other, site("late", 0, 0)) // another process comes first
	_, err := ch.Apply(context.Background(), plan)
	if fields, _ := refusals(err); len(fields) != 1 || asked != 3 {
		t.Errorf("got %v, judged %d times", err, asked)
	}
}

// unread is a store in which the past of shop cannot be read.
type unread struct{ *memStore }

func (u unread) Read(ctx context.Context, tenant string, at state.Generation) (state.TenantState, error) {
	if tenant == "shop" && at < u.memStore.head("shop") {
		return state.TenantState{}, errors.New("a version is damaged")
	}
	return u.memStore.Read(ctx, tenant, at)
}

// TestTheGlassBreaksWhereTheHourCannotBeRead, for who may; others get an error, or are refused.
func TestTheGlassBreaksWhereTheHourCannotBeRead(t *testing.T) {
	ch, m, now := guarded(t, guardOf("shop", "{largestShift: {hour: 30%}}"))
	*now = now.Add(3 * time.Hour)
	mustApply(t, ch, Input{Put: decode(t, webOf(55))})
	*now = now.Add(time.Minute)
	ch.cfg.Store = unread{m}
	in := Input{Author: "ann", Put: decode(t, webOf(60)), BreakGlass: "fra burns", MayBreak: anybody}
	p, err := ch.Plan(context.Background(), in)
	if err != nil || p.Refused() != nil || !strings.Contains(p.Warnings.Error(), "a version is damaged") {
		t.Errorf("with the glass broken: %v, %v, %v", err, p.Refused(), p.Warnings)
	}
	in.MayBreak = func(*guards.Refusal) bool { return false }
	if p, err = ch.Plan(context.Background(), in); err != nil || p.Refused() == nil {
		t.Errorf("by who may not: %v", err)
	}
	in.BreakGlass = ""
	if _, err = ch.Plan(context.Background(), in); err == nil || !strings.Contains(err.Error(), "a version is damaged") {
		t.Errorf("without: %v", err)
	}
}
