package compile

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/table/draws"
	"github.com/gti/gtm/pkg/table/rr"
)

// dump tells all that queries and explanations can get from a draw.
func dump(d *draws.Draw) string {
	var b strings.Builder
	for f := range rr.Families {
		for _, asIfUp := range []bool{false, true} {
			p := d.From(f, asIfUp)
			if p == nil {
				continue
			}
			fmt.Fprintf(&b, "%s as if up %v, shares %.6f\n", f.Noun(), asIfUp, p.Shares())
			for set := range p.Shares() {
				records, count := p.Records(set)
				fmt.Fprintf(&b, "  %d of %v: %x\n", count, p.PartsOf(set), records)
				if !p.Sticky() {
					fmt.Fprintf(&b, "  id %x\n", p.ID(set))
				}
			}
			for bucket := range uint64(300) {
				if p.Sticky() {
					drawn := p.Choose(0, bucket*109)
					fmt.Fprintf(&b, " %d id %x", p.Named(drawn), p.ID(drawn))
				}
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
			what = "addresses: [" + []string{four, `"` + six + `"`, four + `, "` + six + `"`, four + ", 198.51.100." +
				fmt.Sprint(1+i)}[random.IntN(4)] + "]"
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
	h := newHarness(t, testZone, addresses(), hosts(), service("web", rule), service("sticky", "  pick: sticky\n"+rule),
		service("all", "  pick: all\n"+rule),
		service("three", "  answers: 3\n"+rule), service("twosticky", "  pick: sticky\n  answers: 2\n"+rule),
		service("https", "  https: {alpn: [h2]}\n  svcb: {port: 53}\n"+rule),
		service("cname", hostRule), service("srv", "  srv: {port: 443}\n"+hostRule),
		service("mx", "  mx: {preference: 5}\n  answers: 2\n"+hostRule))
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
			h.put(fmt.Sprintf("kind: Override\ntenant: shop\nname: o\nspec: {pool: %s, endpoint: e%d, state: %s, reason: test}\n",
				[]string{"p", "h"}[random.IntN(2)], random.IntN(4), []string{"drain", "down", "up"}[random.IntN(3)]))
		default:
			h.apply(Change{Verdicts: []health.Verdict{randomVerdict(random, []string{"p", "h"}[random.IntN(2)], sizes)}})
		}
		for id, p := range h.c.pools {
			if p.err != nil {
				t.Fatal(p.err)
			}
			for form, d := range p.draws {
				fresh, err := draws.New(p.state, form, nil)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := dump(d.draw), dump(fresh); got != want {
					t.Fatalf("%s, %s, %d answers:\n%s\nmade from nothing:\n%s", id, form.Pick, form.Answers, got, want)
				}
				compared++
			}
		}
	}
	if compared < 1000 {
		t.Errorf("only %d draws compared", compared)
	}
}

// TestDrawsThatNothingChangedAreKept: neither is rendered again what a verdict leaves as it was, nor what one endpoint's state does not
// touch.
func TestDrawsThatNothingChangedAreKept(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", "  rules: [{pools: [eu]}]\n"))
	draw := func() (live, all *draws.Picks) {
		d := h.view.Nodes.Ref(h.service("web.shop.gtm.example.").Steps[0].Node).Draw
		return d.From(rr.IPv4, false), d.From(rr.IPv4, true)
	}
	h.verdict("eu", "a")
	beforeLive, beforeAll := draw()
	h.verdict("eu", "a")
	if live, all := draw(); live != beforeLive || all != beforeAll {
		t.Error("a verdict that says the same made new picks")
	}
	h.verdict("eu", "b")
	live, all := draw()
	if all != beforeAll || live == beforeLive {
		t.Error("another endpoint is down: want the same picks as if all were up, and others that follow health")
	}
	if inside(live, "data").Pointer() != inside(all, "data").Pointer() {
		t.Error("the records stand in memory twice")
	}
	h.verdict("eu")
	if live, all := draw(); live != all || inside(all, "parts").Len() != inside(beforeAll, "parts").Len() ||
		!slices.Equal(all.PartsOf(0), beforeAll.PartsOf(0)) {
		t.Error("all are up: want the picks as if all were up")
	}
}
