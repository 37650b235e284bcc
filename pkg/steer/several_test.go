package steer

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// plainSticky is the slow twin of Sticky with several answers: it ranks all items for the bucket.
func plainSticky(items []Item, n int, bucket uint64) []int {
	n = min(n, len(items))
	rank := func(h uint64) []Item {
		return slices.SortedFunc(slices.Values(items), func(a, b Item) int {
			return cmp.Or(cmp.Compare(Rendezvous(h, b.ID, b.Weight), Rendezvous(h, a.ID, a.Weight)), cmp.Compare(a.ID, b.ID))
		})
	}
	ranked := rank(mix(bucket))
	free := combinations(len(items), n) <= MaxSets
	if !free {
		first := ranked[0]
		ranked = rank(mix(first.ID ^ mix(bucket%uint64(max(1, MaxSets/len(items)))+Buckets)))
		ranked = slices.DeleteFunc(ranked, func(it Item) bool { return it.ID == first.ID })
		ranked = slices.Insert(ranked, 0, first)
	}
	set := make([]int, n)
	for i := range set {
		set[i] = ranked[i].Index
	}
	if free {
		slices.Sort(set)
	}
	return set
}

func TestStickySeveralAsTheRankingSays(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 108))
	for _, count := range []int{2, 3, 5, 8, 11, 12, 30, 63, 64, 65, 150} {
		for _, n := range []int{2, 3, 8, count - 1, count, count + 1} {
			if n < 2 {
				continue
			}
			items := make([]Item, count)
			for i := range items {
				items[i] = Item{ID: random.Uint64(), Index: 3 * i, Weight: []float64{1, 1, float64(1 + random.IntN(9)), random.Float64()}[random.IntN(4)]}
			}
			c := Sticky(items, n)
			for range 100 {
				bucket := random.Uint64N(Buckets)
				set := c.Sets[c.Table.Set(bucket+Buckets*random.Uint64N(1000))]
				if want := plainSticky(items, n, bucket); !slices.Equal(set, want) {
					t.Fatalf("%d of %d items, bucket %d: %v, want %v", n, count, bucket, set, want)
				}
			}
		}
	}
}

func TestTablesOfSeveralAreFilledWithTheSame(t *testing.T) {
	for _, count := range []int{5, 30} {
		table, filled := Sticky(crowd(count), 2).Table, Sticky(crowd(count), 2).Table
		filled.Fill()
		for b := range uint64(Buckets) {
			if got, want := filled.Set(b), table.Set(b); got != want {
				t.Fatalf("%d items, bucket %d: %d, want %d", count, b, got, want)
			}
		}
		if n := testing.AllocsPerRun(100, func() { table.Set(7) }); n != 0 {
			t.Errorf("%d items: %v allocations", count, n)
		}
	}
}

func BenchmarkStickySeveral(b *testing.B) {
	for _, n := range []int{5, 10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			items := crowd(n)
			for b.Loop() {
				Sticky(items, 3)
			}
		})
	}
}
