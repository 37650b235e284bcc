package table

import (
	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/prefetch"
)

// Path is what a query will be answered from, as far as it was followed before the query's turn. A worker that has many queries
// at hand follows all of them one step each, then the next; each step prefetches what the next one reads, so what the queries
// read comes from memory at the same time instead of one wait after the other. Nothing else comes of it: an answer is the same
// whether its path was followed or not.
//
// The steps are the methods from Begin to Pool, in the order in which they stand here. A step does nothing where the one before led
// nowhere.
type Path struct {
	Zone    *Zone // nil: there is none
	Match   Match // of the whole name, if Found
	Class   Class // if Placed
	Found   bool
	Placed  bool
	service *Service // that stands at the name, unless it is pending
	node    *node    // of a name that is not steered
	part    *geo.Partition
	search  geo.Search
}

// Begin finds the zone of a query, and fills h.
func (p *Path) Begin(v *View, q *dnswire.Query, h *Hashes) {
	if p.Zone = v.Find(q, h); p.Zone != nil {
		p.Zone.names.prefetch(h[0])
	}
}

// Name finds the name.
func (p *Path) Name(v *View, q *dnswire.Query, h *Hashes) {
	if p.Zone == nil {
		return
	}
	l := p.Zone.names.find(q.Name[:q.NameLen], h[0])
	if l == nil {
		return
	}
	if p.Match = (Match{Exact, l.value, l.service, 0}); l.service != 0 {
		p.service = v.services.ref(l.service - 1)
		prefetch.Uint32(&p.service.TTL)
		return
	}
	p.node = &p.Zone.nodes[l.value]
	prefetch.Uint32(&p.node.first)
}

// Near goes to the service's partition, or to the name's first set, where it is a name that just stands in the zone: not cut off,
// and no debugging name.
func (p *Path) Near(v *View, c *Client) {
	if s := p.service; s != nil {
		p.Found = true
		if s.Pending || len(s.refs) == 0 {
			p.service = nil
			return
		}
		prefetch.Uint32(&s.refs[0].draw)
		at := asker(c)
		p.part = v.parts[s.part]
		p.search.Begin(p.part, at.Hi, at.V4)
		return
	}
	if n := p.node; n != nil && n.kind == plain && n.cut == 0 && n.service == 0 && n.count > 0 {
		p.Found = true
		prefetch.Uint32(&p.Zone.sets[n.first].off)
	} else {
		p.node = nil
	}
}

// Cell comes closer to the client's place, or goes to the set's records.
func (p *Path) Cell(c *Client) {
	if p.service != nil {
		at := asker(c)
		p.search.Cell(p.part, at.Hi, at.Lo, at.V4)
	} else if p.node != nil {
		if at := p.Zone.sets[p.node.first].off; int(at) < len(p.Zone.data) {
			prefetch.Byte(&p.Zone.data[at])
		}
	}
}

// Value comes still closer to the client's place.
func (p *Path) Value(c *Client) {
	if p.service != nil {
		at := asker(c)
		p.search.Value(p.part, at.Hi, at.Lo, at.V4)
	}
}

// Place classifies the client, and goes to the pool that comes first for its class.
func (p *Path) Place(v *View, c *Client) {
	s := p.service
	if s == nil {
		return
	}
	p.Placed = true
	if n := &c.Subnet; c.Has {
		p.Class.Resolver = false
		p.Class.Index, p.Class.Scope = p.search.Result(p.part, n.Hi, n.Lo, n.V4)
	}
	if !c.Has || p.Class.Index == specialClass {
		p.Class = v.Classify(s, c)
	}
	if d := v.first(s, p.Class); d != nil {
		prefetch.Uint64(&d.id)
	}
}

// Pool goes on to that pool's records.
func (p *Path) Pool(v *View, qtype uint16) {
	if !p.Placed {
		return
	}
	d := v.first(p.service, p.Class)
	f, ok := p.service.FamilyOf(qtype)
	if d == nil || !ok {
		return
	}
	if live := d.fams[f].live; live != nil {
		prefetch.Uint32(&live.sets[0].cut)
		prefetch.Byte(&live.data[0])
	}
}

// first gives the draw that comes first for a class, nil where the class has none.
func (v *View) first(s *Service, class Class) *Draw {
	at, _ := s.rule(s.ruleFor(class))
	if at >= len(s.refs) {
		return nil
	}
	return v.draws.at(s.refs[at].draw)
}

// asker gives the address that the client's place is looked up for.
func asker(c *Client) *Net {
	if c.Has {
		return &c.Subnet
	}
	return &c.Resolver
}

// ClassFor gives the client's class for s, if it is known.
func (p *Path) ClassFor(s *Service) (Class, bool) { return p.Class, p.Placed && p.service == s }
