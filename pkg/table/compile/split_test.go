package compile

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/rr"
)

// TestWhatIsDrawnAtOnce: a split of pools, also of a nearest whose order is known for each place; not where pools have different TTLs for
// now; and what nobody uses any more takes no room.
func TestWhatIsDrawnAtOnce(t *testing.T) {
	nested := "  rules: [{pools: [{split: [{nearest: [eu, us, sg], weight: 9}, {pool: us, weight: 1}]}]}]\n"
	h := newHarness(t, testZone, testPools, service("web", nested), service("more", "  ttlUnsure: 5s\n"+nested))
	if len(h.last) > 0 {
		t.Fatal(h.last)
	}
	split := func(name string) (at []*table.Node) {
		s := h.service(name + ".shop.gtm.example.")
		for i := range s.Steps {
			if n := h.view.Nodes.Ref(s.Steps[i].Node); n.Kind != table.LeafNode {
				at = append(at, n)
			}
		}
		return at
	}
	sets := func() (n int) {
		for _, node := range h.c.nodes {
			if s := h.c.nodeSlots.Ref(node.slot).Split; s != nil {
				n += s.Sets()
			}
		}
		return n
	}
	for _, name := range []string{"web", "more"} {
		if len(split(name)) == 0 {
			t.Fatal("no nodes with arms")
		}
		for _, n := range split(name) {
			if n.Split == nil {
				t.Errorf("%s: %+v is drawn in steps", name, n)
			}
		}
	}
	if sets() == 0 || h.c.splits != sets() {
		t.Errorf("%d sets are counted, there are %d", h.c.splits, sets())
	}
	h.verdictOf("us", map[string]health.Finding{"a": {State: health.Up, Score: 1, Unsure: true}}, nil)
	if h.c.splits != sets() {
		t.Errorf("after a verdict %d sets are counted, there are %d", h.c.splits, sets())
	}
	for _, n := range split("more") {
		if n.Split != nil {
			if p, _ := n.Split.From(rr.IPv4); p != nil {
				t.Error("drawn at once, though the pool that changed is unsure and has another TTL")
			}
		}
	}
	for _, name := range []string{"web", "more"} {
		h.delete(spec.Key{Tenant: "shop", Kind: spec.KindService, Name: name})
	}
	if h.c.splits != 0 {
		t.Errorf("%d sets are counted, though nothing is left", h.c.splits)
	}
}

// TestSplitsAreBounded: where there is no more room, splits are drawn in steps, with the same shares.
func TestSplitsAreBounded(t *testing.T) {
	h := newHarness(t, testZone, testPools)
	h.c.splits = maxSplits
	h.put(service("web", "  rules: [{pools: [{pool: eu, weight: 7}, {pool: us, weight: 3}]}]\n")[5:])
	if n := h.view.Nodes.Ref(h.service("web.shop.gtm.example.").Steps[0].Node); n.Split != nil {
		t.Error("drawn at once")
	}
	drawn := map[bool]int{}
	s := h.service("web.shop.gtm.example.")
	for i := range uint64(10000) {
		var d table.Decision
		h.view.Decide(&d, s, rr.IPv4, clientAt(berlin), table.Class{}, i<<32*429496)
		drawn[d.Draw.Pool.ID.Pool == "eu"]++
	}
	if got := fmt.Sprint(drawn[true] / 100); got != "70" && got != "69" {
		t.Errorf("eu is drawn %d times of 10,000, want 7,000", drawn[true])
	}
}

// randomNested is a policy of splits, of which it may have those before it.
func randomNested(rnd *rand.Rand, number int) string {
	var arms []string
	for i := range 2 + rnd.IntN(3) {
		arm := fmt.Sprintf("pool: p%d", rnd.IntN(8))
		if number > 0 && rnd.IntN(2) == 0 {
			arm = fmt.Sprintf("policy: n%d", rnd.IntN(number))
		}
		arms = append(arms, fmt.Sprintf("{%s, weight: %d}", arm, 1+i))
	}
	return fmt.Sprintf("\n---\n{kind: Policy, tenant: shop, name: n%d, spec: {rules: [{pools: [p%d, {split: [%s]}]}]}}", number,
		rnd.IntN(8), strings.Join(arms, ", "))
}

// TestNodesAreThoseMadeFromNothing: whatever changes (verdicts for all and for regions, slow starts, doubts, drains that end, policies,
// services), each node is what it would be if it were made now, and its sets are counted.
func TestNodesAreThoseMadeFromNothing(t *testing.T) {
	checked := 0
	for seed := range uint64(10) {
		rnd := rand.New(rand.NewPCG(seed, 167))
		sites := strings.ReplaceAll(randomSites(rnd), "endpoints: [{", "slowStart: 30s, endpoints: [{name: b, addresses: [192.0.3.1]}, {")
		sites = strings.Replace(sites, "slowStart: 30s", "monitor: up, regions: true", 3)
		rules := "  pools: [p0, p1, p2, p3, p4, p5, p6, p7]\n  rules:\n" +
			"    - {when: {geo: [EU]}, pools: [{split: [{policy: n2, weight: 3}, {nearest: [p0, p1, p2], weight: 1}]}]}\n" +
			"    - {pools: [{split: [{policy: n1, weight: 2}, {policy: n0, weight: 1}]}, p3]}\n"
		unsure := service("more", "  ttlUnsure: 5s\n"+rules)
		h := newHarness(t, testZone, sites, "\n---\n{kind: Monitor, tenant: shop, name: up, spec: {type: tcp, port: 80}}",
			randomNested(rnd, 0), randomNested(rnd, 1), randomNested(rnd, 2),
			service("web", rules), unsure, service("sticky", "  pick: sticky\n"+rules))
		now := noon
		for range 60 {
			switch id := (health.PoolID{Tenant: "shop", Pool: fmt.Sprint("p", rnd.IntN(8))}); rnd.IntN(8) {
			case 0:
				now = now.Add(time.Duration(rnd.IntN(30)) * time.Second)
			case 1:
				h.put(randomNested(rnd, rnd.IntN(3))[5:])
			case 2:
				h.put(fmt.Sprintf("kind: Override\ntenant: shop\nname: o\nspec: {pool: %s, state: drain, reason: x, expires: %q}\n",
					id.Pool, now.Add(20*time.Second).Format(time.RFC3339)))
			case 3:
				if h.put(unsure[5:]); rnd.IntN(2) == 0 {
					h.delete(spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "more"})
				}
			default:
				v := health.Verdict{Pool: id.For([]string{"", "", "EU", "AS"}[rnd.IntN(4)]), Endpoints: map[string]health.Finding{}}
				for _, name := range []string{"a", "b"} {
					v.Endpoints[name] = []health.Finding{
						{State: health.Up, Score: 1, Since: now},
						{State: health.Up, Score: .5, Unsure: true},
						{State: health.Up, Score: 1, Recovered: true, Since: now},
						{State: health.Down},
					}[rnd.IntN(4)]
				}
				h.c.Apply(Change{Verdicts: []health.Verdict{v}})
			}
			h.compile(now)
			sets := 0
			for _, n := range h.c.nodes {
				sets += n.mix.sets
				is, want := *h.c.nodeSlots.Ref(n.slot), h.c.mixed(n.mix)
				if checked++; is.Live != want.Live || is.All != want.All || !reflect.DeepEqual(is.Split, want.Split) ||
					!reflect.DeepEqual(*is.Arms, *want.Arms) {
					t.Fatalf("seed %d: %+v is %+v now", seed, is, want)
				}
			}
			if sets != h.c.splits {
				t.Fatalf("seed %d: %d sets, and %d are counted", seed, sets, h.c.splits)
			}
		}
	}
	if checked < 10_000 {
		t.Errorf("only %d nodes were compared", checked)
	}
}
