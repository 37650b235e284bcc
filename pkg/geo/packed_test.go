package geo

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// sameRuns reports whether a and b say the same, and in the same form.
func sameRuns(a, b *runs) bool {
	return slices.Equal(a.hi, b.hi) && slices.Equal(a.lo, b.lo) && slices.Equal(a.id, b.id)
}

// TestPackedHoldsWhatRunsHold adds the same to both, with starts that come again and ids that go back.
func TestPackedHoldsWhatRunsHold(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 1))
	for round := range 200 {
		v4, ids := round&1 == 0, 1+rng.IntN(400)
		from := randomRuns(rng, v4, 1+rng.IntN(2000), ids)
		plain, packing := newRuns(v4, 0), newPacker(v4, 0)
		for i := range from.len() {
			for range 1 + rng.IntN(2)*rng.IntN(3) {
				id := rng.Uint32N(uint32(ids))
				if rng.IntN(50) == 0 {
					id |= rng.Uint32()
				}
				plain.add(from.start(i), id)
				packing.add(from.start(i), id)
			}
		}
		p := packing.done()
		if p.len() != plain.len() || !sameRuns(p.unpack(), plain) {
			t.Fatalf("round %d: %d packed runs are not the %d plain ones", round, p.len(), plain.len())
		}
		checkFind(t, p, plain, rng)
	}
}

// checkFind looks up the boundaries of runs, and addresses at random.
func checkFind(t *testing.T, p *packed, plain *runs, rng *rand.Rand) {
	t.Helper()
	for range 500 {
		x := plain.start(rng.IntN(plain.len()))
		switch rng.IntN(3) {
		case 0:
			x = x.prev()
		case 1:
			x = u128{rng.Uint64(), rng.Uint64()}
		}
		if p.v4 {
			x = u128{hi: x.hi >> 32 << 32}
		}
		i := plain.find(x)
		id, scope := p.find(x)
		if id != plain.id[i] || scope != plain.scope(i, x) {
			t.Fatalf("%s: id %d, scope %d; want %d, %d", x.addr(p.v4), id, scope, plain.id[i], plain.scope(i, x))
		}
	}
}

func TestInStep(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 2))
	pack := func(r *runs) *packed {
		w := newPacker(r.lo == nil, 0)
		for i := range r.len() {
			w.add(r.start(i), r.id[i])
		}
		return w.done()
	}
	for round := range 50 {
		v4 := round&1 == 0
		a, b := randomRuns(rng, v4, 1+rng.IntN(300), 5), randomRuns(rng, v4, 1+rng.IntN(30), 5)
		want := append([]u128(nil), allStarts(a)...)
		want = append(want, allStarts(b)...)
		slices.SortFunc(want, compareStarts)
		want = slices.Compact(want)
		var got []u128
		inStep(pack(a), pack(b), func(start u128, x, y uint32) {
			got = append(got, start)
			if x != a.id[a.find(start)] || y != b.id[b.find(start)] {
				t.Fatalf("round %d: at %v ids %d and %d", round, start, x, y)
			}
		})
		if !slices.Equal(got, want) {
			t.Fatalf("round %d: %d parts; want %d", round, len(got), len(want))
		}
	}
}

func allStarts(r *runs) []u128 {
	var list []u128
	for i := range r.len() {
		list = append(list, r.start(i))
	}
	return list
}
