package table

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestJoinedRecordsAreThoseOfASet: what a sticky answer names is put together as if it had been rendered as one, whether the table is
// filled or not; and signatures are told apart by what is signed.
func TestJoinedRecordsAreThoseOfASet(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 125))
	rule := "  pick: sticky\n  answers: %d\n  https: {alpn: [h2]%s}\n  svcb: {port: 53}\n  rules: [{pools: [p]}]\n"
	compared := 0
	for _, ech := range []string{"", ", ech: AEX+DQBB"} {
		for _, answers := range []int{2, 3, 64} {
			pool := "\n---\nkind: Pool\ntenant: shop\nname: p\nspec:\n  endpoints:\n" + randomEndpoints(random, 2+random.IntN(20), false)
			h := newHarness(t, testZone, pool, service("web", fmt.Sprintf(rule, answers, ech)))
			if len(h.last) > 0 {
				t.Fatal(h.last)
			}
			d := h.view.nodes.ref(h.service("web.shop.gtm.example.").steps[0].node).draw
			x, err := extraOf(h.service("web.shop.gtm.example.").Spec)
			if err != nil {
				t.Fatal(err)
			}
			for f := range families {
				if p := d.fams[f].live; p != nil && p.joint != nil {
					compareJoined(t, p, d, f, &x)
					p.table.Fill()
					compareJoined(t, p, d, f, &x)
					compared++
				}
			}
		}
	}
	if compared < 20 {
		t.Errorf("only %d families compared", compared)
	}
}

func compareJoined(t *testing.T, p *picks, d *Draw, f Family, x *extra) {
	t.Helper()
	random, ids := rand.New(rand.NewPCG(2, 125)), map[string]uint64{}
	for range 300 {
		drawn := p.choose(0, random.Uint64())
		var set []int
		for _, c := range p.named(drawn) {
			set = append(set, int(c))
		}
		var plain picks
		want, err := plain.render(d.Pool, f, set, x, false)
		if err != nil {
			t.Fatal(err)
		}
		got, count := p.join([]byte("before"), drawn)
		if got, ok := bytes.CutPrefix(got, []byte("before")); !ok || count != want || !bytes.Equal(got, plain.data) {
			t.Fatalf("%s %v: %d records\n%x\nwant %d\n%x", f.noun(), set, count, got, want, plain.data)
		}
		data := dataOf(plain.data)
		slices.SortFunc(data, bytes.Compare) // as they are signed
		signed := string(bytes.Join(data, []byte("/")))
		for other, id := range ids {
			if same := id == p.id(drawn); same && other != signed || !same && other == signed && p.joint.head == "" {
				t.Fatalf("%s %v: one id for %x and %x", f.noun(), set, other, signed)
			}
		}
		ids[signed] = p.id(drawn)
	}
	if len(ids) < 2 && len(p.sets) > p.table.Answers() {
		t.Errorf("%s: one content in all buckets", f.noun())
	}
}

// TestSeveralStickyRecordsDoNotAllocate, neither where they are found out nor where they are read.
func TestSeveralStickyRecordsDoNotAllocate(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", "  pick: sticky\n  answers: 2\n  rules: [{pools: [eu]}]\n"))
	s := h.service("web.shop.gtm.example.")
	c := clientAt(berlin)
	var d Decision
	var room []byte
	ask := func() {
		decide(h.view, &d, s, c, 1)
		if records, count := d.Records(&room); count != 2 || len(records) != 32 {
			t.Fatalf("%d records, %x", count, records)
		}
	}
	for _, filled := range []bool{false, true} {
		if filled {
			h.view.Settle(t.Context(), nil)
		}
		if n := testing.AllocsPerRun(1000, ask); n != 0 {
			t.Errorf("filled %v: %v allocations", filled, n)
		}
	}
}

// TestBothOfTwoComeFirst: where an answer names all that there is, sticky named them in one order, and the last got no client that takes
// the first address.
func TestBothOfTwoComeFirst(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", "  pick: sticky\n  answers: 2\n  rules: [{pools: [eu]}]\n"))
	s := h.service("web.shop.gtm.example.")
	firsts := map[string]int{}
	for i := range 2000 {
		var d Decision
		decide(h.view, &d, s, clientAt(fmt.Sprintf("91.%d.%d.0/24", i/256, i%256)), 1)
		if e := (&Explanation{Decision: d, Family: IPv4, Service: s}); len(e.Example()) == 2 && d.Scope >= 24 {
			firsts[e.Example()[0]]++
		}
	}
	if a, b := firsts["198.51.100.1"], firsts["198.51.100.2"]; a+b != 2000 || a < 1400 || a > 1600 { // 3:1
		t.Errorf("%v", firsts)
	}
	for i, want := range []float64{.75, .25} {
		if got := h.view.Explain(s, IPv4, clientAt(berlin), 1).Pools[0].Shares[i]; !near(got, want) {
			t.Errorf("endpoint %d is told to have %.3f, want %.2f", i, got, want)
		}
	}
}
