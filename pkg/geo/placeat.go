package geo

import (
	"net/netip"
	"slices"
)

// PlaceAt gives the place of addr as Compile sees it, the maps before the atlas, and a network around addr
// that has that place throughout. In a special-purpose block that no map covers the place is unknown.
func PlaceAt(a *Atlas, maps []Map, addr netip.Addr) (Place, netip.Prefix) {
	addr = addr.Unmap().WithZone("")
	place, within := a.Lookup(addr)
	if !addr.IsValid() {
		return place, within
	}
	bits, covered := within.Bits(), false
	placeBits, asnBits := -1, -1
	for _, m := range maps {
		for _, network := range m.Networks {
			network, ok := unmapped(network)
			if !ok || !network.Overlaps(within) {
				continue
			}
			bits = max(bits, bitsBeside(network, addr))
			if !network.Contains(addr) {
				continue
			}
			covered = true
			if m.Place != nil && network.Bits() > placeBits {
				placeBits = network.Bits()
				place = place.movedTo(m.Place)
			}
			if m.ASN != 0 && network.Bits() > asnBits {
				asnBits = network.Bits()
				place.ASN = m.ASN
			}
		}
	}
	if f := filesOf(maps); f != nil {
		name, fileBits := f.Lookup(addr)
		bits = max(bits, fileBits)
		for _, m := range maps {
			if m.Files == nil || m.Name != name {
				continue
			}
			covered = true
			if m.Place != nil && placeBits < 0 {
				place = place.movedTo(m.Place)
			}
			if m.ASN != 0 && asnBits < 0 {
				place.ASN = m.ASN
			}
		}
	}
	for _, block := range specialBlocks {
		if block.Overlaps(within) {
			bits = max(bits, bitsBeside(block, addr))
		}
		if block.Contains(addr) && !covered {
			place = Place{}
		}
	}
	network, _ := addr.Prefix(bits)
	return place, network
}

// bitsBeside is the length of the shortest prefix around addr that network does not divide.
func bitsBeside(network netip.Prefix, addr netip.Addr) int {
	if network.Contains(addr) {
		return network.Bits()
	}
	x, _ := fromAddr(addr)
	y, _ := fromAddr(network.Masked().Addr())
	return x.common(y) + 1
}

// HitsAt tells which of some maps, by their names, hold an address, as a Classifier that asks for these is told. It looks through all of
// their networks.
func HitsAt(maps []Map, names []string, addr netip.Addr) Hits {
	var h Hits
	for _, name := range names {
		at := slices.IndexFunc(maps, func(m Map) bool { return m.Name == name })
		h.maps = append(h.maps, at)
		if at >= 0 && maps[at].Has(addr) {
			h.members = h.members.with(at)
		}
	}
	return h
}
