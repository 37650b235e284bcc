package compile

import (
	"fmt"
	"strings"
	"testing"
)

// TestNestedSplitsAreCheap: policies that are nested so that a pool is reached in hundreds of thousands of ways were walked that often for
// each verdict, also where nothing changed. What is made anew is counted, not timed.
func TestNestedSplitsAreCheap(t *testing.T) {
	const arms, levels = 24, 4
	var yaml, names strings.Builder
	for level := range levels {
		list := make([]string, arms)
		for i := range list {
			if list[i] = fmt.Sprintf("{policy: n%d, weight: %d}", level-1, i+1); level == 0 {
				list[i] = fmt.Sprintf("{pool: q%d, weight: %d}", i, i+1)
			}
		}
		fmt.Fprintf(&yaml, "\n---\nkind: Policy\ntenant: shop\nname: n%d\nspec: {rules: [{pools: [{split: [%s]}]}]}\n", level,
			strings.Join(list, ", "))
	}
	for i := range arms {
		yaml.WriteString(poolOf(fmt.Sprint("q", i), fmt.Sprintf("203.0.113.%d", i+1), fmt.Sprintf("203.0.114.%d", i+1)))
		fmt.Fprintf(&names, "q%d, ", i)
	}
	h := newHarness(t, testZone, yaml.String(),
		service("web", fmt.Sprintf("  pools: [%s]\n  rules: [{pools: [{policy: n%d}]}]\n", names.String(), levels-1)))
	if len(h.last) > 0 {
		t.Fatal(h.last)
	}
	if len(h.c.nodes) != levels {
		t.Fatalf("%d nodes", len(h.c.nodes))
	}
	if n := testing.AllocsPerRun(1, func() { h.verdict("q1", "e0") }); n > 5000 {
		t.Errorf("a verdict takes %v allocations", n)
	}
}
