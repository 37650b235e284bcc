package geo

import (
	"cmp"
	"slices"
	"sync"
)

// shape is the address space divided by all that partitions of one atlas and one list of maps can tell apart. It is
// made once, and those partitions share it; see docs/decisions/0060.
type shape struct {
	v4, v6  table
	maps    []Map    // what it was made of
	atoms   []atom   // what the shape's runs are of
	members []bitset // by atom.members

	named sync.Pool // of *[maxNarrow]uint16, for partitions being made: hundreds are made one after the other
}

// atom is what classifiers can see of an address.
type atom struct {
	place   Place // as the maps correct it
	members int32 // index into shape.members: the maps that hold the address
	special int16 // 1 + index into specialBlocks; counts unless a classifier asks for one of members
}

func newShape(a *Atlas, maps []Map) (*shape, error) {
	l := newLayers(maps)
	b := &atomizer{layers: l, places: a.places, plain: make([]uint32, len(a.places)), seen: map[uint64]uint32{}, ids: map[atom]uint32{}}
	v4, v6 := b.divide(a.v4), b.divide(a.v6)
	if len(b.atoms) > maxNarrow {
		b.rank(v4, v6)
	}
	s := &shape{maps: slices.Clone(maps), atoms: b.atoms, members: l.members}
	if err := s.v4.build(v4); err != nil {
		return nil, err
	}
	return s, s.v6.build(v6)
}

// takeNamed gives classes with room for all ids that a narrow cell can hold. What stands behind the classes counts for nothing, since
// cells hold no such ids.
func (s *shape) takeNamed(classes []uint16) *[maxNarrow]uint16 {
	named, ok := s.named.Get().(*[maxNarrow]uint16)
	if !ok {
		named = new([maxNarrow]uint16)
	}
	copy(named[:], classes)
	return named
}

// bytes is the memory that the shape holds, names and maps apart.
func (s *shape) bytes() int { return s.v4.bytes() + s.v6.bytes() + 64*cap(s.atoms) }

// atomizer turns runs of places into runs of atoms.
type atomizer struct {
	*layers
	places []Place
	atoms  []atom
	plain  []uint32          // 1 + atom of a place outside of maps and special-purpose blocks; 0: not seen yet
	seen   map[uint64]uint32 // layer << 32 | place → atom
	ids    map[atom]uint32
}

// divide goes through the runs of the atlas and of the overlay in step.
func (b *atomizer) divide(places *packed) *runs {
	o := b.overlay(places.v4)
	out := newRuns(places.v4, places.len()+o.len())
	inStep(o, places, func(start u128, layer, place uint32) { out.add(start, b.atom(layer, place)) })
	return out
}

// atom gives the id of a place under a layer.
func (b *atomizer) atom(layer, place uint32) uint32 {
	if layer == 0 {
		if id := b.plain[place]; id != 0 {
			return id - 1
		}
		id := b.intern(atom{place: b.places[place]})
		b.plain[place] = id + 1
		return id
	}
	key := uint64(layer)<<32 | uint64(place)
	id, ok := b.seen[key]
	if !ok {
		l := b.list[layer]
		id = b.intern(atom{b.overlaid(b.places[place], l), l.members, l.special})
		b.seen[key] = id
	}
	return id
}

func (b *atomizer) intern(a atom) uint32 {
	id, ok := b.ids[a]
	if !ok {
		id = uint32(len(b.atoms))
		b.atoms = append(b.atoms, a)
		b.ids[a] = id
	}
	return id
}

// rank numbers the atoms anew, those with most runs first.
func (b *atomizer) rank(families ...*runs) {
	count := make([]int, len(b.atoms))
	for _, r := range families {
		for _, id := range r.id {
			count[id]++
		}
	}
	order := make([]uint32, len(b.atoms))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortStableFunc(order, func(x, y uint32) int { return cmp.Compare(count[y], count[x]) })
	atoms, renamed := make([]atom, len(order)), make([]uint32, len(order))
	for i, id := range order {
		atoms[i], renamed[id] = b.atoms[id], uint32(i)
	}
	b.atoms = atoms
	for _, r := range families {
		for i, id := range r.id {
			r.id[i] = renamed[id]
		}
	}
}

// SameMaps reports whether two lists of maps say the same.
func SameMaps(a, b []Map) bool {
	return slices.EqualFunc(a, b, func(x, y Map) bool {
		return x.Name == y.Name && x.ASN == y.ASN && (x.Place == nil) == (y.Place == nil) &&
			(x.Place == nil || *x.Place == *y.Place) && slices.Equal(x.Networks, y.Networks) && x.Files == y.Files
	})
}
