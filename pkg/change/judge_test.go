package change

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/change/effect"
	"github.com/gti/gtm/pkg/change/guards"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

const twoSites = platform + `---
kind: Site
tenant: platform
name: iad
spec: {region: NA-US}
---
kind: Pool
tenant: shop
name: eu
spec: {site: fra, endpoints: [{name: a, addresses: [198.51.100.1]}, {name: b, addresses: [198.51.100.2]}]}
---
kind: Pool
tenant: shop
name: us
spec: {site: iad, endpoints: [{name: a, addresses: [198.51.100.11]}, {name: b, addresses: [198.51.100.12]}]}
---
`

// webOf is a service of which a part of the answers, in percent, comes from us.
func webOf(us int) string {
	switch us {
	case 0:
		return "kind: Service\ntenant: shop\nname: web\nspec: {host: web.shop.gtm.example., rules: [{name: r, pools: [eu]}]}\n"
	case 100:
		return "kind: Service\ntenant: shop\nname: web\nspec: {host: web.shop.gtm.example., rules: [{name: r, pools: [us]}]}\n"
	}
	return fmt.Sprintf("kind: Service\ntenant: shop\nname: web\nspec: {host: web.shop.gtm.example., rules: [{name: r, "+
		"pools: [{pool: eu, weight: %d}, {pool: us, weight: %d}]}]}\n", 100-us, us)
}

func guardOf(tenant, spec string) string {
	return "---\nkind: Guard\ntenant: " + tenant + "\nname: g\nspec: " + spec + "\n"
}

// guarded is a Changer over two sites, a service that is half at each, and a guard; its clock is set by hand.
func guarded(t testing.TB, guard string) (c *Changer, m *memStore, now *time.Time) {
	m, now = newMemStore(), new(time.Time)
	*now = clock
	c = New(Config{Store: m, Now: func() time.Time { return *now }})
	mustApply(t, c, Input{Put: decode(t, twoSites+webOf(50))})
	if guard != "" {
		mustApply(t, c, Input{Put: decode(t, guard)})
	}
	*now = now.Add(2 * time.Hour)
	return c, m, now
}

// refusals gives the fields of the guards that refuse, and whether a change only waits.
func refusals(err error) (fields []string, waits bool) {
	var refused *RefusedError
	if errors.As(err, &refused) {
		for _, r := range refused.Refusals {
			fields = append(fields, r.Field)
		}
		return fields, refused.Waits
	}
	return nil, false
}

func drainOf(pool, endpoint string) Input {
	return Input{Edit: Drain(Target{"shop", pool, endpoint}, Hand{Reason: "x", Author: "ann"})}
}

// weighted is the pool eu, with weights.
func weighted(a, b int) string {
	return fmt.Sprintf("kind: Pool\ntenant: shop\nname: eu\nspec: {site: fra, endpoints: [{name: a, addresses: [198.51.100.1], "+
		"weight: %d}, {name: b, addresses: [198.51.100.2], weight: %d}]}\n", a, b)
}

func TestEachGuardRefusesAndLetsPass(t *testing.T) {
	put := func(yaml string) func(t testing.TB) Input {
		return func(t testing.TB) Input { return Input{Put: decode(t, yaml)} }
	}
	of := func(in Input) func(testing.TB) Input { return func(testing.TB) Input { return in } }
	remove := func(keys ...string) func(testing.TB) Input {
		return func(testing.TB) Input {
			in := Input{}
			for _, k := range keys {
				in.Delete = append(in.Delete, key(k))
			}
			return in
		}
	}
	frozen := "{freeze: [{cron: 0 5 2 1 *, for: 1h, reason: new year}]}" // the clock is at 05:04
	spare := "kind: Pool\ntenant: shop\nname: spare\nspec: {endpoints: [{name: a, addresses: [198.51.100.31]}]}\n"
	for _, c := range []struct {
		name, guard, field string
		refused, passes    func(testing.TB) Input
		says               string
	}{
		{"shift of one change", guardOf("shop", "{largestShift: {change: 30%}}"), "spec.largestShift.change", put(webOf(81)),
			put(webOf(79)),
			"31% of its answers would come from another pool (of CN, IN, US and others): at most 30% may in one change"},
		{"a service that goes", guardOf("shop", "{largestShift: {change: 99%}}"), "spec.largestShift.change", remove("shop/Service/web"),
			put(webOf(100)), "its name would answer no more"},
		{"shift, of the platform", guardOf("platform", "{largestShift: {change: 30%}}"), "spec.largestShift.change", put(webOf(10)),
			put(webOf(25)), "40% of its answers"},
		{"capacity", guardOf("shop", "{leastCapacity: 60%}"), "spec.leastCapacity", of(drainOf("eu", "")), of(drainOf("eu", "a")),
			"50% of the endpoints of its rules would take clients (now 100%): at least 60% must"},
		{"capacity, by weights", guardOf("shop", "{leastCapacity: 60%}"), "spec.leastCapacity",
			put(weighted(1, 0) + "---\n" + strings.Replace(weighted(1, 0), "name: eu", "name: us", 1)), put(weighted(1, 9)),
			"50% of the endpoints of its rules would take clients (now 100%): at least 60% must"},
		{"sites", guardOf("shop", "{leastSites: 2}"), "spec.leastSites", of(drainOf("eu", "")), of(drainOf("eu", "a")),
			"pools at 1 of its sites would be up (now 2): at least 2 must"},
		{"sites, by a service", guardOf("shop", "{leastSites: 2}"), "spec.leastSites", put(webOf(0)), put(webOf(1)), ""},
		{"freeze", guardOf("shop", frozen), "spec.freeze[0]", put(spare), of(drainOf("eu", "")),
			"nothing is changed until 2026-01-02T06:00:00Z: new year"},
		{"protected resource", guardOf("shop", "{protect: [Service/web]}"), "spec.protect", remove("shop/Service/web"),
			put(webOf(100)), "is protected against deletion"},
		{"protected kind", guardOf("shop", "{protect: [Pool]}"), "spec.protect", remove("shop/Service/web", "shop/Pool/us"),
			remove("shop/Service/web"), ""},
		{"protected by the platform", guardOf("platform", "{tenants: [shop], protect: [Service]}"), "spec.protect",
			remove("shop/Service/web"), put(webOf(1)), ""},
		{"of another tenant", guardOf("platform", "{tenants: [platform], protect: [Site, Service]}"), "spec.protect",
			remove("shop/Service/web", "shop/Pool/us", "platform/Site/iad"), remove("shop/Service/web"), "platform/Site/iad"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ch, _, _ := guarded(t, c.guard)
			p := mustPlan(t, ch, c.refused(t))
			_, err := ch.Apply(context.Background(), p)
			fields, waits := refusals(err)
			if len(fields) != 1 || fields[0] != c.field || waits || !strings.Contains(err.Error(), c.says) ||
				!strings.Contains(err.Error(), "--break-glass") {
				t.Fatalf("got %v (%v), want %s and %q", err, fields, c.field, c.says)
			}
			mustApply(t, ch, c.passes(t))
		})
	}
}

// TestGuardsLetPassWhatMendsThings: what is below a bound already may get better, and stay.
func TestGuardsLetPassWhatMendsThings(t *testing.T) {
	ch, _, _ := guarded(t, "")
	mustApply(t, ch, drainOf("eu", ""))
	mustApply(t, ch, drainOf("us", "a"))
	mustApply(t, ch, Input{Put: decode(t, guardOf("shop", "{leastCapacity: 90%, leastSites: 2}"))})
	mustApply(t, ch, Input{Edit: Undrain(Target{"shop", "us", "a"})})
	mustApply(t, ch, Input{Put: decode(t, strings.Replace(webOf(50), "rules:", "ttl: 1m, rules:", 1))})
	if _, err := ch.Apply(context.Background(), mustPlan(t, ch, drainOf("us", "b"))); err == nil {
		t.Error("it got worse")
	}
}

func TestAGuardThatObserves(t *testing.T) {
	ch, _, _ := guarded(t, guardOf("shop", "{mode: observe, largestShift: {change: 30%}, approval: {}}"))
	p := mustPlan(t, ch, Input{Put: decode(t, webOf(100))})
	text := p.Warnings.Error()
	if !strings.Contains(text, "a guard that observes would refuse this: 50% of its answers") || len(p.Refusals) != 2 {
		t.Errorf("told %s", text)
	}
	if _, err := ch.Apply(context.Background(), p); err != nil {
		t.Error(err)
	}
}

// TestAChangeCannotFreeItself: guards are those of the state before it.
func TestAChangeCannotFreeItself(t *testing.T) {
	ch, _, _ := guarded(t, guardOf("shop", "{largestShift: {change: 30%}}"))
	for _, in := range []Input{{Put: decode(t, webOf(100)), Delete: []spec.Key{key("shop/Guard/g")}},
		{Put: decode(t, webOf(100)+guardOf("shop", "{largestShift: {change: 99%}}"))}} {
		if _, err := ch.Apply(context.Background(), mustPlan(t, ch, in)); err == nil {
			t.Error("it was made")
		}
	}
}

func anybody(*guards.Refusal) bool { return true }

func TestBreakGlass(t *testing.T) {
	ch, m, _ := guarded(t, guardOf("shop", "{largestShift: {change: 30%}, approval: {}}"))
	in := Input{Put: decode(t, webOf(100)), BreakGlass: "fra burns"}
	for name, may := range map[string]func(*guards.Refusal) bool{"nobody said": nil,
		"not of the shift": func(r *guards.Refusal) bool { return r.Waits > 0 }} {
		in.MayBreak = may
		_, err := ch.Apply(context.Background(), mustPlan(t, ch, in))
		if fields, waits := refusals(err); len(fields) == 0 || fields[0] != "spec.largestShift.change" || waits {
			t.Errorf("%s: got %v", name, err)
		}
	}
	in.MayBreak = func(r *guards.Refusal) bool { return r.Waits == 0 }
	_, err := ch.Apply(context.Background(), mustPlan(t, ch, in))
	if fields, waits := refusals(err); len(fields) != 1 || fields[0] != "spec.approval" || waits {
		t.Errorf("not of the approval: got %v", err)
	}
	in.MayBreak = anybody
	p := mustPlan(t, ch, in)
	if len(p.Refusals) != 2 {
		t.Errorf("it is told what is passed over: %+v", p.Refusals)
	}
	recs, err := ch.Apply(context.Background(), p)
	if err != nil || recs[0].BreakGlass != "fra burns" {
		t.Fatalf("%+v, %v", recs, err)
	}
	if last := m.records["shop"][len(m.records["shop"])-1]; last.BreakGlass != "fra burns" {
		t.Errorf("the record says %q", last.BreakGlass)
	}
}

func TestApproval(t *testing.T) {
	ch, m, _ := guarded(t, guardOf("shop", "{approval: {above: 10%, for: 4h}}"))
	mustApply(t, ch, Input{Put: decode(t, webOf(59))})
	in := Input{Put: decode(t, webOf(70)), Author: "ann"}
	_, err := ch.Apply(context.Background(), mustPlan(t, ch, in))
	fields, waits := refusals(err)
	if len(fields) != 1 || fields[0] != "spec.approval" || !waits {
		t.Fatalf("got %v (%v)", err, fields)
	}
	for _, same := range []string{"ann", ""} {
		in.Approved = same
		if _, err := ch.Apply(context.Background(), mustPlan(t, ch, in)); err == nil {
			t.Errorf("%q approved what ann asked for", same)
		}
	}
	in.Approved = "bob"
	mustApply(t, ch, in)
	if last := m.records["shop"][len(m.records["shop"])-1]; last.Approved != "bob" || last.Author != "ann" {
		t.Errorf("the record says %+v", last)
	}
	_, err = ch.Apply(context.Background(), mustPlan(t, ch, Input{Delete: []spec.Key{key("shop/Guard/g")}}))
	if fields, waits := refusals(err); len(fields) != 1 || !waits {
		t.Errorf("a guard with approval is taken away by one: %v", err)
	}
}

// TestApprovalDoesNotLiftOtherGuards: what is refused for another reason does not wait either.
func TestApprovalDoesNotLiftOtherGuards(t *testing.T) {
	ch, _, _ := guarded(t, guardOf("shop", "{approval: {above: 10%}, largestShift: {change: 30%}}"))
	in := Input{Put: decode(t, webOf(100)), Approved: "bob"}
	_, err := ch.Apply(context.Background(), mustPlan(t, ch, in))
	if fields, waits := refusals(err); len(fields) != 2 || waits {
		t.Errorf("got %v", err)
	}
}

// TestWhatOthersChangedMeanwhileIsJudgedAnew: a plan that passed is refused where the state that it comes to is another one.
func TestWhatOthersChangedMeanwhileIsJudgedAnew(t *testing.T) {
	ch, m, _ := guarded(t, guardOf("shop", "{leastSites: 2}"))
	other := New(Config{Store: m, Now: func() time.Time { return clock.Add(2 * time.Hour) }})
	p := mustPlan(t, ch, drainOf("eu", "a"))
	mustApply(t, other, drainOf("eu", "b"))
	_, err := ch.Apply(context.Background(), p)
	if fields, _ := refusals(err); len(fields) == 0 || fields[0] != "spec.leastSites" {
		t.Errorf("got %v", err)
	}
}

// TestACopyOfAZoneIsNeitherFrozenNorWaits, and what is protected stays.
func TestACopyOfAZoneIsNeitherFrozenNorWaits(t *testing.T) {
	ch, _, _ := guarded(t, guardOf("platform", "{freeze: [{cron: 0 5 2 1 *, for: 1h}], approval: {}, protect: [Zone]}"))
	zone := func(s *State) *spec.Resource {
		z := *s.Get(key("platform/Zone/gtm.example.")).Spec.(*spec.Zone)
		z.Debug = new(bool)
		return s.Get(key("platform/Zone/gtm.example.")).With(&z)
	}
	in := Input{Edit: func(s *State) ([]*spec.Resource, []spec.Key, error) { return []*spec.Resource{zone(s)}, nil, nil }}
	if _, err := ch.Apply(context.Background(), mustPlan(t, ch, in)); err == nil {
		t.Error("it is frozen")
	}
	in.Copied = true
	mustApply(t, ch, in)
	gone := Input{Copied: true, Delete: []spec.Key{key("shop/Service/web"), key("platform/Zone/gtm.example.")}}
	_, err := ch.Apply(context.Background(), mustPlan(t, ch, gone))
	if fields, _ := refusals(err); len(fields) != 1 || fields[0] != "spec.protect" {
		t.Errorf("got %v", err)
	}
}

// TestWhatComesAboutLaterIsJudgedByWhatItComesTo: a ramp, what starts later, and what recurs.
func TestWhatComesAboutLaterIsJudgedByWhatItComesTo(t *testing.T) {
	for _, when := range []string{"weight: {to: 950, over: 20m}", "weight: 950, starts: 2027-01-01T00:00:00Z",
		"weight: 950, schedule: {cron: 0 2 * * *, for: 1h}"} {
		ch, _, _ := guarded(t, guardOf("shop", "{largestShift: {change: 30%}}"))
		in := func(when string) Input {
			return Input{Put: decode(t, "kind: Override\ntenant: shop\nname: o\nspec: {service: web, rule: r, pool: us, reason: x, "+
				when+"}\n")}
		}
		_, err := ch.Apply(context.Background(), mustPlan(t, ch, in(when)))
		if fields, _ := refusals(err); len(fields) != 1 {
			t.Errorf("%s: got %v", when, err)
		}
		mustApply(t, ch, in(strings.Replace(when, "950", "99", 1)))
	}
}

// TestARebuildIsNotJudged: it puts back what was there.
func TestARebuildIsNotJudged(t *testing.T) {
	ch, _, _ := guarded(t, guardOf("shop", "{approval: {}, largestShift: {change: 1%}}"))
	mustApply(t, ch, Input{Put: decode(t, webOf(100)), Unbounded: true})
}

// TestTheShiftOfAnHour goes through random changes at random times, and compares with what the weights say by themselves: from a state u
// percent of which is at us to one of v percent, |u-v| percent move.
func TestTheShiftOfAnHour(t *testing.T) {
	const bound = 30
	random := rand.New(rand.NewPCG(5, 6))
	ch, _, now := guarded(t, guardOf("shop", fmt.Sprintf("{largestShift: {hour: %d%%}}", bound)))
	type was struct {
		at time.Time
		us int
	}
	history := []was{{now.Add(-2 * time.Hour), 50}}
	refused, passed, back := 0, 0, 0
	for range 120 {
		*now = now.Add(time.Duration(random.IntN(25)) * time.Minute)
		us := random.IntN(101)
		then, present := 50, history[len(history)-1].us
		for _, h := range history {
			if !h.at.After(now.Add(-time.Hour)) {
				then = h.us
			}
		}
		apart := func(a, b int) int { return max(a-b, b-a) }
		want := apart(us, then) > bound && apart(us, then) > apart(present, then)
		_, err := ch.Apply(context.Background(), mustPlan(t, ch, Input{Put: decode(t, webOf(us))}))
		fields, _ := refusals(err)
		switch got := len(fields) > 0; {
		case got != want:
			t.Fatalf("an hour ago %d, now %d, to be %d: got %v", then, present, us, err)
		case got:
			refused++
		case err != nil:
			t.Fatal(err)
		default:
			if passed++; apart(us, then) > bound {
				back++
			}
			if us != present {
				history = append(history, was{*now, us})
			}
		}
	}
	if refused < 20 || passed < 20 {
		t.Errorf("%d were refused, %d passed", refused, passed)
	}
}

func TestServicesThatAChangeConcerns(t *testing.T) {
	ch, _, _ := guarded(t, "")
	mustApply(t, ch, Input{Put: decode(t, strings.ReplaceAll(webOf(0), "web", "api")+"---\n"+
		"kind: Policy\ntenant: shop\nname: near\nspec: {rules: [{pools: [{nearest: sites}]}]}\n---\n"+
		"kind: Service\ntenant: shop\nname: pol\nspec: {host: pol.shop.gtm.example., rules: [{pools: [{policy: near}]}], "+
		"pools: [us]}\n---\n"+
		"kind: Pool\ntenant: shop\nname: db\nspec: {endpoints: [{name: a, addresses: [198.51.100.41]}], depends: [{pool: us}]}\n---\n"+
		strings.ReplaceAll(strings.ReplaceAll(webOf(0), "web", "dep"), "[eu]", "[db]"))})
	for in, want := range map[string]string{
		"kind: Pool\ntenant: shop\nname: eu\nspec: {site: fra, endpoints: [{name: a, addresses: [198.51.100.1]}]}\n":  "api web",
		"kind: Pool\ntenant: shop\nname: us\nspec: {site: iad, endpoints: [{name: a, addresses: [198.51.100.11]}]}\n": "dep pol web",
		"kind: Site\ntenant: platform\nname: fra\nspec: {region: EU-FR}\n":                                            "api web",
		"kind: Policy\ntenant: shop\nname: near\nspec: {rules: [{pools: [{nearest: sites, band: 50%}]}]}\n":           "pol",
		"kind: Override\ntenant: shop\nname: o\nspec: {pool: eu, state: drain, reason: x}\n":                          "api web",
		"kind: Override\ntenant: shop\nname: o\nspec: {service: web, rule: r, pool: eu, weight: 3, reason: x}\n":      "web",
		"kind: Monitor\ntenant: shop\nname: m\nspec: {type: tcp, port: 80}\n":                                         "",
	} {
		p := mustPlan(t, ch, Input{Put: decode(t, in)})
		var steps []Step
		for _, part := range p.Parts {
			steps = append(steps, part.Steps...)
		}
		var names []string
		for _, k := range concerned(p.state, newOverlay(p.state).with(steps), steps) {
			names = append(names, k.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s\ngot %s, want %s", in, got, want)
		}
	}
}

// TestAWorldThatCannotBeRead stops what guards weigh, and nothing else.
func TestAWorldThatCannotBeRead(t *testing.T) {
	for name, world := range map[string]func() (*effect.World, error){
		"gone":   effect.Opener("/nowhere/geo.mmdb"),
		"broken": func() (*effect.World, error) { panic("a fault of ours") },
	} {
		_, m, _ := guarded(t, "")
		ch := New(Config{Store: m, Now: func() time.Time { return clock.Add(3 * time.Hour) }, World: world})
		p := mustPlan(t, ch, Input{Put: decode(t, webOf(60)), Foresee: true})
		if text := p.Warnings.Error(); !strings.Contains(text, "cannot be told") {
			t.Errorf("%s: warned of %s", name, text)
		}
		if _, err := ch.Apply(context.Background(), p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		mustApply(t, ch, Input{Put: decode(t, guardOf("shop", "{leastSites: 2}"))})
		in := Input{Author: "ann", Put: decode(t, webOf(61))}
		if _, err := ch.Plan(context.Background(), in); err == nil || !strings.Contains(err.Error(), "which a guard asks for") {
			t.Errorf("%s: got %v", name, err)
		}
		in.BreakGlass = "no geography"
		_, err := ch.Apply(context.Background(), mustPlan(t, ch, in))
		if fields, _ := refusals(err); len(fields) != 1 || !strings.Contains(err.Error(), "cannot be told") {
			t.Errorf("%s: somebody who may not broke the glass: %v", name, err)
		}
		in.MayBreak = anybody
		mustApply(t, ch, in)
	}
}

// TestTheEffectIsToldOnDemand, and agrees with the weights.
func TestTheEffectIsToldOnDemand(t *testing.T) {
	ch, _, _ := guarded(t, "")
	if p := mustPlan(t, ch, Input{Put: decode(t, webOf(75))}); p.Effect != nil {
		t.Error("nobody asked")
	}
	p := mustPlan(t, ch, Input{Put: decode(t, webOf(75)), Foresee: true})
	if len(p.Effect.Services) != 1 || math.Abs(p.Effect.Services[0].Moved-0.25) > 1e-9 {
		t.Errorf("got %+v", p.Effect)
	}
	if base := p.Base(); base["shop"] != 1 || base["platform"] != 1 {
		t.Errorf("it was made on %v", base)
	}
}

// journal hears of changes.
type journal struct{ begun, refused []string }

func (j *journal) Begin(p *Plan) (func([]state.Record, error), error) {
	j.begun = append(j.begun, p.Message)
	return func([]state.Record, error) {}, nil
}

func (j *journal) Refused(p *Plan, why error) {
	j.refused = append(j.refused, p.Message+": "+why.Error())
}

// TestTheJournalHearsOfWhatGuardsRefuse, by whatever way the change comes, and of no plan that is only looked at.
func TestTheJournalHearsOfWhatGuardsRefuse(t *testing.T) {
	ch, _ := house(t)
	j := &journal{}
	ch.cfg.Journal = j
	mustApply(t, ch, Input{Put: decode(t, "kind: Guard\ntenant: shop\nname: safe\nspec: {protect: [Pool]}\n"), Message: "guard"})
	p := mustPlan(t, ch, Input{Delete: []spec.Key{key("shop/Service/web"), key("shop/Pool/eu")}, Message: "away"})
	if len(j.refused) > 0 {
		t.Errorf("a plan is in the journal: %v", j.refused)
	}
	p.Author = "ann"
	if _, err := ch.Apply(context.Background(), p); err == nil {
		t.Fatal("it was not refused")
	}
	if len(j.begun) != 1 || len(j.refused) != 1 || !strings.Contains(j.refused[0], "away: ") ||
		!strings.Contains(j.refused[0], "spec.protect of shop/Guard/safe") {
		t.Errorf("begun %v, refused %v", j.begun, j.refused)
	}
	mustApply(t, ch, Input{Put: decode(t, quotaOf("{all: {changes: 1}}")), Message: "few"})
	p = mustPlan(t, ch, Input{Edit: Weights("shop", "eu", map[string]int{"a": 7}), Message: "more"})
	p.Author = "ann"
	if _, err := ch.Apply(context.Background(), p); !errors.As(err, new(*TooManyError)) || len(j.refused) != 2 ||
		!strings.Contains(j.refused[1], "more: shop made 1 changes") {
		t.Errorf("%v: refused %v", err, j.refused)
	}
}
