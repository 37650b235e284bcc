package geo

import (
	"math"
	"slices"
	"sync"
)

// shape is the address space divided by all that partitions of one atlas and one list of maps can tell apart. It is
// made once, and those partitions share it; see docs/decisions/0060.
type shape struct {
	v4, v6    table
	maps      []Map      // what it was made of
	atoms     []atom     // what the shape's runs are of
	places    []Place    // by atom.place, without latency
	latencies *latencies // by atom.latency; nil: there is none
	members   []bitset   // by atom.members

	named sync.Pool // of *[maxNarrow]uint16, for partitions being made: hundreds are made one after the other
}

// atom is what classifiers can see of an address.
type atom struct {
	place   uint32 // index into shape.places: as the maps correct it
	latency uint32 // id of a Latency
	members int32  // index into shape.members: the maps that hold the address
	special int16  // 1 + index into specialBlocks; counts unless a classifier asks for one of members
}

// newShape divides the addresses by places and maps, and by coordinates and latency if those are asked for.
func newShape(a *Atlas, maps []Map, ask asked) (*shape, error) {
	l := newLayers(maps)
	b := &atomizer{layers: l, points: ask.points, places: slices.Clip(a.places), seen: map[uint64]uint32{}, ids: map[atom]uint32{}}
	if !ask.points && hasPoints(a.places, nil) {
		b.dropPoints()
	}
	s := &shape{maps: slices.Clone(maps)}
	v4, v6 := a.v4, a.v6
	b.plain = make([]uint32, len(a.places))
	if ask.latency {
		v4, v6, b.pairs, s.latencies = a.joint.v4, a.joint.v6, a.joint.pairs, a.table.latencies
		b.plain = make([]uint32, len(b.pairs))
	}
	runs4, runs6 := b.divide(v4), b.divide(v6)
	if len(b.atoms) > maxNarrow {
		b.rank(runs4, runs6)
	}
	s.atoms, s.places, s.members = b.atoms, b.places, l.members
	if err := s.v4.build(runs4); err != nil {
		return nil, err
	}
	return s, s.v6.build(runs6)
}

// place gives the place of an atom, with its latency.
func (s *shape) place(a *atom) Place {
	p := s.places[a.place]
	if s.latencies != nil {
		p.Latency = s.latencies.get(a.latency)
	}
	return p
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
func (s *shape) bytes() int { return s.v4.bytes() + s.v6.bytes() + 16*cap(s.atoms) }

// atomizer turns runs of places, or of pairs of a place and a latency, into runs of atoms.
type atomizer struct {
	*layers
	points    bool              // places keep their coordinates
	places    []Place           // of the atlas, and behind them those that maps make
	without   []uint32          // by place of the atlas, which of places it is without coordinates; nil: each is itself
	corrected map[Place]uint32  // indexes into places; nil: maps have made none yet
	pairs     []pair            // what the runs are of; nil: of places
	plain     []uint32          // by place or pair, 1 + its atom outside of maps and special-purpose blocks; 0: not seen yet
	seen      map[uint64]uint32 // layer << 32 | place or pair → atom
	ids       map[atom]uint32
	atoms     []atom
}

// divide goes through the runs of the atlas and of the overlay in step.
func (b *atomizer) divide(known *packed) *runs {
	o := b.overlay(known.v4)
	out := newRuns(known.v4, known.len()+o.len())
	inStep(o, known, func(start u128, layer, id uint32) { out.add(start, b.atom(layer, id)) })
	return out
}

// atom gives the id of a place, or of a pair, under a layer.
func (b *atomizer) atom(layer, id uint32) uint32 {
	if layer == 0 {
		if b.plain[id] == 0 {
			b.plain[id] = 1 + b.plainAtom(b.pair(id))
		}
		return b.plain[id] - 1
	}
	key := uint64(layer)<<32 | uint64(id)
	atomID, ok := b.seen[key]
	if !ok {
		l, p := b.list[layer], b.pair(id)
		atomID = b.intern(atom{b.correct(p.place, l), p.latency, l.members, l.special})
		b.seen[key] = atomID
	}
	return atomID
}

// plainAtom gives the id of the atom of a pair outside of maps and special-purpose blocks, when it is first seen.
func (b *atomizer) plainAtom(p pair) uint32 {
	a := atom{place: p.place, latency: p.latency}
	if b.without != nil {
		return b.intern(a)
	}
	b.atoms = append(grow(b.atoms, 1), a) // nothing else makes the same: see layers.within
	return uint32(len(b.atoms) - 1)
}

func (b *atomizer) pair(id uint32) (p pair) {
	p.place = id
	if b.pairs != nil {
		p = b.pairs[id]
	}
	if b.without != nil {
		p.place = b.without[p.place]
	}
	return p
}

// dropPoints takes the coordinates from places. Those that are the same then are one.
func (b *atomizer) dropPoints() {
	b.without, b.corrected = make([]uint32, len(b.places)), map[Place]uint32{}
	var places []Place
	for i, p := range b.places {
		p.At = Point{}
		id, ok := b.corrected[p]
		if !ok {
			id = uint32(len(places))
			b.corrected[p], places = id, append(places, p)
		}
		b.without[i] = id
	}
	b.places = places
}

// correct gives the index of a place as a layer corrects it.
func (b *atomizer) correct(place uint32, l layer) uint32 {
	if l.place == 0 && l.asn == 0 {
		return place
	}
	if b.corrected == nil {
		b.corrected = make(map[Place]uint32, len(b.places))
		for i, p := range b.places {
			b.corrected[p] = uint32(i)
		}
	}
	p := b.overlaid(b.places[place], l)
	if !b.points {
		p.At = Point{}
	}
	i, ok := b.corrected[p]
	if !ok {
		i = uint32(len(b.places))
		b.places = append(b.places, p)
		b.corrected[p] = i
	}
	return i
}

func (b *atomizer) intern(a atom) uint32 {
	id, ok := b.ids[a]
	if !ok {
		id = uint32(len(b.atoms))
		b.atoms = append(grow(b.atoms, 1), a)
		b.ids[a] = id
	}
	return id
}

// rank numbers the atoms anew, those with most runs first.
func (b *atomizer) rank(families ...*runs) {
	count := make([]uint32, len(b.atoms))
	for _, r := range families {
		for _, id := range r.id {
			count[id]++
		}
	}
	order := make([]uint64, len(b.atoms)) // as numbers, which are sorted fast
	for id, n := range count {
		order[id] = uint64(math.MaxUint32-n)<<32 | uint64(id)
	}
	slices.Sort(order)
	atoms, renamed := make([]atom, len(order)), make([]uint32, len(order))
	for i, o := range order {
		atoms[i], renamed[uint32(o)] = b.atoms[uint32(o)], uint32(i)
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
