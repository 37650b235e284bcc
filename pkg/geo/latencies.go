package geo

import (
	"hash/maphash"
	"slices"
	"time"
)

// latencies are the different Latency values of one table.
type latencies struct {
	measured time.Time
	sites    []string
	index    map[string]uint16 // into sites
	rows     []latencyRow      // those of one Latency stand side by side, sorted by site
	list     []Latency         // list[0] has no rows

	seed maphash.Seed
	ids  map[uint64]uint32 // indexes into list, by the hash of the rows; by the next number where that is another's. nil: all is made
}

// newLatencies makes room for so many different ones.
func newLatencies(measured time.Time, room int) *latencies {
	t := &latencies{measured: measured, index: map[string]uint16{}, seed: maphash.MakeSeed(), ids: make(map[uint64]uint32, room)}
	t.id(nil)
	return t
}

// get gives the Latency of an id, nil for 0.
func (t *latencies) get(id uint32) *Latency {
	if id == 0 {
		return nil
	}
	return &t.list[id]
}

// site gives the index of a site, which may be new.
func (t *latencies) site(name string) uint16 {
	i, ok := t.index[name]
	if !ok {
		i = uint16(len(t.sites))
		t.sites, t.index[name] = append(t.sites, name), i
	}
	return i
}

// id gives the id of rows, which are sorted by site; 0 for none.
func (t *latencies) id(rows []latencyRow) uint32 {
	hash := t.hash(rows)
	for {
		id, ok := t.ids[hash]
		if !ok {
			break
		}
		if slices.Equal(t.list[id].rows(), rows) {
			return id
		}
		hash++
	}
	id := uint32(len(t.list))
	t.ids[hash] = id
	t.list = append(grow(t.list, 1), Latency{t, uint32(len(t.rows)), uint32(len(rows))})
	t.rows = append(grow(t.rows, len(rows)), rows...)
	return id
}

func (t *latencies) hash(rows []latencyRow) uint64 {
	buf := make([]byte, 0, 4*MaxNetworkSites)
	for _, r := range rows {
		buf = append(buf, byte(r.site>>8), byte(r.site), r.ms, r.sample)
	}
	return maphash.Bytes(t.seed, buf)
}

// done sorts the sites by name. Nothing can be added any more.
func (t *latencies) done() {
	order := slices.Clone(t.sites)
	slices.Sort(order)
	renamed := make([]uint16, len(order))
	for i, name := range order {
		renamed[t.index[name]] = uint16(i)
	}
	for i, name := range order {
		t.index[name] = uint16(i)
	}
	for i := range t.rows {
		t.rows[i].site = renamed[t.rows[i].site]
	}
	for i := range t.list {
		sortRows(t.list[i].rows())
	}
	t.sites, t.ids = order, nil
}

func sortRows(rows []latencyRow) {
	slices.SortFunc(rows, func(a, b latencyRow) int { return int(a.site) - int(b.site) })
}
