package steer

import (
	"math"
	"sync/atomic"
)

// Table gives each of Buckets buckets the items that it names, in order. Until it is filled, they are found out each time that they
// are asked for, which is some ten times slower than reading them, and gives the same. One that is exact has a bucket for each hash: it
// remembers those that were asked for last. Safe for concurrent use.
type Table struct {
	race    race
	items   []Item
	answers int                      // how many items a bucket names
	exact   bool                     // see Exact
	filled  atomic.Pointer[[]uint16] // of bucket after bucket
	recent  atomic.Pointer[winners]  // of an exact one, whose filled stays nil
}

// winners are the last that were found out, each where its bucket's lower bits lead: the other bits, and 1 + the item in the lower 16.
type winners [1 << recentBits]atomic.Uint64

// A hash has 64 bits: recentBits tell where in winners a bucket stands, and 48 which bucket it is. So exact buckets leave spareBits out.
const (
	recentBits = 12
	spareBits  = 64 - 48 - recentBits
)

// Answers tells how many items a bucket names: at least one, at most MaxAnswers.
func (t *Table) Answers() int { return t.answers }

// Bucket gives the bucket that a hash falls into. It falls into that itself.
func (t *Table) Bucket(hash uint64) uint64 {
	if t.exact {
		return hash &^ (1<<spareBits - 1)
	}
	return hash % Buckets
}

// Set gives the first item of the bucket that a hash falls into.
func (t *Table) Set(hash uint64) int {
	if filled := t.filled.Load(); filled != nil {
		return int((*filled)[hash%Buckets*uint64(t.answers)])
	}
	bucket := t.Bucket(hash)
	if recent := t.recent.Load(); recent != nil {
		return t.remembered(recent, bucket>>spareBits)
	}
	return t.race.winner(mix(bucket))
}

// remembered gives the winner of an exact bucket, which has lost its spare bits.
func (t *Table) remembered(recent *winners, bucket uint64) int {
	at, which := &recent[bucket%(1<<recentBits)], bucket>>recentBits<<16
	if known := at.Load(); known&^math.MaxUint16 == which && known != which {
		return int(uint16(known)) - 1
	}
	won := t.race.winner(mix(bucket << spareBits))
	at.Store(which | uint64(won+1))
	return won
}

// Rank gives the items of the bucket that a hash falls into, in order. buf is where it may put them, and holds Answers at least.
func (t *Table) Rank(hash uint64, buf []uint16) []uint16 {
	bucket := t.Bucket(hash)
	if filled := t.filled.Load(); filled != nil {
		at := bucket * uint64(t.answers)
		return (*filled)[at : at+uint64(t.answers)]
	}
	return t.rank(bucket, buf)
}

// rank finds a bucket's items out.
func (t *Table) rank(bucket uint64, buf []uint16) []uint16 {
	if buf = buf[:t.answers]; t.answers == 1 {
		buf[0] = uint16(t.race.winner(mix(bucket)))
		return buf
	}
	var top [MaxAnswers]scored
	for i, s := range highest(top[:], t.items, t.answers, mix(bucket)) {
		buf[i] = uint16(s.at)
	}
	return buf
}

// Filled reports whether Fill has nothing to do.
func (t *Table) Filled() bool {
	if t.exact {
		return t.answers > 1 || t.recent.Load() != nil
	}
	return t.filled.Load() != nil
}

// Fill writes the items of each bucket down: 64 KiB for each of the Answers. It takes some milliseconds with a hundred items. An exact
// table takes 32 KiB for what it remembers from now on.
func (t *Table) Fill() {
	if t.Filled() {
		return
	}
	if t.exact {
		t.recent.Store(new(winners))
		return
	}
	filled := make([]uint16, Buckets*t.answers)
	for b := range Buckets {
		t.rank(uint64(b), filled[b*t.answers:])
	}
	t.filled.Store(&filled)
}

// Shares gives the share of the buckets in which each item comes first.
func (t *Table) Shares() []float64 {
	shares := make([]float64, len(t.items))
	if t.exact {
		total := 0.0
		for _, it := range t.items {
			total += it.Weight
		}
		for i, it := range t.items {
			shares[i] = it.Weight / total
		}
		return shares
	}
	t.Fill()
	filled := *t.filled.Load()
	for at := 0; at < len(filled); at += t.answers {
		shares[filled[at]] += 1.0 / Buckets
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

// indexMask are the bits of a draw that unitOf does not read. They hold the item's index in its heat, counted down, so that the
// highest draw tells whose it is, and among equals prefers the first.
const (
	indexMask = 1<<11 - 1
	maxHeat   = indexMask + 1
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
			best, at = s, int(r[i].items[indexMask-x&indexMask])
		}
	}
	return at
}

// draw gives the highest draw of the heat for h.
func (t *heat) draw(h uint64) uint64 {
	high, low := uint64(0), uint64(indexMask)
	for _, id := range t.ids {
		high = max(high, mix(h^id)&^indexMask|low)
		low--
	}
	return high
}

// unitOf turns x into a number between 0 and 1, both excluded.
func unitOf(x uint64) float64 { return (float64(x>>11) + 0.5) / (1 << 53) }
