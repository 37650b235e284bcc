package effect

import (
	"math"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/demand"
	"github.com/gti/gtm/pkg/spec"
)

// asked has services asked for so often from countries, a sample each.
func asked(of map[string]map[string]int) *demand.Sum {
	s := demand.NewSketch(clock)
	for service, countries := range of {
		for country, n := range countries {
			for range n {
				s.Add("shop", service, demand.CountryOf(country), 1000)
			}
		}
	}
	return demand.Add(clock, []demand.Word{{Edge: "ams1", At: clock, Data: s.Encode()}})
}

const (
	allUS  = "rules: [{name: rest, pools: [us]}]"
	deToEU = "rules: [{name: de, when: {geo: [EU-DE]}, pools: [eu]}, {name: rest, pools: [us]}]"
	german = 77 / 5257.0 // of all Internet users
)

func effectSeen(t *testing.T, seen *demand.Sum, before, after string) *Effect {
	t.Helper()
	return Of(Input{Before: setOf(t, ground+service(before)), After: setOf(t, ground+service(after)), Services: []spec.Key{web},
		World: world(t), At: clock, Seen: seen})
}

// TestWeighedByTheQueriesSeen: by its own, where there are enough; by those of its tenant, or by Internet users.
func TestWeighedByTheQueriesSeen(t *testing.T) {
	for _, c := range []struct {
		name  string
		seen  *demand.Sum
		by    By
		moved float64
		all   float64 // of the tenant's answers; negative: it is not told
	}{
		{"its own", asked(map[string]map[string]int{"web": {"DE": 900, "FR": 100}, "api": {"US": 3000}}), ByService, 0.9, 0.225},
		{"just enough", asked(map[string]map[string]int{"web": {"DE": 50, "FR": 150}}), ByService, 0.25, 0.25},
		{"unknown ones aside", asked(map[string]map[string]int{"web": {"DE": 150, "FR": 150, "": 700}}), ByService, 0.5, 0.5},
		{"its tenant's", asked(map[string]map[string]int{"web": {"DE": 199}, "api": {"US": 801}}), ByTenant, 0.199, 0.199 * 0.199},
		{"too few", asked(map[string]map[string]int{"web": {"DE": 199}}), ByUsers, german, -1},
		{"too few that are known", asked(map[string]map[string]int{"web": {"DE": 150, "": 5000}}), ByUsers, german, -1},
		{"of countries that are not here", asked(map[string]map[string]int{"web": {"QQ": 1000}}), ByUsers, german, 0},
		{"nothing", nil, ByUsers, german, -1},
	} {
		e := effectSeen(t, c.seen, allUS, deToEU)
		if len(e.Services) != 1 {
			t.Fatalf("%s: %+v", c.name, e)
		}
		s := &e.Services[0]
		if s.Weighing.By != c.by || math.Abs(s.Moved-c.moved) > 0.001 || math.Abs(s.ByUsers-german) > 0.001 ||
			math.Abs(s.Largest()-max(c.moved, german)) > 0.001 {
			t.Errorf("%s: by %s %v move, by users %v; want by %s %v", c.name, s.Weighing.By, s.Moved, s.ByUsers, c.by, c.moved)
		}
		if len(s.Places) != 1 || s.Places[0].Country != "DE" || math.Abs(s.Places[0].Users-c.moved) > 0.001 {
			t.Errorf("%s: %+v", c.name, s.Places)
		}
		if len(s.Rules) != 2 || math.Abs(s.Rules[0].After-c.moved) > 0.001 {
			t.Errorf("%s: %+v", c.name, s.Rules)
		}
		told := len(e.Tenants) == 1
		if told != (c.all > 0) && c.all != 0 || told && c.all > 0 && math.Abs(e.Tenants[0].Moved-c.all) > 0.001 {
			t.Errorf("%s: tenants %+v, want %v", c.name, e.Tenants, c.all)
		}
		if strings.Contains(e.About, "the queries that edges saw") != (c.by != ByUsers) || !strings.Contains(e.About, UsersSource) {
			t.Errorf("%s: about %q", c.name, e.About)
		}
	}
}

// TestWhatNobodyAskedForMovesAllTheSame: where no query came from, users may be; the change is told, and guards hear of it.
func TestWhatNobodyAskedForMovesAllTheSame(t *testing.T) {
	fr := strings.ReplaceAll(strings.Replace(deToEU, "de", "fr", 1), "EU-DE", "EU-FR") // both pools are in use before
	e := effectSeen(t, asked(map[string]map[string]int{"web": {"US": 1000}}), fr, strings.Replace(fr, "[EU-FR]", "[EU-FR, EU-DE]", 1))
	if len(e.Services) != 1 || e.Services[0].Moved != 0 || math.Abs(e.Services[0].Largest()-german) > 0.001 ||
		len(e.Services[0].Places) != 1 {
		t.Errorf("%+v", e)
	}
}

// TestWhoGetsNoAnswerIsNamedByQueries: those with most queries first.
func TestWhoGetsNoAnswerIsNamedByQueries(t *testing.T) {
	seen := asked(map[string]map[string]int{"web": {"DE": 100, "FR": 300, "US": 600}})
	of := "rules: [{name: eu, when: {geo: [EU]}, pools: [eu]}, {name: rest, pools: [us]}]"
	before, after := ground+service(of), ground+service(of)+override("d", "pool: eu, state: drain")
	e := Of(Input{Before: setOf(t, before), After: setOf(t, after), Services: []spec.Key{web}, World: world(t), At: clock, Seen: seen})
	if len(e.Services) != 1 || len(e.Services[0].Falls) != 1 || math.Abs(e.Services[0].Falls[0].Users-0.4) > 1e-9 ||
		!strings.HasPrefix(strings.Join(e.Services[0].Falls[0].Countries, " "), "FR DE ") {
		t.Fatalf("%+v", e)
	}
	if text := e.Warnings().Error(); !strings.Contains(text, "(40% of its clients)") {
		t.Error(text)
	}
}

// TestANameThatGoesMovesAll, by whatever it is weighed.
func TestANameThatGoesMovesAll(t *testing.T) {
	seen := asked(map[string]map[string]int{"web": {"DE": 1000}})
	after := map[string]string{"deleted": ground, "another host": ground + strings.Replace(service(allUS), "web.shop", "www.shop", 1)}
	for name, after := range after {
		e := Of(Input{Before: setOf(t, ground+service(allUS)), After: setOf(t, after), Services: []spec.Key{web}, World: world(t),
			At: clock, Seen: seen})
		if len(e.Services) != 1 || e.Services[0].Moved != 1 || e.Services[0].ByUsers != 1 {
			t.Errorf("%s: %+v", name, e.Services)
		}
	}
}

// TestWhatOverridesHideIsWeighedByBoth: what moves later nobody who asked, and many Internet users, is told, and counts.
func TestWhatOverridesHideIsWeighedByBoth(t *testing.T) {
	const rule = "rules: [{name: asia, when: {geo: [AS]}, pools: [{pool: eu, weight: %s}]}, {name: rest, pools: [us]}]"
	of := func(weights string) string { return ground + service(strings.Replace(rule, "%s", weights, 1)) }
	drain := override("d", "pool: eu, state: drain, expires: 2026-01-02T04:04:05Z")
	before := of("80}, {pool: us, weight: 20") + drain
	for name, after := range map[string]string{
		"declared": of("10}, {pool: us, weight: 90") + drain,
		"by hand":  before + override("s", "service: web, rule: asia, pool: us, weight: 720"),
	} {
		e := Of(Input{Before: setOf(t, before), After: setOf(t, after), Services: []spec.Key{web}, World: world(t), At: clock,
			Seen: asked(map[string]map[string]int{"web": {"DE": 1000}}), ByHand: name == "by hand"})
		later := e.Later()
		if len(later) != 1 || later[0].Moved != 0 || later[0].Largest() < 0.04 {
			t.Fatalf("%s: %+v", name, later)
		}
		last := e.Shifts()[len(e.Shifts())-1][web]
		if last.Apart < 0.04 || last.Moved < 0.04 {
			t.Errorf("%s: %+v", name, last)
		}
	}
}
