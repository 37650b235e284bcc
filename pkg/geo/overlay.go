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
	Place    *Place // replaces the place (not the ASN) of these networks; nil: leaves it
	ASN      uint32 // replaces the ASN; 0: leaves it
}

// layer is what the maps, and the special-purpose blocks, make of an address. All that they say is the
// same throughout a run of an overlay. Comparable, so that equal ones share an id.
type layer struct {
	place   int32 // 1 + index of the map that sets the place; 0: none
	asn     int32 // 1 + index of the map that sets the ASN
	members int32 // index into overlay.members: the named maps that hold the address
	special int16 // 1 + index into specialBlocks, if no map covers the address
	covered bool  // a map covers the address
}

// overlay is one family's address space divided by maps and special-purpose blocks.
type overlay struct {
	*runs            // of indexes into layers
	layers  []layer  // layer 0 is the zero layer
	members []bitset // members 0 is empty
	ids     map[layer]uint32
	unions  map[[2]int32]int32 // members + map bit → members
}

// bitset is a set of small numbers.
type bitset []uint64

func (b bitset) has(i int) bool { return i>>6 < len(b) && b[i>>6]>>(i&63)&1 != 0 }

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

// networksOf lists one family's networks of the maps that count, and its special-purpose blocks, sorted so
// that a network stands behind those that hold it, and of equal ones the first map's stands last.
func networksOf(maps []Map, counts func(int) bool, v4 bool) []mapNet {
	var list []mapNet
	for i, block := range specialBlocks {
		if start, is4 := fromAddr(block.Addr()); is4 == v4 {
			list = append(list, mapNet{start, block.Bits(), -1, i})
		}
	}
	for i := range maps {
		if !counts(i) {
			continue
		}
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

// newOverlay divides one family's address space. named tells which maps matchers ask for; maps that
// neither are named nor set anything do not count.
func newOverlay(maps []Map, named []bool, v4 bool) *overlay {
	o := &overlay{
		runs: newRuns(v4, 64), layers: []layer{{}}, members: []bitset{nil},
		ids: map[layer]uint32{{}: 0}, unions: map[[2]int32]int32{},
	}
	counts := func(i int) bool { return named[i] || maps[i].Place != nil || maps[i].ASN != 0 }
	o.add(u128{}, 0)
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
			o.add(top.end, o.intern(stack[len(stack)-1].layer))
		}
	}
	for _, n := range networksOf(maps, counts, v4) {
		closeTo(n.start, false)
		l := o.within(stack[len(stack)-1].layer, n, maps, named)
		end, over := n.start.after(n.bits)
		stack = append(stack, open{end, over, l})
		o.add(n.start, o.intern(l))
	}
	closeTo(u128{}, true)
	return o
}

// within gives the layer of network n inside l.
func (o *overlay) within(l layer, n mapNet, maps []Map, named []bool) layer {
	if n.mapAt < 0 {
		if !l.covered {
			l.special = int16(n.block + 1)
		}
		return l
	}
	l.covered, l.special = true, 0
	if maps[n.mapAt].Place != nil {
		l.place = int32(n.mapAt + 1)
	}
	if maps[n.mapAt].ASN != 0 {
		l.asn = int32(n.mapAt + 1)
	}
	if named[n.mapAt] {
		l.members = o.union(l.members, int32(n.mapAt))
	}
	return l
}

// union gives the id of the set members and mapAt.
func (o *overlay) union(members, mapAt int32) int32 {
	if o.members[members].has(int(mapAt)) {
		return members
	}
	key := [2]int32{members, mapAt}
	id, ok := o.unions[key]
	if !ok {
		id = int32(len(o.members))
		o.members = append(o.members, o.members[members].with(int(mapAt)))
		o.unions[key] = id
	}
	return id
}

// intern gives the id of a layer.
func (o *overlay) intern(l layer) uint32 {
	id, ok := o.ids[l]
	if !ok {
		id = uint32(len(o.layers))
		o.layers = append(o.layers, l)
		o.ids[l] = id
	}
	return id
}
