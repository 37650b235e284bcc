package geo

import (
	"net/netip"
	"slices"
)

// HitsAt tells which of some maps, by their names, hold an address, as a Classifier that asks for these is told. It looks through all of
// their networks.
func HitsAt(maps []Map, names []string, addr netip.Addr) Hits {
	var h Hits
	for _, name := range names {
		at := slices.IndexFunc(maps, func(m Map) bool { return m.Name == name })
		h.maps = append(h.maps, at)
		if at >= 0 && slices.ContainsFunc(maps[at].Networks, func(n netip.Prefix) bool {
			n, ok := unmapped(n)
			return ok && n.Contains(addr.Unmap())
		}) {
			h.members = h.members.with(at)
		}
	}
	return h
}
