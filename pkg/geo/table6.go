package geo

import "math/bits"

// table6 answers for IPv6, in three steps.
//
// The upper 12 bits of an address choose an entry of top, and where that is no answer, the next 8 bits choose
// among the 256 entries of a block of sub. An entry that is no answer gives where the runs of its slice, a /20,
// begin in keys and values: the upper 64 bits of each run's first address, and its class. Where the first
// run's key would be (it starts with the slice) stands how many follow it.
//
// A /64 with more than one run in it has a value with deepBit: its runs stand in deep in the same way, with
// the lower 64 bits as keys. Scopes within a slice come from the neighbours, as in table4.
type table6 struct {
	top    []uint32 // 1<<12
	sub    []uint32
	keys   []uint64
	values []uint32
	deep   []deepRun
	runs   int
}

type deepRun struct {
	key   uint64
	class uint16
}

const deepBit = 1 << 31

func (t *table6) build(r *runs) {
	*t = table6{top: make([]uint32, 1<<12), runs: r.len()}
	k := 0 // the run that holds the start of the slice
	for i := range t.top {
		start := uint64(i) << 52
		if k = t.fill(&t.top[i], r, k, start, start|(1<<52-1)); t.top[i] != 0 {
			continue
		}
		block := uint32(len(t.sub))
		t.top[i] = block
		t.sub = append(t.sub, make([]uint32, 256)...)
		for j := range uint64(256) {
			entry, from := uint32(0), start|j<<44
			if k = t.fill(&entry, r, k, from, from|(1<<44-1)); entry == 0 {
				entry = uint32(len(t.keys))
				k = t.appendSlice(r, k, from)
			}
			t.sub[uint64(block)+j] = entry
		}
	}
}

// fill sets entry to an answer if run k, which holds the start of the slice, fills it up to the /64 last,
// and gives the run that holds the start of the next slice. Otherwise it changes nothing.
func (t *table6) fill(entry *uint32, r *runs, k int, start, last uint64) int {
	if k+1 < r.len() && r.hi[k+1] <= last {
		return k
	}
	*entry = answer(classOf(r.id[k]), r.scope(k, u128{hi: start}))
	return nextIf(r, k, last+1)
}

// nextIf gives the run that holds the first address of the /64 hi, given that k or the next run does.
func nextIf(r *runs, k int, hi uint64) int {
	if k+1 < r.len() && r.start(k+1) == (u128{hi: hi}) {
		return k + 1
	}
	return k
}

// appendSlice appends the runs of the /20 that begins at hi, given the run that holds its start, and gives
// the run that holds the start of the next slice.
func (t *table6) appendSlice(r *runs, k int, hi uint64) int {
	first, slice := len(t.keys), hi>>44
	for hi>>44 == slice {
		next := u128{hi: (slice + 1) << 44}
		if k+1 < r.len() && r.hi[k+1]>>44 == slice {
			next = r.start(k + 1)
		}
		if next.hi != hi {
			t.keys = append(t.keys, hi)
			t.values = append(t.values, uint32(classOf(r.id[k])))
		}
		if next.lo != 0 {
			t.keys = append(t.keys, next.hi)
			t.values = append(t.values, deepBit|uint32(len(t.deep)))
			k = t.appendDeep(r, k, next.hi)
			next = u128{hi: next.hi + 1}
		}
		k = nextIf(r, k, next.hi)
		if hi = next.hi; hi == 0 {
			break // behind the last address
		}
	}
	t.keys[first] = uint64(len(t.keys) - first - 1)
	return k
}

// appendDeep appends the runs of the /64 hi, of which run k holds the first address, and gives the last.
func (t *table6) appendDeep(r *runs, k int, hi uint64) int {
	first := len(t.deep)
	t.deep = append(t.deep, deepRun{class: classOf(r.id[k])})
	for ; k+1 < r.len() && r.hi[k+1] == hi; k++ {
		t.deep = append(t.deep, deepRun{r.lo[k+1], classOf(r.id[k+1])})
	}
	t.deep[first].key = uint64(len(t.deep) - first - 1)
	return k
}

func (t *table6) lookup(hi, lo uint64) (class uint16, scope uint8) {
	e := t.top[hi>>52]
	if e&answerBit == 0 {
		e = t.sub[uint64(e)+hi>>44&0xff]
		if e&answerBit == 0 {
			return t.lookupSlice(e, hi, lo)
		}
	}
	return uint16(e), uint8(e >> 16 & 0x7f)
}

// lookupSlice finds hi among the runs that begin at keys[e].
func (t *table6) lookupSlice(e uint32, hi, lo uint64) (class uint16, scope uint8) {
	keys := t.keys[e:]
	i, n := 0, int(keys[0])+1
	for rest := n; rest > 1; {
		half := rest >> 1
		if mid := i + half; keys[mid] <= hi {
			i = mid
		}
		rest -= half
	}
	value := t.values[int(e)+i]
	if value&deepBit != 0 {
		return t.lookupDeep(value&^deepBit, lo)
	}
	shared := 20
	if i > 0 {
		shared = bits.LeadingZeros64((keys[i] - 1) ^ hi)
	}
	if i+1 < n {
		shared = max(shared, bits.LeadingZeros64(keys[i+1]^hi))
	}
	return uint16(value), uint8(1 + shared)
}

// lookupDeep finds lo among the runs that begin at deep[e].
func (t *table6) lookupDeep(e uint32, lo uint64) (class uint16, scope uint8) {
	runs := t.deep[e:]
	i, n := 0, int(runs[0].key)+1
	for rest := n; rest > 1; {
		half := rest >> 1
		if mid := i + half; runs[mid].key <= lo {
			i = mid
		}
		rest -= half
	}
	shared := 0
	if i > 0 {
		shared = bits.LeadingZeros64((runs[i].key - 1) ^ lo)
	}
	if i+1 < n {
		shared = max(shared, bits.LeadingZeros64(runs[i+1].key^lo))
	}
	return runs[i].class, uint8(65 + shared)
}

func (t *table6) bytes() int {
	return 4*(cap(t.top)+cap(t.sub)+cap(t.values)) + 8*cap(t.keys) + 16*cap(t.deep)
}
