package zones

import (
	"bytes"
	"slices"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table/names"
	"github.com/gti/gtm/pkg/zone"
)

// static renders the sets of the owners anew, and of those whose records name them as hosts: behind what is there already.
func (r *remake) static(owners []string) bool {
	r.z.sets, r.z.extras = slices.Clone(r.z.sets), slices.Clip(r.z.extras)
	r.b = &zoneBuilder{z: r.z, in: r.in}
	for _, owner := range owners {
		if !r.stand(owner) {
			return false
		}
	}
	if !r.addRefers() {
		return false
	}
	r.render()
	return true
}

// stand has a name be there, or not, as its sets now want it.
func (r *remake) stand(owner string) bool {
	if r.isMadeUp(owner) {
		return false
	}
	fresh := SetsAt(r.in.Static, owner)
	l := r.find(owner)
	switch {
	case l == nil:
		if len(fresh) == 0 || hasType(fresh, dnswire.TypeNS) {
			return false
		}
		r.copyNames()
		r.owners, r.hosts = append(r.owners, owner), append(r.hosts, []byte(owner))
		return r.add(Node{})
	case !r.sameKind(l.Value, fresh):
		return false
	case len(fresh) == 0:
		r.copyNames()
		n := &r.z.nodes[l.Value]
		r.wasted(n)
		n.count, r.hosts = 0, append(r.hosts, []byte(owner))
		return r.remove()
	}
	r.owners, r.hosts = append(r.owners, owner), append(r.hosts, []byte(owner))
	if names.IsWildcard(owner) {
		r.covered = append(r.covered, []byte(owner[2:]))
	}
	return true
}

// sameKind tells whether a node stays what it is for others with its new sets.
func (r *remake) sameKind(at uint32, fresh []zone.RRset) bool {
	n := &r.z.nodes[at]
	if n.kind != plain || n.service != 0 || r.z.renames(n) != hasType(fresh, dnswire.TypeDNAME) {
		return false
	}
	if at == 0 {
		return hasType(fresh, dnswire.TypeSOA)
	}
	_, ns := r.z.find(n, dnswire.TypeNS)
	return ns == hasType(fresh, dnswire.TypeNS)
}

func hasType(sets []zone.RRset, typ uint16) bool {
	return slices.ContainsFunc(sets, func(s zone.RRset) bool { return s.Type == typ })
}

// addRefers finds those whose sets name a host with other addresses: what goes with them has to follow.
func (r *remake) addRefers() bool {
	known := map[string]bool{}
	for _, owner := range r.owners {
		known[owner] = true
	}
	for i := range r.in.Static.Sets {
		s := &r.in.Static.Sets[i]
		skip, ok := hostAt(s.Type)
		if !ok || known[string(s.Owner)] || !slices.ContainsFunc(s.Data, func(data []byte) bool { return r.refers(data, skip) }) {
			continue
		}
		at, ok := r.b.nodeAt(string(s.Owner))
		if !ok || r.z.nodes[at].service != 0 || r.z.nodes[at].kind != plain || len(known) > maxRefers {
			return false
		}
		known[string(s.Owner)] = true
		r.owners = append(r.owners, string(s.Owner))
	}
	return true
}

// refers tells whether RDATA names, at an offset, one of the hosts. A chance hit in what follows the name costs only time.
func (r *remake) refers(rdata []byte, skip int) bool {
	if skip >= len(rdata) {
		return false
	}
	var room [256]byte
	name := room[:copy(room[:], rdata[skip:])]
	dnswire.FoldName(name)
	return slices.ContainsFunc(r.hosts, func(host []byte) bool { return bytes.HasPrefix(name, host) }) ||
		slices.ContainsFunc(r.covered, func(above []byte) bool { return bytes.Contains(name, above) })
}

// render makes the sets of the owners, first their records and then what goes with them.
func (r *remake) render() {
	for _, owner := range r.owners {
		at, _ := r.b.nodeAt(owner)
		r.wasted(&r.z.nodes[at])
		r.b.fillNode(at, owner)
	}
	for _, owner := range r.owners {
		at, _ := r.b.nodeAt(owner)
		r.b.addAdditionalsOf(at, owner)
	}
}

// wasted counts what is not used any more of the sets of a node.
func (r *remake) wasted(n *Node) {
	for _, s := range r.z.sets[n.first : n.first+uint32(n.count)] {
		if r.z.waste += int(s.size); s.extra != 0 {
			x := &r.z.extras[s.extra-1]
			r.z.waste += int(x.size + x.shortSize)
		}
	}
}
