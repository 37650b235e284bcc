package table

import (
	"bytes"
	"slices"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/zone"
)

// maxRefers bounds the sets that are rendered anew because they name a host whose addresses changed.
const maxRefers = 256

// edits makes a new form of a zone in which some names have other static sets, from the old one. Like moves, it understands what
// is common: no delegation, DNAME or wildcard comes or goes, and no service or debugging name stands there.
type edits struct {
	moves
	b        *zoneBuilder
	owners   []string // whose sets are to be rendered
	hosts    [][]byte // that may have other addresses now
	tops     [][]byte // the same of all hosts at and below
	ownNamed bool     // the table of names is a copy
}

// edited gives z as in makes it, where only the static sets of owners, and the services at hosts, differ from what z was made of.
// It gives false where the zone must be compiled from its beginning. The serial is the new form's.
func (z *Zone) edited(in *zoneInput, owners, hosts []string, serial uint32) (*Zone, bool) {
	if len(owners) == 0 {
		return z.moved(in.static, hosts, in.services, serial)
	}
	if z.waste > len(z.data)/4+1<<16 {
		return nil, false
	}
	e := edits{moves: moves{static: in.static}}
	if len(hosts) > 0 {
		if e.z, e.ownNamed = z.moved(in.static, hosts, in.services, serial); !e.ownNamed {
			return nil, false
		}
	} else {
		e.z = z.renumbered(serial)
		e.z.nodes = slices.Clone(z.nodes)
	}
	e.z.sets, e.z.extras = slices.Clone(z.sets), slices.Clip(z.extras)
	e.b = &zoneBuilder{z: e.z, in: in}
	for _, owner := range owners {
		if !e.stand(owner) {
			return nil, false
		}
	}
	if !e.addRefers() {
		return nil, false
	}
	e.render()
	return e.z, true
}

// stand has a name be there, or not, as its sets now want it.
func (e *edits) stand(owner string) bool {
	if isMadeUp(owner, string(e.static.Apex)) {
		return false
	}
	fresh := setsAt(e.static, owner)
	e.key.set([]byte(owner), e.z.seed)
	l := e.z.names.find([]byte(owner), e.key.hashes[0])
	wild := isWildcard(owner)
	switch {
	case l == nil:
		if len(fresh) == 0 || wild || hasType(fresh, dnswire.TypeNS) || hasType(fresh, dnswire.TypeDNAME) {
			return false
		}
		e.tops = append(e.tops, e.highestMissing())
		e.owners = append(e.owners, owner)
		e.copyNames()
		return e.add(node{})
	case !e.sameKind(l.value, fresh):
		return false
	case len(fresh) > 0:
		e.owners = append(e.owners, owner)
		if e.hosts = append(e.hosts, []byte(owner)); wild {
			e.tops = append(e.tops, []byte(owner[2:]))
		}
		return true
	case wild:
		return false
	}
	e.wasted(&e.z.nodes[l.value])
	e.z.nodes[l.value].count = 0
	e.copyNames()
	l = e.z.names.find([]byte(owner), e.key.hashes[0])
	if !e.remove(l, owner) {
		return false
	}
	e.tops = append(e.tops, e.highestMissing())
	return true
}

// isMadeUp tells whether a name is, or is below, one where a debugging name stands if nothing else does.
func isMadeUp(name, apex string) bool {
	return isAtOrBelow(name, "\x06whoami"+apex) || isAtOrBelow(name, "\x08_explain"+apex)
}

// highestMissing gives the highest name above the present one that is not there, or else the present one.
func (e *edits) highestMissing() []byte {
	i := 0
	for e.z.names.find(e.key.suffix(i), e.key.hashes[i]) == nil {
		i++ // up to the apex, at most
	}
	return slices.Clone(e.key.suffix(max(0, i-1)))
}

// sameKind tells whether a node stays what it is for others with its new sets.
func (e *edits) sameKind(at uint32, fresh []zone.RRset) bool {
	n := &e.z.nodes[at]
	_, ns := e.z.find(n, dnswire.TypeNS)
	return n.kind == plain && n.service == 0 && e.z.renames(n) == hasType(fresh, dnswire.TypeDNAME) &&
		(at == 0 && hasType(fresh, dnswire.TypeSOA) || at != 0 && ns == hasType(fresh, dnswire.TypeNS))
}

func hasType(sets []zone.RRset, typ uint16) bool {
	return slices.ContainsFunc(sets, func(s zone.RRset) bool { return s.Type == typ })
}

func (e *edits) copyNames() {
	if !e.ownNamed {
		e.ownNames()
		e.ownNamed = true
	}
}

// addRefers finds those whose sets name a host with other addresses: what goes with them has to follow.
func (e *edits) addRefers() bool {
	known := map[string]bool{}
	for _, owner := range e.owners {
		known[owner] = true
	}
	for i := range e.static.Sets {
		s := &e.static.Sets[i]
		skip, ok := hostAt(s.Type)
		if !ok || known[string(s.Owner)] || !slices.ContainsFunc(s.Data, func(data []byte) bool { return e.refers(data, skip) }) {
			continue
		}
		at, ok := e.b.nodeAt(string(s.Owner))
		if !ok || e.z.nodes[at].service != 0 || e.z.nodes[at].kind != plain || len(known) > maxRefers {
			return false
		}
		known[string(s.Owner)] = true
		e.owners = append(e.owners, string(s.Owner))
	}
	return true
}

// refers tells whether RDATA names, at an offset, one of the hosts. A chance hit in what follows the name costs only time.
func (e *edits) refers(rdata []byte, skip int) bool {
	if skip >= len(rdata) {
		return false
	}
	var room [256]byte
	name := room[:copy(room[:], rdata[skip:])]
	dnswire.FoldName(name)
	return slices.ContainsFunc(e.hosts, func(host []byte) bool { return bytes.HasPrefix(name, host) }) ||
		slices.ContainsFunc(e.tops, func(top []byte) bool { return bytes.Contains(name, top) })
}

// render makes the sets of the owners anew, first their records and then what goes with them.
func (e *edits) render() {
	for _, owner := range e.owners {
		at, _ := e.b.nodeAt(owner)
		e.wasted(&e.z.nodes[at])
		e.b.fillNode(at, owner)
	}
	for _, owner := range e.owners {
		at, _ := e.b.nodeAt(owner)
		e.b.addAdditionalsOf(at, owner)
	}
}

// wasted counts what is not used any more of the sets of a node.
func (e *edits) wasted(n *node) {
	for _, s := range e.z.sets[n.first : n.first+uint32(n.count)] {
		if e.z.waste += int(s.size); s.extra != 0 {
			x := &e.z.extras[s.extra-1]
			e.z.waste += int(x.size + x.shortSize)
		}
	}
}
