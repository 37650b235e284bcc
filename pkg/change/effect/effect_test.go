package effect

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/gtmtest/views"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
)

var clock = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const ground = `kind: Zone
tenant: platform
name: gtm.example.
spec: {nameservers: [ns1.gtm.example.], contact: hostmaster.gtm.example., grants: {shop: [shop.gtm.example.]}}
---
kind: Site
tenant: platform
name: fra
spec: {region: EU-DE, location: {lat: 50.1, lon: 8.7}}
---
kind: Site
tenant: platform
name: iad
spec: {region: NA-US, location: {lat: 38.9, lon: -77.4}}
---
kind: Site
tenant: platform
name: sin
spec: {region: AS-SG, location: {lat: 1.3, lon: 103.8}}
---
kind: Pool
tenant: shop
name: eu
spec: {site: fra, endpoints: [{name: a, addresses: [198.51.100.1]}, {name: b, addresses: [198.51.100.2]}]}
---
kind: Pool
tenant: shop
name: us
spec: {site: iad, endpoints: [{name: a, addresses: [198.51.100.11]}, {name: b, addresses: [198.51.100.12], weight: 3}]}
---
kind: Pool
tenant: shop
name: ap
spec: {site: sin, endpoints: [{name: a, addresses: [198.51.100.21]}]}
---
`

func service(spec string) string {
	return "kind: Service\ntenant: shop\nname: web\nspec: {host: web.shop.gtm.example., " + spec + "}\n"
}

func override(name, spec string) string {
	return "---\nkind: Override\ntenant: shop\nname: " + name + "\nspec: {reason: x, " + spec + "}\n"
}

var web = spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "web"}

func setOf(t testing.TB, yaml string) spec.Set {
	t.Helper()
	set := spec.Set{}
	for _, r := range declared.Resources(t, yaml) {
		set[r.Key] = r
	}
	return set
}

func world(t testing.TB) *World { return NewWorld(views.Atlas(t)) }

func effectOf(t testing.TB, w *World, before, after string, down ...string) *Effect {
	t.Helper()
	return Of(Input{Before: setOf(t, before), After: setOf(t, after), Services: []spec.Key{web}, World: w, At: clock,
		Verdict: verdictsOf(down)})
}

// verdictsOf has all endpoints of some pools down.
func verdictsOf(down []string) func(health.PoolID) *health.Verdict {
	return func(id health.PoolID) *health.Verdict {
		for _, name := range down {
			if name == id.Pool {
				return &health.Verdict{Pool: id, Endpoints: map[string]health.Finding{"a": {State: health.Down}, "b": {State: health.Down}}}
			}
		}
		return nil
	}
}

// TestTheUsersOfEachCountry reads the whole table, of which a slip of the hand would leave some out.
func TestTheUsersOfEachCountry(t *testing.T) {
	total := 0.0
	for code, n := range users {
		if len(code) != 2 || n <= 0 || n > 1500 {
			t.Errorf("%q: %v million", code, n)
		}
		total += n
	}
	if len(users) < 240 || total < 4500 || total > 6500 {
		t.Errorf("%d countries with %v million users", len(users), total)
	}
	w, sum := world(t), 0.0
	for _, s := range w.samples {
		if _, ok := users[s.country]; !ok && s.country != "BV" && s.country != "HM" { // where nobody lives
			t.Errorf("%s is not in the table", s.country)
		}
		sum += s.weight
	}
	if len(w.samples) < 200 || math.Abs(sum-1) > 1e-9 {
		t.Errorf("%d samples that weigh %v", len(w.samples), sum)
	}
}

// slow draws answers for each country in a view, as Decide gives them.
func slow(t *testing.T, w *World, yaml string, down []string, draws int, random *rand.Rand) (pools map[string]float64,
	each []map[string]float64) {
	t.Helper()
	of := views.New(t, 1)
	of.Now = clock
	of.Put(yaml)
	for _, pool := range down {
		of.Down("shop", pool, "a", "b")
	}
	v := of.View.Load()
	s := v.FindService("web.shop.gtm.example.")
	pools = map[string]float64{}
	for i := range w.samples {
		c := &w.samples[i]
		here := map[string]float64{}
		for range draws {
			var d table.Decision
			if v.Decide(&d, s, s.Families()[0], &c.client, v.Classify(s, &c.client), random.Uint64()); d.Draw != nil {
				here[d.Draw.Pool.ID.Pool] += 1 / float64(draws)
				pools[d.Draw.Pool.ID.Pool] += c.weight / float64(draws)
			}
		}
		each = append(each, here)
	}
	return pools, each
}

var changes = []struct {
	name, before, after string
	down                []string
}{
	{"weights", service("rules: [{pools: [{pool: eu, weight: 70}, {pool: us, weight: 30}]}]"),
		service("rules: [{pools: [{pool: eu, weight: 20}, {pool: us, weight: 50}, {pool: ap, weight: 30}]}]"), nil},
	{"a rule inserted", service("rules: [{name: rest, pools: [us]}]"),
		service("rules: [{name: asia, when: {geo: [AS]}, pools: [ap, us]}, {name: rest, pools: [us]}]"), nil},
	{"a pool drained", service("rules: [{name: eu, when: {geo: [EU]}, pools: [eu, us]}, {pools: [us]}]"),
		service("rules: [{name: eu, when: {geo: [EU]}, pools: [eu, us]}, {pools: [us]}]") + override("d", "pool: eu, state: drain"), nil},
	{"a pool that is down", service("rules: [{pools: [{pool: eu, weight: 1}, {pool: us, weight: 1}]}]"),
		service("rules: [{pools: [{pool: eu, weight: 1}, {pool: us, weight: 3}, {pool: ap, weight: 2}]}]"), []string{"us"}},
	{"nearest", service("rules: [{pools: [{nearest: [eu, us]}]}]"), service("rules: [{pools: [{nearest: [eu, us, ap]}]}]"), nil},
	{"nearest, in a band", service("rules: [{pools: [{nearest: [eu, us, ap], band: 200%}]}]"),
		service("rules: [{pools: [{nearest: [eu, us, ap], band: 20%, bias: {ap: 30%}}]}]"), nil},
	{"a split of policies", service("rules: [{pools: [us]}]"),
		service("rules: [{pools: [{split: [{nearest: [eu, ap], weight: 9}, {pool: us, weight: 1}]}]}]"), nil},
	{"a trickle", service("rules: [{pools: [eu]}]"), service("rules: [{pools: [{nearest: [eu, us]}, {pool: ap, trickle: 10%}]}]"), nil},
	{"a fence", service("rules: [{when: {geo: [EU]}, pools: [us, eu]}, {pools: [us]}]"),
		service("rules: [{when: {geo: [EU]}, fence: [EU], pools: [us, eu]}, {pools: [us]}]"), nil},
	{"last resort", service("rules: [{pools: [eu]}], lastResort: [us]"), service("rules: [{pools: [ap]}], lastResort: [us]"),
		[]string{"ap"}},
	{"a shift of a rule", service("rules: [{name: r, pools: [{pool: eu, weight: 9}, {pool: us, weight: 1}]}]"),
		service("rules: [{name: r, pools: [{pool: eu, weight: 9}, {pool: us, weight: 1}]}]") +
			override("s", "service: web, rule: r, pool: us, weight: 11"), nil},
}

// TestTheEffectIsWhatClientsGet compares with answers that are drawn, on a view of each side that was made apart from the other one.
func TestTheEffectIsWhatClientsGet(t *testing.T) {
	const draws = 400
	w := world(t)
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			before, eachBefore := slow(t, w, ground+c.before, c.down, draws, random)
			after, eachAfter := slow(t, w, ground+c.after, c.down, draws, random)
			e := effectOf(t, w, ground+c.before, ground+c.after, c.down...)
			if len(e.Services) != 1 || e.Services[0].Moved < 0.01 {
				t.Fatalf("nothing moves: %+v", e)
			}
			s := &e.Services[0]
			told := map[string]Share{}
			for _, p := range s.Pools {
				told[p.Name] = p
			}
			for name := range map[string]bool{"eu": true, "us": true, "ap": true} {
				if got := told[name]; math.Abs(got.Before-before[name]) > 0.02 || math.Abs(got.After-after[name]) > 0.02 {
					t.Errorf("pool %s: told %v -> %v, drawn %v -> %v", name, got.Before, got.After, before[name], after[name])
				}
			}
			drawn := 0.0
			for i := range eachBefore {
				apart := 0.0
				for _, name := range []string{"eu", "us", "ap"} {
					apart += math.Abs(eachBefore[i][name] - eachAfter[i][name])
				}
				drawn += w.samples[i].weight * apart / 2
			}
			if math.Abs(drawn-s.Moved) > 0.04 { // chance alone keeps few draws apart
				t.Errorf("told that %v moves, drawn %v", s.Moved, drawn)
			}
			flow := 0.0
			for _, m := range s.Moves {
				flow += m.Share
			}
			if math.Abs(flow-s.Moved) > 1e-9 {
				t.Errorf("moves come to %v, of %v", flow, s.Moved)
			}
		})
	}
}

// TestAllMovesAreKept: people are shown ten; who judges by the plan needs the others, too.
func TestAllMovesAreKept(t *testing.T) {
	const pools = 12
	yaml, was, is := ground, "", ""
	for i := range pools {
		for side, name := range []string{"a", "b"} {
			yaml += fmt.Sprintf("kind: Pool\ntenant: shop\nname: %s%d\nspec: {endpoints: [{name: a, addresses: [198.51.100.%d]}]}\n---\n",
				name, i, 100+pools*side+i)
		}
		was += fmt.Sprintf("{pool: a%d, weight: 1}, ", i)
		is += fmt.Sprintf("{pool: b%d, weight: 1}, ", i)
	}
	e := effectOf(t, world(t), yaml+service("rules: [{pools: ["+was+"]}]"), yaml+service("rules: [{pools: ["+is+"]}]"))
	if len(e.Services) != 1 || len(e.Services[0].Moves) != mostMoves || len(e.All()[0].AllMoves()) != pools*pools {
		t.Fatalf("%+v", e.Services)
	}
	sum := 0.0
	for _, m := range e.All()[0].AllMoves() {
		sum += m.Share
	}
	if math.Abs(sum-1) > 1e-9 {
		t.Errorf("all moves come to %v", sum)
	}
}

func TestWhatIsToldBesideShares(t *testing.T) {
	w := world(t)
	two := service("rules: [{name: eu, when: {geo: [EU]}, pools: [eu, us]}, {name: rest, pools: [us]}]")
	one := func(e *Effect) *Service {
		if len(e.Services) != 1 {
			t.Fatalf("%d services: %+v", len(e.Services), e)
		}
		return &e.Services[0]
	}
	s := one(effectOf(t, w, ground+two, ground))
	if !s.Gone || s.Moved != 1 {
		t.Errorf("deleted: %+v", s)
	}
	if e := effectOf(t, w, ground, ground+two); len(e.Services)+e.Same != 0 {
		t.Errorf("created: %+v", e)
	}
	if e := effectOf(t, w, ground+two, ground+two); len(e.Services) != 0 || e.Same != 1 {
		t.Errorf("as it was: %+v", e)
	}
	s = one(effectOf(t, w, ground+two, ground+strings.Replace(two, "web.shop", "www.shop", 1)))
	if !s.Gone || s.Moved != 1 {
		t.Errorf("another host: %+v", s)
	}
	s = one(effectOf(t, w, ground+two, ground+two+override("d", "pool: eu, endpoint: a, state: drain")))
	if s.Moved != 0 || math.Abs(s.Capacity.Before-1) > 1e-9 || math.Abs(s.Capacity.After-0.75) > 1e-9 || s.SitesUp != [2]int{2, 2} {
		t.Errorf("one of two endpoints of one of two pools: %+v", s)
	}
	s = one(effectOf(t, w, ground+two, ground+two+override("d", "pool: us, state: drain")))
	if s.SitesUp != [2]int{2, 1} || math.Abs(s.Capacity.After-0.5) > 1e-9 || len(s.Falls) != 1 || s.Falls[0].How != table.AsIfUp {
		t.Errorf("the pool of all others drained: %+v", s)
	}
	if s.Moved != 0 { // a drained pool answers before nobody does
		t.Errorf("nothing else answers for those: %+v", s)
	}
	inserted := service("rules: [{name: de, when: {geo: [EU-DE]}, pools: [us]}, {name: eu, when: {geo: [EU]}, pools: [eu, us]}, " +
		"{name: rest, pools: [us]}]")
	s = one(effectOf(t, w, ground+two, ground+inserted))
	germans := users["DE"] / 5257
	if len(s.Rules) != 2 || s.Rules[0].Name != "de" || s.Rules[0].Before != 0 || math.Abs(s.Rules[0].After-germans) > 0.001 ||
		s.Rules[1].Name != "eu" || math.Abs(s.Rules[1].Before-s.Rules[1].After-germans) > 0.001 {
		t.Errorf("a rule that takes from another one: %+v", s.Rules)
	}
	if len(s.Places) != 1 || s.Places[0].Country != "DE" || s.Places[0].Moved != 1 {
		t.Errorf("where: %+v", s.Places)
	}
	asn := "rules: [{name: net, when: {asn: [64500]}, pools: [eu]}, {name: rest, pools: [us]}]"
	s = one(effectOf(t, w, ground+service(asn), ground+service(strings.Replace(asn, "pools: [eu]", "pools: [ap]", 1))))
	if s.Moved != 0 || len(s.Notes) != 1 || !strings.Contains(s.Notes[0], "rule net") || !strings.Contains(s.Notes[0], "100% move") {
		t.Errorf("a rule that no country is in: %+v", s)
	}
}

func TestWarnings(t *testing.T) {
	monitored := strings.Replace(ground, "site: fra, ", "site: fra, monitor: m, ", 1) +
		"kind: Monitor\ntenant: shop\nname: m\nspec: {type: tcp, port: 80}\n---\n"
	w := world(t)
	two := service("ttl: 30s, rules: [{pools: [eu, us]}]")
	for _, c := range []struct {
		name, before, after, want string
		down                      []string
	}{
		{"the last pool drained", ground + service("rules: [{pools: [eu]}]"),
			ground + service("rules: [{pools: [eu]}]") + override("d", "pool: eu, state: drain"), "no pool of their rule is up", nil},
		{"last resort", ground + service("rules: [{pools: [eu]}], lastResort: [us]"),
			ground + service("rules: [{pools: [ap]}], lastResort: [us]"), "lastResort: no pool of the rule is up", []string{"ap"}},
		{"one site left", ground + two, ground + two + override("d", "pool: eu, state: drain"), "at one site only", nil},
		{"a longer TTL before a drain", ground + two + override("d", "pool: eu, state: drain, starts: 2027-01-01T00:00:00Z"),
			ground + strings.Replace(two, "30s", "1h", 1) + override("d", "pool: eu, state: drain, starts: 2027-01-01T00:00:00Z"),
			"the TTL goes from 30s to 3600s, and d drains eu", nil},
		{"a pool that nobody watches", monitored + service("rules: [{pools: [eu]}]"),
			monitored + service("rules: [{pools: [{pool: eu, weight: 1}, {pool: us, weight: 1}]}]"), "pool us is not monitored", nil},
	} {
		var texts []string
		for _, e := range effectOf(t, w, c.before, c.after, c.down...).Warnings() {
			texts = append(texts, e.Error())
		}
		if !strings.Contains(strings.Join(texts, "\n"), c.want) {
			t.Errorf("%s: got %q, want %s", c.name, texts, c.want)
		}
	}
	same := monitored + service("rules: [{pools: [{pool: eu, weight: 1}, {pool: us, weight: 1}, {pool: ap, weight: 1}]}]")
	less := strings.Replace(same, "{pool: eu, weight: 1}", "{pool: eu, weight: 3}", 1)
	if told := effectOf(t, w, same, less).Warnings(); len(told) > 0 {
		t.Errorf("what is not monitored gets less: %v", told)
	}
	if quiet := effectOf(t, w, ground+two, ground+strings.Replace(two, "[eu, us]", "[us, eu]", 1)).Warnings(); len(quiet) > 0 {
		t.Errorf("nothing speaks against it: %v", quiet)
	}
}

// TestTheTypeOfWhichMostMovesIsTold: where only one endpoint has IPv6, its drain moves that, and nothing of IPv4.
func TestTheTypeOfWhichMostMovesIsTold(t *testing.T) {
	dual := strings.NewReplacer("[198.51.100.1]", `[198.51.100.1, "2001:db8::1"]`, "[198.51.100.11]", `[198.51.100.11, "2001:db8::11"]`).
		Replace(ground) + service("rules: [{pools: [eu, us]}]")
	e := effectOf(t, world(t), dual, dual+override("d", "pool: eu, endpoint: a, state: drain"))
	if len(e.Services) != 1 || math.Abs(e.Services[0].Moved-1) > 1e-9 || e.Services[0].Type.Type() != 28 {
		t.Errorf("got %+v", e.Services)
	}
}

// TestWhatIsKnownForRegionsCounts: clients of a continent for whom a pool is down stay where they are.
func TestWhatIsKnownForRegionsCounts(t *testing.T) {
	w, in := world(t), 0.0
	for i := range w.samples {
		if place, _ := w.atlas.Lookup(w.samples[i].client.Resolver.Addr()); place.Continent != "AS" {
			in += w.samples[i].weight
		}
	}
	regional := strings.Replace(ground, "site: fra, ", "site: fra, regions: true, ", 1)
	e := effectOf(t, w, regional+service("rules: [{pools: [us]}]"), regional+service("rules: [{pools: [eu, us]}]"), "eu@AS")
	if len(e.Services) != 1 || math.Abs(e.Services[0].Moved-in) > 1e-9 || in < 0.3 || in > 0.7 {
		t.Errorf("of %v outside of Asia, told %+v", in, e.Services)
	}
}

// TestOfManyServicesSomeAreLookedAt, and it is told.
func TestOfManyServicesSomeAreLookedAt(t *testing.T) {
	set, keys := setOf(t, ground), []spec.Key{}
	for i := range MostServices + 2 {
		k := spec.Key{Tenant: "shop", Kind: spec.KindService, Name: fmt.Sprint("s", i)}
		set[k] = &spec.Resource{Key: k, Spec: &spec.Service{Host: "none.example."}} // of no zone, which costs little
		keys = append(keys, k)
	}
	e := Of(Input{Before: set, After: set, Services: keys, World: world(t), At: clock})
	if e.Skipped != 2 || len(e.Warnings()) != 1 {
		t.Errorf("%d left out, %v", e.Skipped, e.Warnings())
	}
}
