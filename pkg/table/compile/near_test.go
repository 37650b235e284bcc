package compile

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/rr"
)

// nearCrowd declares so many services with policies of their own that those behind them by name share a partition.
func nearCrowd() string { return strings.NewReplacer("p0", "eu", "p1", "us").Replace(crowd()) }

// near gives the distances of the one partition in which nodes choose.
func (h *harness) near() *distances {
	h.t.Helper()
	for _, p := range h.c.parts {
		if p.near.columns != nil {
			return &p.near
		}
	}
	h.t.Fatal("no partition has distances")
	return nil
}

// TestNodesShareColumns: nodes that choose among the same sites share columns of distances; those that are no longer in use are written
// anew, in a copy, since views that are still read have the old ones.
func TestNodesShareColumns(t *testing.T) {
	h := newHarness(t, testZone, testSites, nearCrowd(), service("web", "  rules: [{pools: [{nearest: [eu, us, sg]}]}]\n"),
		service("www", "  rules: [{pools: [{nearest: [sg, eu], band: 7%}]}]\n"))
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{atEU: 1})
	n := h.near()
	if used := len(n.columns); used != 3 || n.Columns != 8 {
		t.Errorf("%d columns are used of %d", used, n.Columns)
	}
	before, view := n.Km, h.view
	for i := range 9 { // each move takes a column, and gives one back
		h.put(fmt.Sprintf("\n---\n{kind: Site, tenant: platform, name: iad, spec: {location: {lat: %d, lon: %d}}}\n", 38+i%2, i-77))
		h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{atEU: 1})
	}
	if used := len(n.columns); used != 3 || n.Columns != 8 {
		t.Errorf("after the moves %d columns are used of %d", used, n.Columns)
	}
	if &before[0] == &n.Km[0] {
		t.Error("columns that a view may read were written")
	}
	h.view, view = view, h.view
	if node, _ := h.ask("web.shop.gtm.example.", "8.8.8.0/24", rr.IPv4); node[atUS] < .99 {
		t.Errorf("the old view answers %v, with sites where they are now", node)
	}
	h.view = view
	h.put("\n---\n{kind: Site, tenant: platform, name: iad, spec: {location: {lat: 52, lon: 13}}}\n",
		"\n---\n{kind: Site, tenant: platform, name: fra, spec: {location: {lat: -33, lon: 151}}}\n")
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{atUS: 1})
	h.delete(spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "web"})
	if used := len(n.columns); used != 2 {
		t.Errorf("%d columns are used by one of two sites", used)
	}
}

// TestTooManyColumns: a partition has room for so many sites; a service that needs one more says so, takes nothing, and answers as before.
func TestTooManyColumns(t *testing.T) {
	h := newHarness(t, testZone, testSites, nearCrowd(), service("web", "  rules: [{pools: [{nearest: [us, sg, eu]}]}]\n"))
	n := h.near()
	classes := len(n.Km) / n.Columns
	n.widen(classes, maxColumns)
	for len(n.refs) < maxColumns {
		n.refs, n.points = append(n.refs, 1), append(n.points, geo.Point{})
	}
	h.put("\n---\n{kind: Site, tenant: platform, name: fra, spec: {location: {lat: 50, lon: 9}}}\n")
	if n := len(h.last); n == 0 || !strings.Contains(h.last[n-1].Err.Error(), "more than 4096 points") {
		t.Errorf("broken: %v", h.last)
	}
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{atEU: 1})
	if n.refs[0] != 1 || n.refs[1] != 1 || n.refs[2] != 1 {
		t.Errorf("refs %v", n.refs[:3])
	}
}

// TestANearestNodeAllocatesNothing: neither by chance nor by hash.
func TestANearestNodeAllocatesNothing(t *testing.T) {
	for _, pick := range []string{"", "  pick: sticky\n"} {
		h := newHarness(t, testZone, testSites, nearCrowd(), service("web", pick+
			"  rules: [{pools: [{split: [{nearest: [eu, us, sg], band: 900%, bias: {us: 9%}, weight: 9}, {pool: us, weight: 1}]}]}]\n"))
		s, c := h.service("web.shop.gtm.example."), clientAt(berlin)
		var d table.Decision
		r := uint64(1)
		n := testing.AllocsPerRun(1000, func() {
			r += 0x9e3779b97f4a7c15
			h.view.Decide(&d, s, rr.IPv4, c, h.view.Classify(s, c), r)
		})
		if n > 0 || d.Draw == nil || len(h.near().columns) != 3 {
			t.Errorf("%q: %v allocations for a decision (%v)", pick, n, d.Draw)
		}
	}
}

// TestSplitsOfTheSamePools: arms that lead to the same pools, in another order, have each its share of the networks: in a rendezvous their
// pools tell them apart, and these are the same.
func TestSplitsOfTheSamePools(t *testing.T) {
	h := newHarness(t, testZone, testSites, `
---
kind: Policy
tenant: shop
name: one
spec: {rules: [{pools: [eu, us]}]}
---
kind: Policy
tenant: shop
name: other
spec: {rules: [{pools: [us, eu]}]}
`, service("web", "  pick: sticky\n  pools: [eu, us]\n"+
		"  rules: [{pools: [{split: [{policy: one, weight: 1}, {policy: other, weight: 1}]}]}]\n"))
	got, svc := map[string]int{}, h.service("web.shop.gtm.example.")
	for i := range 2000 {
		var d table.Decision
		c := clientAt(fmt.Sprintf("80.%d.%d.0/24", i/250, i%250))
		h.view.Decide(&d, svc, rr.IPv4, c, h.view.Classify(svc, c), 1)
		got[d.Draw.Pool.ID.Pool]++
	}
	if got["eu"] < 900 || got["us"] < 900 {
		t.Errorf("networks by pool: %v", got)
	}
}

// TestAPoolInSeveralTurns: of a pool that stands in a group and behind it again, the later turn has no answers.
func TestAPoolInSeveralTurns(t *testing.T) {
	h := newHarness(t, testZone, testSites, service("web", "  rules: [{pools: [{nearest: [eu, us], band: 900%}, us]}]\n"))
	e := h.view.Explain(h.service("web.shop.gtm.example."), rr.IPv4, clientAt(berlin), 1<<63)
	total := 0.0
	for _, p := range e.Pools {
		total += p.Share
	}
	if len(e.Pools) != 3 || math.Abs(total-1) > 1e-9 || e.Pools[2].Share != 0 || e.Pools[2].Chosen {
		t.Errorf("shares of %v, %+v", total, e.Pools)
	}
}

// TestLongListsStayRows: of more pools than a query may look at, the order is compiled.
func TestLongListsStayRows(t *testing.T) {
	pools, names := "", ""
	for i := range policy.MaxNearest + 1 {
		pools += fmt.Sprintf("\n---\n{kind: Pool, tenant: shop, name: p%d, spec: {site: fra, "+
			"endpoints: [{name: a, addresses: [192.0.2.%d]}]}}\n", i, i)
		names += fmt.Sprintf("p%d, ", i)
	}
	list := func(n int) string {
		return fmt.Sprintf("  rules: [{pools: [{nearest: [%s], band: 99%%}]}]\n", strings.Join(strings.Split(names, ", ")[:n], ", "))
	}
	h := newHarness(t, testZone, testSites, pools, crowd(), service("short", list(policy.MaxNearest)),
		service("whole", list(policy.MaxNearest+1)))
	for host, want := range map[string]table.Kind{"short": table.NearestNode, "whole": table.LeafNode} {
		s := h.service(host + ".shop.gtm.example.")
		if kind := h.view.Nodes.Ref(s.Steps[0].Node).Kind; kind != want {
			t.Errorf("%s goes by a node of kind %d", host, kind)
		}
		h.ask(host+".shop.gtm.example.", berlin, rr.IPv4)
	}
}

// TestANearestNodeWithoutSubnets: with ecs: off the resolver's place counts, and the service has another partition for client networks.
func TestANearestNodeWithoutSubnets(t *testing.T) {
	h := newHarness(t, testZone, testSites, nearCrowd(),
		service("web", "  ecs: \"off\"\n  rules: [{pools: [{nearest: [us, sg, eu]}]}]\n"))
	s, c := h.service("web.shop.gtm.example."), clientAt("8.8.8.0/24")
	c.Resolver = clientAt(berlin).Subnet
	var d table.Decision
	h.view.Decide(&d, s, rr.IPv4, c, h.view.Classify(s, c), 1)
	if d.Draw == nil || d.Draw.Pool.ID.Pool != "eu" || s.Part == s.ResolverPart {
		t.Errorf("%+v", d)
	}
}
