package geo

import (
	"fmt"
	"slices"
	"strings"
)

// Classifier divides places into classes, from 0 on.
type Classifier struct {
	Classes int      // how many there are; a Class that finds them on its way counts them here
	Maps    []string // the names of the maps that Class asks for, each once
	// Points says that Class asks where places are. Without it they come without coordinates of their own, so that those who
	// need none pay nothing for how finely coordinates divide the addresses.
	Points bool
	// Class gives the class of a place, or Classes where it has none. It is called for each place, and each set of maps that hold one,
	// and not for each network. It must give the same each time. One more than Classes is SpecialClass: the resolver's address decides.
	//
	// Place.Latency is nil unless Latency is set.
	Class func(p Place, in Hits) int
	// Latency tells that Class asks for the latency of places. Without it, a latency table makes no difference.
	Latency bool
	// Apart: by the resolver's address another classifier decides, which makes something of what this one takes for the same.
	Apart bool
}

// Hits tells which of a Classifier's maps hold an address. The zero Hits tells of none.
type Hits struct {
	members bitset
	maps    []int // of Classifier.Maps, the indexes in the list of all
}

// Has reports whether the map of that index in Classifier.Maps does.
func (h Hits) Has(i int) bool { return i < len(h.maps) && h.members.has(h.maps[i]) }

const (
	// NoClass is the class of addresses that have none.
	NoClass = 0xFFFF
	// SpecialClass is the class of addresses in a special-purpose block (RFC 6890: private, loopback,
	// link-local and the like) that no map covers. The resolver's address decides then, but the scope is this one's.
	SpecialClass = 0xFFFE
	// maxClasses leaves room for the ids of no class and of the special-purpose blocks in 15 bits; see values.
	maxClasses = 32_000
)

// Compile divides the address space by the classes of the places in it. Inside maps, which
// come before the atlas, the longest network that sets a place decides the place, and the longest that
// sets an ASN decides that; of equal networks, the first map's.
//
// A special-purpose block is lifted (looked up like any other) where a map covers it that c asks for
// or that sets a place or an ASN. Other maps have no effect at all.
//
// The first call for a list of maps divides the addresses by atlas and maps, which takes longer than the rest; the atlas keeps
// that for the next call with equal maps. The networks of maps must not be changed any more. Compile is safe for concurrent use.
func Compile(a *Atlas, maps []Map, c *Classifier) (*Partition, error) {
	if err := checkMaps(maps); err != nil {
		return nil, err
	}
	d, err := newDivider(c, maps)
	if err != nil {
		return nil, err
	}
	s, err := a.shapeOf(maps, asked{points: c.Points, latency: c.Latency})
	if err != nil {
		return nil, err
	}
	unknown := d.id(Place{}, nil)
	classes := d.classify(s)
	if c.Classes > maxClasses {
		return nil, fmt.Errorf("the rules of one service divide the world into %d classes; at most %d are possible", c.Classes, maxClasses)
	}
	if !c.Apart && d.indifferent(classes, unknown) {
		// then it makes no difference either whose address a special-purpose block is decided by: scope 0
		for i := range classes {
			classes[i] = unknown
		}
	}
	p := newPartition(s, classes, c.Classes)
	p.special = p.class(uint32(unknown))
	return p, nil
}

// newPartition makes a partition of a shape, given the ids of its atoms' classes.
func newPartition(s *shape, classes []uint16, count int) *Partition {
	p := &Partition{shape: s, count: uint16(count), classes: classes}
	named := s.takeNamed(classes)
	if count+1+len(specialBlocks) <= smallIDs {
		p.v4.small, p.v6.small = valuesOf[uint16](&s.v4, classes, named), valuesOf[uint16](&s.v6, classes, named)
	} else {
		p.v4.large, p.v6.large = valuesOf[uint32](&s.v4, classes, named), valuesOf[uint32](&s.v6, classes, named)
	}
	s.named.Put(named)
	p.top, p.answers = topOf(&s.v4, &p.v4)
	return p
}

// asked is what a classifier asks of places, beside geography and ASN.
type asked struct{ points, latency bool }

// shapeOf gives the shape for a list of maps and for what is asked, and keeps it for the next call. What nothing is known of makes no
// shape of its own.
func (a *Atlas) shapeOf(maps []Map, ask asked) (*shape, error) {
	ask.points = ask.points && hasPoints(a.places, maps)
	ask.latency = ask.latency && a.joint != nil
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.shapes[ask]; s != nil && SameMaps(s.maps, maps) {
		return s, nil
	}
	s, err := newShape(a, maps, ask)
	if err == nil {
		if a.shapes == nil {
			a.shapes = map[asked]*shape{}
		}
		a.shapes[ask] = s
	}
	return s, err
}

// hasPoints reports whether any place has coordinates of its own.
func hasPoints(places []Place, maps []Map) bool {
	return slices.ContainsFunc(places, func(p Place) bool { return p.At.Known() }) ||
		slices.ContainsFunc(maps, func(m Map) bool { return m.Place != nil && m.Place.At.Known() })
}

// divider is a Classifier made ready for a list of maps.
type divider struct {
	*Classifier
	maps  []int  // of Classifier.Maps, the indexes in the list
	named bitset // the same
}

func newDivider(c *Classifier, maps []Map) (*divider, error) {
	d := &divider{Classifier: c}
	byName := make(map[string]int, len(maps))
	for i, m := range maps {
		if _, twice := byName[m.Name]; twice {
			return nil, fmt.Errorf("two maps have the name %q", m.Name)
		}
		byName[m.Name] = i
	}
	for _, name := range c.Maps {
		i, ok := byName[name]
		if !ok {
			return nil, unknownMap(name, maps)
		}
		d.named = d.named.with(i)
		d.maps = append(d.maps, i)
	}
	return d, nil
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
func (d *divider) classify(s *shape) []uint16 {
	ids := make([]uint16, len(s.atoms))
	var special []int // their ids stand behind those of all classes
	for i := range s.atoms {
		a := &s.atoms[i]
		if members := s.members[a.members]; a.special != 0 && !members.meets(d.named) {
			special = append(special, i)
		} else {
			ids[i] = d.id(s.place(a), members)
		}
	}
	for _, i := range special {
		ids[i] = uint16(d.Classes) + uint16(s.atoms[i].special)
	}
	return ids
}

// indifferent reports whether all ids, those of special-purpose blocks apart, are the same one.
func (d *divider) indifferent(ids []uint16, id uint16) bool {
	return !slices.ContainsFunc(ids, func(i uint16) bool { return i != id && int(i) <= d.Classes })
}

// id gives the class of a place, or behind them the id of none.
func (d *divider) id(p Place, members bitset) uint16 {
	return uint16(d.Class(p, Hits{members, d.maps}))
}

// Matcher is the condition of one rule. Each field that is not empty must match, which it does if one of
// its values does. The zero Matcher matches everyone.
type Matcher struct {
	Geo  []Place  // ASNs in them are ignored
	ASN  []uint32 // autonomous system numbers
	Maps []string // names of maps
	// Resolver names maps of resolvers' addresses. It matches nobody whose own network is known.
	Resolver []string
}

// Conditions are Matchers made ready to be asked of many places. Safe for concurrent use.
type Conditions struct {
	Maps  []string // the names of the maps that they ask for, each once: what a Classifier wants
	ready []matcher
	apart bool // some are of resolvers, and never met
}

// NewConditions makes matchers ready for the networks of clients.
func NewConditions(matchers []Matcher) *Conditions { return conditionsOf(matchers, false) }

func conditionsOf(matchers []Matcher, resolver bool) *Conditions {
	c := &Conditions{ready: make([]matcher, len(matchers))}
	index := func(name string) int {
		at := slices.Index(c.Maps, name)
		if at < 0 {
			at = len(c.Maps)
			c.Maps = append(c.Maps, name)
		}
		return at
	}
	for i, m := range matchers {
		if !resolver && len(m.Resolver) > 0 {
			c.ready[i].never, c.apart = true, true // and its maps are not asked for
			continue
		}
		r := matcher{Matcher: m, asns: make(map[uint32]bool, len(m.ASN))}
		for _, asn := range m.ASN {
			r.asns[asn] = true
		}
		for _, name := range m.Maps {
			r.maps = append(r.maps, index(name))
		}
		for _, name := range m.Resolver {
			r.resolver = append(r.resolver, index(name))
		}
		c.ready[i] = r
	}
	return c
}

// Met reports whether a place meets the condition of that index. in tells of Maps.
func (c *Conditions) Met(i int, p Place, in Hits) bool { return c.ready[i].matches(p, in) }

// FirstOf classifies the networks of clients by the index of the first matcher that matches.
func FirstOf(matchers []Matcher) *Classifier { return conditionsOf(matchers, false).first() }

// FirstOfResolver is FirstOf for the addresses of resolvers, where the client's network is not known.
func FirstOfResolver(matchers []Matcher) *Classifier { return conditionsOf(matchers, true).first() }

// ByResolver has the resolver's address decide in any case.
func ByResolver() *Classifier { return &Classifier{Class: func(Place, Hits) int { return 1 }} }

func (c *Conditions) first() *Classifier {
	return &Classifier{Classes: len(c.ready), Maps: c.Maps, Apart: c.apart, Class: func(p Place, in Hits) int {
		for i := range c.ready {
			if c.ready[i].matches(p, in) {
				return i
			}
		}
		return len(c.ready)
	}}
}

// matcher is a Matcher made ready.
type matcher struct {
	Matcher
	asns map[uint32]bool
	// of Classifier.Maps
	maps, resolver []int
	never          bool
}

func (m *matcher) matches(p Place, in Hits) bool {
	return !m.never && (len(m.Geo) == 0 || slices.ContainsFunc(m.Geo, p.In)) &&
		(len(m.asns) == 0 || m.asns[p.ASN]) &&
		(len(m.maps) == 0 || slices.ContainsFunc(m.maps, in.Has)) &&
		(len(m.resolver) == 0 || slices.ContainsFunc(m.resolver, in.Has))
}
