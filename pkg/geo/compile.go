package geo

import (
	"fmt"
	"slices"
	"strings"
)

// Matcher is the condition of one rule. Each field that is not empty must match, which it does if one of
// its values does. The zero Matcher matches everyone.
type Matcher struct {
	Geo  []Place  // ASNs in them are ignored
	ASN  []uint32 // autonomous system numbers
	Maps []string // names of maps
}

const (
	// NoClass is the class of addresses that no matcher matches.
	NoClass = 0xFFFF
	// SpecialClass is the class of addresses in a special-purpose block (RFC 6890: private, loopback,
	// link-local and the like) that no map covers. The resolver's address decides then, but the scope is this one's.
	SpecialClass = 0xFFFE
	// maxMatchers is how many classes 16 bits can tell beside those two.
	maxMatchers = SpecialClass
	// specialID + the index of a block is the run id of that block: neighbouring blocks stay apart.
	specialID = 1 << 16
)

// Compile divides the address space by the first of matchers that an address meets. Inside maps, which
// come before the atlas, the longest network that sets a place decides the place, and the longest that
// sets an ASN decides that; of equal networks, the first map's.
//
// A special-purpose block is lifted (looked up like any other) where a map covers it that a matcher names
// or that sets a place or an ASN. Other maps have no effect at all.
func Compile(a *Atlas, maps []Map, matchers []Matcher) (*Partition, error) {
	if len(matchers) > maxMatchers {
		return nil, fmt.Errorf("%d rules in one service; at most %d are possible", len(matchers), maxMatchers)
	}
	if err := checkMaps(maps); err != nil {
		return nil, err
	}
	c, err := newClassifier(a.places, maps, matchers)
	if err != nil {
		return nil, err
	}
	p := &Partition{special: c.class(Place{}, nil)}
	v4, v6 := c.divide(a.v4, true), c.divide(a.v6, false)
	if indifferent(uint32(p.special), v4, v6) {
		// then it makes no difference either whose address a special-purpose block is decided by: scope 0
		v4, v6 = newRuns(true, 1), newRuns(false, 1)
		v4.add(u128{}, uint32(p.special))
		v6.add(u128{}, uint32(p.special))
	}
	p.v4.build(v4)
	p.v6.build(v6)
	return p, nil
}

// indifferent tells whether all runs, special-purpose blocks apart, have one class.
func indifferent(class uint32, families ...*runs) bool {
	for _, r := range families {
		for _, id := range r.id {
			if id < specialID && id != class {
				return false
			}
		}
	}
	return true
}

// classifier evaluates matchers.
type classifier struct {
	places   []Place
	maps     []Map
	matchers []matcher
	named    []bool   // by map: a matcher asks for it
	plain    []uint16 // class of each place outside of maps
}

// matcher is a Matcher made ready.
type matcher struct {
	Matcher
	asns map[uint32]bool
	maps []int // indexes of Maps
}

func newClassifier(places []Place, maps []Map, matchers []Matcher) (*classifier, error) {
	c := &classifier{places: places, maps: maps, named: make([]bool, len(maps))}
	byName := make(map[string]int, len(maps))
	for i, m := range maps {
		if _, twice := byName[m.Name]; twice {
			return nil, fmt.Errorf("two maps have the name %q", m.Name)
		}
		byName[m.Name] = i
	}
	for _, m := range matchers {
		compiled := matcher{Matcher: m, asns: make(map[uint32]bool, len(m.ASN))}
		for _, asn := range m.ASN {
			compiled.asns[asn] = true
		}
		for _, name := range m.Maps {
			i, ok := byName[name]
			if !ok {
				return nil, unknownMap(name, maps)
			}
			c.named[i] = true
			compiled.maps = append(compiled.maps, i)
		}
		c.matchers = append(c.matchers, compiled)
	}
	c.plain = make([]uint16, len(places))
	for i, p := range places {
		c.plain[i] = c.class(p, nil)
	}
	return c, nil
}

func unknownMap(name string, maps []Map) error {
	names := make([]string, len(maps))
	for i, m := range maps {
		names[i] = m.Name
	}
	slices.Sort(names)
	if len(names) == 0 {
		return fmt.Errorf("there is no map %q; declare it", name)
	}
	return fmt.Errorf("there is no map %q; the maps are %s", name, strings.Join(names, ", "))
}

// class gives the first matcher that matches.
func (c *classifier) class(p Place, members bitset) uint16 {
	for i := range c.matchers {
		if c.matchers[i].matches(p, members) {
			return uint16(i)
		}
	}
	return NoClass
}

func (m *matcher) matches(p Place, members bitset) bool {
	return (len(m.Geo) == 0 || slices.ContainsFunc(m.Geo, p.In)) &&
		(len(m.asns) == 0 || m.asns[p.ASN]) &&
		(len(m.maps) == 0 || slices.ContainsFunc(m.maps, members.has))
}

// divide goes through the runs of the atlas and of the overlay in step and gives runs of classes.
func (c *classifier) divide(atoms *runs, v4 bool) *runs {
	o := newOverlay(c.maps, c.named, v4)
	out := newRuns(v4, 1024)
	seen := map[uint64]uint32{} // layer << 32 | place → run id
	i := 0                      // the atom that holds the start of the overlay's run j
	for j := range o.len() {
		start, stop := o.start(j), atoms.len()
		if j+1 < o.len() {
			stop = atoms.firstFrom(o.start(j+1), i)
		}
		if o.id[j] == 0 {
			c.plainRuns(out, atoms, i, stop, start)
		} else {
			for k := i; k < stop; k++ {
				out.add(start, c.layerID(o, o.id[j], atoms.id[k], seen))
				if k+1 < stop {
					start = atoms.start(k + 1)
				}
			}
		}
		if i = stop; j+1 < o.len() && (i == atoms.len() || o.start(j+1).less(atoms.start(i))) {
			i--
		}
	}
	return out
}

// plainRuns appends the classes of the atoms i to stop-1, the first of which counts from start, where no
// map has a say. It is the one loop that sees every atom.
func (c *classifier) plainRuns(out, atoms *runs, i, stop int, start u128) {
	class := c.plain[atoms.id[i]]
	out.add(start, uint32(class))
	for i++; i < stop; i++ {
		if next := c.plain[atoms.id[i]]; next != class {
			out.add(atoms.start(i), uint32(next))
			class = next
		}
	}
}

// layerID gives the run id of a place under a layer.
func (c *classifier) layerID(o *overlay, at, place uint32, seen map[uint64]uint32) uint32 {
	l := o.layers[at]
	if l.special != 0 {
		return specialID + uint32(l.special)
	}
	key := uint64(at)<<32 | uint64(place)
	id, ok := seen[key]
	if !ok {
		id = uint32(c.class(overlaid(c.places[place], c.maps, l.place, l.asn), o.members[l.members]))
		seen[key] = id
	}
	return id
}

// overlaid is a place as the maps correct it; place and asn are one more than an index, or zero.
func overlaid(p Place, maps []Map, place, asn int32) Place {
	if place != 0 {
		p.Continent, p.Country, p.Subdivision = maps[place-1].Place.Continent, maps[place-1].Place.Country, maps[place-1].Place.Subdivision
	}
	if asn != 0 {
		p.ASN = maps[asn-1].ASN
	}
	return p
}
