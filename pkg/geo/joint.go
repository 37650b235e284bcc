package geo

// pair is what geography and a latency table tell of an address: ids of a place and of a Latency.
type pair struct{ place, latency uint32 }

// joint divides the addresses by places and latencies at once.
type joint struct {
	v4, v6 *packed // of indexes into pairs
	pairs  []pair  // pairs[0] is the zero pair
}

// WithLatency gives an atlas of the same geography with a latency table, which takes the place of the one that it has; nil: with none.
func (a *Atlas) WithLatency(t *LatencyTable) *Atlas {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := &Atlas{v4: a.v4, v6: a.v6, places: a.places, infos: a.infos, files: a.files, took: a.took, instead: a.instead,
		table: t, shapes: map[asked]*shape{}}
	for ask, s := range a.shapes {
		if !ask.latency {
			b.shapes[ask] = s
		}
	}
	if t == nil {
		return b
	}
	j := joiner{first: make([]uint32, len(t.latencies.list)), ids: map[pair]uint32{{}: 0}, joint: &joint{pairs: []pair{{}}}}
	j.v4, j.v6 = j.runs(a.v4, t.v4), j.runs(a.v6, t.v6)
	b.joint = j.joint
	return b
}

// Latency gives the latency table, nil where there is none.
func (a *Atlas) Latency() *LatencyTable { return a.table }

// SameGeography reports whether a and b have the same places, whatever their latency tables are.
func (a *Atlas) SameGeography(b *Atlas) bool { return a.v4 == b.v4 && a.v6 == b.v6 }

// at gives what is known of an address.
func (j *joint) at(a *Atlas, x u128, v4 bool) (Place, int) {
	r := j.v6
	if v4 {
		r = j.v4
	}
	id, scope := r.find(x)
	p := a.places[j.pairs[id].place]
	p.Latency = a.table.latencies.get(j.pairs[id].latency)
	return p, scope
}

// joiner numbers pairs. A latency is mostly that of networks in one place; only where it is not, or is not known, the map knows it.
type joiner struct {
	*joint
	first []uint32        // by id of a latency, the pair that had it first; 0: none yet
	ids   map[pair]uint32 // of the others
}

func (j *joiner) runs(places, latencies *packed) *packed {
	out := newPacker(places.v4, len(places.data)+len(latencies.data))
	inStep(places, latencies, func(start u128, place, latency uint32) { out.add(start, j.id(pair{place, latency})) })
	return out.done()
}

func (j *joiner) id(p pair) uint32 {
	if p.latency != 0 {
		first := j.first[p.latency]
		if first == 0 {
			j.first[p.latency] = j.add(p)
			return j.first[p.latency]
		}
		if j.pairs[first] == p {
			return first
		}
	}
	id, ok := j.ids[p]
	if !ok {
		id = j.add(p)
		j.ids[p] = id
	}
	return id
}

func (j *joiner) add(p pair) uint32 {
	j.pairs = append(grow(j.pairs, 1), p)
	return uint32(len(j.pairs) - 1)
}
