package mapfile

import (
	"cmp"
	"slices"
)

// Report is what a person wants to know of files before they go out.
type Report struct {
	Files []Info
	Maps  []MapCount // by name
	// Idle counts the lines that have no effect, those that say the same again apart. Examples are the first of them.
	Idle     int
	Examples []Idle
}

// MapCount is how many networks a map has.
type MapCount struct {
	Name     string
	Networks int
}

// Idle is a line without effect.
type Idle struct {
	File    string
	Line    int
	Network string
	Why     string
}

// maxIdle is how many examples a report has.
const maxIdle = 10

// Check reads files as Open does, and reports on them.
func Check(files ...string) (*Report, error) {
	var contents []*content
	for _, file := range files {
		c, err := readFile(file)
		if err != nil {
			return nil, err
		}
		contents = append(contents, c)
	}
	f, err := join(contents)
	if err != nil {
		return nil, err
	}
	r := &reporter{Report: Report{Files: f.infos}, contents: contents}
	for id, name := range f.names[1:] {
		r.Maps = append(r.Maps, MapCount{name, f.counts[id+1]})
	}
	slices.SortFunc(r.Maps, func(a, b MapCount) int { return cmp.Compare(a.Name, b.Name) })
	r.repeated()
	for _, v4 := range []bool{true, false} {
		s := sweep{v4: v4, ended: r.ended}
		s.over(f.of(v4))
	}
	slices.SortStableFunc(r.idle, func(a, b at) int { return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line)) })
	r.Idle = len(r.idle)
	for _, i := range r.idle[:min(len(r.idle), maxIdle)] {
		r.Examples = append(r.Examples, Idle{contents[i.file].info.File, int(i.line), i.prefix().String(), i.why})
	}
	return &r.Report, nil
}

// reporter finds lines without effect.
type reporter struct {
	Report
	contents []*content
	idle     []at
}

// at is where a network stands, and why it has no effect.
type at struct {
	network
	file int
	why  string
}

// repeated finds networks that a file before has.
func (r *reporter) repeated() {
	for file := 1; file < len(r.contents); file++ {
		for _, n := range r.contents[file].nets {
			if first, _ := r.first(&n); first < file {
				r.idle = append(r.idle, at{n, file, "it stands in " + r.contents[first].info.File + ", which comes first"})
			}
		}
	}
}

// ended looks at a network when the sweep leaves it.
func (r *reporter) ended(n *network, within uint16, own bool) {
	why := ""
	switch {
	case !own:
		why = "longer networks hold all of its addresses"
	case n.name == within && within == 0:
		why = "there is nothing around it to cut a hole into"
	case n.name == within:
		why = "the network around it is of the same map"
	default:
		return
	}
	file, line := r.first(n)
	found := *n
	found.line = line
	r.idle = append(r.idle, at{found, file, why})
}

// first gives the first file that has a network, and the line.
func (r *reporter) first(n *network) (file int, line uint32) {
	for file, c := range r.contents {
		i, ok := slices.BinarySearchFunc(c.nets, *n, func(a, b network) int { return compareNetworks(&a, &b) })
		if ok {
			return file, c.nets[i].line
		}
	}
	return len(r.contents), 0
}
