package compile

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/rr"
)

func holdOf(name, hold, more string) string {
	return fmt.Sprintf("kind: Override\ntenant: shop\nname: %s\nspec: {service: web, hold: %s, reason: freeze%s}\n", name, hold, more)
}

// TestAHeldServiceAnswersAsItDid: whatever evidence says, it alone, and its aliases; what people say counts, and what would be is told.
func TestAHeldServiceAnswersAsItDid(t *testing.T) {
	h := newHarness(t, testZone, standby("eu", 1, ""), standby("us", 2, ""), service("web", "  rules: [{pools: [eu, us]}]\n"),
		service("api", "  rules: [{pools: [eu, us]}]\n"), service("too", "  alias: {to: web.shop.gtm.example}\n"))
	h.verdict("eu", "b")
	onlyA, us := map[string]float64{"203.0.1.1": 1}, map[string]float64{"203.0.2.1": .5, "203.0.2.2": .5}
	h.put(holdOf("hold-web", "{eu: {b: 0}, us: {}}", ""))
	held := func(want map[string]float64, apart int) {
		t.Helper()
		h.broken()
		h.expect(webHost, berlin, rr.IPv4, want)
		h.expect("too.shop.gtm.example.", berlin, rr.IPv4, want)
		if got, want := h.view.Held, (table.Held{Services: 1, Apart: apart}); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	held(onlyA, 0)
	if got := h.why(webHost); got != "as held (freeze): 1 of 2 endpoints healthy" {
		t.Error(got)
	}
	h.verdict("eu", "a", "b")
	held(onlyA, 1)
	h.expect(apiHost, berlin, rr.IPv4, us)
	const want = "as held (freeze): 1 of 2 endpoints healthy; without hold down: 0 of 2 endpoints healthy, 1 needed"
	if got := h.why(webHost); got != want {
		t.Error(got)
	}
	e := h.view.Explain(h.service(webHost), rr.IPv4, clientAt(berlin), 1)
	if got := e.Pools[0].Pool.Candidates[0].Note; got != "held; now down: connect: refused" {
		t.Error(got)
	}
	h.verdict("eu")
	held(onlyA, 1)
	h.expect(apiHost, berlin, rr.IPv4, map[string]float64{"203.0.1.1": .5, "203.0.1.2": .5})
	h.put("kind: Override\ntenant: shop\nname: d\nspec: {pool: eu, endpoint: a, state: drain, reason: x}\n") // b is down, as it was held
	held(us, 1)
	h.delete(spec.Key{Tenant: "shop", Kind: spec.KindOverride, Name: "d"})
	h.put(holdOf("hold-web", "{eu: {a: 0}, us: {}}", "")) // another one of that name
	held(map[string]float64{"203.0.1.2": 1}, 1)
	h.put(service("web", "  rules: [{pools: [us, eu]}]\n")[5:]) // what is declared counts
	held(us, 1)
	h.put(holdOf("hold-web", "{eu: {a: 0}, us: {b: 0.5}}", ", expires: \"2026-11-23T12:00:30Z\""))
	held(map[string]float64{"203.0.2.1": .667, "203.0.2.2": .333}, 2)
	if want := noon.Add(30 * time.Second); !h.next.Equal(want) {
		t.Errorf("next %s, want %s", h.next, want)
	}
	h.compile(h.next)
	h.expect(webHost, berlin, rr.IPv4, us)
	if h.view.Held != (table.Held{}) || !h.next.IsZero() {
		t.Errorf("%+v, next %s", h.view.Held, h.next)
	}
	h.put(holdOf("hold-web", "{us: {a: 0}}", ""))
	held(map[string]float64{"203.0.2.2": 1}, 1)
	h.delete(spec.Key{Tenant: "shop", Kind: spec.KindOverride, Name: "hold-web"})
	h.expect(webHost, berlin, rr.IPv4, us)
	if n := len(h.c.holds); n != 0 {
		t.Errorf("%d are noted still", n)
	}
	for id, p := range h.c.pools {
		if len(p.draws) != 1 {
			t.Errorf("%s has %d draws", id, len(p.draws))
		}
	}
}

// TestWhatIsHeldIsWhatWasAnswered: for random pools and verdicts, a hold of the scores of a moment has the same shares as that moment,
// and keeps them through whatever comes.
func TestWhatIsHeldIsWhatWasAnswered(t *testing.T) {
	rnd := rand.New(rand.NewPCG(151, 2))
	for n := range 40 {
		yaml := testZone
		for i := range 3 {
			yaml += standby(fmt.Sprint("p", i), i, fmt.Sprintf(", minHealthy: %d, monitor: m, slowStart: 5m, resume: manual, depends: [%s]",
				1+rnd.IntN(2), []string{"", "{pool: p0}", "{pool: p1}"}[i*rnd.IntN(2)]))
		}
		pick := []string{"weighted", "sticky", "all"}[n%3]
		h := newHarness(t, yaml, service("web", "  pick: "+pick+"\n  rules: [{pools: [p2, {pool: p1, weight: 1}, {pool: p0, "+
			"weight: 2}]}]\n"))
		judge := func() {
			for i := range 3 {
				f := map[string]health.Finding{}
				for _, name := range []string{"a", "b"} {
					f[name] = health.Finding{State: health.Up, Score: []float64{1, 0.5}[rnd.IntN(2)], Recovered: rnd.IntN(2) == 0,
						Since: noon.Add(-time.Duration(rnd.IntN(300)) * time.Second)}
					if rnd.IntN(3) == 0 {
						f[name] = health.Finding{State: health.Down}
					}
				}
				var out *health.Out
				if rnd.IntN(4) == 0 {
					out = &health.Out{Why: "x"}
				}
				h.verdictOf(fmt.Sprint("p", i), f, out)
			}
		}
		judge()
		want, d := h.ask(webHost, berlin, rr.IPv4)
		var all []string
		for i := range 3 {
			var scores []string
			for name, score := range h.c.pools[health.PoolID{Tenant: "shop", Pool: fmt.Sprint("p", i)}].state.Scores() {
				scores = append(scores, fmt.Sprintf("%s: %v", name, score))
			}
			all = append(all, fmt.Sprintf("p%d: {%s}", i, strings.Join(scores, ", ")))
		}
		h.put(holdOf("h", "{"+strings.Join(all, ", ")+"}", ""))
		if h.view.Held.Apart != 0 {
			t.Errorf("%d pools are apart at once: %v", h.view.Held.Apart, all)
		}
		for range 3 {
			if got := h.expect(webHost, berlin, rr.IPv4, want); got.Fallback != d.Fallback {
				t.Errorf("fallback %s, was %s", got.Fallback, d.Fallback)
			}
			judge()
		}
	}
}

// TestAHeldPoolIsApartInARegion: a pool counts once, also where only clients of regions are led to it, and in however many.
func TestAHeldPoolIsApartInARegion(t *testing.T) {
	h := newHarness(t, testZone, regional(testSites),
		service("web", "  rules: [{when: {geo: [EU, AS]}, pools: [sg, us]}, {pools: [us]}]\n"),
		"\n---\n"+holdOf("h", "{sg: {}, us: {}}", ""))
	for _, c := range []struct {
		pool string
		down []string
		want int
	}{{"us", nil, 0}, {"sg@EU", []string{"a"}, 1}, {"sg", []string{"a"}, 1}, {"us", []string{"a"}, 2}, {"sg@EU", nil, 2}, {"sg", nil, 1},
		{"us", nil, 0}} {
		h.verdict(c.pool, c.down...)
		if got, want := h.view.Held, (table.Held{Services: 1, Apart: c.want}); got != want {
			t.Errorf("%s down %v: %+v, want %+v", c.pool, c.down, got, want)
		}
	}
}
