package geo

import (
	"errors"
	"math/bits"
)

var errTooFine = errors.New("geography and maps divide the addresses too finely; name fewer networks")

const (
	cellRuns  = 16      // most runs of a cell
	maxNarrow = 1 << 16 // the ids of a narrow cell's runs are below
	fewRuns   = 4       // so many runs may always make a wide cell
	maxCells  = 1 << 24
)

// cell is a part of the address space that is a prefix, and holds at most cellRuns runs.
type cell struct {
	start u128
	first uint32 // the run that holds start
	runs  uint8
	depth uint8 // length of the prefix
	kind  cellKind
}

// cellKind says how a cell's runs are kept.
type cellKind uint8

const (
	narrow  cellKind = iota // all runs start within the first 15 bits behind the prefix
	wide                    // they start anywhere
	uniform                 // there is one
)

// cellsOf divides runs into cells, in the order of their addresses.
func cellsOf(r *runs) ([]cell, error) {
	c := cutter{runs: r, cells: make([]cell, 0, r.len()/6+1)}
	c.cut(0, r.len(), u128{}, 0)
	if len(c.cells) > maxCells {
		return nil, errTooFine
	}
	return c.cells, nil
}

type cutter struct {
	*runs
	cells []cell
}

// cut divides the prefix of depth bits at x, which the runs i to j-1 meet.
func (c *cutter) cut(i, j int, x u128, depth int) {
	if j-i <= cellRuns {
		if kind, ok := c.kind(i, j, depth); ok {
			c.cells = append(grow(c.cells, 1), cell{x, uint32(i), uint8(j - i), uint8(depth), kind})
			return
		}
	}
	middle := x.with(depth)
	m := i + 1
	if j-i <= cellRuns {
		for m < j && c.start(m).less(middle) {
			m++
		}
	} else {
		m = min(c.firstFrom(middle, i+1), j)
	}
	c.cut(i, m, x, depth+1)
	if m == j || middle.less(c.start(m)) {
		m--
	}
	c.cut(m, j, middle, depth+1)
}

// kind says how the runs i to j-1 of a prefix can be kept; it is not ok where they should be divided rather.
func (c *cutter) kind(i, j, depth int) (k cellKind, ok bool) {
	if j-i == 1 {
		return uniform, true
	}
	length, large := 0, c.id[i] >= maxNarrow
	for k := i + 1; k < j; k++ {
		length = max(length, c.start(k).length())
		large = large || c.id[k] >= maxNarrow
	}
	if !large && length <= depth+15 {
		return narrow, true
	}
	return wide, large || j-i <= fewRuns || length > 64
}

// length is the length of the shortest prefix that begins at x.
func (x u128) length() int {
	if x.lo != 0 {
		return 128 - bits.TrailingZeros64(x.lo)
	}
	return 64 - bits.TrailingZeros64(x.hi)
}
