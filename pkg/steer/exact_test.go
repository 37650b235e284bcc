package steer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// owners tells who wins each of so many hashes, by Item.Index, and how many each of so many items wins.
func owners(items []Item, hashes, universe int) (of []uint16, counts []int) {
	of, counts = make([]uint16, hashes), make([]int, universe)
	c := Exact(items, 1)
	for i := range of {
		won := c.Sets[c.Table.Set(mix(uint64(i)))][0]
		of[i] = uint16(won)
		counts[won]++
	}
	return of, counts
}

// TestLabelsAreSharedExactly: of pools at random, each endpoint has its share of the hashes within 5 %, or one of 4,096 where that is
// more; and when one goes, comes or changes its weight, no more than 1.1 times the least moves. What is measured of the shares beyond
// that is chance: so many hashes of all that there are.
func TestLabelsAreSharedExactly(t *testing.T) {
	rnd := rand.New(rand.NewPCG(149, 2))
	worst, moves := 0.0, 0.0
	for _, n := range []int{2, 3, 5, 8, 13, 40, 200} {
		hashes := 1 << 18 // as many as keep chance below half of what is allowed
		if n > 20 {
			hashes = 1 << 20
		}
		items, total := make([]Item, n), 0.0
		for i := range items {
			items[i] = Item{ID: NameID(fmt.Sprint("e", i)), Index: i, Weight: float64(1 + rnd.IntN(100))}
			total += items[i].Weight
		}
		_, counts := owners(items, hashes, n+1)
		for i, it := range items {
			share := it.Weight / total
			off := math.Abs(float64(counts[i])/float64(hashes)-share) / max(0.05*share, 1.0/4096)
			if worst = max(worst, off); off > 1 {
				t.Errorf("%d endpoints: one of share %.5f has %.5f", n, share, float64(counts[i])/float64(hashes))
			}
		}
		hashes = 1 << 15
		before, counts := owners(items, hashes, n+1)
		at := rnd.IntN(n)
		heavier, lighter := slices.Clone(items), slices.Clone(items)
		heavier[at].Weight *= 1.1
		lighter[at].Weight *= 0.9
		for what, after := range map[string][]Item{
			"one goes":   slices.Delete(slices.Clone(items), at, at+1),
			"one comes":  append(slices.Clone(items), Item{ID: NameID("new"), Index: n, Weight: float64(1 + rnd.IntN(100))}),
			"10 % more":  heavier,
			"10 % less":  lighter,
			"in reverse": reversed(items),
		} {
			now, counts2 := owners(after, hashes, n+1)
			moved, least := 0, 0
			for i := range now {
				if now[i] != before[i] {
					moved++
				}
			}
			for i := range counts {
				least += max(0, counts[i]-counts2[i])
			}
			if moves = max(moves, float64(moved)/float64(max(1, least))); float64(moved) > 1.1*float64(least) {
				t.Errorf("%d endpoints, %s: %d hashes move, %d must", n, what, moved, least)
			}
			if what == "in reverse" && moved > 0 || strings.HasPrefix(what, "one") && moved == 0 {
				t.Errorf("%d endpoints, %s: %d hashes move", n, what, moved)
			}
		}
	}
	t.Logf("worst share: %.0f %% of what is allowed; worst move: %.3f of the least", 100*worst, moves)
}

func reversed(items []Item) []Item {
	items = slices.Clone(items)
	slices.Reverse(items)
	return items
}

// TestExactTablesNameWhatIsRanked: the first of several is who is named alone, shares are those of the weights, and nothing is written
// down.
func TestExactTablesNameWhatIsRanked(t *testing.T) {
	rnd := rand.New(rand.NewPCG(149, 3))
	for range 50 {
		items := crowd(2 + rnd.IntN(40))
		n := 1 + rnd.IntN(len(items)+2)
		one, c := Exact(items, 1), Exact(items, n)
		for range 50 {
			hash := rnd.Uint64()
			if c.Table.Bucket(hash) != hash&^15 {
				t.Fatal("a hash is not its own bucket")
			}
			got, want := c.named(hash), plainRanking(items, n, mix(hash&^15))
			if !slices.Equal(got, want) || one.named(hash)[0] != want[0] || c.Table.Set(hash) != one.Table.Set(hash) {
				t.Fatalf("%v, want %v", got, want)
			}
		}
		total, sum := 0.0, 0.0
		for _, it := range items {
			total += it.Weight
		}
		for i, share := range c.Table.Shares() {
			if sum += share; math.Abs(share-items[i].Weight/total) > 1e-12 {
				t.Fatalf("share %v of weight %v", share, items[i].Weight)
			}
		}
		if c.Table.Fill(); math.Abs(sum-1) > 1e-9 || !c.Table.Filled() || c.Table.filled.Load() != nil ||
			(c.Table.recent.Load() != nil) != (n == 1) {
			t.Fatalf("shares together %v, filled %v", sum, c.Table.filled.Load() != nil)
		}
	}
}

// TestWhatIsRememberedIsWhatWins, also where two hashes share a place, and for the hash whose bits say nothing.
func TestWhatIsRememberedIsWhatWins(t *testing.T) {
	rnd := rand.New(rand.NewPCG(149, 4))
	for _, n := range []int{2, 5, 30} {
		plain, table := Exact(crowd(n), 1).Table, Exact(crowd(n), 1).Table
		table.Fill()
		hashes := []uint64{0, 1, 15, 16, 1 << 15, 1 << 16, 1 << 63, math.MaxUint64}
		for range 200 {
			hashes = append(hashes, rnd.Uint64(), rnd.Uint64()&^(1<<(recentBits+spareBits)-1)) // the latter all in one place
		}
		for range 3 {
			for _, hash := range hashes {
				for range 2 {
					if got, want := table.Set(hash), plain.Set(hash); got != want {
						t.Fatalf("%d items, hash %#x: %d, want %d", n, hash, got, want)
					}
				}
			}
		}
		if allocs := testing.AllocsPerRun(100, func() { table.Set(rnd.Uint64()) }); allocs != 0 {
			t.Errorf("%v allocations", allocs)
		}
	}
}

// TestPeriodsBeginAtTheirOwnTimes: each hash has another one in each period, and is told how long it has it.
func TestPeriodsBeginAtTheirOwnTimes(t *testing.T) {
	const period = 600
	begins := map[uint32]bool{}
	for n := range uint64(50) {
		hash := mix(n)
		of, left := InPeriod(hash, 1_900_000_000, period)
		if left < 1 || left > period {
			t.Fatalf("%d seconds are left of %d", left, period)
		}
		begins[left] = true
		for _, later := range []uint32{0, 1, left - 1} {
			if same, rest := InPeriod(hash, 1_900_000_000+later, period); same != of || rest != left-later {
				t.Fatalf("%d seconds later: %d left, of %d", later, rest, left)
			}
		}
		if next, rest := InPeriod(hash, 1_900_000_000+left, period); next == of || rest != period {
			t.Fatalf("the next period: the same hash %v, %d left", next == of, rest)
		}
	}
	if len(begins) < 40 {
		t.Errorf("50 hashes begin at %d times", len(begins))
	}
	if of, left := InPeriod(1, math.MaxUint32, 30*24*3600); of == 1 || left == 0 {
		t.Errorf("at the end of the clock: %d left", left)
	}
}

// TestLabelsHashStaysAsItIs: else every room would move while a fleet is upgraded.
func TestLabelsHashStaysAsItIs(t *testing.T) {
	for labels, want := range map[string]uint64{"": 0xe220a8397b1dcdaf, "\x06room-7": 0x5c1c0eaabf5520a4,
		"\x01a\x08longer-b": 0xe4b2d939e67fb46e} {
		if got := HashLabels([]byte(labels)); got != want {
			t.Errorf("%q: %#x, want %#x", labels, got, want)
		}
	}
}

// BenchmarkExact is what a query pays for one of so many items.
func BenchmarkExact(b *testing.B) {
	for _, n := range []int{2, 5, 10, 30, 100, 1000} {
		for _, alike := range []bool{true, false} {
			b.Run(fmt.Sprint(n, " alike ", alike), func(b *testing.B) {
				items := crowd(n)
				for i := range items {
					if items[i].Weight = 1; !alike {
						items[i].Weight = float64(1 + 37*i%100)
					}
				}
				table, hash := Exact(items, 1).Table, uint64(1)
				for b.Loop() {
					hash = mix(hash + uint64(table.Set(hash)))
				}
			})
			b.Run(fmt.Sprint(n, " alike ", alike, " known"), func(b *testing.B) {
				table, hash := Exact(crowd(n), 1).Table, uint64(1)
				table.Fill()
				for b.Loop() {
					hash = mix(hash&1023 + uint64(table.Set(mix(hash&1023)))) // of a thousand labels
				}
			})
		}
	}
}
