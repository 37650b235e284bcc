// Package pieces cuts what is known of a pool into pieces, so that of a large one only what changed is written, and joins them.
package pieces

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/gti/gtm/pkg/health"
)

// What is known of a pool of more than WholeMost endpoints is one value, under the pool's key, and pieces below it: up to 64, and up to 64
// fine ones below each of these. A piece has the form of the whole, with those endpoints alone whose names fall into it. It replaces what
// the whole says of them, and the coarse piece that a fine one lies in, if etcd's revision of it is newer. Whoever writes a whole or a
// coarse piece takes away what lies in it. See docs/decisions/0121. All three numbers, and what falls where, are part of what is stored.
const (
	// WholeMost is how many endpoints a pool has at most that is always one value.
	WholeMost = 8
	// count is how many coarse pieces there are, and fine ones in each.
	count = 64
	// fineMost is how many fine pieces are written at once, which one request holds; with more, coarse ones are.
	fineMost = 64
)

// A Piece names one: 0 to 63 are coarse, the others fine.
type Piece int

func fine(coarse, i int) Piece { return Piece(count + coarse*count + i) }

// coarse gives the coarse piece that a piece is, or lies in.
func (p Piece) coarse() Piece {
	if p.isFine() {
		return (p - count) / count
	}
	return p
}

func (p Piece) isFine() bool { return p >= count }

// of tells in which coarse and which fine piece an endpoint stands: FNV-1a of its name.
func of(endpoint string) (coarse, fines Piece) {
	h := uint32(2166136261)
	for i := range len(endpoint) {
		h = (h ^ uint32(endpoint[i])) * 16777619
	}
	return Piece(h % count), fine(int(h%count), int(h/count%count))
}

// holds reports whether an endpoint falls into the piece.
func (p Piece) holds(endpoint string) bool {
	coarse, fines := of(endpoint)
	return p == coarse || p == fines
}

// Set is a set of pieces, sorted. It is never changed.
type Set []Piece

// All are the coarse pieces, which hold everything.
func All() (s Set) {
	for i := range Piece(count) {
		s = append(s, i)
	}
	return s
}

// Has reports whether a piece is in the set.
func (s Set) Has(p Piece) bool {
	_, is := slices.BinarySearch(s, p)
	return is
}

// With gives the set with a piece that was written: what lay in it is gone.
func (s Set) With(p Piece) Set {
	kept := s
	if !p.isFine() {
		kept = s.without(func(q Piece) bool { return q.isFine() && q.coarse() == p })
	}
	at, is := slices.BinarySearch(kept, p)
	if is {
		return kept
	}
	return slices.Insert(slices.Clip(kept), at, p)
}

// Without gives the set without a piece.
func (s Set) Without(p Piece) Set { return s.without(func(q Piece) bool { return q == p }) }

func (s Set) without(is func(Piece) bool) Set {
	if !slices.ContainsFunc(s, is) {
		return s
	}
	return slices.DeleteFunc(slices.Clone(s), is)
}

// coarse gives the coarse pieces that the set lies in.
func (s Set) coarse() (all Set) {
	for _, p := range s {
		all = all.With(p.coarse())
	}
	return all
}

// Parse reads the last components of a piece's key.
func Parse(names []string) (Piece, bool) {
	number := func(name string) int {
		i, err := strconv.Atoi(name)
		if err != nil || i < 0 || i >= count || name != fmt.Sprintf("%02d", i) {
			return -1
		}
		return i
	}
	switch len(names) {
	case 1:
		i := number(names[0])
		return Piece(i), i >= 0
	case 2:
		i, j := number(names[0]), number(names[1])
		return fine(max(i, 0), max(j, 0)), i >= 0 && j >= 0
	}
	return 0, false
}

// Key is the key of a piece of what stands under a key.
func Key(key string, p Piece) string {
	if p.isFine() {
		return fmt.Sprintf("%s/%02d/%02d", key, p.coarse(), (p-count)%count)
	}
	return fmt.Sprintf("%s/%02d", key, p)
}

// Coarse reports whether other pieces may lie in this one.
func (p Piece) Coarse() bool { return !p.isFine() }

// Add adds a piece that came to others, of which it replaces those that lie in it.
func Add[T any](to map[Piece]T, p Piece, t T) map[Piece]T {
	if to == nil {
		to = map[Piece]T{}
	}
	if !p.isFine() {
		maps.DeleteFunc(to, func(q Piece, _ T) bool { return q.coarse() == p })
	}
	to[p] = t
	return to
}

// Join gives what a whole says, but of what stands in pieces what these say. The maps given stay as they are.
func Join[T any](whole map[string]T, pieces map[Piece]map[string]T) map[string]T {
	size := len(whole)
	for _, piece := range pieces {
		size += len(piece) / 4
	}
	all := make(map[string]T, size)
	for name, t := range whole {
		if _, replaced := holder(pieces, name); !replaced {
			all[name] = t
		}
	}
	for p, piece := range pieces {
		for name, t := range piece {
			if by, is := holder(pieces, name); is && by == p {
				all[name] = t
			}
		}
	}
	return all
}

// holder gives the piece that speaks of an endpoint.
func holder[T any](pieces map[Piece]T, endpoint string) (Piece, bool) {
	coarse, fines := of(endpoint)
	if _, is := pieces[fines]; is {
		return fines, true
	}
	_, is := pieces[coarse]
	return coarse, is
}

// Cut gives what falls into a piece.
func Cut[T any](all map[string]T, p Piece) map[string]T {
	piece := map[string]T{}
	for name, t := range all {
		if p.holds(name) {
			piece[name] = t
		}
	}
	return piece
}

// cutNames gives the names that fall into a piece.
func cutNames(names []string, p Piece) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !p.holds(name) })
}

// joinNames is Join of sorted names.
func joinNames(whole []string, pieces map[Piece][]string) []string {
	all := slices.DeleteFunc(slices.Clone(whole), func(name string) bool { _, is := holder(pieces, name); return is })
	for p, piece := range pieces {
		for _, name := range piece {
			if by, is := holder(pieces, name); is && by == p {
				all = append(all, name)
			}
		}
	}
	slices.Sort(all)
	if len(all) == 0 {
		return nil
	}
	return all
}

// unlike adds the fine pieces in which two maps differ.
func unlike[T any](differ map[Piece]bool, was, now map[string]T, same func(a, b T) bool) {
	add := func(name string) {
		_, fines := of(name)
		differ[fines] = true
	}
	for name, t := range now {
		if before, is := was[name]; !is || !same(before, t) {
			add(name)
		}
	}
	for name := range was {
		if _, is := now[name]; !is {
			add(name)
		}
	}
}

// unlikeNames adds the fine pieces in which two sorted lists differ.
func unlikeNames(differ map[Piece]bool, was, now []string) {
	if slices.Equal(was, now) {
		return
	}
	set := func(names []string) map[string]bool {
		m := make(map[string]bool, len(names))
		for _, name := range names {
			m[name] = true
		}
		return m
	}
	unlike(differ, set(was), set(now), func(bool, bool) bool { return true })
}

// Frame is how many endpoints of a whole take as much as what stands around those in a piece, and its key. What is packed has next to
// nothing for each endpoint, so that a piece is soon as large as the whole.
type Frame int

// The frames of the two forms in which values are written.
const (
	Plain  Frame = 3
	Packed Frame = 16
)

// toWrite gives the pieces to be written where these fine ones changed: them, or those that they lie in, where they are many; not ok: so
// many that the whole is smaller.
func (f Frame) toWrite(changed map[Piece]bool, endpoints int) (s Set, ok bool) {
	s = slices.Sorted(maps.Keys(changed))
	if len(s) <= fineMost && int(f)*len(s) <= endpoints {
		return s, endpoints > WholeMost
	}
	s = s.coarse()
	return s, endpoints > WholeMost && len(s) <= count/2 && (f == Plain || len(s)*(int(f)+endpoints/count) <= endpoints)
}

// ChangedSights gives the pieces of an observation that are to be written, since they changed; not ok: the whole is to be.
func ChangedSights(was, now map[string]health.Sight, f Frame) (Set, bool) {
	differ := map[Piece]bool{}
	unlike(differ, was, now, func(a, b health.Sight) bool {
		sameTime := a.Since.Equal(b.Since)
		a.Since = b.Since
		return sameTime && a == b
	})
	return f.toWrite(differ, min(len(was), len(now)))
}

// ChangedFindings is ChangedSights of a verdict. What is said of all of the pool stands in each piece, so one is written at least.
func ChangedFindings(was, now *health.Verdict, f Frame) (Set, bool) {
	differ := map[Piece]bool{}
	unlike(differ, was.Endpoints, now.Endpoints, health.Finding.Equal)
	unlikeNames(differ, was.NeverUp, now.NeverUp)
	unlikeNames(differ, was.Released, now.Released)
	if len(differ) == 0 {
		differ[fine(0, 0)] = true
	}
	return f.toWrite(differ, min(len(was.Endpoints), len(now.Endpoints)))
}

// OfVerdict gives a piece of a verdict.
func OfVerdict(v health.Verdict, p Piece) health.Verdict {
	v.Endpoints, v.NeverUp, v.Released = Cut(v.Endpoints, p), cutNames(v.NeverUp, p), cutNames(v.Released, p)
	return v
}

// JoinVerdict gives a verdict with some pieces replaced; newest is the one that was written last, and speaks for the pool.
func JoinVerdict(whole health.Verdict, pieces map[Piece]health.Verdict, newest Piece) health.Verdict {
	if len(pieces) == 0 {
		return whole
	}
	v := pieces[newest]
	findings := make(map[Piece]map[string]health.Finding, len(pieces))
	never, released := make(map[Piece][]string, len(pieces)), make(map[Piece][]string, len(pieces))
	for i, p := range pieces {
		findings[i], never[i], released[i] = p.Endpoints, p.NeverUp, p.Released
	}
	v.Endpoints = Join(whole.Endpoints, findings)
	v.NeverUp, v.Released = joinNames(whole.NeverUp, never), joinNames(whole.Released, released)
	return v
}

// Groups is how many values the signals of a pool's endpoints are, see store.SignalKey: part of what is stored.
const Groups = 16

// Group tells in which of these an endpoint stands.
func Group(endpoint string) int {
	coarse, _ := of(endpoint)
	return int(coarse) % Groups
}
