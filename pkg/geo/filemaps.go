package geo

import (
	"net/netip"
	"slices"

	"github.com/gti/gtm/pkg/geo/mapfile"
)

// FileMaps are the networks that files give to maps, made ready for Compile. Immutable.
type FileMaps struct {
	*mapfile.Files
	names  []string // the first stands for no map
	v4, v6 *packed  // of indexes into names
}

// NewFileMaps makes them of what files hold.
func NewFileMaps(f *mapfile.Files) *FileMaps {
	m := &FileMaps{Files: f, names: append([]string{""}, f.Names()...)}
	m.v4, m.v6 = m.pack(true), m.pack(false)
	return m
}

func (m *FileMaps) pack(v4 bool) *packed {
	out := newPacker(v4, 4*m.Len())
	for start, name := range m.Runs(v4) {
		x, _ := fromAddr(start)
		out.add(x, uint32(name+1))
	}
	return out.done()
}

func (m *FileMaps) family(v4 bool) *packed {
	if v4 {
		return m.v4
	}
	return m.v6
}

// Lookup gives the name of the map that the files have an address in, "" for none, and the length of a prefix around it that is in that
// map throughout, or in none.
func (m *FileMaps) Lookup(addr netip.Addr) (name string, bits int) {
	x, v4 := fromAddr(addr)
	id, bits := m.family(v4).find(x)
	return m.names[id], bits
}

// filesOf gives the files that maps of a list come from, which are the same for all of them; nil: there are none.
func filesOf(maps []Map) *FileMaps {
	for i := range maps {
		if maps[i].Files != nil {
			return maps[i].Files
		}
	}
	return nil
}

// mapsOf gives for each name of the files 1 + the index of the map that has it, 0 where none does.
func (m *FileMaps) mapsOf(maps []Map) []int32 {
	index := make(map[string]int32, len(maps))
	for i := range maps {
		if maps[i].Files != nil {
			index[maps[i].Name] = int32(i + 1)
		}
	}
	out := make([]int32, len(m.names))
	for i, name := range m.names {
		out[i] = index[name]
	}
	return out
}

// Undeclared lists the names of the files that no map has, sorted.
func (m *FileMaps) Undeclared(maps []Map) []string {
	var out []string
	for i, at := range m.mapsOf(maps) {
		if at == 0 && i > 0 {
			out = append(out, m.names[i])
		}
	}
	slices.Sort(out)
	return out
}

// withFiles lays what the files say under an overlay.
func (l *layers) withFiles(overlay *packed) *packed {
	f := filesOf(l.maps)
	if f == nil {
		return overlay
	}
	files, maps, known := f.family(overlay.v4), f.mapsOf(l.maps), map[[2]uint32]uint32{}
	out := newPacker(overlay.v4, len(overlay.data)+len(files.data))
	inStep(overlay, files, func(start u128, layer, name uint32) {
		at := maps[name]
		if at == 0 {
			out.add(start, layer)
			return
		}
		key := [2]uint32{layer, name}
		id, ok := known[key]
		if !ok {
			id = l.intern(l.under(l.list[layer], at-1))
			known[key] = id
		}
		out.add(start, id)
	})
	return out.done()
}

// under is what a layer becomes where a map of the files holds the address: it says what no other map has said.
func (l *layers) under(x layer, mapAt int32) layer {
	m := &l.maps[mapAt]
	if m.Place != nil && x.place == 0 {
		x.place = mapAt + 1
	}
	if m.ASN != 0 && x.asn == 0 {
		x.asn = mapAt + 1
	}
	if m.Place != nil || m.ASN != 0 {
		x.lifted, x.special = true, 0
	}
	x.members = l.union(x.members, mapAt)
	return x
}

// Has reports whether the map holds an address.
func (m *Map) Has(addr netip.Addr) bool {
	addr = addr.Unmap()
	if m.Files != nil {
		name, _ := m.Files.Lookup(addr)
		return name == m.Name
	}
	for _, network := range m.Networks {
		if network, ok := unmapped(network); ok && network.Contains(addr) {
			return true
		}
	}
	return false
}
