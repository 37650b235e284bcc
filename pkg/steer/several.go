package steer

import (
	"math/bits"
	"slices"
)

// scored is an item, by its place in a list, and its Rendezvous score.
type scored struct {
	score float64
	at    int
}

// highest gives the n items of the highest scores for h, the highest first, leaving out the one at except (-1: none). room is
// where it puts them.
func highest(room []scored, items []Item, n int, h uint64, except int) []scored {
	top := room[:0]
	for i := range items {
		it := &items[i]
		u := unitOf(mix(h ^ it.ID))
		if i == except || len(top) == n && u-1 <= top[n-1].score*it.Weight {
			continue // since ln(u) < u-1
		}
		s := scored{Rendezvous(h, it.ID, it.Weight), i}
		at := len(top)
		for at > 0 && s.before(top[at-1], items) {
			at--
		}
		if at == n {
			continue
		}
		if len(top) < n {
			top = append(top, s)
		}
		copy(top[at+1:], top[at:])
		top[at] = s
	}
	return top
}

// before tells which of two items comes first.
func (s scored) before(t scored, items []Item) bool {
	return s.score > t.score || s.score == t.score && items[s.at].ID < items[t.at].ID
}

// free is all sets of n items where these are few: a bucket takes its n highest scores.
type free struct {
	items []Item
	n     int
	sets  []uint64 // each as bits, which stand for items; ascending
}

// newFree lists the sets of n items; there must be at most MaxSets of them.
func newFree(items []Item, n int) *free {
	f := &free{items: items, n: n}
	for set, left := uint64(1)<<n-1, combinations(len(items), n); left > 0; left-- {
		f.sets = append(f.sets, set)
		lowest := set & -set // the next number with as many bits (Gosper)
		ripple := set + lowest
		set = ripple | (set^ripple)>>2>>bits.TrailingZeros64(lowest)
	}
	return f
}

// members gives the sets as Choice does.
func (f *free) members() [][]int {
	all := make([][]int, len(f.sets))
	for i, set := range f.sets {
		for ; set != 0; set &= set - 1 {
			all[i] = append(all[i], f.items[bits.TrailingZeros64(set)].Index)
		}
	}
	return all
}

// set finds the set that h draws.
func (f *free) set(h uint64) int {
	var room [MaxSets]scored // more items make more sets
	set := uint64(0)
	for _, s := range highest(room[:], f.items, f.n, h, -1) {
		set |= 1 << s.at
	}
	at, _ := slices.BinarySearch(f.sets, set)
	return at
}

// followed gives each item's sets: it is the first, and the others follow by scores that depend on it and the variant.
func followed(items []Item, n, variants int) [][]int {
	sets := make([][]int, 0, len(items)*variants)
	flat := make([]int, 0, len(items)*variants*n)
	room := make([]scored, n)
	for i := range items {
		for v := range variants {
			from := len(flat)
			flat = append(flat, items[i].Index)
			for _, s := range highest(room, items, n-1, mix(items[i].ID^mix(uint64(v)+Buckets)), i) {
				flat = append(flat, items[s.at].Index)
			}
			sets = append(sets, flat[from:len(flat):len(flat)])
		}
	}
	return sets
}
