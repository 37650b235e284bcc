package policy

import (
	"fmt"
	"slices"
	"testing"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/spec"
)

// TestTurnsAreTheStepsOfTheRow: what a trace says of one order of pools is the row that came of it.
func TestTurnsAreTheStepsOfTheRow(t *testing.T) {
	rnd := gtmtest.Random(t)
	seen := map[string]int{}
	for range 2000 {
		w := randomWorld(rnd)
		target := w.target(rnd, 0, false, 0)
		if m := target.More(); m == nil || m.Nearest == nil && m.Fastest == nil {
			continue
		}
		s := &spec.Service{Fence: randomFence(rnd), Rules: []spec.Rule{{Pools: []spec.Target{target}}}}
		for i := range 12 {
			s.Pools = append(s.Pools, spec.Member{Pool: fmt.Sprint("p", i)})
		}
		p, err := New("shop", s, w, w.today.Unix()/daySeconds)
		if err != nil {
			t.Fatal(err)
		}
		var trace Trace
		row, _ := p.Row(p.Where(randomPlace(rnd), geo.Hits{}), &trace)
		rows, turns := RowsOf([]Row{row}), map[int][]string{}
		for _, c := range trace.Choices[0].Candidates {
			if (c.Turn == 0) != (c.Out != "") {
				t.Fatalf("turn %d of %s, which is out for %q", c.Turn, c.Pool, c.Out)
			}
			if c.Out != "" {
				seen["out"]++
			} else {
				turns[c.Turn] = append(turns[c.Turn], c.Pool)
			}
			if c.AsListed {
				turns[c.Turn] = nil
				seen["as listed"]++
			}
		}
		if steps := rows.Orders[0].Steps; len(steps) != len(turns) {
			t.Fatalf("%d steps and %d turns: %s, %+v", len(steps), len(turns), declared(s), trace.Choices)
		}
		for turn, pools := range turns {
			var got []string
			for at := range rows.Steps[rows.Orders[0].Steps[turn-1]].Pools() {
				got = append(got, p.Pools[at].Name)
			}
			if pools != nil && !slices.Equal(got, pools) {
				t.Fatalf("turn %d is %v, its step %v: %s", turn, pools, got, declared(s))
			}
			if len(pools) > 1 {
				seen["shared"]++
			}
		}
	}
	for _, what := range []string{"out", "as listed", "shared"} {
		if seen[what] < 20 {
			t.Errorf("only %d %s", seen[what], what)
		}
	}
}
