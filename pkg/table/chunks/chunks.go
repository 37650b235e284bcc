package chunks

import (
	"iter"
	"slices"
)

const chunkBits = 6

// List is a list in pieces, so that changing one element copies one piece and not the list.
// The zero value is empty. A copy of it is a frozen list as long as only its writer writes.
type List[T any] struct {
	chunks []*[1 << chunkBits]T
}

// Ref gives the place of element i, which must exist. It is not to be written to.
func (c *List[T]) Ref(i uint32) *T { return &c.chunks[i>>chunkBits][i&(1<<chunkBits-1)] }

// Since gives the elements of all pieces that are not those of an earlier list.
func (c *List[T]) Since(earlier *List[T]) iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for i, chunk := range c.chunks {
			if i < len(earlier.chunks) && earlier.chunks[i] == chunk {
				continue
			}
			for n := range chunk {
				if !yield(&chunk[n]) {
					return
				}
			}
		}
	}
}

// Writer changes a List without changing the copies that were given out.
type Writer[T any] struct {
	list  List[T]
	fresh map[int]bool // chunks that no reader has yet
	free  []uint32
	next  uint32
}

// Freeze gives the present list to readers.
func (w *Writer[T]) Freeze() List[T] {
	w.fresh = nil // the next Set copies the list before it writes
	return w.list
}

// Ref gives the place of element i as it is now.
func (w *Writer[T]) Ref(i uint32) *T { return w.list.Ref(i) }

// Set changes element i.
func (w *Writer[T]) Set(i uint32, v T) {
	at := int(i >> chunkBits)
	if w.fresh == nil {
		w.fresh = map[int]bool{}
		w.list.chunks = slices.Clone(w.list.chunks)
	}
	for at >= len(w.list.chunks) {
		w.list.chunks = append(w.list.chunks, new([1 << chunkBits]T))
		w.fresh[len(w.list.chunks)-1] = true
	}
	if !w.fresh[at] {
		chunk := *w.list.chunks[at]
		w.list.chunks[at] = &chunk
		w.fresh[at] = true
	}
	w.list.chunks[at][i&(1<<chunkBits-1)] = v
}

// Add takes a free place for v.
func (w *Writer[T]) Add(v T) uint32 {
	i := w.next
	if n := len(w.free); n > 0 {
		i, w.free = w.free[n-1], w.free[:n-1]
	} else {
		w.next++
	}
	w.Set(i, v)
	return i
}

// Remove frees place i.
func (w *Writer[T]) Remove(i uint32) {
	var zero T
	w.Set(i, zero)
	w.free = append(w.free, i)
}
