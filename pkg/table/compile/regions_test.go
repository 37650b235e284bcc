package compile

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/rr"
)

// regional has the pools of some YAML judged for the clients of each continent.
func regional(pools string) string {
	return strings.NewReplacer("endpoints:", "monitor: up, regions: true, endpoints:").Replace(pools)
}

const seoul = "211.34.56.0/24"

// TestRegionsHaveVerdictsOfTheirOwn: what cannot be reached from Europe is up for Asia, and Europe's clients go elsewhere.
func TestRegionsHaveVerdictsOfTheirOwn(t *testing.T) {
	for name, rules := range map[string]string{
		"pools":   "  rules: [{when: {geo: [EU, AS]}, pools: [sg, us]}, {pools: [us]}]\n",
		"nearest": "  rules: [{when: {geo: [EU, AS]}, pools: [sg, {nearest: [us, eu]}]}, {pools: [us]}]\n",
		"sticky":  "  pick: sticky\n  rules: [{pools: [sg, us]}]\n",
		"last":    "  rules: [{pools: [sg]}]\n  lastResort: [us]\n",
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, testZone, regional(testSites), service("web", rules))
			const host = "web.shop.gtm.example."
			elsewhere := map[string]float64{atUS: 1}
			if name == "nearest" {
				elsewhere = map[string]float64{atEU: 1}
			}
			is := func(berliners, koreans, others map[string]float64) {
				t.Helper()
				h.expect(host, berlin, rr.IPv4, berliners)
				h.expect(host, seoul, rr.IPv4, koreans)
				if strings.Contains(rules, "when") {
					h.expect(host, kansas, rr.IPv4, map[string]float64{atUS: 1})
				} else {
					h.expect(host, kansas, rr.IPv4, others)
				}
			}
			at := map[string]float64{atSG: 1}
			is(at, at, at)
			h.verdict("sg@EU", "a", "b")
			is(elsewhere, at, at)
			h.verdict("sg", "a", "b") // most vantages see it down, and those of Asia do not
			h.verdict("sg@AS")
			is(elsewhere, at, map[string]float64{atUS: 1})
			h.verdict("sg")
			h.verdict("sg@EU")
			is(at, at, at)
			h.verdict("sg@EU", "a", "b")
			h.apply(Change{VerdictsDeleted: []health.PoolID{{Tenant: "shop", Pool: "sg@EU"}}}) // too few vantages stand there
			is(at, at, at)
		})
	}
}

// TestAVerdictForARegionIsExplained: words name the region.
func TestAVerdictForARegionIsExplained(t *testing.T) {
	h := newHarness(t, testZone, regional(testSites), service("web", "  rules: [{pools: [sg, us]}]\n"))
	h.verdict("sg@EU", "a", "b")
	e := h.view.Explain(h.service("web.shop.gtm.example."), rr.IPv4, clientAt(berlin), 1)
	text := strings.Join(e.Text("", 0), "\n")
	for _, want := range []string{"step 1 pool sg down: for EU 0 of 1 endpoints healthy, 1 needed", "pool us up: ",
		"judged for clients of EU"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if c := e.Pools[0].Pool.Candidates[0]; c.Out != "down for EU: connect: refused" {
		t.Errorf("out: %q", c.Out)
	}
	e = h.view.Explain(h.service("web.shop.gtm.example."), rr.IPv4, clientAt(seoul), 1)
	if text := strings.Join(e.Text("", 0), "\n"); strings.Contains(text, "for EU") {
		t.Error(text)
	}
}

// TestRegionsShareWhatIsTheSame: leaves of regions for which nothing else is known have one draw, and a verdict for one region replaces no
// node but its own.
func TestRegionsShareWhatIsTheSame(t *testing.T) {
	h := newHarness(t, testZone, regional(testSites), service("web", "  rules: [{pools: [sg, us]}]\n"))
	leaves := func() map[string]table.Node {
		all := map[string]table.Node{}
		for form, d := range h.c.pools[health.PoolID{Tenant: "shop", Pool: "sg"}].draws {
			all[form.Region] = *h.view.Nodes.Ref(d.slot)
		}
		return all
	}
	before := leaves()
	if len(before) != len(geo.Continents)+1 { // and clients of an unknown place
		t.Fatalf("leaves of %d regions", len(before))
	}
	for region, n := range before {
		if n.Draw != before[""].Draw {
			t.Errorf("%s has a draw of its own", region)
		}
	}
	h.verdict("sg@EU")
	h.verdict("sg")
	if after := leaves(); after["EU"].Draw != after[""].Draw {
		t.Error("a verdict that says the same as that for all has a draw of its own")
	}
	h.verdict("sg@EU", "a")
	for region, n := range leaves() {
		if (n.Draw != leaves()[""].Draw) != (region == "EU") || n.Live.Holds(1<<rr.IPv4) != (region != "EU") {
			t.Errorf("%q: %v", region, n)
		}
	}
	h.delete(spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "web"})
	if n := len(h.c.pools[health.PoolID{Tenant: "shop", Pool: "sg"}].draws); n != 0 {
		t.Errorf("%d draws stay behind", n)
	}
}

// TestRegionsDivideNobodyElse: a service that reaches no pool with regions is divided by its rules alone, and so is a rule beside others.
func TestRegionsDivideNobodyElse(t *testing.T) {
	pools := strings.Replace(testSites, "{site: sin, endpoints", "{site: sin, monitor: up, regions: true, endpoints", 1)
	h := newHarness(t, testZone, pools, service("plain", "  rules: [{pools: [us, eu]}]\n"),
		service("web", "  rules: [{when: {geo: [AS]}, pools: [sg, us]}, {pools: [us, eu]}]\n"))
	if d := h.expect("plain.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{atUS: 1}); d.Scope != 0 ||
		h.service("plain.shop.gtm.example.").Steering != nil {
		t.Errorf("scope %d", d.Scope)
	}
	s := h.service("web.shop.gtm.example.")
	classes := map[uint16]bool{}
	for _, c := range []string{berlin, kansas, "200.160.2.0/24", "196.25.1.0/24", "1.128.0.0/24"} {
		classes[h.view.Classify(s, clientAt(c)).Index] = true
	}
	if len(classes) != 1 {
		t.Errorf("clients of the second rule are of %d classes", len(classes))
	}
	h.put(strings.Replace(pools, "regions: true", "regions: false", 1))
	if h.service("web.shop.gtm.example.").Steering != nil {
		t.Error("it is still divided")
	}
}

// TestDependsGoesByRegion: a pool is down for the clients for whom what it depends on is, and for no others.
func TestDependsGoesByRegion(t *testing.T) {
	pools := strings.Replace(regional(testSites), "{site: sin,", "{site: sin, depends: [{pool: eu}],", 1)
	h := newHarness(t, testZone, pools, service("web", "  rules: [{pools: [sg, us]}]\n"))
	const host = "web.shop.gtm.example."
	h.verdict("eu@EU", "a", "b")
	h.expect(host, berlin, rr.IPv4, map[string]float64{atUS: 1})
	h.expect(host, seoul, rr.IPv4, map[string]float64{atSG: 1})
	h.verdict("eu@EU")
	h.expect(host, berlin, rr.IPv4, map[string]float64{atSG: 1})
}

// TestHandsAreOfAllRegions: what a person says holds for clients of every region.
func TestHandsAreOfAllRegions(t *testing.T) {
	h := newHarness(t, testZone, regional(testSites), service("web", "  rules: [{pools: [sg, us]}]\n"))
	const host = "web.shop.gtm.example."
	h.verdict("sg@EU", "a", "b")
	h.put("\n---\nkind: Override\ntenant: shop\nname: o\nspec: {pool: sg, state: up, reason: known}\n")
	h.expect(host, berlin, rr.IPv4, map[string]float64{atSG: 1})
	h.put("\n---\nkind: Override\ntenant: shop\nname: o\nspec: {pool: sg, state: drain, reason: known}\n")
	for _, client := range []string{berlin, seoul, kansas} {
		h.expect(host, client, rr.IPv4, map[string]float64{atUS: 1})
	}
}

// TestAHoldIsOfEachRegion: a service that is held answers clients of each region as it did.
func TestAHoldIsOfEachRegion(t *testing.T) {
	h := newHarness(t, testZone, regional(testSites), service("web", "  rules: [{pools: [sg, us]}]\n"))
	const host = "web.shop.gtm.example."
	h.verdict("sg@EU", "a", "b")
	h.verdict("sg@NA", "a", "b")
	h.put("\n---\nkind: Override\ntenant: shop\nname: o\nspec: {service: web, reason: move, " +
		"hold: {sg: {}, \"sg@EU\": {a: 0}, \"sg@NA\": {}, us: {}}}\n")
	is := func() {
		t.Helper()
		h.expect(host, berlin, rr.IPv4, map[string]float64{atUS: 1})
		h.expect(host, seoul, rr.IPv4, map[string]float64{atSG: 1})
		h.expect(host, kansas, rr.IPv4, map[string]float64{atSG: 1})
	}
	is()
	h.verdict("sg@EU")
	h.verdict("sg", "a", "b")
	is()
	h.apply(Change{VerdictsDeleted: []health.PoolID{{Tenant: "shop", Pool: "sg@EU"}}})
	is()
}

// TestRegionsSteerAsIfEachWasAlone: for clients of a continent a service answers as it would if the verdicts for them were those for all,
// whatever its rules: with the same pools in the same turns, the same shares and TTLs. Scopes hold one class.
func TestRegionsSteerAsIfEachWasAlone(t *testing.T) {
	rnd := gtmtest.Random(t)
	seen := map[string]int{}
	for world := range 24 {
		pick, others := "", ""
		if world%2 == 1 {
			pick = "  pick: sticky\n"
		}
		if world%3 == 0 {
			others = crowd() // it shares a partition, where nearness is left to nodes
		}
		sites := randomSites(rnd)
		partly := strings.Split(sites, "endpoints:")
		for i := range partly[1:] {
			if rnd.IntN(3) > 0 {
				partly[i] += "monitor: up, regions: true, "
			}
		}
		rules := fmt.Sprintf("[{when: {geo: [EU, SA]}, %spools: [%s]}, {when: {geo: [AS]}, ttl: 7s, pools: [%s]}, {pools: [%s]}]",
			randomFence(rnd), randomEntries(rnd, 2), randomEntries(rnd, 2), randomEntries(rnd, 2))
		if world%4 == 1 { // pools alone
			rules = "[{when: {geo: [EU, SA]}, pools: [p0, p1]}, " +
				"{when: {geo: [AS]}, pools: [{pool: p2, weight: 2}, {pool: p3, weight: 1}, p4]}, {pools: [p5, p0, p6]}]"
		}
		rules = strings.ReplaceAll(rules, "{policy: near", "{nearest: sites")
		web := service("web", fmt.Sprintf("%s  pools: [p0, p1, p2, p3, p4, p5, p6, p7]\n  rules: %s\n"+
			"  lastResort: [{nearest: [p4, p5]}, p7]\n", pick, rules))
		h, twin := newHarness(t, testZone, strings.Join(partly, "endpoints:"), others, web), newHarness(t, testZone, sites, others, web)
		if h.view.FindService("web.shop.gtm.example.") == nil {
			continue
		}
		for range 3 {
			verdicts := randomVerdicts(rnd, partly)
			h.apply(verdicts[""])
			for _, region := range geo.Continents {
				h.apply(verdicts[region])
			}
			for _, region := range append([]string{""}, geo.Continents[:]...) {
				effective := verdicts[""]
				if region != "" {
					effective.Verdicts = slices.Concat(effective.Verdicts, declared(verdicts[region].Verdicts))
				}
				twin.apply(effective)
				compareRegion(t, h, twin, region, rnd, seen, web)
			}
		}
	}
	for _, what := range []string{"answers", "otherwise than all", "as if up", "shares"} {
		if seen[what] < 30 {
			t.Errorf("only %d %s", seen[what], what)
		}
	}
}

// randomVerdicts are verdicts for all, and for the clients of some continents. Of a pool that has no regions there are also some, which
// nobody goes by.
func randomVerdicts(rnd *rand.Rand, pools []string) map[string]Change {
	all := map[string]Change{}
	for _, region := range append([]string{""}, geo.Continents[:]...) {
		var ch Change
		for i := range 8 {
			id := health.PoolID{Tenant: "shop", Pool: fmt.Sprint("p", i)}
			if region != "" && (rnd.IntN(3) == 0 || !strings.Contains(pools[i], "regions")) {
				continue
			}
			f := health.Finding{State: health.Up, Score: 1}
			if rnd.IntN(2) == 0 {
				f = health.Finding{State: health.Down}
			}
			ch.Verdicts = append(ch.Verdicts, health.Verdict{Pool: id.For(region), Endpoints: map[string]health.Finding{"a": f}})
		}
		all[region] = ch
	}
	for _, region := range geo.Continents { // what was there before is gone
		ch := all[region]
		for i := range 8 {
			id := health.PoolID{Tenant: "shop", Pool: fmt.Sprint("p", i)}.For(region)
			if !slices.ContainsFunc(ch.Verdicts, func(v health.Verdict) bool { return v.Pool == id }) {
				ch.VerdictsDeleted = append(ch.VerdictsDeleted, id)
			}
		}
		all[region] = ch
	}
	return all
}

// declared gives verdicts for a region as those for all.
func declared(list []health.Verdict) (out []health.Verdict) {
	for _, v := range list {
		v.Pool, _ = v.Pool.Declared()
		out = append(out, v)
	}
	return out
}

func compareRegion(t *testing.T, h, twin *harness, region string, rnd *rand.Rand, seen map[string]int, web string) {
	t.Helper()
	s, plain := h.service("web.shop.gtm.example."), twin.service("web.shop.gtm.example.")
	for range 60 {
		c := clientAt(fmt.Sprintf("%d.%d.%d.0/24", 1+rnd.IntN(223), rnd.IntN(256), rnd.IntN(256)))
		asker := c.Subnet
		class := h.view.Classify(s, c)
		if class.Resolver {
			asker = c.Resolver
		}
		if place, _ := h.view.Place(asker); place.Continent != region {
			continue
		}
		r := rnd.Uint64()
		a, b := h.view.Explain(s, rr.IPv4, c, r), twin.view.Explain(plain, rr.IPv4, c, r)
		if got, want := turnsOf(a), turnsOf(b); got != want || a.TTL != b.TTL || a.Fallback != b.Fallback || a.Scope < b.Scope {
			t.Fatalf("%s\n%q %v: regional %s TTL %d %q /%d\nalone %s TTL %d %q /%d", web, region, c.Subnet.Prefix(), got, a.TTL, a.Fallback,
				a.Scope, want, b.TTL, b.Fallback, b.Scope)
		}
		h.sameClassAround(t, s, c, class, rnd)
		if a.Draw == nil {
			continue
		}
		if a.Draw.Pool.ID != b.Draw.Pool.ID {
			t.Fatalf("%s\n%q %v: regional %s, alone %s", web, region, c.Subnet.Prefix(), a.Draw.Pool.ID, b.Draw.Pool.ID)
		}
		if seen["answers"]++; a.Draw.Pool.Region != "" {
			seen["otherwise than all"]++
		}
		if a.Fallback == table.AsIfUp {
			seen["as if up"]++
		}
		for _, p := range a.Pools {
			if p.Share > 0 && p.Share < 1 {
				seen["shares"]++
			}
		}
	}
}
