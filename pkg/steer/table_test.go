package steer

import (
	"math"
	"testing"

	"github.com/gti/gtm/pkg/gtmtest"
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
	rnd := gtmtest.Random(t)
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

// TestHashesStayAsTheyAre: by another mixing every sticky client would move while a fleet is upgraded, and between edges of two versions.
func TestHashesStayAsTheyAre(t *testing.T) {
	for _, tc := range []struct {
		what      string
		got, want uint64
	}{
		{"an IPv4 network", Hash(0, 0xffffc0000200), 0x469b26b1638c8372},
		{"an IPv6 network", Hash(0x20010db800000000, 0), 0xef130a859152f71a},
		{"a name", NameID("eu-1"), 0xa1b3404673bc9226},
		{"no name", NameID(""), 0xc3817c016ba4ff30},
	} {
		if tc.got != tc.want {
			t.Errorf("%s is %#x, and was %#x", tc.what, tc.got, tc.want)
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
