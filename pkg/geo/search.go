package geo

import "github.com/gti/gtm/pkg/prefetch"

// Search is a lookup in steps: Begin, Top, Cell, Deep, Run, and then Result, which does not wait for memory any more. Each step
// prefetches what the next one reads, so that who has many addresses to look up, and takes one step for all of them, then the
// next, waits little. All steps get the same partition and address: an IPv4 address in the upper half of hi. Cell, Deep and
// Run are for searches that Top leaves open.
type Search struct {
	entry uint32
	found found
}

// side gives what p has of a family.
func (p *Partition) side(v4 bool) (*table, *values) {
	if v4 {
		return &p.shape.v4, &p.v4
	}
	return &p.shape.v6, &p.v6
}

// Begin starts a lookup.
func (s *Search) Begin(p *Partition, hi uint64, v4 bool) {
	if v4 {
		prefetch.Of(&p.top[hi>>48])
	}
	t, _ := p.side(v4)
	prefetch.Of(&t.entries[hi>>(t.shift&63)])
}

// Top finds what all addresses have in common that begin like this one. Where they have nothing in common, the search stays open,
// and open is 1, else 0: a number, since nobody can predict it, and who goes on with some of many had better do so without a branch.
func (s *Search) Top(p *Partition, hi uint64, v4 bool) (open int) {
	if !v4 {
		return 1
	}
	t := p.top[hi>>48]
	s.found = wholeCell(p.answers[t])
	return int((uint32(t) - 1) >> 31)
}

// Cell goes to the cell that holds the address, or one step towards it.
func (s *Search) Cell(p *Partition, hi, lo uint64, v4 bool) {
	t, v := p.side(v4)
	if s.entry = t.entries[hi>>(t.shift&63)]; s.entry&cellBit != 0 {
		t.prefetch(v, s.entry&cellMask)
		return
	}
	at := uint64(s.entry&blockMask) + window(u128{hi, lo}, 64-uint(t.shift))>>((64-strideOf(s.entry))&63)
	prefetch.Of(&t.entries[at])
}

// Deep goes to the cell if Cell has not.
func (s *Search) Deep(p *Partition, hi, lo uint64, v4 bool) {
	if s.entry&cellBit == 0 {
		t, v := p.side(v4)
		s.entry = t.find(u128{hi, lo})
		t.prefetch(v, s.entry&cellMask)
	}
}

// Run finds the run in the cell.
func (s *Search) Run(p *Partition, hi, lo uint64, v4 bool) {
	t, v := p.side(v4)
	cell := s.entry & cellMask
	value := v.at(cell)
	if value&mixedBit == 0 {
		s.found = wholeCell(value)
		return
	}
	if v4 && cell < uint32(len(t.narrow)) {
		depth := uint(s.entry >> 24 & 0x3f)
		s.found = p.narrow(&t.narrow[cell], value, hi<<depth>>49, depth)
		return
	}
	s.found = p.mixed(t, s.entry, value, u128{hi, lo})
}

// Result gives what Lookup4 or Lookup6 gives.
func (s *Search) Result(p *Partition) (class uint16, scope uint8) { return p.answer(s.found) }

// prefetch asks for what a cell holds and for its value in v, at once: nearly all cells that a search comes to have several
// classes.
func (t *table) prefetch(v *values, cell uint32) {
	if v.large != nil {
		prefetch.Of(&v.large[cell])
	} else {
		prefetch.Of(&v.small[cell])
	}
	if cell < uint32(len(t.narrow)) {
		prefetch.Of(&t.narrow[cell])
	}
}
