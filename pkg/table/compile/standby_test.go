package compile

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/rr"
)

const webHost, apiHost = "web.shop.gtm.example.", "api.shop.gtm.example."

// standby declares a pool of endpoints a and b with addresses of net, and more.
func standby(name string, net int, more string) string {
	return fmt.Sprintf("---\nkind: Pool\ntenant: shop\nname: %s\nspec: {endpoints: [{name: a, addresses: [203.0.%d.1]}, "+
		"{name: b, addresses: [203.0.%d.2]}]%s}\n", name, net, net, more)
}

// verdictOf tells the verdict on a pool of shop, without which nothing changes.
func (h *harness) verdictOf(pool string, findings map[string]health.Finding, out *health.Out) {
	h.t.Helper()
	h.apply(Change{Verdicts: []health.Verdict{{Pool: health.PoolID{Tenant: "shop", Pool: pool}, Endpoints: findings, Out: out}}})
}

// why gives what is told of the first pool of a service's answers.
func (h *harness) why(host string) string {
	h.t.Helper()
	return h.view.Explain(h.service(host), rr.IPv4, clientAt(berlin), 1).Pools[0].Why
}

// TestUnsurePoolsHaveAShorterTTL: only those of services that ask, and no longer than it lasts; secondaries hear nothing of it.
func TestUnsurePoolsHaveAShorterTTL(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", "  ttl: 60s\n  ttlUnsure: 5s\n  rules: [{pools: [sg, us]}]\n"),
		service("api", "  ttl: 60s\n  rules: [{pools: [sg, us]}]\n"))
	told := func() (ttl uint32, serial uint32) {
		for _, s := range h.view.Records(h.view.Zones()[0]) {
			if s.Type == dnswire.TypeA && dnswire.NameString(s.Owner) == webHost {
				ttl = s.TTL
			}
		}
		return ttl, h.view.Zones()[0].Serial
	}
	_, serial := told()
	say := func(f health.Finding, ttl uint32, from string) {
		t.Helper()
		h.verdictOf("sg", map[string]health.Finding{"a": f}, nil)
		h.expectTTL(webHost, berlin, ttl, from)
		h.expectTTL(apiHost, berlin, 60, "service")
		if ttl, now := told(); ttl != 60 || now != serial {
			t.Errorf("secondaries get TTL %d with serial %d, before %d", ttl, now, serial)
		}
	}
	old := noon.Add(-time.Hour)
	h.expectTTL(webHost, berlin, 60, "service") // nothing is known
	say(health.Finding{State: health.Up, Score: 1, Since: old}, 60, "service")
	say(health.Finding{State: health.Up, Score: 1, Since: old, Unsure: true}, 5, "ttlUnsure: endpoint a is amid its thresholds")
	say(health.Finding{State: health.Up, Score: 0.5, Since: old}, 5, "ttlUnsure: endpoint a has score 0.5")
	if !h.next.IsZero() {
		t.Errorf("it wakes at %s", h.next)
	}
	say(health.Finding{State: health.Down, Since: old}, 60, "service") // us answers, of which nothing is known
	say(health.Finding{State: health.Up, Score: 1, Since: noon.Add(-20 * time.Second)}, 5,
		"ttlUnsure: endpoint a is up since 2026-11-23 11:59:40Z")
	if want := noon.Add(40 * time.Second); !h.next.Equal(want) {
		t.Errorf("it wakes at %s, want %s", h.next, want)
	}
	h.compile(noon.Add(39 * time.Second))
	h.expectTTL(webHost, berlin, 5, "ttlUnsure: endpoint a is up since 2026-11-23 11:59:40Z")
	h.compile(h.next)
	h.expectTTL(webHost, berlin, 60, "service")
	if !h.next.IsZero() {
		t.Errorf("it wakes at %s", h.next)
	}
	h.put(service("web", "  ttl: 60s\n  ttlUnsure: 7s\n  rules: [{pools: [sg]}]\n")[5:])
	_, serial = told()
	say(health.Finding{State: health.Down, Since: old, Unsure: true}, 7, "ttlUnsure: endpoint a is amid its thresholds") // as if up
	h.put(service("api", "  ttl: 60s\n  ttlUnsure: 9s\n  rules: [{pools: [sg]}]\n")[5:])
	h.expectTTL(apiHost, berlin, 9, "ttlUnsure: endpoint a is amid its thresholds")
	h.expectTTL(webHost, berlin, 7, "ttlUnsure: endpoint a is amid its thresholds")
	h.put(service("web", "  ttl: 60s\n  rules: [{pools: [sg]}]\n")[5:])
	h.expectTTL(webHost, berlin, 60, "service")
}

// TestManyServicesAskWhetherTheirPoolsAreUnsure: also where they are compiled ahead, all at once.
func TestManyServicesAskWhetherTheirPoolsAreUnsure(t *testing.T) {
	h := newHarness(t, testZone, testPools)
	h.verdictOf("sg", map[string]health.Finding{"a": {State: health.Up, Score: 0.5}}, nil)
	var all strings.Builder
	for i := range 2 * aheadLeast {
		all.WriteString(service(fmt.Sprint("s", i), fmt.Sprintf("  ttlUnsure: %ds\n  rules: [{pools: [sg]}]\n", 1+i%7)))
	}
	h.put(strings.TrimPrefix(all.String(), "\n---\n"))
	for i := range 2 * aheadLeast {
		h.expectTTL(fmt.Sprintf("s%d.shop.gtm.example.", i), berlin, uint32(1+i%7), "ttlUnsure: endpoint a has score 0.5")
	}
}

// TestPoolsGoDownWithWhatTheyDependOn: through a chain, in one view, and come back with it.
func TestPoolsGoDownWithWhatTheyDependOn(t *testing.T) {
	pools := standby("app", 1, ", depends: [{service: auth}]") + standby("db", 2, "") + standby("cache", 3, ", depends: [{pool: db}]") +
		standby("spare", 4, "")
	h := newHarness(t, testZone, pools, service("web", "  rules: [{pools: [app, spare]}]\n"),
		service("auth", "  rules: [{pools: [cache, spare]}, {pools: [cache]}]\n  lastResort: [app]\n"),
		service("api", "  rules: [{pools: [cache]}]\n"))
	app := map[string]float64{"203.0.1.1": .5, "203.0.1.2": .5}
	h.expect(webHost, berlin, rr.IPv4, app)
	h.verdict("db", "a", "b")
	h.expect(webHost, berlin, rr.IPv4, app) // spare is of a rule of auth
	h.verdict("spare", "a", "b")
	h.expect(webHost, berlin, rr.IPv4, app) // all are down: the first as if up
	const want = "depends on service auth, of whose rules no pool is up (cache: depends on pool db, which is down (0 of 2 endpoints " +
		"healthy, 1 needed); by itself: 2 endpoints, not monitored); by itself: 2 endpoints, not monitored; all pools are down: " +
		"answering as if up"
	if got := h.why(webHost); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	h.expect(apiHost, berlin, rr.IPv4, map[string]float64{"203.0.3.1": .5, "203.0.3.2": .5})
	h.put(service("web", "  rules: [{pools: [app, loner]}]\n")[5:] + standby("loner", 5, ""))
	h.expect(webHost, berlin, rr.IPv4, map[string]float64{"203.0.5.1": .5, "203.0.5.2": .5})
	h.verdict("spare", "a")
	h.expect(webHost, berlin, rr.IPv4, app)
	h.verdict("spare", "a", "b")
	h.put(service("auth", "  rules: [{pools: [loner]}]\n")[5:]) // what a service is made of counts at once
	h.expect(webHost, berlin, rr.IPv4, app)
	h.delete(spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "spare"})
	h.put(strings.TrimPrefix(pools, "---\n"), service("web", "  rules: [{pools: [cache, spare]}]\n"))
	h.expect(webHost, berlin, rr.IPv4, map[string]float64{"203.0.3.1": .5, "203.0.3.2": .5}) // both down: no news of spare was told
	h.put("kind: Override\ntenant: shop\nname: o\nspec: {pool: db, state: up, reason: drill, expires: \"2026-11-23T12:00:30Z\"}\n")
	if got := h.why(webHost); got != "2 endpoints, not monitored" {
		t.Error(got)
	}
	h.compile(noon.Add(30 * time.Second))
	if got := h.why(webHost); !strings.HasPrefix(got, "depends on pool db") {
		t.Error(got)
	}
	h.delete(spec.Key{Tenant: "shop", Kind: spec.KindOverride, Name: "o"})
	h.put(strings.TrimPrefix(standby("db", 2, ", minHealthy: 2"), "---\n")) // it stays down, for another reason
	if got := h.why(webHost); !strings.Contains(got, "2 needed") {
		t.Errorf("of db is told: %s", got)
	}
	h.put(strings.TrimPrefix(standby("db", 2, ""), "---\n"))
	if len(h.c.needed.news) > 0 {
		t.Error("news are left")
	}
	h.put(strings.TrimPrefix(standby("cache", 3, ", depends: [{pool: db}], modes: {depends: observe}"), "---\n"))
	const would = "2 endpoints, not monitored; would be down: depends on pool db, which is down (0 of 2 endpoints healthy, 1 needed)"
	if got := h.why(webHost); got != would {
		t.Error(got)
	}
	h.put(strings.TrimPrefix(standby("cache", 3, ", depends: [{pool: db}], modes: {depends: off}"), "---\n"))
	if got := h.why(webHost); got != "2 endpoints, not monitored" {
		t.Error(got)
	}
	h.put(strings.TrimPrefix(standby("cache", 3, ""), "---\n") + standby("app", 1, ""))
	if n := len(h.c.needed.pools) + len(h.c.needed.services); n != 0 {
		t.Errorf("%d are noted still", n)
	}
}

// TestDependsIsAPlainReading: random pools that depend on earlier ones and on services of these, under random verdicts in any order,
// compared with asking each for what it depends on; and whatever is down, each name that had an answer as if all were up has one.
func TestDependsIsAPlainReading(t *testing.T) {
	rnd := rand.New(rand.NewPCG(151, 1))
	down, asIfUp := 0, 0
	for range 40 {
		const n = 8
		depends, rules := make([][]spec.Dependency, n), make([][]int, n)
		var yaml strings.Builder
		yaml.WriteString(testZone)
		for _, i := range rnd.Perm(n) {
			var on []string
			for range rnd.IntN(3) {
				if i == 0 {
					break
				}
				d, text := spec.Dependency{Pool: fmt.Sprint("p", rnd.IntN(i))}, ""
				if text = "{pool: " + d.Pool + "}"; rnd.IntN(2) == 0 {
					d = spec.Dependency{Service: fmt.Sprint("s", rnd.IntN(i))}
					text = "{service: " + d.Service + "}"
				}
				depends[i], on = append(depends[i], d), append(on, text)
			}
			yaml.WriteString(standby(fmt.Sprint("p", i), i, fmt.Sprintf(", depends: [%s]", strings.Join(on, ", "))))
			more := "  rules: [{pools: ["
			for range 1 + rnd.IntN(2) {
				p := rnd.IntN(i + 1)
				rules[i] = append(rules[i], p)
				more += fmt.Sprintf("p%d, ", p)
			}
			yaml.WriteString(service(fmt.Sprint("s", i), more+"]}]\n"))
		}
		h := newHarness(t, yaml.String())
		h.broken()
		var own [n]bool
		for i := range own {
			own[i] = true
		}
		var up func(i int) bool
		up = func(i int) bool {
			for _, d := range depends[i] {
				var k, any = 0, false
				if d.Pool != "" {
					fmt.Sscanf(d.Pool, "p%d", &k)
					any = up(k)
				} else {
					fmt.Sscanf(d.Service, "s%d", &k)
					for _, p := range rules[k] {
						any = any || up(p)
					}
				}
				if !any {
					return false
				}
			}
			return own[i]
		}
		for range 12 {
			var ch Change
			for range 1 + rnd.IntN(3) {
				i := rnd.IntN(n)
				own[i] = rnd.IntN(2) == 0
				f := map[bool]health.Finding{true: {State: health.Up, Score: 1}, false: {State: health.Down}}[own[i]]
				ch.Verdicts = append(ch.Verdicts, health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: fmt.Sprint("p", i)},
					Endpoints: map[string]health.Finding{"a": f, "b": f}})
			}
			h.apply(ch)
			for i := range n {
				if got := h.c.pools[health.PoolID{Tenant: "shop", Pool: fmt.Sprint("p", i)}].state.Up; got != up(i) {
					t.Fatalf("p%d: up %v\n%s", i, got, yaml.String())
				}
				var d table.Decision
				s, c := h.service(fmt.Sprintf("s%d.shop.gtm.example.", i)), clientAt(berlin)
				h.view.Decide(&d, s, rr.IPv4, c, h.view.Classify(s, c), rnd.Uint64())
				if d.Draw == nil {
					t.Fatalf("s%d has no answer", i)
				}
				if !up(i) {
					down++
				}
				if d.Fallback == table.AsIfUp {
					asIfUp++
				}
			}
		}
	}
	if down < 1000 || asIfUp < 500 {
		t.Errorf("%d were down, %d answered as if up", down, asIfUp)
	}
}

// TestAPoolThatFailedStaysOut until the verdict says otherwise; and still answers where nothing else does.
func TestAPoolThatFailedStaysOut(t *testing.T) {
	well := map[string]health.Finding{"a": {State: health.Up, Score: 1}, "b": {State: health.Up, Score: 1}}
	h := newHarness(t, testZone, standby("eu", 1, ", monitor: m, resume: manual"), standby("us", 2, ""),
		service("web", "  rules: [{pools: [eu, us]}]\n"))
	h.verdictOf("eu", well, &health.Out{Since: noon, Why: "0 of 2 endpoints up, 1 needed"})
	h.expect(webHost, berlin, rr.IPv4, map[string]float64{"203.0.2.1": .5, "203.0.2.2": .5})
	const want = "failed at 2026-11-23 12:00:00Z (0 of 2 endpoints up, 1 needed) and stays out until: gtmctl pool resume shop/eu; " +
		"by itself: 2 of 2 endpoints healthy"
	if got := h.why(webHost); got != want {
		t.Error(got)
	}
	h.verdict("us", "a", "b")
	h.expect(webHost, berlin, rr.IPv4, map[string]float64{"203.0.1.1": .5, "203.0.1.2": .5}) // as if up
	h.verdict("us")
	h.verdictOf("eu", well, nil)
	h.expect(webHost, berlin, rr.IPv4, map[string]float64{"203.0.1.1": .5, "203.0.1.2": .5})
}

// TestRecoveredEndpointsStartSlowly: shares grow with the clock, step by step, with no verdict between.
func TestRecoveredEndpointsStartSlowly(t *testing.T) {
	h := newHarness(t, testZone, standby("eu", 1, ", monitor: m, slowStart: 6m"), service("web", "  rules: [{pools: [eu]}]\n"))
	h.verdictOf("eu", map[string]health.Finding{"a": {State: health.Up, Score: 1, Since: noon, Recovered: true},
		"b": {State: health.Up, Score: 1, Since: noon.Add(-time.Hour)}}, nil)
	for step := range 19 {
		part := 0.1 + 0.05*float64(step)
		h.expect(webHost, berlin, rr.IPv4, map[string]float64{"203.0.1.1": part / (1 + part), "203.0.1.2": 1 / (1 + part)})
		if step == 18 {
			break
		}
		if want := noon.Add(time.Duration(step+1) * 20 * time.Second); !h.next.Equal(want) {
			t.Fatalf("step %d: next at %s, want %s", step, h.next, want)
		}
		h.compile(h.next)
	}
	if !h.next.IsZero() {
		t.Errorf("it wakes at %s", h.next)
	}
	both := health.Finding{State: health.Up, Score: 1, Since: noon.Add(time.Minute), Recovered: true}
	h.verdictOf("eu", map[string]health.Finding{"a": both, "b": both}, nil) // together they share alike
	h.expect(webHost, berlin, rr.IPv4, map[string]float64{"203.0.1.1": .5, "203.0.1.2": .5})
}
