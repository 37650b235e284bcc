package zones

import (
	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/prefetch"

	"github.com/gti/gtm/pkg/table/names"
)

// MatchKind is how a name was found in a zone.
type MatchKind uint8

// The kinds of RFC 1034, 4.3.2, and the debugging names.
const (
	Exact    MatchKind = iota // the name exists (it may own nothing: an empty non-terminal)
	Wildcard                  // a wildcard covers it (RFC 4592)
	Referral                  // it is at or below a delegation
	Rename                    // it is below a DNAME (RFC 6672)
	Missing                   // it does not exist
	Whoami                    // a debugging name
	Explain                   // a name below the debugging name _explain
)

// Match is where a name was found.
type Match struct {
	Kind    MatchKind
	Node    uint32 // Exact, Wildcard: the name's; Referral, Rename: of the delegation or DNAME
	Service uint32 // as in line
	Label   int    // index of the first label of Node's owner in the name; for Wildcard and Missing of the closest encloser
}

// Lookup finds q's name, whose suffix hashes are h, at or below the zone's apex. It does not allocate.
func (z *Zone) Lookup(q *dnswire.Query, h *names.Hashes) Match {
	apex := q.Labels - z.labels
	for i := 0; i <= apex; i++ {
		l := z.names.Find(names.Suffix(q, i), h[i])
		if l == nil {
			continue
		}
		at := l.Value
		if i == 0 && l.Service != 0 {
			return Match{Exact, at, l.Service, 0}
		}
		n := &z.nodes[at]
		if n.cut != 0 {
			return z.cutAt(q, at, n)
		}
		if i == 0 {
			if n.kind == whoami {
				return Match{Kind: Whoami, Node: at}
			}
			return Match{Exact, at, n.service, 0}
		}
		switch {
		case n.kind == explain:
			return Match{Kind: Explain, Node: at, Label: i}
		case z.renames(n):
			return Match{Kind: Rename, Node: at, Label: i}
		case n.wild != 0:
			return Match{Wildcard, n.wild, z.nodes[n.wild].service, i}
		}
		return Match{Kind: Missing, Node: at, Label: i}
	}
	return Match{Kind: Missing, Label: apex}
}

// cutAt gives the match of a name at or below the cut of n.
func (z *Zone) cutAt(q *dnswire.Query, at uint32, n *Node) Match {
	cut := n.cut
	if cut == apexCut {
		cut = 0
	}
	c := &z.nodes[cut]
	m := Match{Kind: Referral, Node: cut, Service: c.service, Label: q.Labels - int(c.labels)}
	switch {
	case z.renames(c):
		m.Kind = Rename
	case cut == at && n.labels == uint8(q.Labels) && q.QType == dnswire.TypeDS:
		m.Kind = Exact // the parent's side of the cut answers for DS (RFC 4035, 3.1.4.1)
	}
	return m
}

func (z *Zone) renames(n *Node) bool {
	_, ok := z.find(n, dnswire.TypeDNAME)
	return ok
}

// Labels gives the number of labels of the zone's name.
func (z *Zone) Labels() int { return z.labels }

// Ahead gives the line where the search for the name begins whose suffix hashes are h.
func (z *Zone) Ahead(h *names.Hashes) prefetch.Line { return z.names.Ahead(h[0]) }

// Line finds q's name, nil if it is not there.
func (z *Zone) Line(q *dnswire.Query, h *names.Hashes) *names.Line {
	return z.names.Find(q.Name[:q.NameLen], h[0])
}

// NodeAt gives the node that a line leads to, which Lookup reads next.
func (z *Zone) NodeAt(at uint32) *Node { return &z.nodes[at] }

// Stands tells whether a name has sets and just stands in the zone: not cut off, not steered, and no debugging name.
func (n *Node) Stands() bool { return n.kind == plain && n.cut == 0 && n.service == 0 && n.count > 0 }

// SetAhead gives where the first set of a node stands, which has some.
func (z *Zone) SetAhead(n *Node) prefetch.Line { return prefetch.At(&z.sets[n.first]) }

// RecordsAhead gives where the records of that set stand.
func (z *Zone) RecordsAhead(n *Node) prefetch.Line {
	if at := z.sets[n.first].off; int(at) < len(z.data) {
		return prefetch.At(&z.data[at])
	}
	return prefetch.At(z)
}
