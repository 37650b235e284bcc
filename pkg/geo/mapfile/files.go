package mapfile

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"

	"github.com/gti/gtm/pkg/geo/stamp"
)

// Files is what some files hold together.
type Files struct {
	v4, v6 list
	names  []string // the first is that of holes
	ids    map[string]uint16
	counts []int // of networks, by name
	infos  []Info

	seen    []stamp.Stamp // what the files looked like before they were read; for Watch
	instead bool          // something stands in the place of a file that could not be used
}

// Info describes one file.
type Info struct {
	File     string // as given to Open
	Lines    int
	Networks int    // each counted once
	Repeated int    // lines that say again what another one says
	Names    int    // of maps
	SHA256   string // hexadecimal
}

// Open reads files. The error tells the first faults, with file and line.
func Open(files ...string) (*Files, error) {
	var contents []*content
	var seen []stamp.Stamp
	for _, file := range files {
		seen = append(seen, stamp.Of(file))
		c, err := readFile(file)
		if err != nil {
			return nil, err
		}
		contents = append(contents, c)
	}
	f, err := join(contents)
	if err == nil {
		f.seen = seen
	}
	return f, err
}

// join puts the contents of files together: of equal networks, that of the first file counts.
func join(contents []*content) (*Files, error) {
	f := &Files{v4: list{v4: true}, names: []string{hole}, ids: map[string]uint16{hole: 0}}
	var all []network
	for i, c := range contents {
		f.infos = append(f.infos, c.info)
		renamed := make([]uint16, len(c.names))
		for k, name := range c.names {
			id, known := f.ids[name]
			if !known {
				id = uint16(len(f.names))
				f.names = append(f.names, name)
				f.ids[name] = id
			}
			renamed[k] = id
		}
		if len(f.names)-1 > MaxNames {
			return nil, fmt.Errorf("map file %s: with those before it there are more than %d names", c.info.File, MaxNames)
		}
		if len(contents) == 1 { // as it is: the names are the same
			all = c.nets
			break
		}
		for _, n := range c.nets {
			n.line, n.name = uint32(i), renamed[n.name]
			all = append(all, n)
		}
	}
	if len(contents) > 1 {
		order(all)
	}
	f.counts = make([]int, len(f.names))
	f.fill(all)
	if n := f.Len(); n > MaxNetworks {
		return nil, fmt.Errorf("map files: they have %d networks together, and may have %d", n, MaxNetworks)
	}
	return f, nil
}

// fill packs networks, which are in order, the first of equal ones alone.
func (f *Files) fill(all []network) {
	last := network{}
	for i := range all {
		n := &all[i]
		if i > 0 && n.equals(&all[i-1]) {
			continue
		}
		l := f.of(n.v4)
		if l.n == 0 {
			last = network{v4: n.v4}
		}
		l.append(&last, n)
		f.counts[n.name]++
		last = *n
	}
	f.v4.data, f.v6.data = slices.Clip(f.v4.data), slices.Clip(f.v6.data)
}

func (f *Files) of(v4 bool) *list {
	if v4 {
		return &f.v4
	}
	return &f.v6
}

// Info describes the files, in the order of Open.
func (f *Files) Info() []Info { return slices.Clone(f.infos) }

// Len gives how many networks there are.
func (f *Files) Len() int { return f.v4.n + f.v6.n }

// Names lists the names of maps, in an order that stays. Run gives indexes into it.
func (f *Files) Names() []string { return f.names[1:] }

// Networks gives how many networks a map has.
func (f *Files) Networks(name string) int {
	if id := f.ids[name]; id != 0 {
		return f.counts[id]
	}
	return 0
}

// Runs divides the addresses of a family: each run begins at an address, and all up to the next belong to the map whose name is given
// by its index in Names, or to none (-1). The first run begins at the first address. Neighbours may have the same map.
func (f *Files) Runs(v4 bool) iter.Seq2[netip.Addr, int] {
	return func(yield func(netip.Addr, int) bool) {
		s := sweep{v4: v4, run: func(start address, name uint16) bool { return yield(start.netip(v4), int(name)-1) }}
		s.over(f.of(v4))
	}
}
