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
	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/rr"
)

// regions are where the sites of random worlds stand; "" has none.
var regions = []string{"EU-DE", "EU-FR", "NA-US", "AS-SG", "AS-JP", "SA-BR", ""}

// randomSites declares eight pools at eight sites all over the world, some nowhere, each with an address of its own.
func randomSites(rnd *rand.Rand) string {
	var b strings.Builder
	for i := range 8 {
		region := ""
		if r := regions[rnd.IntN(len(regions))]; r != "" {
			region = ", region: " + r
		}
		fmt.Fprintf(&b, "\n---\n{kind: Site, tenant: platform, name: s%d, spec: {location: {lat: %d, lon: %d}%s}}", i, rnd.IntN(120)-60,
			rnd.IntN(360)-180, region)
		at := fmt.Sprintf("site: s%d, ", i)
		if rnd.IntN(6) == 0 {
			at = "" // it is nowhere
		}
		fmt.Fprintf(&b, "\n---\n{kind: Pool, tenant: shop, name: p%d, spec: {%s"+
			"endpoints: [{name: a, addresses: [192.0.2.%d]}]}}\n", i, at, i)
	}
	return b.String()
}

// randomEntries is a list of entries, nested.
func randomEntries(rnd *rand.Rand, deep int) string {
	var list []string
	for i := range 1 + rnd.IntN(3) {
		pool := func() string { return fmt.Sprintf("p%d", rnd.IntN(8)) }
		entry := ""
		switch n := rnd.IntN(6); {
		case n == 0 && deep > 0:
			entry = fmt.Sprintf("{split: [%s]}", randomEntries(rnd, deep-1))
		case n == 1:
			entry = "{nearest: sites}"
		case n == 2:
			entry = fmt.Sprintf("{nearest: [%s, {pool: q%d}], band: 60%%}",
				strings.Join([]string{"p0", "p3", "p5", "p6"}[:1+rnd.IntN(4)], ", "), rnd.IntN(2))
			entry = strings.NewReplacer("{pool: q0}", "{pool: p1, weight: 3}", "{pool: q1}", "p7").Replace(entry)
		case n == 3:
			entry = "{policy: near}"
		case n == 4:
			entry = fmt.Sprintf("{pool: %s, weight: %d}", pool(), 1+rnd.IntN(5))
		default:
			entry = pool()
		}
		if i > 0 && n0(rnd) && !strings.Contains(entry, "weight") && strings.HasPrefix(entry, "{") {
			entry = strings.TrimSuffix(entry, "}") + ", trickle: 5%}"
		}
		if !slices.Contains(list, entry) {
			list = append(list, entry)
		}
	}
	return strings.Join(list, ", ")
}

func n0(rnd *rand.Rand) bool { return rnd.IntN(4) == 0 }

func randomFence(rnd *rand.Rand) string {
	if rnd.IntN(2) == 0 {
		return ""
	}
	return "fence: [" + []string{"EU", "NA, SA", "AS", "EU-DE, AS"}[rnd.IntN(4)] + "], "
}

// TestAFenceIsNeverLeft: whatever random policies, verdicts and overrides do, no answer comes from outside of a fence that holds for the
// client; and the row of a client is the one that its place gives, with the scope that the partition says.
func TestAFenceIsNeverLeft(t *testing.T) {
	rnd := gtmtest.Random(t)
	fenced, refused, answers := 0, 0, 0
	for range 25 {
		rules := func() string {
			return fmt.Sprintf("[{when: {geo: [EU, SA]}, %spools: [%s]}, {when: {geo: [AS]}, pools: [%s]}, {%spools: [%s]}]",
				randomFence(rnd), randomEntries(rnd, 2), randomEntries(rnd, 2), randomFence(rnd), randomEntries(rnd, 2))
		}
		nearRules := strings.ReplaceAll(strings.ReplaceAll(rules(), "{policy: near}", "p2"), "near}, trickle: 5%", "p2")
		h := newHarness(t, testZone, randomSites(rnd),
			fmt.Sprintf("\n---\n{kind: Policy, tenant: shop, name: near, spec: {%srules: %s}}", randomFence(rnd), nearRules),
			service("web", fmt.Sprintf("  pools: [p0, p1, p2, p3, p4, p5, p6, p7]\n  rules: %s\n  lastResort: [p4, p5]\n", rules())))
		if s := h.view.FindService("web.shop.gtm.example."); s == nil {
			refused++ // no row has an answer
			continue
		}
		for range 6 {
			h.randomHands(rnd)
			s := h.service("web.shop.gtm.example.")
			for range 60 {
				c := clientAt(fmt.Sprintf("%d.%d.%d.0/24", 1+rnd.IntN(223), rnd.IntN(256), rnd.IntN(256)))
				class := h.view.Classify(s, c)
				asker := c.Subnet
				if class.Resolver {
					asker = c.Resolver
				}
				var trace policy.Trace
				place, _ := h.view.Place(asker)
				s.Steering.Policy.Row(s.Steering.Policy.Where(place, geo.Hits{}), &trace)
				var d table.Decision
				h.view.Decide(&d, s, rr.IPv4, c, class, rnd.Uint64())
				if d.Draw == nil {
					continue
				}
				answers++
				if len(trace.Fence) > 0 {
					fenced++
				}
				if name := d.Draw.Pool.ID.Pool; slices.Contains(trace.Fenced, name) {
					t.Fatalf("%v in %v gets pool %s, outside of the fence %v", c.Subnet.Prefix(), place, name, trace.Fence)
				}
				h.sameClassAround(t, s, c, class, rnd)
			}
		}
	}
	if fenced < 500 || answers < 2000 || refused > 12 {
		t.Errorf("%d answers, %d behind fences; %d services refused", answers, fenced, refused)
	}
}

// sameClassAround: an address within the scope is of the same class.
func (h *harness) sameClassAround(t *testing.T, s *table.Service, c *table.Client, class table.Class, rnd *rand.Rand) {
	if class.Resolver || class.Scope >= 32 {
		return
	}
	other := *c
	other.Subnet.Hi ^= uint64(rnd.Uint32()) << 32 >> class.Scope << 0 & 0xffffff00_00000000
	other.Subnet.Hi = c.Subnet.Hi&^(^uint64(0)>>class.Scope) | other.Subnet.Hi&(^uint64(0)>>class.Scope)
	if again := h.view.Classify(s, &other); again.Index != class.Index && !again.Resolver {
		t.Fatalf("%v has class %d with scope %d, and %v class %d", c.Subnet.Prefix(), class.Index, class.Scope, other.Subnet.Prefix(),
			again.Index)
	}
}

// randomHands has verdicts come and people intervene.
func (h *harness) randomHands(rnd *rand.Rand) {
	var ch Change
	for i := range 8 {
		f := health.Finding{State: health.Up, Score: 1}
		if rnd.IntN(2) == 0 {
			f = health.Finding{State: health.Down}
		}
		ch.Verdicts = append(ch.Verdicts, health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: fmt.Sprint("p", i)},
			Endpoints: map[string]health.Finding{"a": f}})
	}
	h.gen++
	o := &spec.Override{Pool: fmt.Sprint("p", rnd.IntN(8)), State: []string{"up", "down", "drain"}[rnd.IntN(3)], Reason: "random"}
	ch.Tenants = []TenantChange{{Tenant: "shop", Head: h.gen, Put: []Item{{&spec.Resource{Key: spec.Key{Tenant: "shop",
		Kind: spec.KindOverride, Name: "hand"}, Spec: o}, h.gen}}}}
	h.apply(ch)
}

// TestSteeringAllocatesNothing: neither groups nor nested choices do, on the way of a query.
func TestSteeringAllocatesNothing(t *testing.T) {
	for name, rules := range map[string]string{
		"group":  "  rules: [{pools: [{nearest: [eu, us, sg], band: 900%}]}]\n",
		"nested": nestedPolicy,
		"sticky": "  pick: sticky\n  rules: [{pools: [{nearest: [eu, us, sg], band: 900%}]}]\n",
	} {
		h := newHarness(t, testZone, testSites, service("web", rules))
		s, c := h.service("web.shop.gtm.example."), clientAt(berlin)
		var d table.Decision
		r := uint64(1)
		h.view.Decide(&d, s, rr.IPv4, c, h.view.Classify(s, c), r)
		if n := testing.AllocsPerRun(1000, func() {
			r += 0x9e3779b97f4a7c15
			h.view.Decide(&d, s, rr.IPv4, c, h.view.Classify(s, c), r)
		}); n > 0 || d.Draw == nil {
			t.Errorf("%s: %v allocations for a decision (%v)", name, n, d.Draw)
		}
	}
}

// nestedPolicy is nearness in a split in a rule.
const nestedPolicy = `  rules:
    - when: {geo: [EU]}
      pools: [{split: [{nearest: [us, eu], weight: 99}, {pool: sg, weight: 1}]}]
    - {pools: [{nearest: [eu, us, sg]}]}
`

// crowd declares so many other services with policies of their own that those behind them by name share a partition.
func crowd() string {
	var b strings.Builder
	for i := range maxTenantParts {
		b.WriteString(service(fmt.Sprint("a", i), fmt.Sprintf("  rules: [{pools: [{nearest: [p0, p1], band: %d%%}]}]\n", i+1)))
	}
	return b.String()
}

// TestSharedPartitionsSteerAlike: a policy that shares a partition, where nearness is left to nodes, answers as one that has its own, where
// it was compiled into rows: with the same pools in the same turns, with the same shares, and where networks are hashed, from the same
// pool.
func TestSharedPartitionsSteerAlike(t *testing.T) {
	rnd := gtmtest.Random(t)
	seen := map[string]int{}
	for world := range 16 {
		pick := ""
		if world%2 == 1 {
			pick = "  pick: sticky\n"
		}
		sites := randomSites(rnd)
		rules := fmt.Sprintf("[{when: {geo: [EU, SA]}, %spools: [%s]}, {when: {geo: [AS]}, pools: [%s]}, {pools: [%s]}]",
			randomFence(rnd), randomEntries(rnd, 2), randomEntries(rnd, 2), randomEntries(rnd, 2))
		rules = strings.NewReplacer("band: 60%", "band: 60%, bias: {p3: 20%, s5: -300km}",
			"{policy: near", "{nearest: sites").Replace(rules)
		web := service("web", fmt.Sprintf("%s  pools: [p0, p1, p2, p3, p4, p5, p6, p7]\n  rules: %s\n  lastResort: [{nearest: [p4, p5]}]\n",
			pick, rules))
		own, shared := newHarness(t, testZone, sites, web), newHarness(t, testZone, sites, crowd(), web)
		if own.view.FindService("web.shop.gtm.example.") == nil {
			continue
		}
		if n := shared.c.owned[owner{tenant: "shop"}]; n != maxTenantParts {
			t.Fatalf("%d partitions of their own", n)
		}
		for range 5 {
			seed := rnd.Uint64()
			for _, h := range []*harness{own, shared} {
				h.randomHands(rand.New(rand.NewPCG(seed, 1)))
			}
			s, twin := own.service("web.shop.gtm.example."), shared.service("web.shop.gtm.example.")
			for range 40 {
				c := clientAt(fmt.Sprintf("%d.%d.%d.0/24", 1+rnd.IntN(223), rnd.IntN(256), rnd.IntN(256)))
				r := rnd.Uint64()
				a, b := own.view.Explain(s, rr.IPv4, c, r), shared.view.Explain(twin, rr.IPv4, c, r)
				if got, want := turnsOf(b), turnsOf(a); got != want || a.TTL != b.TTL || a.Fallback != b.Fallback || b.Scope < a.Scope ||
					a.Hashed != b.Hashed {
					t.Fatalf("%s\n%v: shared %s TTL %d %q /%d\nown %s TTL %d %q /%d", web, c.Subnet.Prefix(), got, b.TTL, b.Fallback,
						b.Scope, want, a.TTL, a.Fallback, a.Scope)
				}
				if a.Draw == nil {
					continue
				}
				if seen["answers"]++; pick != "" && a.Draw.Pool.ID != b.Draw.Pool.ID {
					t.Fatalf("%s\n%v: shared %s, own %s", web, c.Subnet.Prefix(), b.Draw.Pool.ID, a.Draw.Pool.ID)
				}
				for _, p := range b.Pools {
					if p.Chosen && p.Pool.ID != b.Draw.Pool.ID {
						t.Fatalf("%s is chosen, and %s answers", p.Pool.ID, b.Draw.Pool.ID)
					}
					if p.Share > 0 && p.Share < 1 {
						seen["shares"]++
					}
				}
				if b.Fallback == table.AsIfUp {
					seen["as if up"]++
				}
			}
		}
		for _, steps := range twinSteps(shared) {
			if steps.Kind == table.NearestNode {
				seen["nearest nodes"]++
			}
		}
	}
	for _, what := range []string{"answers", "shares", "as if up", "nearest nodes"} {
		if seen[what] < 30 {
			t.Errorf("only %d %s", seen[what], what)
		}
	}
}

// twinSteps gives the nodes of the view.
func twinSteps(h *harness) (out []*table.Node) {
	for i := range h.c.nodes {
		out = append(out, h.view.Nodes.Ref(h.c.nodes[i].slot))
	}
	return out
}

// turnsOf writes down the pools of an explanation by their turns, with their shares.
func turnsOf(e *table.Explanation) string {
	var out []string
	for _, p := range e.Pools {
		out = append(out, fmt.Sprintf("%v/%02d %s %.4f %v", p.LastResort, p.Step, p.Pool.ID.Pool, p.Share, p.Up))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
