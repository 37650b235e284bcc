package store

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"

	"go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/health"
)

// What is known of a pool of more than WholeMost endpoints is one value, under the pool's key, and up to pieceCount pieces below it. A
// piece has the form of the whole, with those endpoints alone whose names fall into it. It replaces what the whole says of them if
// etcd's revision of it is newer, and a whole that is written takes the pieces away. See docs/decisions/0121. Both numbers, and
// pieceOf, are part of what is stored.
const (
	// WholeMost is how many endpoints a pool has at most that is always one value.
	WholeMost  = 64
	pieceCount = 64
)

// pieceOf tells in which piece an endpoint stands: FNV-1a of its name, by the number of pieces.
func pieceOf(endpoint string) int {
	h := uint32(2166136261)
	for i := range len(endpoint) {
		h = (h ^ uint32(endpoint[i])) * 16777619
	}
	return int(h % pieceCount)
}

// pieceSet is a set of pieces.
type pieceSet uint64

const allPieces = ^pieceSet(0)

func (s pieceSet) has(i int) bool      { return s>>i&1 == 1 }
func (s pieceSet) with(i int) pieceSet { return s | 1<<i }
func (s pieceSet) len() int            { return bits.OnesCount64(uint64(s)) }

// each calls fn with the pieces in order.
func (s pieceSet) each(fn func(i int)) {
	for ; s != 0; s &= s - 1 {
		fn(bits.TrailingZeros64(uint64(s)))
	}
}

// pieceName is the last component of a piece's key.
func pieceName(i int) string { return fmt.Sprintf("%02d", i) }

// parsePiece reads the last component of a piece's key.
func parsePiece(name string) (int, bool) {
	i, err := strconv.Atoi(name)
	return i, err == nil && i >= 0 && i < pieceCount && name == pieceName(i)
}

// joinPieces gives what a whole says, but of what stands in pieces what these say. The maps given stay as they are.
func joinPieces[T any](whole map[string]T, pieces map[int]map[string]T) map[string]T {
	var replaced pieceSet
	size := len(whole)
	for i, piece := range pieces {
		replaced, size = replaced.with(i), size+len(piece)/4
	}
	all := make(map[string]T, size)
	for name, t := range whole {
		if !replaced.has(pieceOf(name)) {
			all[name] = t
		}
	}
	for i, piece := range pieces {
		for name, t := range piece {
			if pieceOf(name) == i {
				all[name] = t
			}
		}
	}
	return all
}

// cutPiece gives what falls into a piece.
func cutPiece[T any](all map[string]T, i int) map[string]T {
	piece := map[string]T{}
	for name, t := range all {
		if pieceOf(name) == i {
			piece[name] = t
		}
	}
	return piece
}

// cutNames gives the names that fall into a piece.
func cutNames(names []string, i int) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return pieceOf(name) != i })
}

// joinNames is joinPieces of sorted names.
func joinNames(whole []string, pieces map[int][]string) []string {
	all := slices.DeleteFunc(slices.Clone(whole), func(name string) bool { _, is := pieces[pieceOf(name)]; return is })
	for _, piece := range pieces {
		all = append(all, piece...)
	}
	slices.Sort(all)
	if len(all) == 0 {
		return nil
	}
	return all
}

// unlike gives the pieces in which two maps differ.
func unlike[T any](was, now map[string]T, same func(a, b T) bool) (differ pieceSet) {
	for name, t := range now {
		if before, is := was[name]; !is || !same(before, t) {
			differ = differ.with(pieceOf(name))
		}
	}
	for name := range was {
		if _, is := now[name]; !is {
			differ = differ.with(pieceOf(name))
		}
	}
	return differ
}

// unlikeNames gives the pieces in which two sorted lists differ.
func unlikeNames(was, now []string) (differ pieceSet) {
	if slices.Equal(was, now) {
		return 0
	}
	set := func(names []string) map[string]bool {
		m := make(map[string]bool, len(names))
		for _, name := range names {
			m[name] = true
		}
		return m
	}
	return unlike(set(was), set(now), func(bool, bool) bool { return true })
}

// worthPieces tells whether what changed is better written in pieces. Where most of them change, the whole is smaller.
func worthPieces(endpoints int, changed pieceSet) bool {
	return endpoints > WholeMost && changed.len() <= pieceCount/2
}

// changedSights gives the pieces of an observation that changed.
func changedSights(was, now map[string]health.Sight) pieceSet {
	return unlike(was, now, func(a, b health.Sight) bool {
		sameTime := a.Since.Equal(b.Since)
		a.Since = b.Since
		return sameTime && a == b
	})
}

// changedFindings gives the pieces of a verdict that changed. What is said of all of the pool stands in each, so one is written at least.
func changedFindings(was, now *health.Verdict) pieceSet {
	differ := unlike(was.Endpoints, now.Endpoints, func(a, b health.Finding) bool {
		sameTime := a.Since.Equal(b.Since)
		a.Since = b.Since
		return sameTime && a == b
	})
	differ |= unlikeNames(was.NeverUp, now.NeverUp) | unlikeNames(was.Released, now.Released)
	return max(differ, 1)
}

// verdictPiece gives a piece of a verdict.
func verdictPiece(v health.Verdict, i int) health.Verdict {
	v.Endpoints, v.NeverUp, v.Released = cutPiece(v.Endpoints, i), cutNames(v.NeverUp, i), cutNames(v.Released, i)
	return v
}

// joinVerdict gives a verdict with some pieces replaced; newest is the one that was written last, and speaks for the pool.
func joinVerdict(whole health.Verdict, pieces map[int]health.Verdict, newest int) health.Verdict {
	if len(pieces) == 0 {
		return whole
	}
	v := pieces[newest]
	findings := make(map[int]map[string]health.Finding, len(pieces))
	never, released := make(map[int][]string, len(pieces)), make(map[int][]string, len(pieces))
	for i, p := range pieces {
		findings[i], never[i], released[i] = p.Endpoints, p.NeverUp, p.Released
	}
	v.Endpoints = joinPieces(whole.Endpoints, findings)
	v.NeverUp, v.Released = joinNames(whole.NeverUp, never), joinNames(whole.Released, released)
	return v
}

// below is the range of the pieces of a key.
func below(key string) (from, to string) { return key + "/", clientv3.GetPrefixRangeEnd(key + "/") }

// opDropPieces takes the pieces of a key away.
func opDropPieces(key string) clientv3.Op {
	from, to := below(key)
	return clientv3.OpDelete(from, clientv3.WithRange(to))
}

func pieceKey(key string, i int) string { return key + "/" + pieceName(i) }

// Written tells what became of something that was to be written.
type Written struct {
	Bytes int  // of keys and values
	Whole bool // it was written as one value, not in pieces
	// Revision is etcd's at or after the write, of verdicts: a Mirror at that revision has seen it.
	Revision int64
	Err      error
}
