package compile

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/rr"
)

// steered is a service whose answers need a rule, a policy of the platform, a fence, and sites of which two are about as near.
const steered = testSites + `
---
kind: Site
tenant: platform
name: muc
spec: {location: {lat: 49.9, lon: 9.1}, region: EU-DE}
---
kind: Site
tenant: platform
name: mad
spec: {location: {lat: 40.42, lon: -3.7}, region: EU-ES}
---
kind: Pool
tenant: shop
name: south
spec: {site: muc, endpoints: [{name: a, addresses: [198.51.100.11], weight: 3}, {name: b, addresses: [198.51.100.12]}]}
---
kind: Pool
tenant: shop
name: es
spec: {site: mad, endpoints: [{name: a, addresses: [198.51.100.21]}]}
---
kind: Policy
tenant: platform
name: near
spec:
  grants: ["*"]
  rules:
    - {name: europe, when: {geo: [EU]}, ttl: 7s, pools: [{nearest: sites, band: 15%, farthest: 1500km, bias: {es: 5%}}]}
    - {pools: [{nearest: sites}]}
`

const steeredService = `  fence: [EU]
  pools: [eu, us, south, es]
  rules: [{name: all, pools: [{policy: near}]}]
  lastResort: [us, es]
`

// TestTextOfAnExplanation: place, policy, fence, order, band, shares, scope and TTL, each with what it comes from.
func TestTextOfAnExplanation(t *testing.T) {
	h := newHarness(t, testZone, steered, service("web", steeredService))
	if len(h.last) > 0 {
		t.Fatal(h.last)
	}
	explain := func() []string {
		return h.view.Explain(h.service("web.shop.gtm.example."), rr.IPv4, clientAt(berlin), 1).Text("edge fra1", 0)
	}
	want := []string{
		"shop/web at shop@1, edge fra1",
		"subnet 91.198.174.0/24 place EU-NL network 91.198.174.0/24",
		"rule all, scope /24, ttl 7s (rule europe of policy near)",
		"point 52.26,5.58 (centroid of EU-NL)",
		"scope /24 from place",
		"policy near, rule europe",
		"fence EU leaves out us",
		"nearest of 4 pools, 3 left",
		"nearest 1. eu at fra, 322 km, weight 1",
		"nearest 1. south at muc, 360 km, weight 1",
		"nearest 2. es at mad, 1494 km counting as 1419 km",
		"nearest out: us at iad, 6260 km, outside of the fence EU",
		"step 1 pool eu up: 1 endpoint, not monitored, chosen in 50% of the answers",
		"endpoint a 198.51.100.1 weight 1 score 1 unknown, share 50%",
		"step 1 pool south up: 2 endpoints, not monitored, chosen in 50% of the answers",
		"endpoint a 198.51.100.11 weight 3 score 1 unknown, share 37.5%",
		"endpoint b 198.51.100.12 weight 1 score 1 unknown, share 12.5%",
		"step 2 pool es up: 1 endpoint, not monitored, chosen in 0% of the answers",
		"lastResort step 1 pool es up: 1 endpoint, not monitored, chosen in 0% of the answers",
		"answer A 198.51.100.1",
	}
	if d := cmp.Diff(want, explain()); d != "" {
		t.Error(d)
	}
	h.verdict("eu", "a")
	h.verdict("south", "a", "b")
	h.verdict("es", "a")
	head := append(append(want[:2:2], "rule all, scope /24, ttl 30s (service)", "all down: answering as if all were up"), want[3:12]...)
	want = append(head,
		"step 1 pool eu down: 0 of 1 endpoints healthy, 1 needed, chosen in 0% of the answers",
		"step 1 pool south down: 0 of 2 endpoints healthy, 1 needed, chosen in 0% of the answers",
		"step 2 pool es down: 0 of 1 endpoints healthy, 1 needed, chosen in 0% of the answers",
		"lastResort step 1 pool es down: 0 of 1 endpoints healthy, 1 needed; all pools are down: answering as if up, chosen in 100% of "+
			"the answers",
		"endpoint a 198.51.100.21 weight 1 score 0 down, as if up, though down: connect: refused, share 100%",
		"answer A 198.51.100.21")
	if d := cmp.Diff(want, explain()); d != "" {
		t.Error(d)
	}
}

// TestTextIsBounded where it must be.
func TestTextIsBounded(t *testing.T) {
	h := newHarness(t, testZone, steered, service("web", steeredService))
	e := h.view.Explain(h.service("web.shop.gtm.example."), rr.IPv4, clientAt(berlin), 1)
	want := []string{
		"shop/web at shop@1, edge fra1",
		"subnet 91.198.174.0/24 place EU-NL network 91.198.174.0/24",
		"rule all, scope /24, ttl 7s (rule europe of policy near)",
		"point 52.26,5.58 (centroid of EU-NL)",
		"scope /24 from place",
		"policy near, rule europe",
		"fence EU leaves out us",
		"nearest of 4 pools, 3 left",
		"nearest 1. eu at fra, 322 km, weight 1",
		"and 3 more pools to choose from: see gtmctl explain",
		"step 1 pool eu up: 1 endpoint, not monitored, chosen in 50% of the answers",
		"endpoint a 198.51.100.1 weight 1 score 1 unknown, share 50%",
		"and 3 more pools: see gtmctl explain",
		"answer A 198.51.100.1",
	}
	if d := cmp.Diff(want, e.Text("edge fra1", 1)); d != "" {
		t.Error(d)
	}
}

// TestScopesSayWhatMadeThem as long as they are.
func TestScopesSayWhatMadeThem(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", "  rules: [{when: {geo: [EU]}, pools: [eu]}, {pools: [us]}]\n"),
		service("same", "  rules: [{pools: [eu]}]\n"), service("sticky", "  pick: sticky\n  rules: [{pools: [eu]}]\n"),
		service("off", "  ecs: off\n  rules: [{when: {geo: [EU]}, pools: [eu]}, {pools: [us]}]\n"))
	resolver := clientAt(berlin)
	resolver.Has = false
	private := &table.Client{Has: true, Subnet: table.NetOf(netip.MustParseAddr("10.0.0.0"), 24), Resolver: resolver.Resolver}
	for _, tc := range []struct {
		name, want string
		c          *table.Client
	}{
		{"web", "place", clientAt(berlin)},
		{"same", "nothing (the same for everyone)", clientAt(berlin)},
		{"sticky", "network hashed (sticky /24; the place alone: /0)", clientAt(berlin)},
		{"off", "resolver (ecs is off)", clientAt(berlin)},
		{"web", "resolver (no client subnet was told)", resolver},
		{"web", "resolver (the subnet is in a special-purpose /8, which tells nothing)", private},
	} {
		e := h.view.Explain(h.service(tc.name+".shop.gtm.example."), rr.IPv4, tc.c, 1)
		if e.ScopeFrom != tc.want {
			t.Errorf("%s: /%d from %q, want %q", tc.name, e.Scope, e.ScopeFrom, tc.want)
		}
	}
}

// TestDrawsMatchShares of pools and endpoints, wherever in a row a pool stands, and through nested splits.
func TestDrawsMatchShares(t *testing.T) {
	nested := "  rules: [{pools: [{split: [{pool: us, weight: 1}, " +
		"{weight: 3, split: [{pool: eu, weight: 1}, {pool: us, weight: 1}]}]}, us]}]\n"
	h := newHarness(t, testZone, steered, service("web", steeredService), service("nested", nested),
		service("both", "  fence: [EU]\n  rules: [{pools: [eu]}]\n  lastResort: [eu]\n"),
		service("last", "  rules: [{when: {geo: [EU]}, pools: [us]}]\n  lastResort: [{pool: south, weight: 9}, {pool: us, weight: 1}]\n"))
	const n = 20000
	for _, standing := range []string{"all up", "us down", "all down"} {
		switch standing {
		case "us down":
			h.verdict("us", "a")
		case "all down":
			h.verdict("eu", "a")
			h.verdict("south", "a", "b")
			h.verdict("es", "a")
		}
		for _, name := range []string{"web", "nested", "both", "last"} {
			rnd := rand.New(rand.NewPCG(1, 2))
			e := h.view.Explain(h.service(name+".shop.gtm.example."), rr.IPv4, clientAt(berlin), 1)
			h.view.Draw(e, clientAt(berlin), n, rnd.Uint64)
			sum := 0
			for i := range e.Pools {
				p := &e.Pools[i]
				sum += p.Drawn
				what := fmt.Sprintf("%s, %s: turn %d of %s", standing, name, i, p.Pool.ID.Pool)
				if got := float64(p.Drawn) / n; !near(got, p.Share) {
					t.Errorf("%s is drawn in %.3f of the answers, its share is %.3f", what, got, p.Share)
				}
				for j, drawn := range p.DrawnFirst {
					if got := float64(drawn) / n; !near(got, p.Shares[j]) {
						t.Errorf("%s: endpoint %d is drawn in %.3f of the answers, its share is %.3f", what, j, got, p.Shares[j])
					}
				}
			}
			if sum != n {
				t.Errorf("%s, %s: %d of %d answers came from a pool", standing, name, sum, n)
			}
		}
	}
	e := h.view.Explain(h.service("web.shop.gtm.example."), rr.IPv4, clientAt(berlin), 1)
	h.view.Draw(e, clientAt(berlin), 10, func() uint64 { return 0 })
	if text := strings.Join(e.Text("edge fra1", 0), "\n"); !strings.Contains(text, ", drawn 10 of 10 times\n") ||
		!strings.Contains(text, ", drawn 10 times\n") {
		t.Errorf("%s does not tell of the draws", text)
	}
}
