package geo

import "net/netip"

// Partition gives, for an address, the index of the first matcher that it meets and the scope: the length
// of the shortest prefix around it throughout which that index is the same. Immutable; lookups allocate
// nothing and are safe for concurrent use.
type Partition struct {
	v4      table4
	v6      table6
	special uint16 // the class of an address of which nothing is known
}

// Lookup4 looks up an IPv4 address in host order. The class is the index of a matcher, NoClass or
// SpecialClass; the scope is 0 to 32.
func (p *Partition) Lookup4(a uint32) (class uint16, scope uint8) { return p.v4.lookup(a) }

// Lookup6 looks up an IPv6 address given as its upper and lower half; the scope is 0 to 128. An IPv4-mapped
// address is not looked up as IPv4: unmap it before.
func (p *Partition) Lookup6(hi, lo uint64) (class uint16, scope uint8) { return p.v6.lookup(hi, lo) }

// Lookup looks up an address of either family; an IPv4-mapped one counts as IPv4.
func (p *Partition) Lookup(addr netip.Addr) (class uint16, scope uint8) {
	x, v4 := fromAddr(addr)
	if v4 {
		return p.Lookup4(uint32(x.hi >> 32))
	}
	return p.Lookup6(x.hi, x.lo)
}

// LookupResolver4 is Lookup4, but an address in a special-purpose block has the class of an unknown place;
// it never gives SpecialClass.
func (p *Partition) LookupResolver4(a uint32) (class uint16, scope uint8) {
	if class, scope = p.v4.lookup(a); class == SpecialClass {
		class = p.special
	}
	return class, scope
}

// LookupResolver6 is Lookup6, but an address in a special-purpose block has the class of an unknown place;
// it never gives SpecialClass.
func (p *Partition) LookupResolver6(hi, lo uint64) (class uint16, scope uint8) {
	if class, scope = p.v6.lookup(hi, lo); class == SpecialClass {
		class = p.special
	}
	return class, scope
}

// LookupResolver is Lookup, but never gives SpecialClass.
func (p *Partition) LookupResolver(addr netip.Addr) (class uint16, scope uint8) {
	if class, scope = p.Lookup(addr); class == SpecialClass {
		class = p.special
	}
	return class, scope
}

// Len gives the number of runs of addresses of equal class, by family.
func (p *Partition) Len() (v4, v6 int) { return p.v4.runs, p.v6.runs }

// Bytes gives the memory that the partition holds.
func (p *Partition) Bytes() int { return p.v4.bytes() + p.v6.bytes() }

// An entry of a top table, where one run fills its whole slice of the address space, holds the answer:
// answerBit, the scope from bit 16 on, the class. Otherwise it is the place of the next table.
const answerBit = 1 << 31

func answer(class uint16, scope int) uint32 { return answerBit | uint32(scope)<<16 | uint32(class) }

// classOf turns the id of a run into a class.
func classOf(id uint32) uint16 {
	if id >= specialID {
		return SpecialClass
	}
	return uint16(id)
}
