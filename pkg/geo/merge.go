package geo

// merge lays the databases of b under those of a: what a does not know is taken from b.
func merge(a, b *Atlas) *Atlas {
	m := &merger{a: a.places, b: b.places, ids: map[Place]uint32{{}: 0}, pairs: map[uint64]uint32{}, places: []Place{{}}}
	return &Atlas{
		v4:     m.runs(a.v4, b.v4),
		v6:     m.runs(a.v6, b.v6),
		places: m.places,
		infos:  append(append([]Info(nil), a.infos...), b.infos...),
		files:  append(append([]watched(nil), a.files...), b.files...),
	}
}

// merger joins place tables.
type merger struct {
	a, b   []Place
	places []Place
	ids    map[Place]uint32
	pairs  map[uint64]uint32 // a's id << 32 | b's id
}

func (m *merger) runs(a, b *packed) *packed {
	out := newPacker(a.v4, len(a.data)+len(b.data))
	inStep(a, b, func(start u128, x, y uint32) { out.add(start, m.id(x, y)) })
	return out.done()
}

func (m *merger) id(a, b uint32) uint32 {
	pair := uint64(a)<<32 | uint64(b)
	if id, ok := m.pairs[pair]; ok {
		return id
	}
	p := m.a[a].or(m.b[b])
	id, ok := m.ids[p]
	if !ok {
		id = uint32(len(m.places))
		m.places = append(m.places, p)
		m.ids[p] = id
	}
	m.pairs[pair] = id
	return id
}

// or fills the unknown fields of p from q; a country only from the same continent, a subdivision only from
// the same country, so that no place arises that neither knows. Coordinates are only taken from what is no wider and no other place.
func (p Place) or(q Place) Place {
	if p.ASN == 0 {
		p.ASN = q.ASN
	}
	if p.Country == "" && (p.Continent == "" || p.Continent == q.Continent) {
		p.Continent, p.Country = q.Continent, q.Country
	}
	if p.Subdivision == "" && p.Country != "" && p.Country == q.Country {
		p.Subdivision = q.Subdivision
	}
	if !p.At.Known() && p.Country == q.Country && p.Subdivision == q.Subdivision && (p.Country != "" || p.Continent == q.Continent) {
		p.At = q.At
	}
	return p
}
