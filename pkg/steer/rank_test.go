package steer

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/gti/gtm/pkg/gtmtest"
)

// plainSticky is the slow twin of Sticky: it ranks all items for the bucket.
func plainSticky(items []Item, n int, bucket uint64) []int {
	return plainRanking(items, n, mix(bucket))
}

func plainRanking(items []Item, n int, h uint64) []int {
	ranked := slices.SortedStableFunc(slices.Values(items), func(a, b Item) int {
		return cmp.Compare(Rendezvous(h, b.ID, b.Weight), Rendezvous(h, a.ID, a.Weight))
	})
	set := make([]int, min(n, len(items), MaxAnswers))
	for i := range set {
		set[i] = ranked[i].Index
	}
	return set
}

// named gives what a bucket names, as indexes of candidates.
func (c Choice) named(hash uint64) []int {
	var out []int
	for _, set := range c.Table.Rank(hash, make([]uint16, MaxAnswers)) {
		out = append(out, c.Sets[set]...)
	}
	return out
}

func TestStickySeveralAsTheRankingSays(t *testing.T) {
	random := gtmtest.Random(t)
	for _, count := range []int{1, 2, 3, 5, 8, 11, 12, 30, 63, 64, 65, 150} {
		for _, n := range []int{1, 2, 3, 8, count - 1, count, count + 1} {
			if n < 1 {
				continue
			}
			items := make([]Item, count)
			for i := range items {
				items[i] = Item{ID: random.Uint64(), Index: 3 * i,
					Weight: []float64{1, 1, float64(1 + random.IntN(9)), random.Float64()}[random.IntN(4)]}
			}
			c := Sticky(items, n)
			for range 100 {
				bucket := random.Uint64N(Buckets)
				hash := bucket + Buckets*random.Uint64N(1000)
				if got, want := c.named(hash), plainSticky(items, n, bucket); !slices.Equal(got, want) ||
					c.Sets[c.Table.Set(hash)][0] != want[0] {
					t.Fatalf("%d of %d items, bucket %d: %v, want %v", n, count, bucket, got, want)
				}
			}
		}
	}
}

func TestTablesOfSeveralAreFilledWithTheSame(t *testing.T) {
	for _, count := range []int{2, 5, 30} {
		c, filled := Sticky(crowd(count), 2), Sticky(crowd(count), 2)
		filled.Table.Fill()
		for b := range uint64(Buckets) {
			if got, want := filled.named(b+Buckets), c.named(b); !slices.Equal(got, want) || filled.Table.Set(b) != c.Table.Set(b+Buckets) {
				t.Fatalf("%d items, bucket %d: %v, want %v", count, b, got, want)
			}
		}
		buf := make([]uint16, MaxAnswers)
		for _, table := range []*Table{c.Table, filled.Table} {
			if n := testing.AllocsPerRun(100, func() { table.Rank(7, buf) }); n != 0 {
				t.Errorf("%d items: %v allocations", count, n)
			}
		}
	}
}

// TestStickySeveralComeFirstByWeight: sets were answered in one order, so of four endpoints of one weight in twos the first came first
// in 49 % of the buckets, and the last never did.
func TestStickySeveralComeFirstByWeight(t *testing.T) {
	for _, weights := range [][]float64{{1, 1}, {3, 1}, {1, 1, 1, 1}, {5, 3, 2, 1, 1}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}} {
		total := 0.0
		for _, w := range weights {
			total += w
		}
		for _, n := range []int{2, 3, len(weights), len(weights) + 1} {
			c, first := Sticky(itemsOf(weights...), n), make([]float64, len(weights))
			for b := range uint64(Buckets) {
				first[c.named(b)[0]] += 1.0 / Buckets
			}
			for i, told := range c.Table.Shares() {
				if math.Abs(first[i]-weights[i]/total) > 0.01 {
					t.Errorf("%d of %v: item %d comes first with share %.4f, want %.4f", n, weights, i, first[i], weights[i]/total)
				}
				if math.Abs(told-first[i]) > 1e-9 {
					t.Errorf("%d of %v: item %d comes first with share %.4f, told is %.4f", n, weights, i, first[i], told)
				}
			}
		}
	}
}

// TestALostEndpointMovesItsOwnAlone: when one of twelve endpoints went, 90 % of the buckets that had not named it got another set.
func TestALostEndpointMovesItsOwnAlone(t *testing.T) {
	for _, count := range []int{2, 3, 12, 100} {
		items := make([]Item, count)
		for i := range items {
			items[i] = Item{ID: NameID(fmt.Sprint("e", i)), Index: i, Weight: 1}
		}
		for _, n := range []int{1, 2, 3, 8, 64} {
			lost := count / 2
			before, after := Sticky(items, n), Sticky(slices.Delete(slices.Clone(items), lost, lost+1), n)
			moved, share := 0, float64(min(n, count))/float64(count)
			for b := range uint64(Buckets) {
				was, is := before.named(b), after.named(b)
				kept := slices.DeleteFunc(slices.Clone(was), func(i int) bool { return i == lost })
				if len(kept) < len(was) {
					moved++
				}
				if !slices.Equal(is[:len(kept)], kept) || slices.Contains(is, lost) || len(is) != min(n, count-1) {
					t.Fatalf("%d of %d, bucket %d: %v without %d became %v", n, count, b, was, lost, is)
				}
			}
			if got := float64(moved) / Buckets; got > 1.1*share {
				t.Errorf("%d of %d: %.4f of the buckets moved, and the share of what was lost is %.4f", n, count, got, share)
			}
		}
	}
}

// TestAWeightMovesWhatItWins: one item's weight moves no other item before another.
func TestAWeightMovesWhatItWins(t *testing.T) {
	items := crowd(12)
	heavier := slices.Clone(items)
	heavier[3].Weight *= 2
	before, after := Sticky(items, 3), Sticky(heavier, 3)
	rest := func(set []int) []int { return slices.DeleteFunc(set, func(i int) bool { return i == 3 }) }
	for b := range uint64(Buckets) {
		was, is := before.named(b), after.named(b)
		if at := slices.Index(was, 3); at >= 0 && (slices.Index(is, 3) < 0 || slices.Index(is, 3) > at) {
			t.Fatalf("bucket %d: %v became %v, though 3 gained weight", b, was, is)
		}
		if a, c := rest(was), rest(is); !slices.Equal(a[:2], c[:2]) {
			t.Fatalf("bucket %d: %v became %v", b, was, is)
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

// BenchmarkRank is what a query pays for three of so many items, before the table is filled and after.
func BenchmarkRank(b *testing.B) {
	for _, n := range []int{5, 10, 100, 1000} {
		c, buf := Sticky(crowd(n), 3), make([]uint16, MaxAnswers)
		rank := func(b *testing.B) {
			hash := uint64(1)
			for b.Loop() {
				hash = mix(hash + uint64(c.Table.Rank(hash, buf)[0]))
			}
		}
		b.Run(fmt.Sprint(n, " unfilled"), rank)
		c.Table.Fill()
		b.Run(fmt.Sprint(n), rank)
	}
}
