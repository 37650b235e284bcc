package draws

import (
	"slices"

	"github.com/gti/gtm/pkg/table/rr"
)

// Split is how clients draw from several pools at once, by the health of today: the sets of all of them stand in one alias table, so
// that it costs what one pool does. It is immutable once made.
type Split struct {
	fams [rr.Families]*parts
}

// Part is what a Split has of one pool.
type Part struct {
	Draw  *Draw
	Share float64  // of all draws; whatever they add up to is all
	Path  []uint16 // for whoever made the Split
	first int      // of its sets, in the table
}

// parts are a Split in one family.
type parts struct {
	Picks
	ttl  uint32
	list []Part
}

// MaxSplit bounds how many sets a Split has in a family: what is larger is drawn in steps.
const MaxSplit = 64

// Put adds a family, in which an answer from any of the pools has ttl seconds at most. false: its pools cannot be drawn from at once, since
// one is sticky, or they have too many sets. Each of list has something to give. list belongs to the Split from then on, if it is put.
func (s *Split) Put(f rr.Family, ttl uint32, list []Part) bool {
	sets := 0
	for i := range list {
		p := list[i].Draw.From(f, false)
		if sets += len(p.sets); p.Sticky() || sets > MaxSplit {
			return false
		}
	}
	m := &parts{ttl: ttl, list: list, Picks: Picks{sets: make([]span, 0, sets)}}
	weights := make([]float64, 0, sets)
	for i := range list {
		p := list[i].Draw.From(f, false)
		list[i].first = len(m.sets)
		for set, share := range p.Shares() {
			weights = append(weights, share*list[i].Share)
			at := p.sets[set]
			at.off = uint32(len(m.data))
			m.data = append(m.data, p.data[p.sets[set].off:][:at.size]...)
			m.sets = append(m.sets, at)
		}
	}
	m.data = slices.Clip(m.data)
	alias(m.sets, weights)
	s.fams[f] = m
	return true
}

// Sets gives how many there are, in all families: what a Split takes of memory, and time to make, is in proportion to it.
func (s *Split) Sets() (n int) {
	for _, m := range s.fams {
		if m != nil {
			n += len(m.sets)
		}
	}
	return n
}

// From gives what is drawn from in a family, and how many seconds an answer has at most; nil: it is drawn in steps, or there is nothing.
func (s *Split) From(f rr.Family) (p *Picks, ttl uint32) {
	if m := s.fams[f]; m != nil {
		return &m.Picks, m.ttl
	}
	return nil, 0
}

// Part gives which pool a set of a family belongs to, and which of its sets it is. The Split has that family.
func (s *Split) Part(f rr.Family, set int) (p *Part, of int) {
	list := s.fams[f].list
	i := len(list) - 1
	for list[i].first > set {
		i--
	}
	return &list[i], set - list[i].first
}
