package geo

import "slices"

// Matcher is the condition of one rule. Each field that is not empty must match, which it does if one of
// its values does. The zero Matcher matches everyone.
type Matcher struct {
	Geo  []Place  // ASNs in them are ignored
	ASN  []uint32 // autonomous system numbers
	Maps []string // names of maps
}

// FirstOf classifies by the index of the first matcher that matches.
func FirstOf(matchers []Matcher) *Classifier {
	c := &Classifier{Classes: len(matchers)}
	ready := make([]matcher, len(matchers))
	for i, m := range matchers {
		ready[i] = matcher{Matcher: m, asns: make(map[uint32]bool, len(m.ASN))}
		for _, asn := range m.ASN {
			ready[i].asns[asn] = true
		}
		for _, name := range m.Maps {
			at := slices.Index(c.Maps, name)
			if at < 0 {
				at = len(c.Maps)
				c.Maps = append(c.Maps, name)
			}
			ready[i].maps = append(ready[i].maps, at)
		}
	}
	c.Class = func(p Place, in Hits) int {
		for i := range ready {
			if ready[i].matches(p, in) {
				return i
			}
		}
		return len(ready)
	}
	return c
}

// matcher is a Matcher made ready.
type matcher struct {
	Matcher
	asns map[uint32]bool
	maps []int // of Classifier.Maps
}

func (m *matcher) matches(p Place, in Hits) bool {
	return (len(m.Geo) == 0 || slices.ContainsFunc(m.Geo, p.In)) &&
		(len(m.asns) == 0 || m.asns[p.ASN]) &&
		(len(m.maps) == 0 || slices.ContainsFunc(m.maps, in.Has))
}
