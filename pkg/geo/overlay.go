package geo

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// Map is the operator's own list of networks. It comes before the databases.
type Map struct {
	Name     string
	Networks []netip.Prefix
	Files    *FileMaps // not nil: the networks are those that the files give its name, and come behind those of all other maps
	Place    *Place    // replaces the place, coordinates and all, but not the ASN of these networks; nil: leaves it
	ASN      uint32    // replaces the ASN; 0: leaves it
}

// layer is what the maps, and the special-purpose blocks, make of an address. All that they say is the
// same throughout a run of an overlay. Comparable, so that equal ones share an id.
type layer struct {
	place   int32 // 1 + index of the map that sets the place; 0: none
	asn     int32 // 1 + index of the map that sets the ASN
	members int32 // index into layers.members: the maps that hold the address
	special int16 // 1 + index into specialBlocks, unless a map that sets something covers the address
	lifted  bool  // such a map covers it
}

// layers are what a list of maps makes of addresses.
type layers struct {
	maps    []Map
	list    []layer  // layer 0 is the zero layer
	members []bitset // members 0 is empty
	ids     map[layer]uint32
	unions  map[[2]int32]int32 // members + map → members
}

func newLayers(maps []Map) *layers {
	return &layers{maps: maps, list: []layer{{}}, members: []bitset{nil},
		ids: map[layer]uint32{{}: 0}, unions: map[[2]int32]int32{}}
}

// bitset is a set of small numbers.
type bitset []uint64

func (b bitset) has(i int) bool { return i >= 0 && i>>6 < len(b) && b[i>>6]>>(i&63)&1 != 0 }

// meets reports whether b and c have a number in common.
func (b bitset) meets(c bitset) bool {
	for i := range min(len(b), len(c)) {
		if b[i]&c[i] != 0 {
			return true
		}
	}
	return false
}

// with gives a copy of b that has i.
func (b bitset) with(i int) bitset {
	c := make(bitset, max(len(b), i>>6+1))
	copy(c, b)
	c[i>>6] |= 1 << (i & 63)
	return c
}

// mapNet is one network of a map, or (map -1) one special-purpose block.
type mapNet struct {
	start u128
	bits  int
	mapAt int
	block int
}

// networksOf lists one family's networks of the maps, and its special-purpose blocks, sorted so
// that a network stands behind those that hold it, and of equal ones the first map's stands last.
func networksOf(maps []Map, v4 bool) []mapNet {
	var list []mapNet
	for i, block := range specialBlocks {
		if start, is4 := fromAddr(block.Addr()); is4 == v4 {
			list = append(list, mapNet{start, block.Bits(), -1, i})
		}
	}
	for i := range maps {
		for _, network := range maps[i].Networks {
			network, _ = unmapped(network)
			if network.Addr().Is4() == v4 {
				start, _ := fromAddr(network.Masked().Addr())
				list = append(list, mapNet{start, network.Bits(), i, 0})
			}
		}
	}
	slices.SortFunc(list, func(a, b mapNet) int {
		return cmp.Or(cmp.Compare(a.start.hi, b.start.hi), cmp.Compare(a.start.lo, b.start.lo),
			cmp.Compare(a.bits, b.bits), cmp.Compare(b.mapAt, a.mapAt))
	})
	return list
}

// unmapped turns an IPv4-mapped network into the IPv4 one; ok is false for a network that is invalid.
func unmapped(network netip.Prefix) (_ netip.Prefix, ok bool) {
	if network.Addr().Is4In6() && network.Bits() >= 96 {
		network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-96)
	}
	return network, network.IsValid()
}

// checkMaps refuses maps that Compile cannot use.
func checkMaps(maps []Map) error {
	for _, m := range maps {
		for _, network := range m.Networks {
			if _, ok := unmapped(network); !ok {
				return fmt.Errorf("map %q: %q is not a network; write it as in 192.0.2.0/24", m.Name, network)
			}
		}
	}
	return nil
}

// overlay divides one family's address space by the maps and the special-purpose blocks: runs of indexes into list.
func (l *layers) overlay(v4 bool) *packed {
	r := newPacker(v4, 1<<10)
	r.add(u128{}, 0)
	type open struct {
		end  u128
		over bool
		layer
	}
	stack := []open{{over: true}}
	closeTo := func(start u128, all bool) {
		for len(stack) > 1 {
			top := stack[len(stack)-1]
			if top.over || !all && start.less(top.end) {
				return
			}
			stack = stack[:len(stack)-1]
			r.add(top.end, l.intern(stack[len(stack)-1].layer))
		}
	}
	for _, n := range networksOf(l.maps, v4) {
		closeTo(n.start, false)
		inner := l.within(stack[len(stack)-1].layer, n)
		end, over := n.start.after(n.bits)
		stack = append(stack, open{end, over, inner})
		r.add(n.start, l.intern(inner))
	}
	closeTo(u128{}, true)
	return l.withFiles(r.done())
}

// within gives the layer of network n inside of outer.
func (l *layers) within(outer layer, n mapNet) layer {
	if n.mapAt < 0 {
		if !outer.lifted {
			outer.special = int16(n.block + 1)
		}
		return outer
	}
	m := &l.maps[n.mapAt]
	if m.Place != nil {
		outer.place = int32(n.mapAt + 1)
	}
	if m.ASN != 0 {
		outer.asn = int32(n.mapAt + 1)
	}
	if m.Place != nil || m.ASN != 0 {
		outer.lifted, outer.special = true, 0
	}
	outer.members = l.union(outer.members, int32(n.mapAt))
	return outer
}

// union gives the id of the set members and mapAt.
func (l *layers) union(members, mapAt int32) int32 {
	if l.members[members].has(int(mapAt)) {
		return members
	}
	key := [2]int32{members, mapAt}
	id, ok := l.unions[key]
	if !ok {
		id = int32(len(l.members))
		l.members = append(l.members, l.members[members].with(int(mapAt)))
		l.unions[key] = id
	}
	return id
}

// intern gives the id of a layer.
func (l *layers) intern(x layer) uint32 {
	id, ok := l.ids[x]
	if !ok {
		id = uint32(len(l.list))
		l.list = append(l.list, x)
		l.ids[x] = id
	}
	return id
}

// overlaid is a place as a layer corrects it.
func (l *layers) overlaid(p Place, x layer) Place {
	if x.place != 0 {
		p = p.movedTo(l.maps[x.place-1].Place)
	}
	if x.asn != 0 {
		p.ASN = l.maps[x.asn-1].ASN
	}
	return p
}

// movedTo is p as a map replaces it.
func (p Place) movedTo(q *Place) Place {
	p.Continent, p.Country, p.Subdivision, p.At = q.Continent, q.Country, q.Subdivision, q.At
	return p
}
