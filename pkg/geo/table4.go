package geo

import (
	"math/bits"
	"slices"
)

// table4 answers for IPv4. The upper 16 bits of an address choose a slice of the address space. A slice that
// one run fills is answered at once. The runs of any other stand together in ranges: each run's first address
// within the slice in the upper half and its class in the lower; where the first run's would be (it starts at
// zero) stands how many follow it.
//
// Scopes within a slice are not stored: the prefix around an address must end before both neighbours of its
// run (see runs.scope), and at least one of them is in the same slice, hence decides.
type table4 struct {
	top    []uint32 // 1<<16
	ranges []uint32
	runs   int
}

func (t *table4) build(r *runs) {
	t.top, t.ranges, t.runs = make([]uint32, 1<<16), nil, r.len()
	k := 0 // the run that holds the start of the slice
	for slice := range uint64(1 << 16) {
		next := (slice + 1) << 48 // wraps to zero behind the last slice
		if k+1 == r.len() || next != 0 && r.hi[k+1] >= next {
			t.top[slice] = answer(classOf(r.id[k]), r.scope(k, u128{hi: slice << 48}))
		} else {
			t.top[slice] = uint32(len(t.ranges))
			k = t.appendSlice(r, k, next)
		}
		if k+1 < r.len() && r.hi[k+1] == next {
			k++
		}
	}
	t.ranges = slices.Clone(t.ranges)
}

// appendSlice appends run k and those behind it that start before next; it gives the last.
func (t *table4) appendSlice(r *runs, k int, next uint64) int {
	first := len(t.ranges)
	t.ranges = append(t.ranges, uint32(classOf(r.id[k])))
	for k++; k < r.len() && (next == 0 || r.hi[k] < next); k++ {
		start := uint32(r.hi[k] >> 32)
		t.ranges = append(t.ranges, start<<16|uint32(classOf(r.id[k])))
	}
	t.ranges[first] |= uint32(len(t.ranges)-first-1) << 16
	return k - 1
}

func (t *table4) lookup(a uint32) (class uint16, scope uint8) {
	e := t.top[a>>16]
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

func (t *table4) bytes() int { return 4 * (cap(t.top) + cap(t.ranges)) }
