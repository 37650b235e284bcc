package table

import (
	"bytes"
	"slices"

	"github.com/gti/gtm/pkg/zone"
)

// maxMoves is how many services may come to a zone, or go, without the zone being compiled from its beginning.
const maxMoves = 64

// moves makes a new form of a zone in which services stand at other hosts, from the old one. It understands what is common: hosts
// with which no static set and no wildcard, delegation or DNAME has to do.
type moves struct {
	z      *Zone // the new form; its lines and nodes are its own
	static *zone.Zone
	key    wireKey
}

// moved gives z with services where services has them now, of which at most those at hosts differ from before. It gives false
// where the zone must be compiled from its beginning. The serial is the new form's.
func (z *Zone) moved(static *zone.Zone, hosts []string, services map[string]hosted, serial uint32) (*Zone, bool) {
	m := moves{z: z.renumbered(serial), static: static}
	m.ownNames()
	m.z.nodes = slices.Grow(slices.Clone(z.nodes), len(hosts))
	for _, host := range hosts {
		if len(setsAt(static, host)) > 0 || isMadeUp(host, string(static.Apex)) {
			return nil, false // where a debugging name might come back
		}
		at, stands := services[host]
		m.key.set([]byte(host), z.seed)
		line := m.z.names.find([]byte(host), m.key.hashes[0])
		ok := true
		switch {
		case line != nil && stands:
			ok = m.set(line, at)
		case line != nil:
			ok = m.remove(line, host)
		case stands:
			ok = m.add(node{service: at.place + 1, served: at.served})
		}
		if !ok {
			return nil, false
		}
	}
	return m.z, true
}

// ownNames has the new form change the table of names in a copy.
func (m *moves) ownNames() {
	m.z.names.lines, m.z.names.long = slices.Clone(m.z.names.lines), slices.Clip(m.z.names.long)
}

// plain tells whether a node is like any other.
func (m *moves) plain(n *node) bool {
	return n.kind == plain && n.cut == 0 && n.wild == 0 && !m.z.renames(n)
}

// set has a service stand at a name that is there.
func (m *moves) set(l *line, at hosted) bool {
	n := &m.z.nodes[l.value]
	if n.kind != plain || n.cut != 0 {
		return false
	}
	n.service, n.served, l.service = at.place+1, at.served, at.place+1
	return true
}

// add makes a name, with what lies between it and the closest name that is there.
func (m *moves) add(leaf node) bool {
	k := &m.key
	up := 1
	for m.z.names.find(k.suffix(up), k.hashes[up]) == nil {
		up++ // up to the apex, at most
	}
	if !m.plain(&m.z.nodes[m.z.names.find(k.suffix(up), k.hashes[up]).value]) || 3*(len(m.z.nodes)+up) > 2*len(m.z.names.lines) {
		return false
	}
	for i := up - 1; i >= 0; i-- {
		name := k.suffix(i)
		if name[0] == 1 && name[1] == '*' {
			return false
		}
		n := node{first: uint32(len(m.z.sets)), labels: uint8(k.labels - i)}
		if i == 0 {
			n.service, n.served = leaf.service, leaf.served
		}
		l := m.z.names.put(name, k.hashes[i], uint32(len(m.z.nodes)))
		l.service = n.service
		m.z.nodes = append(m.z.nodes, n)
	}
	return true
}

// remove takes a service away from a name, and the name, and those above it that were only there because of it.
func (m *moves) remove(l *line, host string) bool {
	k := &m.key
	if n := &m.z.nodes[l.value]; !m.plain(n) || host[0] == 1 && host[1] == '*' {
		return false
	}
	m.z.nodes[l.value].service, m.z.nodes[l.value].served, l.service = 0, 0, 0
	for i := 0; ; i++ {
		name := k.suffix(i)
		l := m.z.names.find(name, k.hashes[i])
		n := &m.z.nodes[l.value]
		if l.value == 0 || n.count > 0 || n.service != 0 || n.kind != plain || m.z.names.anyBelow(name) {
			return true
		}
		if up := m.z.names.find(k.suffix(i+1), k.hashes[i+1]); !m.plain(&m.z.nodes[up.value]) {
			return false
		}
		m.z.names.remove(name, k.hashes[i], m.z.seed)
	}
}

// anyBelow tells whether there is a name below name.
func (n *names) anyBelow(name []byte) bool {
	for i := range n.lines {
		if l := &n.lines[i]; l.tag != 0 && int(l.size) > len(name) && bytes.HasSuffix(n.nameOf(l), name) && isBelow(string(n.nameOf(l)), string(name)) {
			return true
		}
	}
	return false
}

func (n *names) nameOf(l *line) []byte {
	if int(l.size) <= inlineName {
		return l.name[:l.size]
	}
	return n.long[l.off : int(l.off)+int(l.size)]
}

// remove takes a name away that is there, and moves up those behind it that would not be found any more.
func (n *names) remove(name []byte, h, seed uint64) {
	hole := h & n.mask
	for l := n.find(name, h); &n.lines[hole] != l; hole = (hole + 1) & n.mask {
	}
	var k wireKey
	for i := (hole + 1) & n.mask; n.lines[i].tag != 0; i = (i + 1) & n.mask {
		k.set(n.nameOf(&n.lines[i]), seed)
		if home := k.hashes[0] & n.mask; (i-home)&n.mask >= (i-hole)&n.mask { // its search passes the hole
			n.lines[hole], hole = n.lines[i], i
		}
	}
	n.lines[hole] = line{}
}
