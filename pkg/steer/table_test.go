package steer

import (
	"math"
	"math/rand/v2"
	"testing"
)

// plainWinner is the slow, obvious twin of race: the item of the highest score.
func plainWinner(items []Item, h uint64) int {
	best, at := math.Inf(-1), 0
	for i, it := range items {
		if s := Rendezvous(h, it.ID, it.Weight); s > best {
			best, at = s, i
		}
	}
	return at
}

func TestTableGivesTheItemOfTheHighestScore(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{1, 2, 3, 10, 100, maxHeat + 5} {
		for _, weights := range []int{1, 3, 1000} {
			items := make([]Item, n)
			for i := range items {
				items[i] = Item{ID: rnd.Uint64(), Index: i, Weight: float64(1+rnd.IntN(weights)) / 4}
			}
			table := Sticky(items, 1).Table
			for range 200 {
				hash := rnd.Uint64()
				if got, want := table.Set(hash), plainWinner(items, mix(hash%Buckets)); got != want {
					t.Fatalf("%d items, %d weights: %d, want %d", n, weights, got, want)
				}
			}
		}
	}
}

func TestFilledTableGivesTheSame(t *testing.T) {
	table, filled := Sticky(crowd(30), 1).Table, Sticky(crowd(30), 1).Table
	filled.Fill()
	if table.Filled() || !filled.Filled() {
		t.Fatal("a table does not know whether it is filled")
	}
	for b := range uint64(Buckets) {
		if got, want := filled.Set(b), table.Set(b+Buckets); got != want {
			t.Fatalf("bucket %d: %d, want %d", b, got, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { table.Set(7) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
