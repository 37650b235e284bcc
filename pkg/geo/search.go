package geo

import "github.com/gti/gtm/pkg/prefetch"

// Search is a lookup in steps: Begin, Cell, Value, and then Result, which does not wait for memory any more. Each step prefetches
// what the next one reads, so that who has many addresses to look up, and takes one step for all of them, then the next, waits
// little. All steps get the same partition and address: an IPv4 address in the upper half of hi.
type Search struct{ entry, value uint32 }

// side gives what p has of a family.
func (p *Partition) side(v4 bool) (*table, *values) {
	if v4 {
		return &p.shape.v4, &p.v4
	}
	return &p.shape.v6, &p.v6
}

// Begin starts a lookup.
func (s *Search) Begin(p *Partition, hi uint64, v4 bool) {
	t, _ := p.side(v4)
	prefetch.Uint32(&t.entries[hi>>(t.shift&63)])
}

// Cell goes to the cell that holds the address, or one step towards it.
func (s *Search) Cell(p *Partition, hi, lo uint64, v4 bool) {
	t, v := p.side(v4)
	if s.entry = t.entries[hi>>(t.shift&63)]; s.entry&cellBit != 0 {
		v.prefetch(s.entry & cellMask)
		return
	}
	at := uint64(s.entry&blockMask) + window(u128{hi, lo}, 64-uint(t.shift))>>((64-strideOf(s.entry))&63)
	prefetch.Uint32(&t.entries[at])
}

// Value takes what the partition makes of the cell.
func (s *Search) Value(p *Partition, hi, lo uint64, v4 bool) {
	t, v := p.side(v4)
	if s.entry&cellBit == 0 {
		s.entry = t.find(u128{hi, lo})
	}
	cell := s.entry & cellMask
	if s.value = v.at(cell); s.value&mixedBit != 0 && cell < uint32(len(t.narrow)) {
		prefetch.Uint64(&t.narrow[cell].starts[0])
	}
}

// Result gives what Lookup4 or Lookup6 gives.
func (s *Search) Result(p *Partition, hi, lo uint64, v4 bool) (class uint16, scope uint8) {
	if s.value&mixedBit == 0 {
		return p.class(s.value >> 8), uint8(s.value >> 1 & 0x7f)
	}
	t, _ := p.side(v4)
	return p.mixed(t, s.entry, s.value, u128{hi, lo})
}

func (v *values) prefetch(cell uint32) {
	if v.large != nil {
		prefetch.Uint32(&v.large[cell])
	} else {
		prefetch.Uint16(&v.small[cell])
	}
}
