package compile

import (
	"fmt"
	"maps"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/chunks"
	"github.com/gti/gtm/pkg/table/draws"
	"github.com/gti/gtm/pkg/table/rr"
)

// tree is a policy of any depth, for tests: what nodes are compiled from, and what the slow twin of their walk goes through.
type tree struct {
	kind   table.Kind
	leaf   *drawState
	arms   []*tree
	weight []uint32
	state  *nodeState
}

// grow makes a random tree of at most so many choices above a leaf, whose root was taken once.
func (h *harness) grow(t *testing.T, rnd *rand.Rand, depth int, need rr.FamilySet) *tree {
	t.Helper()
	if depth == 0 || rnd.IntN(4) == 0 {
		d, err := h.c.draw(health.PoolID{Tenant: "shop", Pool: fmt.Sprint("p", rnd.IntN(4))},
			draws.Form{Answers: 1, Hashing: draws.ByNetwork})
		if err != nil {
			t.Fatal(err)
		}
		return &tree{leaf: d, state: &d.nodeState}
	}
	out := &tree{kind: []table.Kind{table.FirstNode, table.WeightedNode, table.HashedNode}[rnd.IntN(3)]}
	var arms []share
	for range 1 + rnd.IntN(4) {
		a, w := h.grow(t, rnd, depth-1, need), uint32(1+rnd.IntN(9))
		out.arms, out.weight = append(out.arms, a), append(out.weight, w)
		arms = append(arms, share{node: a.state, weight: uint16(w)})
	}
	var err error
	if out.state, err = h.c.mix(&mixState{kind: out.kind, need: need, arms: arms}); err != nil {
		t.Fatal(err)
	}
	return out
}

// gives tells what a node tells by itself, from the leaves up.
func (n *tree) gives(need rr.FamilySet, asIfUp bool) bool {
	if n.leaf != nil {
		for f := range rr.Families {
			if need.Has(f) && n.leaf.draw.From(f, asIfUp) == nil {
				return false
			}
		}
		return true
	}
	for _, a := range n.arms {
		if a.gives(need, asIfUp) {
			return true
		}
	}
	return false
}

// id is that of the node in a rendezvous.
func (n *tree) id() uint64 {
	if n.leaf != nil {
		return steer.NameID("shop/" + n.leaf.pool.id.Pool)
	}
	below := map[uint64]bool{}
	n.pools(below)
	id := uint64(0)
	for _, pool := range slices.Sorted(maps.Keys(below)) {
		id = steer.Hash(id, pool)
	}
	return id
}

// pools notes the ids of the pools below the node.
func (n *tree) pools(below map[uint64]bool) {
	if n.leaf != nil {
		below[n.id()] = true
	}
	for _, a := range n.arms {
		a.pools(below)
	}
}

// ids are those of the arms, of which nodes have different ones.
func (n *tree) ids() (out []uint64) {
	for _, a := range n.arms {
		id := a.id()
		for a.leaf == nil && slices.Contains(out, id) {
			id = steer.Hash(id, 1)
		}
		out = append(out, id)
	}
	return out
}

// walk gives the leaf that a query comes to, and whether it was hashed.
func (n *tree) walk(need rr.FamilySet, asIfUp bool, r, hash uint64, depth int) (leaf *tree, hashed bool) {
	if n.leaf != nil {
		return n, false
	}
	if f := rr.Family(bits.TrailingZeros(uint(need))); n.kind == table.WeightedNode && need == 1<<f && !asIfUp {
		if list, ok := n.spread(f, 1); ok {
			var s draws.Split
			s.Put(f, 0, list)
			all, _ := s.From(f)
			part, _ := s.Part(f, all.Choose(uint32(r), 0))
			return &tree{leaf: &drawState{draw: part.Draw, pool: &poolState{id: part.Draw.Pool.ID}}}, false
		}
	}
	chance := r >> 32
	if depth > 0 {
		chance = steer.Hash(r>>32, uint64(depth)) & (1<<32 - 1)
	}
	var giving []int
	total := uint64(0)
	for i, a := range n.arms {
		if a.gives(need, asIfUp) {
			giving = append(giving, i)
			total += uint64(n.weight[i])
		}
	}
	at := giving[0]
	switch left := chance * total >> 32; n.kind {
	case table.WeightedNode:
		for left >= uint64(n.weight[at]) {
			left -= uint64(n.weight[at])
			giving = giving[1:]
			at = giving[0]
		}
	case table.HashedNode:
		ids := n.ids()
		score := func(i int) float64 { return steer.Rendezvous(hash, ids[i], float64(n.weight[i])) }
		for _, i := range giving[1:] {
			if score(i) > score(at) {
				at = i
			}
		}
		hashed = len(giving) > 1
	}
	leaf, below := n.arms[at].walk(need, asIfUp, r, hash, depth+1)
	return leaf, hashed || below
}

// spread gives the leaves that clients of a family get, and how often; not ok: it depends on the client.
func (n *tree) spread(f rr.Family, share float64) (list []draws.Part, ok bool) {
	if n.leaf != nil {
		return []draws.Part{{Draw: n.leaf.draw, Share: share}}, true
	}
	total := 0.0
	for i, a := range n.arms {
		if a.gives(1<<f, false) {
			total += float64(n.weight[i])
		}
	}
	for i, a := range n.arms {
		of := share
		switch gives := a.gives(1<<f, false); {
		case n.kind == table.HashedNode:
			return nil, false
		case !gives:
			continue
		case n.kind == table.WeightedNode:
			of *= float64(n.weight[i]) / total
		}
		below, ok := a.spread(f, of)
		if list = append(list, below...); !ok || n.kind == table.FirstNode {
			return list, ok
		}
	}
	return list, true
}

// nodesUsed counts the places of nodes that are taken.
func (h *harness) nodesUsed() (n int) {
	list := h.c.nodeSlots.Freeze()
	for node := range list.Since(new(chunks.List[table.Node])) {
		if node.Draw != nil || node.Arms != nil {
			n++
		}
	}
	return n
}

// plainTier gives the tree that answers: of two, the second is lastResort's.
func plainTier(trees []*tree, need rr.FamilySet) (*tree, table.Fallback) {
	switch {
	case trees[0].gives(need, false):
		return trees[0], table.Normal
	case trees[1].gives(need, false):
		return trees[1], table.LastResort
	}
	return trees[1], table.AsIfUp
}

// TestNodesOfAnyDepth: policies that are nested at random are walked as their slow twin says, while verdicts change what they give; and
// when nobody wants them any more, nothing is left of them.
func TestNodesOfAnyDepth(t *testing.T) {
	rnd := rand.New(rand.NewPCG(131, 2))
	walked, deepest := map[table.Fallback]int{}, 0
	for n := range 60 {
		yaml := testZone
		for i := range 4 {
			yaml += poolOf(fmt.Sprint("p", i), fmt.Sprint("192.0.2.", i), fmt.Sprint("2001:db8::", i+1))
		}
		h := newHarness(t, yaml, service("web", "  rules: [{pools: [p0, p1, p2, p3]}]\n"))
		need := []rr.FamilySet{0, 1<<rr.IPv4 | 1<<rr.IPv6}[n%2]
		used := h.nodesUsed()
		trees := []*tree{h.grow(t, rnd, 1+n%table.MaxDepth, need), h.grow(t, rnd, 2, need)}
		s := &table.Service{ServiceInfo: &table.ServiceInfo{Index: []uint32{0, 1, 2}}, Need: need, Tiers: table.AllTiers,
			Steps: []table.Step{{Node: trees[0].state.slot, TTL: 60}, {Node: trees[1].state.slot, TTL: 60}}}
		s.InlineIndex()
		for range 8 {
			h.randomVerdicts(rnd)
			for range 20 {
				f, c, r := rr.Family(rnd.IntN(2)), clientAt(fmt.Sprintf("91.%d.%d.0/24", rnd.IntN(256), rnd.IntN(256))), rnd.Uint64()
				var d table.Decision
				h.view.Decide(&d, s, f, c, table.Class{}, r)
				want := need | 1<<f
				root, fallback := plainTier(trees, want)
				if d.Fallback != fallback {
					t.Fatalf("policy %d: fallback %q, want %q", n, d.Fallback, fallback)
				}
				asIfUp := fallback == table.AsIfUp
				if asIfUp {
					want = 1 << f
				}
				hash, _, _ := plainHash(new(spec.Service), c, false)
				leaf, hashed := root.walk(want, asIfUp, r, hash, 0)
				if d.Draw != leaf.leaf.draw || inside(d, "hashed").Bool() != hashed || hashed != (d.Scope == draws.ByNetwork.Bits4) {
					t.Fatalf("policy %d: the walk ends at %v hashed %v, want %s hashed %v", n, d.Draw.Pool.ID, inside(d, "hashed"),
						leaf.leaf.pool.id.Pool, hashed)
				}
				walked[d.Fallback]++
			}
		}
		deepest = max(deepest, int(h.view.Nodes.Ref(s.Steps[0].Node).Depth))
		for _, tree := range trees {
			h.c.releaseNode(tree.state)
		}
		if len(h.c.nodes) != 0 || h.nodesUsed() != used {
			t.Fatalf("%d nodes, %d with leaves, where there were %d", len(h.c.nodes), h.nodesUsed(), used)
		}
		for id, p := range h.c.pools {
			for _, d := range p.draws {
				if len(d.parents) != 0 {
					t.Fatalf("%s still has nodes above it", id)
				}
			}
		}
	}
	if walked[table.Normal] < 1000 || walked[table.LastResort] < 300 || walked[table.AsIfUp] < 300 || deepest != table.MaxDepth {
		t.Errorf("%v, %d deep", walked, deepest)
	}
}

// TestNodesAreNotTooDeep: what a Decision has no room for is refused.
func TestNodesAreNotTooDeep(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", "  rules: [{pools: [eu]}]\n"))
	d, err := h.c.draw(health.PoolID{Tenant: "shop", Pool: "eu"}, draws.Form{Answers: 1, Hashing: draws.ByNetwork})
	if err != nil {
		t.Fatal(err)
	}
	n := &d.nodeState
	for i := range table.MaxDepth {
		if n, err = h.c.mix(&mixState{kind: table.FirstNode, arms: []share{{node: n, weight: 1}}}); err != nil {
			t.Fatal(i, err)
		}
	}
	_, err = h.c.mix(&mixState{kind: table.FirstNode, arms: []share{{node: n, weight: 1}}})
	if err == nil || !strings.Contains(err.Error(), "deeper than 6") {
		t.Errorf("deeper: %v", err)
	}
}

// TestServicesShareNodes: a split that two services have alike is one node, until neither has it. One of coherent services is another,
// and again another for each set of families that they serve.
func TestServicesShareNodes(t *testing.T) {
	const split, coherent = "  rules: [{pools: [{pool: eu, weight: 7}, {pool: us, weight: 3}]}", "  coherent: true\n"
	h := newHarness(t, testZone, testPools, service("web", split+"]\n"), service("more", split+"]\n"),
		service("coherent", coherent+split+"]\n"), service("four", coherent+split+", {pools: [sg]}]\n"))
	step := func(name string) uint32 { return h.service(name + ".shop.gtm.example.").Steps[0].Node }
	if step("web") != step("more") || step("web") == step("coherent") || step("coherent") == step("four") || len(h.c.nodes) != 3 {
		t.Errorf("%d, %d, %d and %d of %d nodes", step("web"), step("more"), step("coherent"), step("four"), len(h.c.nodes))
	}
	for i, name := range []string{"web", "coherent", "four", "more"} {
		h.delete(spec.Key{Tenant: "shop", Kind: spec.KindService, Name: name})
		if want := []int{3, 2, 1, 0}[i]; len(h.c.nodes) != want {
			t.Errorf("without %s: %d nodes, want %d", name, len(h.c.nodes), want)
		}
	}
	if n := h.nodesUsed(); n != 0 {
		t.Errorf("%d nodes are left", n)
	}
}

// TestASplitThatIsDownFollowsItsPools: one that gets another family while all is down gives that, too.
func TestASplitThatIsDownFollowsItsPools(t *testing.T) {
	const rules = "  rules: [{pools: [{pool: four, weight: 1}, {pool: us, weight: 3}]}]\n"
	h := newHarness(t, testZone, testPools, poolOf("four", "203.0.113.1"), service("web", rules))
	h.verdict("us", "a", "b")
	h.apply(Change{Verdicts: []health.Verdict{{Pool: health.PoolID{Tenant: "shop", Pool: "four"},
		Endpoints: map[string]health.Finding{"e0": {State: health.Down}, "e1": {State: health.Down}}}}})
	h.expect("web.shop.gtm.example.", berlin, rr.IPv6, map[string]float64{"2001:db8:2::1": 1})
	h.put(poolOf("four", "203.0.113.1", "2001:db8:4::1"))
	d := h.expect("web.shop.gtm.example.", berlin, rr.IPv6, map[string]float64{"2001:db8:2::1": .75, "2001:db8:4::1": .25})
	if d.Fallback != table.AsIfUp {
		t.Errorf("fallback %q", d.Fallback)
	}
}

// TestVerdictsReachOnlyWhatTheyChange: the arms of a node above a leaf are made anew when the leaf's families change, and not for other
// news; what is drawn at once is made anew for all, and of a coherent service, where clients have a say, never.
func TestVerdictsReachOnlyWhatTheyChange(t *testing.T) {
	const split = "  rules: [{pools: [{pool: eu, weight: 7}, {pool: us, weight: 3}]}]\n"
	h := newHarness(t, testZone, testPools, service("web", split), service("coherent", split+"  coherent: true\n"))
	node := func(name string) *table.Node {
		return h.view.Nodes.Ref(h.service(name + ".shop.gtm.example.").Steps[0].Node)
	}
	at := func() *[]table.Arm { return node("web").Arms }
	before, drawn := at(), node("web").Split
	if h.verdict("eu", "a"); at() != before { // b is up
		t.Error("the split was made anew, though both pools give what they gave")
	}
	if now := node("web").Split; now == nil || now == drawn {
		t.Error("clients are sent to who is down")
	}
	if node("coherent").Split != nil {
		t.Error("a coherent service is drawn from at once")
	}
	if h.verdict("eu", "a", "b"); at() == before || (*at())[0].Live != 0 || (*before)[0].Live == 0 {
		t.Errorf("the split does not follow: %+v, before %+v", *at(), *before)
	}
}

// TestRowsAtTheBorder: services of about as many rules as a line has room for.
func TestRowsAtTheBorder(t *testing.T) {
	const inLine = 10
	for rules := inLine - 4; rules <= inLine+2; rules++ {
		yaml, own := testZone, "  rules:\n"
		for i := range rules {
			yaml += poolOf(fmt.Sprint("p", i), fmt.Sprint("192.0.2.", i))
			own += fmt.Sprintf("    - {when: {asn: [%d]}, pools: [p%d, p0]}\n", 1+i, i)
		}
		h := newHarness(t, yaml, poolOf("last", "192.0.2.99"), service("web", own+"  lastResort: [last]\n"))
		s := h.service("web.shop.gtm.example.")
		if inside := s.Index == nil; inside != (rules+2 <= inLine) {
			t.Errorf("%d rules: the index is in the line: %v", rules, inside)
		}
		for i := range rules + 1 {
			want, class, fallback := fmt.Sprint("p", i), uint16(i), table.Normal
			if i == rules {
				want, class, fallback = "last", table.NoRule, table.LastResort
			}
			var d table.Decision
			h.view.Decide(&d, s, rr.IPv4, clientAt(berlin), table.Class{Index: class}, 1)
			if d.Draw == nil || d.Draw.Pool.ID.Pool != want || d.Fallback != fallback {
				t.Errorf("%d rules, class %d: %+v %q, want pool %s", rules, class, d.Draw, d.Fallback, want)
			}
			if from, to := s.Row(i); to-from != []int{2, 1}[i/rules] {
				t.Errorf("%d rules: row %d has %d steps", rules, i, to-from)
			}
		}
	}
}

// TestManyStepsOfFewRows: their index does not fit into the line, few as they are.
func TestManyStepsOfFewRows(t *testing.T) {
	for _, pools := range []int{127, 128} {
		yaml, names := testZone, make([]string, pools)
		for i := range names {
			names[i] = fmt.Sprint("p", i)
			yaml += poolOf(names[i], fmt.Sprint("192.0.2.", i))
		}
		list := strings.Join(names, ", ")
		h := newHarness(t, yaml, service("web", fmt.Sprintf("  rules: [{when: {geo: [EU]}, pools: [%s]}, {pools: [%s]}]\n", list, list)))
		s := h.service("web.shop.gtm.example.")
		if (s.Index == nil) != (2*pools < 256) {
			t.Errorf("%d steps: the index is in the line: %v", 2*pools, s.Index == nil)
		}
		if from, to := s.Row(1); from != pools || to != 2*pools {
			t.Errorf("%d pools: the second row is %d to %d", pools, from, to)
		}
	}
}

// TestAsIfUpNeedsTheFamily: where all is down, a pool that has no endpoint of the family at all is still passed over.
func TestAsIfUpNeedsTheFamily(t *testing.T) {
	const four = "\n---\nkind: Pool\ntenant: shop\nname: four\nspec: {endpoints: [{name: a, addresses: [203.0.113.1]}]}\n"
	for _, pools := range []string{"[four, eu]", "[{pool: four, weight: 7}, {pool: eu, weight: 3}]"} {
		h := newHarness(t, testZone, testPools, four, service("web", "  rules: [{pools: "+pools+"}]\n"))
		h.verdict("eu", "a", "b")
		h.verdict("four", "a")
		want := map[string]float64{"2001:db8:1::1": .75, "2001:db8:1::2": .25}
		if d := h.expect("web.shop.gtm.example.", berlin, rr.IPv6, want); d.Fallback != table.AsIfUp {
			t.Errorf("%s: %q", pools, d.Fallback)
		}
	}
}

// TestNamesOfTheSamePoolsShareSteps: what many names have alike stands in memory once, and is each name's own again when it differs.
func TestNamesOfTheSamePoolsShareSteps(t *testing.T) {
	const rules = "  rules: [{when: {geo: [EU]}, pools: [eu, us]}, {pools: [us]}]\n"
	h := newHarness(t, testZone, testPools, service("web", rules), service("more", rules), service("other", "  ttl: 7s\n"+rules))
	steps := func(name string) *table.Step { return &h.service(name + ".shop.gtm.example.").Steps[0] }
	if steps("web") != steps("more") || steps("web") == steps("other") {
		t.Errorf("web has %p, more %p, other %p", steps("web"), steps("more"), steps("other"))
	}
	h.put(service("more", "  rules: [{pools: [sg]}]\n")[5:])
	h.expect("more.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"203.0.113.1": 1})
	var l stepLists
	first := l.same(make([]table.Step, maxSteps/2))
	for n := range uint32(3) {
		l.same([]table.Step{{Node: n, TTL: 1}})
	}
	if got := l.same(make([]table.Step, maxSteps/2)); &got[0] != &first[0] {
		t.Error("what is known is not found")
	}
	if l.same(make([]table.Step, maxSteps/2+1)); l.steps > maxSteps || len(l.known) != 1 {
		t.Errorf("%d steps of %d lists are known", l.steps, len(l.known))
	}
}
