package draws

import (
	"math/rand/v2"
	"testing"
)

// TestAliasTablesHaveTheSharesOfTheirWeights, also where a slot is exactly full on its own: its cut is one more than 32 bits hold.
func TestAliasTablesHaveTheSharesOfTheirWeights(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 118))
	lists := [][]float64{{1}, {5}, {1, 1}, {1, 3}, {1, 2, 3}, {3, 2, 1}, {1, 1, 3, 3}, {3, 3, 1, 1}, {0, 1}, {0, 0, 7}, {1, 65535}}
	for range 300 {
		weights := make([]float64, 1+random.IntN(12))
		for i := range weights {
			weights[i] = float64(1 + random.IntN(6))
		}
		lists = append(lists, weights)
	}
	for _, weights := range lists {
		p, total := Picks{sets: make([]span, len(weights))}, 0.0
		for _, w := range weights {
			total += w
		}
		alias(p.sets, weights)
		for i, got := range p.Shares() {
			if want := weights[i] / total; got < want-1e-6 || got > want+1e-6 {
				t.Errorf("%v: %d has share %v, want %v", weights, i, got, want)
			}
		}
	}
}
