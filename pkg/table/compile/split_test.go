package compile

import (
	"fmt"
	"testing"

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
