package geo

import (
	"math/bits"
	"slices"
)

// table4 answers for IPv4. The upper 16 bits of an address choose a slice of the address space. A slice that
// one run fills is answered at once. One of more than maxSlice4 runs is divided once more: it has a block of 16 entries, a cache
// line, of which the next 4 bits choose one. The runs of any other stand together in ranges: each run's first address
// within its /16 in the upper half and its class in the lower; where the first run's would be stands how many follow it.
//
// Scopes within a slice are not stored: the prefix around an address must end before both neighbours of its
// run (see runs.scope), and at least one of them is in the same slice, hence decides.
type table4 struct {
	top    []uint32 // 1<<16
	sub    []uint32
	ranges []uint32
	runs   int
}

const (
	blockBit  = 1 << 30 // in an entry of top: the rest is the place of a block in sub
	maxSlice4 = 12
	blockSize = 16
)

func (t *table4) build(r *runs) {
	*t = table4{top: make([]uint32, 1<<16), runs: r.len()}
	k := 0 // the run that holds the start of the slice
	for slice := range uint64(1 << 16) {
		t.top[slice], k = t.entry(r, k, slice<<48, 48)
	}
	t.sub, t.ranges = slices.Clone(t.sub), slices.Clone(t.ranges)
}

// entry makes the entry of the slice of 1<<shift that begins at hi (an address in the upper half), given the run that holds its
// start, and gives the run that holds the start of the next slice.
func (t *table4) entry(r *runs, k int, hi uint64, shift int) (uint32, int) {
	next := hi + 1<<shift // wraps to zero behind the last slice
	within := func(i int) bool { return i < r.len() && (next == 0 || r.hi[i] < next) }
	var e uint32
	switch {
	case !within(k + 1):
		e = answer(classOf(r.id[k]), r.scope(k, u128{hi: hi}))
	case shift == 48 && within(k+maxSlice4):
		block := len(t.sub)
		t.sub = append(t.sub, make([]uint32, blockSize)...)
		for j := range blockSize {
			sub, following := t.entry(r, k, hi|uint64(j)<<44, 44)
			t.sub[block+j], k = sub, following
		}
		return blockBit | uint32(block), k
	default:
		e = uint32(len(t.ranges))
		t.ranges = append(t.ranges, uint32(classOf(r.id[k])))
		for k++; within(k); k++ {
			start := uint32(r.hi[k] >> 32)
			t.ranges = append(t.ranges, start<<16|uint32(classOf(r.id[k])))
		}
		t.ranges[e] |= (uint32(len(t.ranges)) - e - 1) << 16
		k--
	}
	if k+1 < r.len() && r.hi[k+1] == next {
		k++
	}
	return e, k
}

func (t *table4) lookup(a uint32) (class uint16, scope uint8) {
	e := t.top[a>>16]
	if e&(answerBit|blockBit) == blockBit {
		e = t.sub[e&^blockBit+a>>12&(blockSize-1)]
	}
	if e&answerBit != 0 {
		return uint16(e), uint8(e >> 16 & 0x7f)
	}
	ranges := t.ranges[e:]
	low := a & 0xffff
	key := low<<16 | 0xffff
	// Find the last run that starts at or before the address; it is one of the rest runs from i on.
	i, n := uint32(0), ranges[0]>>16+1
	for rest := n; rest > 1; {
		half := rest >> 1
		// Without a branch, which would be mispredicted every other time.
		_, above := bits.Sub32(key, ranges[i+half], 0)
		i += half & (above - 1)
		rest -= half
	}
	shared := 0
	if i > 0 {
		shared = bits.LeadingZeros16(uint16((ranges[i]>>16 - 1) ^ low))
	}
	if i+1 < n {
		shared = max(shared, bits.LeadingZeros16(uint16(ranges[i+1]>>16^low)))
	}
	return uint16(ranges[i]), uint8(17 + shared)
}

func (t *table4) bytes() int { return 4 * (cap(t.top) + cap(t.sub) + cap(t.ranges)) }
