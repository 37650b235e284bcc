package geo

import (
	"math/bits"
	"net/netip"
)

// Partition gives, for an address, the class of its place and the scope: the length
// of the shortest prefix around it throughout which that class is the same. Immutable; lookups allocate
// nothing and are safe for concurrent use.
type Partition struct {
	count   uint16          // how many classes there are
	special uint16          // the class of an address of which nothing is known
	shape   *shape          // shared
	top     *[1 << 16]uint8 // by the upper half of an IPv4 address, what all that begin so have: an index into answers; 0: look further
	answers *[1 << 8]uint32 // values of whole cells
	v4      values
	v6      values
	classes []uint16 // ids of classes, by atom
}

// values are what a partition makes of the cells of a table, by number: a value is the answer for a whole cell,
// an id of a class from bit 8 on and the scope from bit 1 on; or (mixedBit) bit n tells that the cell's run n, which is not
// the first, has another class than the run before.
//
// An id is the number of a class; behind those come the id of no class, and one for each special-purpose block.
type values struct {
	small []uint16
	large []uint32 // instead of small, where there are more ids than 8 bits can tell
}

const (
	mixedBit = 1
	smallIDs = 1 << 8
)

func (v *values) at(cell uint32) uint32 {
	if cell < uint32(len(v.small)) {
		return uint32(v.small[cell])
	}
	return v.large[cell]
}

// Lookup4 looks up an IPv4 address in host order. The class is the classifier's, NoClass or
// SpecialClass; the scope is 0 to 32.
func (p *Partition) Lookup4(a uint32) (class uint16, scope uint8) {
	if t := p.top[a>>16]; t != 0 {
		return p.answer(wholeCell(p.answers[t]))
	}
	e := p.shape.v4.find4(a)
	v := p.v4.at(e & cellMask)
	if v&mixedBit == 0 {
		return p.answer(wholeCell(v))
	}
	return p.answer(p.mixed(&p.shape.v4, e, v, u128{hi: uint64(a) << 32}))
}

// Lookup6 looks up an IPv6 address given as its upper and lower half; the scope is 0 to 128. An IPv4-mapped
// address is not looked up as IPv4: unmap it before.
func (p *Partition) Lookup6(hi, lo uint64) (class uint16, scope uint8) {
	return p.lookup6(u128{hi, lo})
}

// Lookup looks up an address of either family; an IPv4-mapped one counts as IPv4.
func (p *Partition) Lookup(addr netip.Addr) (class uint16, scope uint8) {
	x, v4 := fromAddr(addr)
	if v4 {
		return p.Lookup4(uint32(x.hi >> 32))
	}
	return p.lookup6(x)
}

// LookupResolver4 is Lookup4, but an address in a special-purpose block has the class of an unknown place;
// it never gives SpecialClass.
func (p *Partition) LookupResolver4(a uint32) (class uint16, scope uint8) {
	class, scope = p.Lookup4(a)
	return p.unspecial(class), scope
}

// LookupResolver6 is Lookup6, but an address in a special-purpose block has the class of an unknown place;
// it never gives SpecialClass.
func (p *Partition) LookupResolver6(hi, lo uint64) (class uint16, scope uint8) {
	class, scope = p.Lookup6(hi, lo)
	return p.unspecial(class), scope
}

// LookupResolver is Lookup, but never gives SpecialClass.
func (p *Partition) LookupResolver(addr netip.Addr) (class uint16, scope uint8) {
	class, scope = p.Lookup(addr)
	return p.unspecial(class), scope
}

func (p *Partition) unspecial(class uint16) uint16 {
	if class == SpecialClass {
		return p.special
	}
	return class
}

// Bytes gives the memory that is the partition's own: what partitions of the same atlas and maps share is not counted.
func (p *Partition) Bytes() int {
	return len(p.top) + 4*len(p.answers) + 2*(cap(p.v4.small)+cap(p.v6.small)+cap(p.classes)) + 4*(cap(p.v4.large)+cap(p.v6.large))
}

func (p *Partition) lookup6(x u128) (class uint16, scope uint8) {
	e := p.shape.v6.find(x)
	v := p.v6.at(e & cellMask)
	if v&mixedBit == 0 {
		return p.answer(wholeCell(v))
	}
	return p.answer(p.mixed(&p.shape.v6, e, v, x))
}

// found is what a lookup found: an id of a class from bit 8 on, and the scope.
type found uint32

// wholeCell gives what the value of a whole cell says.
func wholeCell(v uint32) found { return found(v&^0xff | v>>1&0x7f) }

// answer takes it apart.
func (p *Partition) answer(f found) (class uint16, scope uint8) {
	return p.class(uint32(f >> 8)), uint8(f)
}

// mixed looks x up in a cell that has several classes; e is the entry that led there, v the cell's value.
func (p *Partition) mixed(t *table, e, v uint32, x u128) found {
	cell, depth := e&cellMask, uint(e>>24&0x7f)
	if cell < uint32(len(t.narrow)) {
		return p.narrow(&t.narrow[cell], v, window(x, depth)>>49, depth)
	}
	return p.wide(t.wideRuns(cell), v, x)
}

// narrow looks up a key in a narrow cell, whose prefix has depth bits, and whose value is v.
//
// The prefix around the address must end before the nearest runs on both sides that have another class (see runs.scope).
// There is at least one in the cell, so it decides.
func (p *Partition) narrow(l *line, v uint32, key uint64, depth uint) found {
	i := l.search(key)
	left, right := before(v, i), behind(v, i) // 32 and more: none
	// Nobody can predict on which sides there is one, hence no branches: where there is none, the first bit differs.
	none, first := (uint64(left)-1)>>63, uint64(1)<<14
	before := (l.start(left)-1^key)&lastStart | none*first
	after := l.start(right) ^ key | uint64(right>>5)*first
	shared := bits.LeadingZeros16(uint16(min(before, after))) - 1
	return found(p.classes[l.ids[i%cellRuns]])<<8 | found(int(depth)+1+shared)
}

// wide looks x up in a wide cell.
func (p *Partition) wide(list []wideRun, v uint32, x u128) found {
	i := len(list) - 1
	for i > 0 && x.less(list[i].start) {
		i--
	}
	shared := 0
	if left := before(v, uint32(i)); left > 0 {
		shared = x.common(list[left].start.prev())
	}
	if right := behind(v, uint32(i)); right < cellRuns {
		shared = max(shared, x.common(list[right].start))
	}
	return found(p.classes[list[i].id])<<8 | found(1+shared)
}

// before gives the last run, up to i, where the class changes; 0 if it does not. v is a cell's value.
func before(v, i uint32) uint32 {
	return uint32(bits.Len32(v&(2<<(i&31)-1)|1)) - 1
}

// behind gives the first run behind i where the class changes; 32 if it does not.
func behind(v, i uint32) uint32 {
	return uint32(bits.TrailingZeros32(v &^ (2<<(i&31) - 1)))
}

// class gives the class of an id.
func (p *Partition) class(id uint32) uint16 {
	class := uint16(id)
	if class >= p.count {
		class = NoClass
	}
	if uint16(id) > p.count {
		class = SpecialClass
	}
	return class
}
