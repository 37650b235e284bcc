package zones

import (
	"slices"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table/names"
	"github.com/gti/gtm/pkg/zone"
)

// addAdditionals renders the additionals of all sets. It comes when every set is there.
func (b *zoneBuilder) addAdditionals() {
	for i, name := range b.order {
		b.addAdditionalsOf(uint32(i), name)
	}
}

func (b *zoneBuilder) addAdditionalsOf(i uint32, name string) {
	n := &b.z.nodes[i]
	for at := n.first; at < n.first+uint32(n.count); at++ {
		if _, ok := hostAt(b.z.sets[at].typ); ok {
			b.addAdditional(name, &b.z.sets[at], n.cut == i && i != 0)
		}
	}
}

// addAdditional renders the addresses of the hosts of a set. Where the set is a delegation's, the hosts inside are left to its glue.
func (b *zoneBuilder) addAdditional(owner string, s *set, delegation bool) {
	off, count := len(b.z.data), 0
	first := b.z.data[s.off+12 : s.off+s.size]
	done := map[string]bool{}
	b.eachHost(s, func(rdata []byte, host string, ref int) {
		if isAlias(s.typ, first) != isAlias(s.typ, rdata) {
			return // beside an alias, others must be ignored (RFC 9460, 2.4.1); aliases come first
		}
		if done[host] || delegation && names.IsAtOrBelow(host, owner) || ref > 0xFFFF {
			return
		}
		done[host] = true
		count += b.refer(ref, b.worthAdding(host, s.typ, host != owner))
	})
	if count > 0 {
		e := b.extra(s)
		e.off, e.size, e.count = uint32(off), uint32(len(b.z.data)-off), uint16(count)
	}
}

// isAlias tells whether RDATA is that of an alias (RFC 9460, 2.4.2).
func isAlias(typ uint16, rdata []byte) bool {
	return (typ == dnswire.TypeSVCB || typ == dnswire.TypeHTTPS) && rdata[0] == 0 && rdata[1] == 0
}

// worthAdding gives what is worth adding of a host, which a set of a type names. An alias leads to a set of its own type.
func (b *zoneBuilder) worthAdding(host string, typ uint16, other bool) (sets []zone.RRset) {
	sets = b.addresses(host)
	if other && (typ == dnswire.TypeSVCB || typ == dnswire.TypeHTTPS) {
		sets = append(sets, b.setsOf(host, func(t uint16) bool { return t == typ })...)
	}
	return sets
}

// hostName gives the folded name at an offset of RDATA.
func hostName(rdata []byte, skip int) (string, bool) {
	end := skip
	for end < len(rdata) && rdata[end] != 0 {
		if rdata[end] > 63 {
			return "", false
		}
		end += 1 + int(rdata[end])
	}
	if end >= len(rdata) {
		return "", false
	}
	name := slices.Clone(rdata[skip : end+1])
	dnswire.FoldName(name)
	return string(name), true
}

// addresses gives the A and AAAA sets that the zone itself holds for a host.
func (b *zoneBuilder) addresses(host string) []zone.RRset {
	return b.setsOf(host, func(t uint16) bool { return t == dnswire.TypeA || t == dnswire.TypeAAAA })
}

// setsOf gives the sets of some types that the zone itself holds for a host, also by a wildcard.
func (b *zoneBuilder) setsOf(host string, wanted func(uint16) bool) (sets []zone.RRset) {
	at, ok := b.nodeAt(host)
	name := host
	if !ok {
		if at, name, ok = b.wildcardOf(host); !ok {
			return nil
		}
	}
	if b.z.nodes[at].service != 0 {
		return nil // what depends on the client
	}
	for _, s := range b.setsAt(name) {
		if wanted(s.Type) {
			sets = append(sets, s)
		}
	}
	return sets
}

// wildcardOf gives the node of the wildcard that stands for a name that is not there (RFC 4592, 3.3.1).
func (b *zoneBuilder) wildcardOf(name string) (at uint32, wild string, ok bool) {
	for name[0] != 0 {
		name = name[1+int(name[0]):]
		if _, ok := b.nodeAt(name); ok {
			wild = "\x01*" + name
			at, ok := b.nodeAt(wild)
			return at, wild, ok
		}
	}
	return 0, "", false
}
