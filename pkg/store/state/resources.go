package state

import (
	"hash/maphash"
	"iter"

	"github.com/gti/gtm/pkg/spec"
)

// Resources are a tenant's versions by key. They never change: With gives others, which share with these all but the pieces that
// differ, so that one change among 100,000 resources costs some fifty kilobytes and not a copy of everything. The zero value is empty.
type Resources struct {
	seed   maphash.Seed
	pieces [][]entry // by hash; their number is a power of two
	n      int
}

type entry struct {
	hash    uint64
	version Version
}

// How many versions a piece holds on average at most, and how many it gets capacity for when all are made anew.
const (
	PieceMost = 256
	pieceCap  = PieceMost / 2
)

// NewResources gives the versions, of which later ones replace earlier ones of the same key.
func NewResources(versions ...Version) Resources { return Resources{}.With(versions, nil) }

// Len tells how many there are.
func (r Resources) Len() int { return r.n }

// Get gives the version of a key; false: there is none.
func (r Resources) Get(k spec.Key) (Version, bool) {
	if r.n == 0 {
		return Version{}, false
	}
	h := maphash.Comparable(r.seed, k)
	piece := r.pieces[h&uint64(len(r.pieces)-1)]
	if i := find(piece, h, k); i >= 0 {
		return piece[i].version, true
	}
	return Version{}, false
}

// find gives the place of a key in its piece; -1: it is not there.
func find(piece []entry, h uint64, k spec.Key) int {
	for i := range piece {
		if piece[i].hash == h && piece[i].version.Resource.Key == k {
			return i
		}
	}
	return -1
}

// All gives all of them, in any order.
func (r Resources) All() iter.Seq2[spec.Key, Version] {
	return func(yield func(spec.Key, Version) bool) {
		for _, piece := range r.pieces {
			for i := range piece {
				if v := piece[i].version; !yield(v.Resource.Key, v) {
					return
				}
			}
		}
	}
}

// SharesWith reports whether r and other came out of the same Resources by With; false: one of them was made anew.
func (r Resources) SharesWith(other Resources) bool { return r.seed == other.seed }

// Unlike gives those that can be others than in was, or missing there: at least all that are, and of Resources that came out of
// was by a small change few besides.
func (r Resources) Unlike(was Resources) iter.Seq2[spec.Key, Version] {
	if !r.SharesWith(was) || len(r.pieces) != len(was.pieces) {
		return r.All()
	}
	return func(yield func(spec.Key, Version) bool) {
		for i, piece := range r.pieces {
			if samePiece(piece, was.pieces[i]) {
				continue
			}
			for j := range piece {
				if v := piece[j].version; !yield(v.Resource.Key, v) {
					return
				}
			}
		}
	}
}

// samePiece reports whether two pieces are one in memory.
func samePiece(a, b []entry) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// With gives the resources with some replaced or added, and then some deleted.
func (r Resources) With(put []Version, deleted []spec.Key) Resources {
	if len(put)+len(deleted) == 0 {
		return r
	}
	w := r.writer(len(put))
	for _, v := range put {
		w.put(v)
	}
	for _, k := range deleted {
		w.drop(k)
	}
	return w.Resources
}

// resourceWriter makes Resources out of others, whose pieces it leaves as they are.
type resourceWriter struct {
	Resources
	own []bool // pieces that nobody else has; nil: all
}

// writer gives a writer that has capacity for so many more.
func (r Resources) writer(more int) resourceWriter {
	if size := len(r.pieces); size == 0 || r.n+more > size*PieceMost {
		return r.spread(r.n + more)
	}
	w := resourceWriter{Resources: r, own: make([]bool, len(r.pieces))}
	w.pieces = append([][]entry(nil), r.pieces...)
	return w
}

// spread gives a writer with as many pieces as so many resources need, and all of r in them.
func (r Resources) spread(total int) resourceWriter {
	size := 1
	for size*pieceCap < total {
		size *= 2
	}
	w := resourceWriter{Resources: Resources{seed: r.seed, pieces: make([][]entry, size), n: r.n}}
	if r.n == 0 {
		w.seed = maphash.MakeSeed()
	}
	for spare, i := total/size, 0; spare > 0 && i < size; i++ { // some more than on average, since few get exactly that
		w.pieces[i] = make([]entry, 0, spare+spare/4)
	}
	for _, piece := range r.pieces {
		for _, e := range piece {
			at := e.hash & uint64(size-1)
			w.pieces[at] = append(w.pieces[at], e)
		}
	}
	return w
}

// piece gives the place of a piece that may be written to.
func (w *resourceWriter) piece(h uint64) *[]entry {
	at := h & uint64(len(w.pieces)-1)
	if w.own != nil && !w.own[at] {
		w.pieces[at], w.own[at] = append([]entry(nil), w.pieces[at]...), true
	}
	return &w.pieces[at]
}

func (w *resourceWriter) put(v Version) {
	h := maphash.Comparable(w.seed, v.Resource.Key)
	piece := w.piece(h)
	if i := find(*piece, h, v.Resource.Key); i >= 0 {
		(*piece)[i].version = v
		return
	}
	*piece = append(*piece, entry{h, v})
	w.n++
}

func (w *resourceWriter) drop(k spec.Key) {
	h := maphash.Comparable(w.seed, k)
	piece := w.piece(h)
	i := find(*piece, h, k)
	if i < 0 {
		return
	}
	last := len(*piece) - 1
	(*piece)[i], (*piece)[last] = (*piece)[last], entry{}
	*piece = (*piece)[:last]
	w.n--
}

// Overridden gives a state with the overrides of a newer one, which wait for no rollout.
func (t TenantState) Overridden(newer TenantState) TenantState {
	var put []Version
	var gone []spec.Key
	for k, v := range newer.Resources.Unlike(t.Resources) {
		if has, ok := t.Resources.Get(k); k.Kind == spec.KindOverride && (!ok || has != v) {
			put = append(put, v)
		}
	}
	for k := range t.Resources.Unlike(newer.Resources) {
		if _, ok := newer.Resources.Get(k); k.Kind == spec.KindOverride && !ok {
			gone = append(gone, k)
		}
	}
	t.Resources = t.Resources.With(put, gone)
	return t
}
