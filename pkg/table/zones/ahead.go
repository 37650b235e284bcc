package zones

import (
	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/prefetch"
	"github.com/gti/gtm/pkg/table/names"
)

// ahead gives the line where the search for the name begins whose suffix hashes are h.
func (z *Zone) Ahead(h *names.Hashes) prefetch.Line { return z.names.Ahead(h[0]) }

// begin finds q's name, if it is there. Of one that is not steered it gives the node, which Lookup reads next.
func (z *Zone) Begin(q *dnswire.Query, h *names.Hashes) (m Match, n *Node, ok bool) {
	l := z.names.Find(q.Name[:q.NameLen], h[0])
	if l == nil {
		return Match{}, nil, false
	}
	m = Match{Exact, l.Value, l.Service, 0}
	return m, &z.nodes[l.Value], true
}

// stands tells whether a name has sets and just stands in the zone: not cut off, not steered, and no debugging name.
func (n *Node) Stands() bool { return n.kind == plain && n.cut == 0 && n.service == 0 && n.count > 0 }

// setAhead gives where the first set of a node stands, which has some.
func (z *Zone) SetAhead(n *Node) prefetch.Line { return prefetch.At(&z.sets[n.first]) }

// recordsAhead gives where the records of that set stand.
func (z *Zone) RecordsAhead(n *Node) prefetch.Line {
	if at := z.sets[n.first].off; int(at) < len(z.data) {
		return prefetch.At(&z.data[at])
	}
	return prefetch.At(z)
}
