package geo

import (
	"math/bits"
	"slices"
)

// table6 answers for IPv6.
//
// The upper 12 bits of an address choose an entry of top. An entry is an answer, or (sliceBit) tells where
// the runs of its slice of the address space begin in shallow, or else where a block of 256 entries
// begins in sub, of which the next 8 bits of the address choose one. Only slices of more than maxSlice runs
// are divided into blocks, so a search is short.
//
// The key of a run is the upper 64 bits of its first address, its value the class. Where the first run's key
// would be (it starts with the slice) stands how many runs follow it. A /64 with more than one run in it has a
// value with deepBit: its runs stand in deep in the same way, with the lower 64 bits as keys.
//
// Scopes within a slice come from the neighbours, as in table4.
type table6 struct {
	top     []uint32 // 1<<12
	sub     []uint32
	shallow []keyed
	deep    []keyed
	runs    int
}

// keyed is a run; key and value lie together so that a lookup waits for memory once.
type keyed struct {
	key   uint64
	value uint32
}

const (
	sliceBit = 1 << 30 // in an entry
	deepBit  = 1 << 31 // in a value
	maxSlice = 32
)

func (t *table6) build(r *runs) {
	*t = table6{top: make([]uint32, 1<<12), runs: r.len()}
	k := 0 // the run that holds the start of the slice
	for i := range t.top {
		t.top[i], k = t.entry(r, k, uint64(i)<<52, 52)
	}
	t.sub, t.shallow, t.deep = slices.Clone(t.sub), slices.Clone(t.shallow), slices.Clone(t.deep)
}

// entry makes the entry of the slice of 1<<shift /64s that begins at hi, given the run that holds its start,
// and gives the run that holds the start of the next slice.
func (t *table6) entry(r *runs, k int, hi uint64, shift int) (uint32, int) {
	last := hi | (1<<shift - 1)
	switch {
	case k+1 == r.len() || r.hi[k+1] > last:
		return answer(classOf(r.id[k]), r.scope(k, u128{hi: hi})), nextIf(r, k, last+1)
	case shift > 8 && k+maxSlice < r.len() && r.hi[k+maxSlice] <= last:
		block := len(t.sub)
		t.sub = append(t.sub, make([]uint32, 256)...)
		for j := range 256 {
			e, next := t.entry(r, k, hi|uint64(j)<<(shift-8), shift-8)
			t.sub[block+j], k = e, next
		}
		return uint32(block), k
	default:
		first := uint32(len(t.shallow))
		return sliceBit | first, t.appendSlice(r, k, hi, shift)
	}
}

// nextIf gives the run that holds the first address of the /64 hi, given that k or the next run does.
func nextIf(r *runs, k int, hi uint64) int {
	if k+1 < r.len() && r.start(k+1) == (u128{hi: hi}) {
		return k + 1
	}
	return k
}

// appendSlice appends the runs of the slice of 1<<shift /64s that begins at hi, given the run that holds its start, and gives
// the run that holds the start of the next slice.
func (t *table6) appendSlice(r *runs, k int, hi uint64, shift int) int {
	first, slice := len(t.shallow), hi>>shift
	for hi>>shift == slice {
		next := u128{hi: (slice + 1) << shift}
		if k+1 < r.len() && r.hi[k+1]>>shift == slice {
			next = r.start(k + 1)
		}
		if next.hi != hi {
			t.shallow = append(t.shallow, keyed{hi, uint32(classOf(r.id[k]))})
		}
		if next.lo != 0 {
			t.shallow = append(t.shallow, keyed{next.hi, deepBit | uint32(len(t.deep))})
			k = t.appendDeep(r, k, next.hi)
			next = u128{hi: next.hi + 1}
		}
		k = nextIf(r, k, next.hi)
		if hi = next.hi; hi == 0 {
			break // behind the last address
		}
	}
	t.shallow[first].key = uint64(len(t.shallow) - first - 1)
	return k
}

// appendDeep appends the runs of the /64 hi, of which run k holds the first address, and gives the last.
func (t *table6) appendDeep(r *runs, k int, hi uint64) int {
	first := len(t.deep)
	t.deep = append(t.deep, keyed{0, uint32(classOf(r.id[k]))})
	for ; k+1 < r.len() && r.hi[k+1] == hi; k++ {
		t.deep = append(t.deep, keyed{r.lo[k+1], uint32(classOf(r.id[k+1]))})
	}
	t.deep[first].key = uint64(len(t.deep) - first - 1)
	return k
}

func (t *table6) lookup(hi, lo uint64) (class uint16, scope uint8) {
	e := t.top[hi>>52]
	for shift := 44; e&(answerBit|sliceBit) == 0; shift -= 8 {
		e = t.sub[uint64(e)+hi>>(shift&63)&0xff]
	}
	if e&answerBit != 0 {
		return uint16(e), uint8(e >> 16 & 0x7f)
	}
	return t.lookupSlice(e&^sliceBit, hi, lo)
}

// lookupSlice finds an address among the runs that begin at shallow[e].
func (t *table6) lookupSlice(e uint32, hi, lo uint64) (class uint16, scope uint8) {
	value, shared := search(t.shallow[e:], hi)
	if value&deepBit == 0 {
		return uint16(value), uint8(1 + shared)
	}
	value, shared = search(t.deep[value&^deepBit:], lo)
	return uint16(value), uint8(65 + shared)
}

// search finds the last of the runs whose key is at most key, the first counting as zero and telling how many
// follow it. It gives the value, and how many bits key shares with the nearer of the neighbours' ends.
func search(runs []keyed, key uint64) (value uint32, shared int) {
	i, n := uint64(0), runs[0].key+1
	for rest := n; rest > 1; {
		half := rest >> 1
		// Without a branch, which would be mispredicted every other time.
		_, above := bits.Sub64(key, runs[i+half].key, 0)
		i += half & (above - 1)
		rest -= half
	}
	if i > 0 {
		shared = bits.LeadingZeros64((runs[i].key - 1) ^ key)
	}
	if i+1 < n {
		shared = max(shared, bits.LeadingZeros64(runs[i+1].key^key))
	}
	return runs[i].value, shared
}

func (t *table6) bytes() int {
	return 4*(cap(t.top)+cap(t.sub)) + 16*(cap(t.shallow)+cap(t.deep))
}
