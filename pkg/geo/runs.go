package geo

import (
	"sort"
)

// runs is a partition of one family's whole address space: run i holds the addresses from its start up to
// the next run's start, all with the same id. Starts rise strictly, the first is zero, and neighbours have
// different ids, so a run is as long as it can be. Flat, so that the collector has no pointers to follow.
type runs struct {
	hi []uint64
	lo []uint64 // nil for IPv4
	id []uint32
}

// newRuns gives the empty partition of one family, ready for add.
func newRuns(v4 bool, capacity int) *runs {
	r := &runs{hi: make([]uint64, 0, capacity), id: make([]uint32, 0, capacity)}
	if !v4 {
		r.lo = make([]uint64, 0, capacity)
	}
	return r
}

func (r *runs) len() int { return len(r.hi) }

func (r *runs) start(i int) u128 {
	if r.lo == nil {
		return u128{hi: r.hi[i]}
	}
	return u128{r.hi[i], r.lo[i]}
}

// add lets id begin at start, which must not be below the last run's start. The same start again
// replaces the id; the same id again is part of the run before.
func (r *runs) add(start u128, id uint32) {
	n := len(r.hi)
	if n > 0 && r.start(n-1) == start {
		r.hi, r.id = r.hi[:n-1], r.id[:n-1]
		if r.lo != nil {
			r.lo = r.lo[:n-1]
		}
		n--
	}
	if n > 0 && r.id[n-1] == id {
		return
	}
	r.hi, r.id = append(grow(r.hi, 1), start.hi), append(grow(r.id, 1), id)
	if r.lo != nil {
		r.lo = append(grow(r.lo, 1), start.lo)
	}
}

// find gives the run that holds x.
func (r *runs) find(x u128) int {
	return sort.Search(r.len(), func(i int) bool { return x.less(r.start(i)) }) - 1
}

// firstFrom gives the first run, not before run i, that starts at or behind x; len if there is none.
func (r *runs) firstFrom(x u128, i int) int {
	return i + sort.Search(r.len()-i, func(k int) bool { return !r.start(i + k).less(x) })
}

// scope gives the length of the shortest prefix around x that lies wholly in run i, which holds x.
//
// A prefix of n bits around x stays behind the address before the run exactly if n is more than the bits
// that x shares with that address; likewise with the address behind the run.
func (r *runs) scope(i int, x u128) int {
	n := 0
	if i > 0 {
		n = x.common(r.start(i).prev()) + 1
	}
	if i+1 < r.len() {
		n = max(n, x.common(r.start(i+1))+1)
	}
	return n
}
