package table

import (
	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/prefetch"
	"github.com/gti/gtm/pkg/table/draws"
	"github.com/gti/gtm/pkg/table/names"
	"github.com/gti/gtm/pkg/table/rr"
	"github.com/gti/gtm/pkg/table/zones"
)

// Path is what a query will be answered from, as far as it was followed before the query's turn. A worker that has many queries
// at hand follows all of them one step each, then the next; each step gives what the next one reads, to be prefetched, so what the queries
// read comes from memory at the same time instead of one wait after the other. Nothing else comes of it: an answer is the same
// whether its path was followed or not.
//
// The steps are the methods from Begin to Signed, in the order in which they stand here. A step does nothing where the one before led
// nowhere; Cell, Deep and Run are for paths of which Set has said that they are open, Signatures and Signed for those that Pool calls
// signed.
type Path struct {
	Zone       *zones.Zone // nil: there is none
	Match      zones.Match // of the whole name, if Found
	Class      Class       // if Classified
	Found      bool
	Classified bool
	family     rr.Family   // of the question at the service, if asked
	asked      bool        // the service answers for the question's type
	service    *Service    // that stands at the name, unless it is pending
	node       *zones.Node // of a name that is not steered
	part       *geo.Partition
	search     geo.Search
	entry      *Node        // from which the answer comes, if Classified and it follows health
	TTL        uint32       // seconds, of what comes from there
	picks      *draws.Picks // what is drawn from; see Direct
	signed     bool         // the answer carries signatures
	choice     uint8        // what is left to choose by chance or the client's network; 0: nothing, or it is not known
	fallback   Fallback     // what enter gave with entry, where there is a choice
	step       uint32       // the same
	sigs       *zones.SteeredSigs
}

// What Path.choice says.
const (
	ofNode  = 1 // an arm of entry
	ofGroup = 2 // a step of a group, of which entry is the first that can answer
)

// nothing is what a step gives that leads nowhere: a line that is near.
func (p *Path) nothing() prefetch.Line { return prefetch.At(p) }

// Begin finds the zone of a query, and fills h.
func (p *Path) Begin(v *View, q *dnswire.Query, h *names.Hashes) prefetch.Line {
	if p.Zone = v.Find(q, h); p.Zone == nil {
		return p.nothing()
	}
	return p.Zone.Ahead(h)
}

// Name finds the name.
func (p *Path) Name(v *View, q *dnswire.Query, h *names.Hashes) prefetch.Line {
	if p.Zone == nil {
		return p.nothing()
	}
	l := p.Zone.Line(q, h)
	if l == nil {
		return p.covered(v, q, h)
	}
	if p.Match = (zones.Match{Kind: zones.Exact, Node: l.Value, Service: l.Service}); l.Service != 0 {
		p.service = v.Services.Ref(l.Service - 1)
		return prefetch.At(p.service)
	}
	p.node = p.Zone.NodeAt(l.Value)
	return prefetch.At(p.node)
}

// covered finds what stands for a name that is not there: a wildcard, perhaps with a service.
func (p *Path) covered(v *View, q *dnswire.Query, h *names.Hashes) prefetch.Line {
	p.Match, p.Found = p.Zone.Lookup(q, h), true
	if p.Match.Kind != zones.Wildcard || p.Match.Service == 0 {
		return p.nothing()
	}
	p.service = v.Services.Ref(p.Match.Service - 1)
	return prefetch.At(p.service)
}

// Near goes to the service's partition, or to the name's first set, where it is a name that just stands in the zone: not cut off,
// and no debugging name.
func (p *Path) Near(v *View, q *dnswire.Query, c *Client) (first, top, entry prefetch.Line) {
	first = p.nothing()
	if s := p.service; s != nil {
		p.Found = true
		if s.Is.Has(Pending) || len(s.Steps) == 0 {
			p.service = nil
			return first, first, first
		}
		p.family, p.asked = s.FamilyOf(q.QType)
		// each name that a wildcard makes has signatures of its own
		if p.signed = q.DO && p.Zone.Signed() && p.Match.Kind == zones.Exact; p.signed || s.Is.Has(Grouped) {
			prefetch.Of(s.ServiceInfo)
		}
		at := asker(c)
		p.part = v.PartList[s.partFor(c)]
		top, entry = p.search.Begin(p.part, at.Hi, at.V4)
		return prefetch.At(&s.Steps[0]), top, entry
	}
	if p.node != nil && p.node.Stands() {
		p.Found = true
		first = p.Zone.SetAhead(p.node)
	} else {
		p.node = nil
	}
	return first, first, first
}

// Set goes to the set's records. open is 1 where the client's place, which matters, is still open, else 0; see geo.Search.Top.
func (p *Path) Set(c *Client) (records prefetch.Line, open int) {
	if p.service != nil {
		if records = p.nothing(); p.service.Is.Has(Steers) {
			if records = prefetch.At(p.service.Layout); p.service.Is.Has(Grouped) {
				prefetch.Of(p.service.Steering)
			}
		}
		at := asker(c)
		return records, p.search.Top(p.part, at.Hi, at.V4)
	}
	if p.node != nil {
		return p.Zone.RecordsAhead(p.node), 0
	}
	return p.nothing(), 0
}

// Cell comes closer to a place that is open.
func (p *Path) Cell(c *Client) (a, b prefetch.Line) {
	at := asker(c)
	return p.search.Cell(p.part, at.Hi, at.Lo, at.V4)
}

// Deep comes still closer to a place that is open.
func (p *Path) Deep(c *Client) (a, b prefetch.Line) {
	at := asker(c)
	return p.search.Deep(p.part, at.Hi, at.Lo, at.V4)
}

// Run finds a place that is open.
func (p *Path) Run(c *Client) {
	at := asker(c)
	p.search.Run(p.part, at.Hi, at.Lo, at.V4)
}

// Classify classifies the client, and goes to the node that answers its class.
func (p *Path) Classify(v *View, c *Client) prefetch.Line {
	s := p.service
	if s == nil {
		return p.nothing()
	}
	var class Class // stays in registers: what was just written in pieces is slow to read as a whole
	class.Index, class.Scope = p.search.Result(p.part)
	if !c.Has {
		class = v.Classify(s, c)
	} else if class.Index == specialClass {
		return p.nothing() // the resolver decides, which is not known yet
	}
	p.Classified, p.Class = true, class
	if p.signed {
		p.sigs = s.Sigs
		prefetch.Of(p.sigs)
	}
	if !p.asked {
		return p.nothing()
	}
	n, step, fallback := v.enter(s, s.rowFor(class), p.family)
	if n == nil || fallback == AsIfUp {
		return p.nothing()
	}
	if s.Is.Has(Steers) {
		if !s.Layout.alone(step) {
			if !s.Is.Has(Keyed) {
				p.choice, p.entry, p.step, p.fallback = ofGroup, n, uint32(step), fallback
			}
			return prefetch.At(n.Draw)
		}
		step = s.Layout.order.at(step)
	}
	if p.entry, p.TTL = n, min(s.Steps[step].TTL, n.TTL); n.Kind != LeafNode {
		if p.step, p.fallback = uint32(step), fallback; !s.Is.Has(Keyed) {
			p.choice = ofNode
		}
		if n.Split != nil {
			return prefetch.At(n.Split)
		}
		return prefetch.At(n.Arms)
	}
	return prefetch.At(n.Draw)
}

// Chooses reports whether Chosen has something to choose.
func (p *Path) Chooses() bool { return p.choice != 0 }

// Chosen gives what Decide chooses for a path that led to a choice, with r as random as it wants it; not ok: nothing can be answered. It
// is for queries without DO: signatures are not looked at. d is overwritten.
func (p *Path) Chosen(v *View, d *Decision, c *Client, r uint64) (s *Service, ok bool) {
	d.Class, d.Fallback, d.step, d.hashed = p.Class, p.fallback, int(p.step), false
	n := p.entry
	if p.choice == ofGroup {
		n = v.steered(d, p.service, n, p.family, c, r)
	}
	v.follow(d, p.service, n, p.family, c, r)
	return p.service, d.Draw != nil
}

// Pool goes on to that pool's records. signed is 1 where signatures go with them, else 0.
func (p *Path) Pool() (sets, data prefetch.Line, signed int) {
	sets = p.nothing()
	if p.entry == nil || p.choice == ofGroup {
		return sets, sets, 0
	}
	if p.sigs != nil {
		p.sigs.Ahead()
		signed = 1
	}
	var live *draws.Picks
	switch n := p.entry; {
	case n.Kind == LeafNode:
		live = n.Draw.From(p.family, false)
	case n.Split != nil:
		var ttl uint32
		live, ttl = n.Split.From(p.family)
		p.TTL = min(p.TTL, ttl)
	}
	if live == nil {
		return prefetch.At(&(*p.entry.Arms)[0]), sets, signed
	}
	if !live.Sticky() {
		p.picks = live
	}
	sets, data = live.Ahead()
	return sets, data, signed
}

// Signatures goes to the signatures of a service's few sets.
func (p *Path) Signatures() {
	p.sigs.Signatures()
}

// Signed goes to the bytes of these signatures.
func (p *Path) Signed() {
	p.sigs.Signed()
}

// asker gives the address that the client's place is looked up for. Of a client whose subnet is known, a path never asks
// for the resolver.
func asker(c *Client) *Net {
	if c.Has {
		return &c.Subnet
	}
	return &c.Resolver
}

// ClassFor gives the client's class for s, if it is known.
func (p *Path) ClassFor(s *Service) (Class, bool) { return p.Class, p.Classified && p.service == s }

// Direct gives what the path led to, if nothing but a draw among records is left to choose. What Draw gives of it is what Decide
// would choose.
func (p *Path) Direct() (s *Service, ok bool) { return p.service, p.picks != nil }

// Leaf gives the draw of a direct path that a set comes from.
func (p *Path) Leaf(set int) *draws.Draw {
	if n := p.entry; n.Split != nil {
		part, _ := n.Split.Part(p.family, set)
		return part.Draw
	}
	return p.entry.Draw
}

// Draw chooses among the sets of records that a direct path led to, with r as random as Decide wants it.
func (p *Path) Draw(r uint64) (set int) { return p.picks.Choose(uint32(r), 0) }

// Records gives the records of a set. See Decision.Records.
func (p *Path) Records(set int) (records []byte, count uint16) { return p.picks.Records(set) }

// Signature gives the signatures of a set, as SteeredSignature does. ok is false where that may say more.
func (p *Path) Signature(set int, w *zones.When) (sig zones.Sig, ok bool) {
	if p.sigs == nil {
		return zones.Sig{}, false
	}
	sig, must, _ := p.sigs.Look(p.picks.ID(set), p.TTL, w)
	return sig, !must
}
