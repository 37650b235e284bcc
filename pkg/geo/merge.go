package geo

// merge lays the databases of b under those of a: what a does not know is taken from b.
func merge(a, b *Atlas) *Atlas {
	m := &merger{a: a.places, b: b.places, ids: map[Place]uint32{{}: 0}, pairs: map[uint64]uint32{}, places: []Place{{}}}
	return &Atlas{
		v4:     m.runs(a.v4, b.v4, true),
		v6:     m.runs(a.v6, b.v6, false),
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

// runs goes through both in step.
func (m *merger) runs(a, b *runs, v4 bool) *runs {
	out := newRuns(v4, a.len()+b.len())
	at := u128{}
	for i, j := 0, 0; ; {
		out.add(at, m.id(a.id[i], b.id[j]))
		moreA, moreB := i+1 < a.len(), j+1 < b.len()
		switch {
		case !moreA && !moreB:
			return out
		case !moreB || moreA && a.start(i+1).less(b.start(j+1)):
			i++
			at = a.start(i)
		case !moreA || b.start(j+1).less(a.start(i+1)):
			j++
			at = b.start(j)
		default:
			i, j = i+1, j+1
			at = a.start(i)
		}
	}
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
// the same country, so that no place arises that neither knows.
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
	return p
}
