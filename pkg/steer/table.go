package steer

import (
	"math"
	"sync/atomic"
)

// Table gives each of Buckets buckets its set. Until it is filled, a bucket's set is found out each time that it is asked for,
// which is some ten times slower than reading it, and gives the same. Safe for concurrent use.
type Table struct {
	race     race
	variants int   // how many sets each item is the first of: they stand side by side
	free     *free // in place of these, where there are few sets
	filled   atomic.Pointer[[Buckets]uint16]
}

// Set gives the set of the bucket that a hash falls into.
func (t *Table) Set(hash uint64) int {
	if filled := t.filled.Load(); filled != nil {
		return int(filled[hash%Buckets])
	}
	return t.find(hash % Buckets)
}

// find finds a bucket's set out.
func (t *Table) find(bucket uint64) int {
	if t.free != nil {
		return t.free.set(mix(bucket))
	}
	return t.race.winner(mix(bucket))*t.variants + int(bucket%uint64(t.variants))
}

// Filled tells whether Fill has been called.
func (t *Table) Filled() bool { return t.filled.Load() != nil }

// Fill writes the set of each bucket down. It takes some milliseconds with a hundred items.
func (t *Table) Fill() {
	if t.Filled() {
		return
	}
	filled := new([Buckets]uint16)
	for b := range filled {
		filled[b] = uint16(t.find(uint64(b)))
	}
	t.filled.Store(filled)
}

// Shares gives the share of the buckets that each of n sets has.
func (t *Table) Shares(n int) []float64 {
	t.Fill()
	counts := make([]int, n)
	for _, s := range t.filled.Load() {
		counts[s]++
	}
	shares := make([]float64, n)
	for i, c := range counts {
		shares[i] = float64(c) / Buckets
	}
	return shares
}

// race finds the item of the highest Rendezvous score. Items of one weight stand together: among them the highest draw wins,
// which takes no logarithm.
type race []heat

// heat is the items of one weight, at most maxHeat.
type heat struct {
	weight float64
	ids    []uint64
	items  []uint16 // their indexes
}

// place are the bits of a draw that unitOf does not look at. They hold the item's place in its heat, counted down, so that the
// highest draw tells whose it is, and among equals prefers the first.
const (
	place   = 1<<11 - 1
	maxHeat = place + 1
)

func newRace(items []Item) race {
	var r race
	last := map[float64]int{} // heat of a weight
	at := 0
	for i, it := range items {
		if at == len(r) || r[at].weight != it.Weight || len(r[at].ids) == maxHeat { // items of one weight often stand side by side
			var ok bool
			if at, ok = last[it.Weight]; !ok || len(r[at].ids) == maxHeat {
				at = len(r)
				last[it.Weight] = at
				r = append(r, heat{weight: it.Weight})
			}
		}
		r[at].ids = append(r[at].ids, it.ID)
		r[at].items = append(r[at].items, uint16(i))
	}
	return r
}

// winner gives the index of the item with the highest score for h, the first of equals.
func (r race) winner(h uint64) int {
	best, at := math.Inf(-1), 0
	for i := range r {
		x := r[i].draw(h)
		u := unitOf(x)
		if u-1 <= best*r[i].weight {
			continue // since ln(u) < u-1
		}
		if s := math.Log(u) / r[i].weight; s > best {
			best, at = s, int(r[i].items[place-x&place])
		}
	}
	return at
}

// draw gives the highest draw of the heat for h.
func (t *heat) draw(h uint64) uint64 {
	high, low := uint64(0), uint64(place)
	for _, id := range t.ids {
		high = max(high, mix(h^id)&^place|low)
		low--
	}
	return high
}

// unitOf turns x into a number between 0 and 1, both excluded.
func unitOf(x uint64) float64 { return (float64(x>>11) + 0.5) / (1 << 53) }
