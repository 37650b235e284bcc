package table

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/health"
)

// dump tells all that queries and explanations can get from a draw.
func (d *Draw) dump() string {
	var b strings.Builder
	for f := range families {
		for i, p := range []*picks{d.fams[f].live, d.fams[f].all} {
			if p == nil {
				continue
			}
			fmt.Fprintf(&b, "%s %s\n", f.noun(), []string{"live", "all"}[i])
			for set := range p.sets {
				records, count := p.records(set)
				fmt.Fprintf(&b, "  %d of %v id %x: %x\n", count, p.partsOf(set), p.sets[set].id, records)
			}
			if p.table == nil {
				fmt.Fprintf(&b, "  shares %.6f\n", p.shares())
				continue
			}
			for bucket := range uint64(300) {
				fmt.Fprintf(&b, " %d", p.named(p.choose(0, bucket*109)))
			}
		}
	}
	return b.String()
}

// randomEndpoints declares those of a pool: of addresses, or of host names.
func randomEndpoints(random *rand.Rand, n int, hosts bool) string {
	var b strings.Builder
	for i := range n {
		what := fmt.Sprintf("host: e%d.example.net.", i)
		if !hosts {
			four, six := fmt.Sprintf("192.0.2.%d", 1+i), fmt.Sprintf("2001:db8::%d", 1+i)
			what = "addresses: [" + []string{four, `"` + six + `"`, four + `, "` + six + `"`, four + ", 198.51.100." + fmt.Sprint(1+i)}[random.IntN(4)] + "]"
		}
		fmt.Fprintf(&b, "    - {name: e%d, %s, weight: %d}\n", i, what, []int{0, 1, 1, 1, 1, 3, 10}[random.IntN(7)])
	}
	return b.String()
}

func randomVerdict(random *rand.Rand, pool string, n int) health.Verdict {
	v := health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: pool}, Endpoints: map[string]health.Finding{}}
	for i, share := range random.Perm(n) {
		f := health.Finding{State: health.Up, Score: 1}
		switch {
		case random.IntN(n+1) == 0 && share%2 == 0:
			f = health.Finding{State: health.Down, Reason: "status 503"}
		case random.IntN(2*n) == 0:
			f.Score = 0.5
		}
		v.Endpoints[fmt.Sprint("e", i)] = f
	}
	if random.IntN(8) == 0 { // all but one are down
		for name := range v.Endpoints {
			if name != "e0" {
				v.Endpoints[name] = health.Finding{State: health.Down}
			}
		}
	}
	return v
}

// TestDrawsAfterVerdictsAreThoseMadeFromNothing: whatever a draw takes from its old form, it is as if it had none.
func TestDrawsAfterVerdictsAreThoseMadeFromNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 107))
	const sizes = 40
	addresses := func() string {
		return "\n---\nkind: Pool\ntenant: shop\nname: p\nspec:\n  endpoints:\n" + randomEndpoints(random, 1+random.IntN(sizes), false)
	}
	hosts := func() string {
		return "\n---\nkind: Pool\ntenant: shop\nname: h\nspec:\n  endpoints:\n" + randomEndpoints(random, 1+random.IntN(sizes), true)
	}
	rule := "  rules: [{pools: [p]}]\n"
	hostRule := "  rules: [{pools: [h]}]\n"
	h := newHarness(t, testZone, addresses(), hosts(), service("web", rule), service("sticky", "  pick: sticky\n"+rule), service("all", "  pick: all\n"+rule),
		service("three", "  answers: 3\n"+rule), service("twosticky", "  pick: sticky\n  answers: 2\n"+rule),
		service("https", "  https: {alpn: [h2]}\n  svcb: {port: 53}\n"+rule),
		service("cname", hostRule), service("srv", "  srv: {port: 443}\n"+hostRule), service("mx", "  mx: {preference: 5}\n  answers: 2\n"+hostRule))
	if len(h.last) > 0 {
		t.Fatal(h.last)
	}
	compared := 0
	for range 150 {
		switch random.IntN(12) {
		case 0:
			h.put(addresses()[1:])
		case 1:
			h.put(hosts()[1:])
		case 2:
			h.put(fmt.Sprintf("kind: Override\ntenant: shop\nname: o\nspec: {pool: %s, endpoint: e%d, state: %s, reason: test}\n", []string{"p", "h"}[random.IntN(2)], random.IntN(4),
				[]string{"drain", "down", "up"}[random.IntN(3)]))
		default:
			h.apply(Change{Verdicts: []health.Verdict{randomVerdict(random, []string{"p", "h"}[random.IntN(2)], sizes)}})
		}
		for id, p := range h.c.pools {
			if p.err != nil {
				t.Fatal(p.err)
			}
			for form, d := range p.draws {
				fresh, err := newDraw(p.state, form, nil)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := d.draw.dump(), fresh.dump(); got != want {
					t.Fatalf("%s, %s, %d answers:\n%s\nmade from nothing:\n%s", id, form.pick, form.answers, got, want)
				}
				compared++
			}
		}
	}
	if compared < 1000 {
		t.Errorf("only %d draws compared", compared)
	}
}

// TestAliasTablesHaveTheSharesOfTheirWeights, also where a slot is exactly full on its own: its cut is one more than 32 bits hold.
func TestAliasTablesHaveTheSharesOfTheirWeights(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 118))
	lists := [][]float64{{1}, {5}, {1, 1}, {1, 3}, {1, 2, 3}, {3, 2, 1}, {1, 1, 3, 3}, {3, 3, 1, 1}, {0, 1}, {0, 0, 7}, {1, 65535}}
	for range 300 {
		weights := make([]float64, 1+random.IntN(12))
		for i := range weights {
			weights[i] = float64(1 + random.IntN(6))
		}
		lists = append(lists, weights)
	}
	for _, weights := range lists {
		p, total := picks{sets: make([]span, len(weights))}, 0.0
		for _, w := range weights {
			total += w
		}
		alias(p.sets, weights)
		for i, got := range p.shares() {
			if want := weights[i] / total; got < want-1e-6 || got > want+1e-6 {
				t.Errorf("%v: %d has share %v, want %v", weights, i, got, want)
			}
		}
	}
}

// TestDrawsThatNothingChangedAreKept: neither is rendered again what a verdict leaves as it was, nor what one endpoint's state does not touch.
func TestDrawsThatNothingChangedAreKept(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", "  rules: [{pools: [eu]}]\n"))
	draw := func() *famDraw {
		return &h.view.nodes.ref(h.service("web.shop.gtm.example.").steps[0].node).draw.fams[IPv4]
	}
	h.verdict("eu", "a")
	before := *draw()
	if h.verdict("eu", "a"); *draw() != before {
		t.Error("a verdict that says the same made new picks")
	}
	h.verdict("eu", "b")
	after := *draw()
	if after.all != before.all || after.live == before.live {
		t.Error("another endpoint is down: want the same picks as if all were up, and others that follow health")
	}
	if &after.live.data[0] != &after.all.data[0] {
		t.Error("the records stand in memory twice")
	}
	if h.verdict("eu"); draw().live != draw().all || !slices.Equal(draw().all.parts, before.all.parts) {
		t.Error("all are up: want the picks as if all were up")
	}
}
