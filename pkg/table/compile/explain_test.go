package compile

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/draws"
	"github.com/gti/gtm/pkg/table/rr"
)

// standings are the states of a service's pools that words and weights are held against.
var standings = []struct {
	name, overrides string
	down            map[string][]string // by pool
	held            string              // an endpoint of eu
	asIfUp          bool
}{
	{name: "all up"},
	{name: "mixed", down: map[string][]string{"eu": {"b"}}},
	{name: "a pool down", down: map[string][]string{"eu": {"a", "b"}}},
	{name: "all down", down: map[string][]string{"eu": {"a", "b"}, "us": {"a", "b"}}, asIfUp: true},
	{name: "held", down: map[string][]string{"us": {"b"}}, held: "a"},
	{name: "all drained", overrides: overrideOf("eu", "state: drain") + overrideOf("us", "state: drain"), asIfUp: true},
	{name: "one down, the rest drained", overrides: overrideOf("eu", "state: drain, endpoint: a") + overrideOf("us", "state: drain"),
		down: map[string][]string{"eu": {"b"}}, asIfUp: true},
	{name: "weights taken away", overrides: overrideOf("eu", "weight: 0") + overrideOf("us", "weight: 0"), asIfUp: true},
	{name: "down by hand", overrides: overrideOf("eu", "state: down") + overrideOf("us", "state: down"), asIfUp: true},
}

func overrideOf(pool, more string) string {
	return fmt.Sprintf("\n---\nkind: Override\ntenant: shop\nname: %s-%d\nspec: {pool: %s, %s, reason: test}\n", pool,
		len(more), pool, more)
}

// hostPools are the pools of host names, for the families that name them.
const hostPools = `
---
kind: Pool
tenant: shop
name: heu
spec: {endpoints: [{name: a, host: a.example.net., weight: 3}, {name: b, host: b.example.net., weight: 1}]}
---
kind: Pool
tenant: shop
name: hus
spec: {endpoints: [{name: a, host: c.example.net.}, {name: b, host: d.example.net., weight: 3}]}
`

// tell puts a case in place, in the pools of addresses and in those of host names.
func (h *harness) tell(overrides string, down map[string][]string, held string) {
	if overrides != "" {
		h.put(overrides[4:], strings.NewReplacer("pool: ", "pool: h", "name: ", "name: h").Replace(overrides))
	}
	for _, pool := range []string{"eu", "us"} {
		for _, prefix := range []string{"", "h"} {
			v := health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: prefix + pool}, Endpoints: map[string]health.Finding{}}
			for _, e := range []string{"a", "b"} {
				v.Endpoints[e] = health.Finding{State: health.Up, Score: 1}
			}
			for _, e := range down[pool] {
				v.Endpoints[e] = health.Finding{State: health.Down, Reason: "connect: refused"}
			}
			if held != "" && pool == "eu" {
				v.Frozen = true
				v.Endpoints[held] = health.Finding{State: health.Up, Score: 1, Reason: "held by the brake: refused"}
			}
			h.apply(Change{Verdicts: []health.Verdict{v}})
		}
	}
}

// TestExplanationsAreWhatAnswersFollow: the shares that are explained are those of 20,000 draws, also where everything is down.
func TestExplanationsAreWhatAnswersFollow(t *testing.T) {
	services := map[string]string{
		"web":      "  rules: [{pools: [eu, us]}]\n",
		"split":    "  rules: [{pools: [{pool: eu, weight: 7}, {pool: us, weight: 3}]}]\n",
		"last":     "  rules: [{pools: [us]}]\n  lastResort: [eu]\n",
		"all":      "  pick: all\n  rules: [{pools: [eu, us]}]\n",
		"sticky":   "  pick: sticky\n  rules: [{pools: [eu, us]}]\n",
		"two":      "  pick: sticky\n  answers: 2\n  rules: [{pools: [{pool: eu, weight: 9}, {pool: us, weight: 1}]}]\n",
		"wide":     "  answers: 2\n  rules: [{pools: [eu, us]}]\n",
		"canary":   "  coherent: true\n  rules: [{pools: [{pool: eu, weight: 9}, {pool: us, weight: 1}]}]\n",
		"coherent": "  coherent: true\n  rules: [{pools: [us, eu]}]\n",
		"cname":    "  rules: [{pools: [heu, hus]}]\n",
		"srv":      "  srv: {port: 443}\n  rules: [{pools: [heu, hus]}]\n",
		"mx":       "  mx: {preference: 5}\n  rules: [{pools: [heu, hus]}]\n",
	}
	yaml := []string{testZone, testPools, hostPools}
	for name, rules := range services {
		yaml = append(yaml, service(name, rules))
	}
	for _, tc := range standings {
		h := newHarness(t, yaml...)
		h.tell(tc.overrides, tc.down, tc.held)
		if len(h.last) > 0 {
			t.Fatal(h.last)
		}
		for name := range services {
			s := h.service(name + ".shop.gtm.example.")
			for _, f := range s.Families() {
				t.Run(fmt.Sprint(tc.name, "/", name, "/", f.Noun()), func(t *testing.T) { h.compareShares(t, s, f, tc.asIfUp) })
			}
		}
	}
}

// compareShares draws for one client, or for many where the choice is theirs, and compares how often each endpoint was named.
func (h *harness) compareShares(t *testing.T, s *table.Service, f rr.Family, asIfUp bool) {
	const queries = 20000
	c := clientAt(berlin)
	e := h.view.Explain(s, f, c, 1)
	if (e.Fallback == table.AsIfUp) != asIfUp {
		t.Fatalf("fallback %q", e.Fallback)
	}
	drawn := map[string]float64{}
	rnd := rand.New(rand.NewPCG(1, 2))
	var d table.Decision
	for range queries {
		if s.Pick == draws.Sticky || s.Need != 0 {
			a := netip.AddrFrom4([4]byte{91, byte(rnd.Uint32()), byte(rnd.Uint32()), 0})
			c = &table.Client{Has: true, Subnet: table.NetOf(a, 24), Resolver: c.Resolver}
		}
		h.view.Decide(&d, s, f, c, h.view.Classify(s, c), rnd.Uint64())
		named := d.Draw.From(f, asIfUp).Named(d.Set)
		first := named[0]
		switch {
		case f == rr.SRV: // clients choose by weight (RFC 2782)
			p, sum := table.PoolInTurn{Weights: h.weightsOf(e, d.Draw)}, 0.0
			for _, i := range named {
				sum += p.Weights[i]
			}
			at := rnd.Float64() * sum
			for _, i := range named {
				if first = i; at < p.Weights[i] {
					break
				}
				at -= p.Weights[i]
			}
		case f == rr.MX:
			first = named[rnd.IntN(len(named))]
		}
		drawn[d.Draw.Pool.ID.Pool+"/"+d.Draw.Pool.Candidates[first].Endpoint.Name] += 1.0 / queries
	}
	sum := 0.0
	for _, p := range e.Pools {
		for i, share := range p.Shares {
			name := p.Pool.ID.Pool + "/" + p.Pool.Candidates[i].Endpoint.Name
			if !near(drawn[name], share) && !near((drawn[name]-share)/2, 0) {
				t.Errorf("%s is told to have %.3f of the answers, and has %.3f", name, share, drawn[name])
			}
			sum += share
		}
		if says := strings.Contains(p.Why, "answering as if up"); says != (asIfUp && p.Share > 0) {
			t.Errorf("pool %s with %.2f of the answers says %q", p.Pool.ID.Pool, p.Share, p.Why)
		}
	}
	if !near(sum, 1) {
		t.Errorf("the shares are %.3f together", sum)
	}
}

// weightsOf gives the weights that a pool's records tell.
func (h *harness) weightsOf(e *table.Explanation, d *draws.Draw) []float64 {
	for _, p := range e.Pools {
		if p.Pool == d.Pool {
			return p.Weights
		}
	}
	return nil
}

// TestExplainShowsASplit: the pool of a canary was told to be "not chosen" whenever the example came from the other one.
func TestExplainShowsASplit(t *testing.T) {
	const split = "  rules: [{pools: [{pool: eu, weight: 9}, {pool: us, weight: 1}]}]\n"
	h := newHarness(t, testZone, testPools, service("web", split), service("sticky", "  pick: sticky\n"+split),
		service("coherent", "  coherent: true\n"+split))
	for name, want := range map[string][2][]string{
		"web": {{"chosen in 90% of the answers"}, {"chosen in 10% of the answers"}},
		"sticky": {{"chosen for 90% of the client networks, this one among them"},
			{"chosen for 10% of the client networks, not for this one"}},
		"coherent": {{"chosen for 90% of the client networks, this one among them"},
			{"chosen for 10% of the client networks, not for this one"}},
	} {
		e := h.view.Explain(h.service(name+".shop.gtm.example."), rr.IPv4, clientAt(berlin), 1)
		if got := [2][]string{{e.Turns(&e.Pools[0])}, {e.Turns(&e.Pools[1])}}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		if e.Fixed != (name == "sticky") || e.Hashed != (name != "web") {
			t.Errorf("%s: hashed %v, fixed %v", name, e.Hashed, e.Fixed)
		}
		for i, want := range []float64{.675, .225, .05, .05} {
			if got := e.Pools[i/2].Shares[i%2]; !near(got, want) {
				t.Errorf("%s: endpoint %d has %.3f, want %.3f", name, i, got, want)
			}
		}
	}
	h.put(overrideOf("us", "state: drain")[5:])
	e := h.view.Explain(h.service("web.shop.gtm.example."), rr.IPv4, clientAt(berlin), 1)
	us := &e.Pools[1]
	if e.Turns(&e.Pools[0]) != "chosen in 100% of the answers" || e.Turns(us) != "chosen in 0% of the answers" || us.Shares[0] != 0 {
		t.Errorf("a drained pool: %+v", e.Pools)
	}
	for share, want := range map[float64]string{0: "0%", 1: "100%", 1.0 / 3: "33.3%", 1.0 / 2001: "0.05%", 1.0 / 65536: "0.00153%"} {
		if got := table.Percent(share); got != want {
			t.Errorf("%v: %s, want %s", share, got, want)
		}
	}
}

// TestWeightsHoldWhenAllIsDrained: with everything drained, 3:1 became 1:1. Weight 0 alone is shared evenly.
func TestWeightsHoldWhenAllIsDrained(t *testing.T) {
	want := map[string]float64{"198.51.100.1": .75, "198.51.100.2": .25}
	for _, more := range []string{"state: drain", "state: down", "weight: 0"} {
		h := newHarness(t, testZone, testPools, service("web", "  rules: [{pools: [eu]}]\n"))
		h.put(overrideOf("eu", more)[5:])
		h.expect("web.shop.gtm.example.", berlin, rr.IPv4, want)
	}
	spares := strings.NewReplacer("weight: 3", "weight: 0", "weight: 1", "weight: 0")
	h := newHarness(t, testZone, spares.Replace(testPools), service("web", "  rules: [{pools: [eu]}]\n"))
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.1": .5, "198.51.100.2": .5})
	// A drained endpoint is nearer to serving than one whose weight is 0.
	h = newHarness(t, testZone, strings.Replace(testPools, "weight: 1", "weight: 0", 1), service("web", "  rules: [{pools: [eu]}]\n"))
	h.put(overrideOf("eu", "state: drain")[5:])
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.1": 1})
}

// TestADeclaredWeightBehindAnOverrideIsFollowed: picks are kept while they are the same, and weights that an override hides count.
func TestADeclaredWeightBehindAnOverrideIsFollowed(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", "  rules: [{pools: [eu]}]\n"))
	h.put(overrideOf("eu", "weight: 0")[5:])
	h.put(strings.Replace(testPools, "weight: 3", "weight: 9", 1)[5:])
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.1": .9, "198.51.100.2": .1})
}
