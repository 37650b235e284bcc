package table

import "github.com/gti/gtm/pkg/dnswire"

// Path is what a query will be answered from, as far as it was followed before the query's turn. A worker that has many queries
// at hand follows all of them one step each, then the next, so that what they read comes from memory at the same time instead
// of one wait after the other. Nothing else comes of it: an answer is the same whether its path was followed or not.
//
// Each step but Begin follows where the one before came to, and does nothing where that was nowhere. What steps return means
// nothing; a sum of it, kept, makes sure that what they read is not optimized away.
type Path struct {
	Zone    *Zone // nil: there is none
	Match   Match // of the whole name, if Found
	Class   Class // if Placed
	Found   bool
	Placed  bool
	service *Service
}

// Begin finds the zone of a query, and fills h.
func (p *Path) Begin(v *View, q *dnswire.Query, h *Hashes) uint32 {
	p.Found, p.Placed, p.service = false, false, nil
	if p.Zone = v.Find(q, h); p.Zone == nil {
		return 0
	}
	return p.Zone.names.touch(h[0])
}

// Name finds the name, where it is one that just stands in the zone: not cut off, and no debugging name.
func (p *Path) Name(v *View, q *dnswire.Query, h *Hashes) uint32 {
	if p.Zone == nil {
		return 0
	}
	l := p.Zone.names.find(q.Name[:q.NameLen], h[0])
	if l == nil {
		return 0
	}
	if l.service != 0 {
		p.Match, p.Found = Match{Exact, l.value, l.service, 0}, true
		p.service = v.services.at(l.service - 1)
		return p.service.TTL
	}
	n := &p.Zone.nodes[l.value]
	if n.kind != plain || n.cut != 0 || n.service != 0 || n.count == 0 {
		return 0
	}
	p.Match, p.Found = Match{Kind: Exact, Node: l.value}, true
	return uint32(p.Zone.data[p.Zone.sets[n.first].off])
}

// Place classifies the client, where the name is steered.
func (p *Path) Place(v *View, c *Client) uint32 {
	s := p.service
	if s == nil || s.Pending {
		return 0
	}
	p.Class, p.Placed = v.Classify(s, c), true
	return s.refs[0].draw + uint32(s.index[0])
}

// ClassFor gives the client's class for s, if it is known.
func (p *Path) ClassFor(s *Service) (Class, bool) { return p.Class, p.Placed && p.service == s }

// Pool goes on to the records of the pool that comes first for the client's class.
func (p *Path) Pool(v *View, qtype uint16) uint32 {
	if !p.Placed {
		return 0
	}
	s := p.service
	f, ok := s.FamilyOf(qtype)
	first := int(s.index[s.rule(p.Class)])
	if !ok || first >= len(s.refs) {
		return 0
	}
	live := v.draws.at(s.refs[first].draw).fams[f].live
	if live == nil {
		return 0
	}
	return live.sets[0].off + uint32(live.data[0])
}
