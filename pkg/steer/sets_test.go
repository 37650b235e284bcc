package steer

import (
	"reflect"
	"testing"

	"github.com/gti/gtm/pkg/gtmtest"
)

// plainSystematic is the slow twin of systematic: it goes along all items for each set.
func plainSystematic(c *Choice, items []Item, share []float64, order []int, n int, weight float64, edges []float64) {
	for k := 1; k < len(edges); k++ {
		width := edges[k] - edges[k-1]
		if width < 1e-9 {
			continue
		}
		set := make([]int, 0, n)
		peg, end := (edges[k]+edges[k-1])/2, 0.0
		for _, i := range order {
			if end += share[i]; peg < end && len(set) < n {
				set = append(set, items[i].Index)
				peg++
			}
		}
		c.Sets = append(c.Sets, set)
		c.Weights = append(c.Weights, width*weight)
	}
}

func TestSystematicTakesWhatIsUnderThePegs(t *testing.T) {
	random := gtmtest.Random(t)
	for range 500 {
		items := make([]Item, 3+random.IntN(150))
		for i := range items {
			items[i] = Item{ID: random.Uint64(), Index: 2 * i,
				Weight: []float64{1, float64(1 + random.IntN(20)), 1000 * random.Float64(), 1e-3}[random.IntN(4)]}
		}
		n := 2 + random.IntN(min(7, len(items)-2))
		share, order := inclusion(items, n), random.Perm(len(items))
		var got, want Choice
		systematic(&got, items, share, order, n, 0.5)
		plainSystematic(&want, items, share, order, n, 0.5, edgesOf(share, order))
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%d of %v:\n%v\nwant\n%v", n, items, got, want)
		}
	}
}
