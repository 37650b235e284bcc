package geo

import "math/bits"

// table finds the cell of an address, and holds what is in the cells of one family.
//
// Cells are found by a trie: an entry leads to a block of 2^n entries, of which the next n bits of the address choose
// one, or (cellBit) is a cell: its number, and the length of its prefix from bit 24 on. Narrow cells have the first
// numbers, wide ones those behind, then come those of one run.
type table struct {
	shift   uint8    // of an address's upper half: what is left chooses one of the first entries
	entries []uint32 // the root's block comes first
	narrow  []line
	wide    []wideRun
	wideAt  []uint32 // where in wide the runs of each wide cell begin; one more at the end
	uniform []uint32 // ids
	order   []uint32 // the cells in the order of their addresses
	// gaps has, for each cell in that order, one more than the bits that its first address shares with the address
	// before; 0 for the first cell. The shortest prefix around a cell that holds no address of the cell before is so long.
	gaps []uint8
}

// line is a narrow cell, in one cache line: where its runs start, in the 15 bits behind the prefix, four starts to a word, the
// first the lowest, and what their ids are. Those that are left over have the highest start, and the id of the last run.
type line struct {
	starts [cellRuns / 4]uint64
	ids    [cellRuns]uint16
}

// wideRun is a run of a wide cell.
type wideRun struct {
	start u128
	id    uint32
}

const (
	cellBit   = 1 << 31 // in an entry
	cellMask  = maxCells - 1
	blockMask = 1<<27 - 1
	maxStride = 16 // bits; kept from bit 27 on, less one

	entriesPerCell = 8 // mostly some fewer: growing to what is needed would allocate it five times
)

func (t *table) build(r *runs) error {
	cells, err := cellsOf(r)
	if err != nil {
		return err
	}
	t.number(cells)
	t.fill(r, cells)
	f := finder{cells: cells, order: t.order, entries: make([]uint32, 0, entriesPerCell*len(cells))}
	root := f.block(0, len(cells), 0)
	if len(f.entries) > blockMask {
		return errTooFine
	}
	t.shift, t.entries, t.wide = uint8(64-strideOf(root)), clone(f.entries), clone(t.wide)
	return nil
}

// number gives the cells their numbers.
func (t *table) number(cells []cell) {
	var next [3]uint32
	for i := range cells {
		if k := cells[i].kind; k < uniform {
			next[k+1]++
		}
	}
	next[uniform] += next[wide]
	t.order, t.gaps = make([]uint32, len(cells)), make([]uint8, len(cells))
	for i := range cells {
		c := &cells[i]
		t.order[i] = next[c.kind]
		next[c.kind]++
		if i > 0 {
			t.gaps[i] = uint8(c.start.length())
		}
	}
	t.narrow = make([]line, next[narrow])
	t.wideAt = make([]uint32, 1, next[wide]-next[narrow]+1)
	t.uniform = make([]uint32, 0, next[uniform]-next[wide])
}

// fill puts the runs into their cells.
func (t *table) fill(r *runs, cells []cell) {
	for i := range cells {
		c := &cells[i]
		first, last := int(c.first), int(c.first)+int(c.runs)-1
		switch c.kind {
		case narrow:
			l := &t.narrow[t.order[i]]
			for k := range cellRuns {
				start, run := uint64(lastStart), last
				if first+k <= last {
					start, run = window(r.start(first+k), uint(c.depth))>>49, first+k
				}
				if k == 0 {
					start = 0
				}
				l.starts[k/4] |= start << (k % 4 * 16)
				l.ids[k] = uint16(r.id[run])
			}
		case wide:
			t.wide = append(grow(t.wide, cellRuns), wideRun{c.start, r.id[first]})
			for k := first + 1; k <= last; k++ {
				t.wide = append(t.wide, wideRun{r.start(k), r.id[k]})
			}
			t.wideAt = append(t.wideAt, uint32(len(t.wide)))
		default:
			t.uniform = append(t.uniform, r.id[first])
		}
	}
}

// wideRuns gives the runs of a wide cell.
func (t *table) wideRuns(cell uint32) []wideRun {
	i := cell - uint32(len(t.narrow))
	return t.wide[t.wideAt[i]:t.wideAt[i+1]]
}

// window gives the 64 bits of an address that follow the first n; n is less than 128.
func window(x u128, n uint) uint64 {
	if n >= 64 {
		return x.lo << (n & 63)
	}
	return x.hi<<(n&63) | x.lo>>1>>(63-n&63)
}

// finder builds the trie.
type finder struct {
	cells   []cell
	order   []uint32
	entries []uint32
}

// block makes the block of the cells i to j-1, which fill a prefix of depth bits, and gives the entry that leads to it.
func (f *finder) block(i, j, depth int) uint32 {
	stride := min(max(bits.Len(uint(j-i)), 4), maxStride, 128-depth)
	at := len(f.entries)
	f.entries = grow(f.entries, 1<<stride)[:at+1<<stride]
	for e := at; e < at+1<<stride; {
		c := &f.cells[i]
		if over := int(c.depth) - depth; over <= stride { // the cell fills entries
			for range 1 << (stride - over) {
				f.entries[e] = cellBit | uint32(c.depth)<<24 | f.order[i]
				e++
			}
			i++
			continue
		}
		k := i + 1
		for prefix := f.branch(i, depth, stride); k < j && f.branch(k, depth, stride) == prefix; {
			k++
		}
		entry := f.block(i, k, depth+stride) // which may move the entries
		f.entries[e] = entry
		e++
		i = k
	}
	return uint32(stride-1)<<27 | uint32(at)
}

// branch gives the bits of a cell's start that follow the first depth.
func (f *finder) branch(i, depth, stride int) uint64 {
	return window(f.cells[i].start, uint(depth)) >> (64 - stride)
}

func strideOf(entry uint32) uint { return uint(entry>>27&15) + 1 }

// find gives the entry of the cell that x lies in.
func (t *table) find(x u128) uint32 {
	e := t.entries[x.hi>>(t.shift&63)]
	for depth := 64 - uint(t.shift); e&cellBit == 0; {
		stride := strideOf(e)
		e = t.entries[uint64(e&blockMask)+window(x, depth)>>((64-stride)&63)]
		depth += stride
	}
	return e
}

// find4 is find for an IPv4 address.
func (t *table) find4(a uint32) uint32 {
	hi := uint64(a) << 32
	e := t.entries[hi>>(t.shift&63)]
	for hi <<= (64 - t.shift) & 63; e&cellBit == 0; {
		stride := strideOf(e)
		e = t.entries[uint64(e&blockMask)+hi>>((64-stride)&63)]
		hi <<= stride & 63
	}
	return e
}

const (
	lastStart = 1<<15 - 1 // the highest
	lanes     = 0x0001_0001_0001_0001
)

// search gives the last of a cell's runs that starts at or before key, which has 15 bits.
func (l *line) search(key uint64) uint32 {
	// The highest bit of each lane stays where the start, subtracted, is not above the key.
	keys := key*lanes | lanes<<15
	n := (keys-l.starts[0])>>15&lanes + (keys-l.starts[1])>>15&lanes + (keys-l.starts[2])>>15&lanes + (keys-l.starts[3])>>15&lanes
	return uint32(n*lanes>>48) - 1
}

// start gives where run i starts.
func (l *line) start(i uint32) uint64 {
	return l.starts[i/4%(cellRuns/4)] >> (i % 4 * 16) & lastStart
}

func (t *table) bytes() int {
	return 4*(cap(t.entries)+cap(t.wideAt)+cap(t.uniform)+cap(t.order)) + cap(t.gaps) + 64*cap(t.narrow) + 24*cap(t.wide)
}
