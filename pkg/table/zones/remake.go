package zones

import (
	"maps"
	"slices"

	"github.com/gti/gtm/pkg/table/names"
)

// A zone of which little changed is made from its old form. The contract, of which Remade is all that others see: given the old form, what
// New would be given, and all names that were touched since, the outcome says the same as New's; or there is none, and the zone has
// to be compiled from its beginning. So what is not understood here is no fault, and only costs time. Records 68, 99 and 139 tell why.
//
// Understood is what is common: no delegation, DNAME or wildcard comes or goes, no debugging name is concerned, no name has a service and
// static sets, and the zone is neither signed nor a catalog.

// Touched are the names at which a zone differs from its last compiled form. The zero value: it does not.
type Touched struct {
	hosts  map[string]bool // services came, went, or stand there otherwise
	owners map[string]bool // static sets are others
	All    bool            // nobody knows where they are
}

// Host notes that a service came, went, or stands at the name otherwise.
func (t *Touched) Host(name string) { mark(&t.hosts, name) }

// Owner notes that the static sets of the name are others.
func (t *Touched) Owner(name string) { mark(&t.owners, name) }

func mark(m *map[string]bool, name string) {
	if *m == nil {
		*m = map[string]bool{}
	}
	(*m)[name] = true
}

// maxTouched is how many names may have been touched, and maxRefers how many may have sets to be rendered because of them.
const (
	maxTouched = 64
	maxRefers  = 256
)

// remake is a new form of a zone while it is made from the old one.
type remake struct {
	z        *Zone // its nodes, sets and data are its own
	in       *Input
	b        *zoneBuilder
	key      names.Key
	ownNames bool // the table of names is a copy

	owners  []string // whose sets are to be rendered
	hosts   [][]byte // that may have other addresses now
	covered [][]byte // the same of all hosts below
}

// Remade gives what New would of in, from the old form and all that was touched since; false: it has to be asked. z may be nil.
func (z *Zone) Remade(in *Input, t *Touched) (*Zone, bool) {
	if z == nil || !z.ordinary || !in.ordinary() || z.debug != in.Debug || t.All || len(t.hosts)+len(t.owners) > maxTouched {
		return nil, false
	}
	serial, ok := ServedSerial(in.Static, in.Serial, in.Added)
	if !ok || len(t.owners) > 0 && z.waste > len(z.data)/4+1<<16 {
		return nil, false
	}
	r := remake{in: in, z: z.Renumbered(serial)}
	r.z.nodes = slices.Grow(slices.Clone(z.nodes), len(t.hosts))
	for _, host := range slices.Sorted(maps.Keys(t.hosts)) {
		if !r.service(host) {
			return nil, false
		}
	}
	return r.z, len(t.owners) == 0 || r.static(slices.Sorted(maps.Keys(t.owners)))
}

// service has a service stand at a host, or not, as the zone now wants it.
func (r *remake) service(host string) bool {
	if len(SetsAt(r.in.Static, host)) > 0 || r.isMadeUp(host) {
		return false
	}
	r.copyNames()
	at, stands := r.in.Services[host]
	l := r.find(host)
	switch {
	case l != nil && stands:
		return r.set(l, at)
	case l != nil:
		return r.remove()
	case stands:
		return r.add(Node{service: at.Place + 1, served: at.Served})
	}
	return true
}

// isMadeUp tells whether a name is, or is below, one where a debugging name stands if nothing else does.
func (r *remake) isMadeUp(name string) bool {
	apex := string(r.in.Static.Apex)
	return names.IsAtOrBelow(name, "\x06whoami"+apex) || names.IsAtOrBelow(name, "\x08_explain"+apex)
}

// copyNames has the table of names be the new form's own. Lines found before are the old one's.
func (r *remake) copyNames() {
	if !r.ownNames {
		r.z.names = r.z.names.Copied()
		r.ownNames = true
	}
}

// find makes a name the present one, and gives its line; nil: it is not there.
func (r *remake) find(name string) *names.Line {
	r.key.Set([]byte(name), r.z.seed)
	return r.above(0)
}

// above gives the line of the present name from its label i on.
func (r *remake) above(i int) *names.Line { return r.z.names.Find(r.key.Suffix(i), r.key.Hashes[i]) }

// plain tells whether a node is like any other.
func (r *remake) plain(n *Node) bool {
	return n.kind == plain && n.cut == 0 && n.wild == 0 && !r.z.renames(n)
}

// set has a service stand at a name that is there.
func (r *remake) set(l *names.Line, at Hosted) bool {
	n := &r.z.nodes[l.Value]
	if n.kind != plain || n.cut != 0 {
		return false
	}
	n.service, n.served, l.Service = at.Place+1, at.Served, at.Place+1
	return true
}

// add makes the present name, with what lies between it and the closest name that is there.
func (r *remake) add(leaf Node) bool {
	up := 0
	for r.above(up) == nil {
		up++ // up to the apex, at most
	}
	if !r.plain(&r.z.nodes[r.above(up).Value]) || !r.z.names.HasRoomFor(len(r.z.nodes)+up) {
		return false
	}
	for i := up - 1; i >= 0; i-- {
		name := r.key.Suffix(i)
		if names.IsWildcard(string(name)) {
			return false
		}
		n := Node{first: uint32(len(r.z.sets)), labels: uint8(r.key.Labels - i)}
		if i == 0 {
			n.service, n.served = leaf.service, leaf.served
		}
		l := r.z.names.Put(name, r.key.Hashes[i], uint32(len(r.z.nodes)))
		l.Service = n.service
		r.z.nodes = append(r.z.nodes, n)
	}
	return true
}

// remove takes what stands at the present name away, and the name, and those above it that were only there because of it.
func (r *remake) remove() bool {
	l := r.above(0)
	n := &r.z.nodes[l.Value]
	n.service, n.served, l.Service = 0, 0, 0
	for i := 0; ; i++ {
		l, above := r.above(i), r.key.Suffix(i)
		n := &r.z.nodes[l.Value]
		if l.Value == 0 || n.count > 0 || n.service != 0 || n.kind != plain || r.z.names.AnyBelow(above) {
			return true
		}
		if !r.plain(&r.z.nodes[r.above(i+1).Value]) { // of a wildcard's name, and of one below a delegation, too
			return false
		}
		r.z.names.Remove(above, r.key.Hashes[i], r.z.seed)
	}
}
