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
	// maxMatchers leaves room for the ids of no class and of the special-purpose blocks in 15 bits; see values.
	maxMatchers = 32_000
)

// Compile divides the address space by the first of matchers that an address meets. Inside maps, which
// come before the atlas, the longest network that sets a place decides the place, and the longest that
// sets an ASN decides that; of equal networks, the first map's.
//
// A special-purpose block is lifted (looked up like any other) where a map covers it that a matcher names
// or that sets a place or an ASN. Other maps have no effect at all.
//
// The first call for a list of maps divides the addresses by atlas and maps, which takes longer than the rest; the atlas keeps
// that for the next call with equal maps. The networks of maps must not be changed any more. Compile is safe for concurrent use.
func Compile(a *Atlas, maps []Map, matchers []Matcher) (*Partition, error) {
	if len(matchers) > maxMatchers {
		return nil, fmt.Errorf("%d rules in one service; at most %d are possible", len(matchers), maxMatchers)
	}
	if err := checkMaps(maps); err != nil {
		return nil, err
	}
	c, err := newClassifier(maps, matchers)
	if err != nil {
		return nil, err
	}
	s, err := a.shapeOf(maps)
	if err != nil {
		return nil, err
	}
	classes, unknown := c.classify(s), c.id(Place{}, nil)
	if c.indifferent(classes, unknown) {
		// then it makes no difference either whose address a special-purpose block is decided by: scope 0
		for i := range classes {
			classes[i] = unknown
		}
	}
	p := newPartition(s, classes, len(matchers))
	p.special = p.class(uint32(unknown))
	return p, nil
}

// newPartition makes a partition of a shape, given the ids of its atoms' classes.
func newPartition(s *shape, classes []uint16, rules int) *Partition {
	p := &Partition{shape: s, rules: uint16(rules), classes: classes}
	named := s.takeNamed(classes)
	if rules+1+len(specialBlocks) <= smallIDs {
		p.v4.small, p.v6.small = valuesOf[uint16](&s.v4, classes, named), valuesOf[uint16](&s.v6, classes, named)
	} else {
		p.v4.large, p.v6.large = valuesOf[uint32](&s.v4, classes, named), valuesOf[uint32](&s.v6, classes, named)
	}
	s.named.Put(named)
	p.top, p.answers = topOf(&s.v4, &p.v4)
	return p
}

// shapeOf gives the shape for a list of maps, and keeps it for the next call.
func (a *Atlas) shapeOf(maps []Map) (*shape, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.shape != nil && sameMaps(a.shape.maps, maps) {
		return a.shape, nil
	}
	s, err := newShape(a, maps)
	if err == nil {
		a.shape = s
	}
	return s, err
}

// classifier evaluates matchers.
type classifier struct {
	matchers []matcher
	named    bitset // indexes of the maps that a matcher asks for
}

// matcher is a Matcher made ready.
type matcher struct {
	Matcher
	asns map[uint32]bool
	maps []int // indexes of Maps
}

func newClassifier(maps []Map, matchers []Matcher) (*classifier, error) {
	c := &classifier{}
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
			c.named = c.named.with(i)
			compiled.maps = append(compiled.maps, i)
		}
		c.matchers = append(c.matchers, compiled)
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

// classify gives the ids of a shape's atoms.
func (c *classifier) classify(s *shape) []uint16 {
	ids := make([]uint16, len(s.atoms))
	for i := range s.atoms {
		a := &s.atoms[i]
		members := s.members[a.members]
		if a.special != 0 && !members.meets(c.named) {
			ids[i] = uint16(len(c.matchers)) + uint16(a.special)
		} else {
			ids[i] = c.id(a.place, members)
		}
	}
	return ids
}

// indifferent tells whether all ids, those of special-purpose blocks apart, are the same one.
func (c *classifier) indifferent(ids []uint16, id uint16) bool {
	return !slices.ContainsFunc(ids, func(i uint16) bool { return i != id && int(i) <= len(c.matchers) })
}

// id gives the first matcher that matches, or else the number of matchers.
func (c *classifier) id(p Place, members bitset) uint16 {
	for i := range c.matchers {
		if c.matchers[i].matches(p, members) {
			return uint16(i)
		}
	}
	return uint16(len(c.matchers))
}

func (m *matcher) matches(p Place, members bitset) bool {
	return (len(m.Geo) == 0 || slices.ContainsFunc(m.Geo, p.In)) &&
		(len(m.asns) == 0 || m.asns[p.ASN]) &&
		(len(m.maps) == 0 || slices.ContainsFunc(m.maps, members.has))
}
