// Package pieces cuts what is known of a pool into pieces, so that of a large one only what changed is written, and joins them.
package pieces

import (
	"fmt"
	"math/bits"
	"slices"
	"strconv"

	"github.com/gti/gtm/pkg/health"
)

// What is known of a pool of more than WholeMost endpoints is one value, under the pool's key, and up to Count pieces below it. A
// piece has the form of the whole, with those endpoints alone whose names fall into it. It replaces what the whole says of them if
// etcd's revision of it is newer, and a whole that is written takes the pieces away. See docs/decisions/0121. Both numbers, and
// Of, are part of what is stored.
const (
	// WholeMost is how many endpoints a pool has at most that is always one value.
	WholeMost = 64
	// Count is how many pieces there are.
	Count = 64
)

// Of tells in which piece an endpoint stands: FNV-1a of its name, by the number of pieces.
func Of(endpoint string) int {
	h := uint32(2166136261)
	for i := range len(endpoint) {
		h = (h ^ uint32(endpoint[i])) * 16777619
	}
	return int(h % Count)
}

// Set is a set of pieces.
type Set uint64

const All = ^Set(0)

func (s Set) Has(i int) bool { return s>>i&1 == 1 }
func (s Set) With(i int) Set { return s | 1<<i }
func (s Set) Len() int       { return bits.OnesCount64(uint64(s)) }

// Each calls fn with the pieces in order.
func (s Set) Each(fn func(i int)) {
	for ; s != 0; s &= s - 1 {
		fn(bits.TrailingZeros64(uint64(s)))
	}
}

// component is the last component of a piece's key.
func component(i int) string { return fmt.Sprintf("%02d", i) }

// Parse reads the last component of a piece's key.
func Parse(name string) (int, bool) {
	i, err := strconv.Atoi(name)
	return i, err == nil && i >= 0 && i < Count && name == component(i)
}

// Join gives what a whole says, but of what stands in pieces what these say. The maps given stay as they are.
func Join[T any](whole map[string]T, pieces map[int]map[string]T) map[string]T {
	var replaced Set
	size := len(whole)
	for i, piece := range pieces {
		replaced, size = replaced.With(i), size+len(piece)/4
	}
	all := make(map[string]T, size)
	for name, t := range whole {
		if !replaced.Has(Of(name)) {
			all[name] = t
		}
	}
	for i, piece := range pieces {
		for name, t := range piece {
			if Of(name) == i {
				all[name] = t
			}
		}
	}
	return all
}

// Cut gives what falls into a piece.
func Cut[T any](all map[string]T, i int) map[string]T {
	piece := map[string]T{}
	for name, t := range all {
		if Of(name) == i {
			piece[name] = t
		}
	}
	return piece
}

// cutNames gives the names that fall into a piece.
func cutNames(names []string, i int) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return Of(name) != i })
}

// joinNames is Join of sorted names.
func joinNames(whole []string, pieces map[int][]string) []string {
	all := slices.DeleteFunc(slices.Clone(whole), func(name string) bool { _, is := pieces[Of(name)]; return is })
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
func unlike[T any](was, now map[string]T, same func(a, b T) bool) (differ Set) {
	for name, t := range now {
		if before, is := was[name]; !is || !same(before, t) {
			differ = differ.With(Of(name))
		}
	}
	for name := range was {
		if _, is := now[name]; !is {
			differ = differ.With(Of(name))
		}
	}
	return differ
}

// unlikeNames gives the pieces in which two sorted lists differ.
func unlikeNames(was, now []string) (differ Set) {
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

// Worth reports whether what changed is better written in pieces. Where most of them change, the whole is smaller.
func Worth(endpoints int, changed Set) bool {
	return endpoints > WholeMost && changed.Len() <= Count/2
}

// ChangedSights gives the pieces of an observation that changed.
func ChangedSights(was, now map[string]health.Sight) Set {
	return unlike(was, now, func(a, b health.Sight) bool {
		sameTime := a.Since.Equal(b.Since)
		a.Since = b.Since
		return sameTime && a == b
	})
}

// ChangedFindings gives the pieces of a verdict that changed. What is said of all of the pool stands in each, so one is written at least.
func ChangedFindings(was, now *health.Verdict) Set {
	differ := unlike(was.Endpoints, now.Endpoints, func(a, b health.Finding) bool {
		sameTime := a.Since.Equal(b.Since)
		a.Since = b.Since
		return sameTime && a == b
	})
	differ |= unlikeNames(was.NeverUp, now.NeverUp) | unlikeNames(was.Released, now.Released)
	return max(differ, 1)
}

// OfVerdict gives a piece of a verdict.
func OfVerdict(v health.Verdict, i int) health.Verdict {
	v.Endpoints, v.NeverUp, v.Released = Cut(v.Endpoints, i), cutNames(v.NeverUp, i), cutNames(v.Released, i)
	return v
}

// JoinVerdict gives a verdict with some pieces replaced; newest is the one that was written last, and speaks for the pool.
func JoinVerdict(whole health.Verdict, pieces map[int]health.Verdict, newest int) health.Verdict {
	if len(pieces) == 0 {
		return whole
	}
	v := pieces[newest]
	findings := make(map[int]map[string]health.Finding, len(pieces))
	never, released := make(map[int][]string, len(pieces)), make(map[int][]string, len(pieces))
	for i, p := range pieces {
		findings[i], never[i], released[i] = p.Endpoints, p.NeverUp, p.Released
	}
	v.Endpoints = Join(whole.Endpoints, findings)
	v.NeverUp, v.Released = joinNames(whole.NeverUp, never), joinNames(whole.Released, released)
	return v
}

func Key(key string, i int) string { return key + "/" + component(i) }
