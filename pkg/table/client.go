package table

import (
	"encoding/binary"
	"net/netip"
)

// Client is who asks, as far as steering goes. Addresses are left-aligned in Hi and Lo; IPv4 in the upper half of Hi.
type Client struct {
	Subnet   Net  // of the client subnet option; bits past its length are zero
	Has      bool // there is such an option, with a length above zero
	Resolver Net  // the address that asked, full length
	// Of a service that is Keyed:
	Label uint64 // hash of the labels that a wildcard stands for; see the function Label
	Now   uint32 // Unix time in seconds
}

// Net is a network.
type Net struct {
	Hi, Lo uint64
	Bits   uint8
	V4     bool
}

// NetOf gives the network of an address, masked to bits.
func NetOf(a netip.Addr, bits uint8) Net {
	a = a.Unmap()
	if a.Is4() {
		b := a.As4()
		return masked(uint64(binary.BigEndian.Uint32(b[:]))<<32, 0, min(bits, 32), true)
	}
	b := a.As16()
	return masked(binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:]), min(bits, 128), false)
}

// HostNet gives the network that holds nothing but the address, which is not an IPv4-mapped one.
func HostNet(a netip.Addr) Net {
	if a.Is4() {
		b := a.As4()
		return Net{Hi: uint64(binary.BigEndian.Uint32(b[:])) << 32, Bits: 32, V4: true}
	}
	b := a.As16()
	return Net{Hi: binary.BigEndian.Uint64(b[:8]), Lo: binary.BigEndian.Uint64(b[8:]), Bits: 128}
}

// masked clears what lies past bits.
func masked(hi, lo uint64, bits uint8, v4 bool) Net {
	if bits < 64 {
		hi, lo = hi&^(^uint64(0)>>bits), 0
	} else if bits < 128 {
		lo &^= ^uint64(0) >> (bits - 64)
	}
	return Net{hi, lo, bits, v4}
}

// Addr gives the network's address.
func (n Net) Addr() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], n.Hi)
	binary.BigEndian.PutUint64(b[8:], n.Lo)
	if n.V4 {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16(b)
}

// Prefix gives the network.
func (n Net) Prefix() netip.Prefix { return netip.PrefixFrom(n.Addr(), int(n.Bits)) }
