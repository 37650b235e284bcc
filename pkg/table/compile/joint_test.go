package compile

import (
	"fmt"
	"testing"

	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/rr"
)

// TestSeveralStickyRecordsDoNotAllocate, neither where they are found out nor where they are read.
func TestSeveralStickyRecordsDoNotAllocate(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", "  pick: sticky\n  answers: 2\n  rules: [{pools: [eu]}]\n"))
	s := h.service("web.shop.gtm.example.")
	c := clientAt(berlin)
	var d table.Decision
	var room []byte
	ask := func() {
		decide(h.view, &d, s, c, 1)
		if records, count := d.Records(&room); count != 2 || len(records) != 32 {
			t.Fatalf("%d records, %x", count, records)
		}
	}
	for _, filled := range []bool{false, true} {
		if filled {
			h.view.FillTables(t.Context(), nil)
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
		var d table.Decision
		decide(h.view, &d, s, clientAt(fmt.Sprintf("91.%d.%d.0/24", i/256, i%256)), 1)
		if e := (&table.Explanation{Decision: d, Family: rr.IPv4, Service: s}); len(e.Example()) == 2 && d.Scope >= 24 {
			firsts[e.Example()[0]]++
		}
	}
	if a, b := firsts["198.51.100.1"], firsts["198.51.100.2"]; a+b != 2000 || a < 1400 || a > 1600 { // 3:1
		t.Errorf("%v", firsts)
	}
	for i, want := range []float64{.75, .25} {
		if got := h.view.Explain(s, rr.IPv4, clientAt(berlin), 1).Pools[0].Shares[i]; !near(got, want) {
			t.Errorf("endpoint %d is told to have %.3f, want %.2f", i, got, want)
		}
	}
}
