package table

import (
	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/prefetch"
)

// ahead gives the line where the search for the name begins whose suffix hashes are h.
func (z *Zone) ahead(h *Hashes) prefetch.Line { return z.names.ahead(h[0]) }

// begin finds q's name, if it is there. Of one that is not steered it gives the node, which Lookup reads next.
func (z *Zone) begin(q *dnswire.Query, h *Hashes) (m Match, n *node, ok bool) {
	l := z.names.find(q.Name[:q.NameLen], h[0])
	if l == nil {
		return Match{}, nil, false
	}
	m = Match{Exact, l.value, l.service, 0}
	return m, &z.nodes[l.value], true
}

// stands tells whether a name has sets and just stands in the zone: not cut off, not steered, and no debugging name.
func (n *node) stands() bool { return n.kind == plain && n.cut == 0 && n.service == 0 && n.count > 0 }

// setAhead gives where the first set of a node stands, which has some.
func (z *Zone) setAhead(n *node) prefetch.Line { return prefetch.At(&z.sets[n.first]) }

// recordsAhead gives where the records of that set stand.
func (z *Zone) recordsAhead(n *node) prefetch.Line {
	if at := z.sets[n.first].off; int(at) < len(z.data) {
		return prefetch.At(&z.data[at])
	}
	return prefetch.At(z)
}
