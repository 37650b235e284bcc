package mapfile

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
)

func addressOf(a netip.Addr) address {
	if a.Is4() {
		b := a.As4()
		return address{hi: uint64(binary.BigEndian.Uint32(b[:])) << 32}
	}
	b := a.As16()
	return address{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (a address) netip(v4 bool) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
	if v4 {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16(b)
}

func (a address) compare(b address) int {
	return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo))
}

// plus and minus count modulo 2^128.
func (a address) plus(b address) address {
	lo, carry := bits.Add64(a.lo, b.lo, 0)
	hi, _ := bits.Add64(a.hi, b.hi, carry)
	return address{hi, lo}
}

func (a address) minus(b address) address {
	lo, borrow := bits.Sub64(a.lo, b.lo, 0)
	hi, _ := bits.Sub64(a.hi, b.hi, borrow)
	return address{hi, lo}
}

// down and up shift by 0 to 128 bits.
func (a address) down(n uint) address {
	if n >= 64 {
		return address{lo: a.hi >> (n - 64)}
	}
	return address{a.hi >> n, a.lo>>n | a.hi<<(64-n)}
}

func (a address) up(n uint) address {
	if n >= 64 {
		return address{hi: a.lo << (n - 64)}
	}
	return address{a.hi<<n | a.lo>>(64-n), a.lo << n}
}

// behind is the first address behind the network; over: there is none.
func (n *network) behind() (end address, over bool) {
	end = n.plus(address{lo: 1}.up(128 - uint(n.bits)))
	return end, n.bits == 0 || end.compare(n.address) <= 0 || n.v4 && end.hi == 0
}

func (n *network) prefix() netip.Prefix { return netip.PrefixFrom(n.netip(n.v4), int(n.bits)) }

// equals reports whether two are the same network.
func (n *network) equals(m *network) bool {
	return n.address == m.address && n.bits == m.bits && n.v4 == m.v4
}

// compareNetworks has IPv4 first, and each network behind those that hold it.
func compareNetworks(a, b *network) int {
	if a.v4 != b.v4 {
		if a.v4 {
			return -1
		}
		return 1
	}
	return cmp.Or(a.address.compare(b.address), cmp.Compare(a.bits, b.bits))
}

// order sorts networks, equal ones by line.
func order(list []network) {
	slices.SortFunc(list, func(a, b network) int {
		return cmp.Or(compareNetworks(&a, &b), cmp.Compare(a.line, b.line))
	})
}
