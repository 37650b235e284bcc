package geo

import "github.com/gti/gtm/pkg/prefetch"

// Search is a lookup in steps: Begin, Top, Cell, Deep, Run, and then Result, which does not wait for memory any more. Begin, Cell and Deep
// give what a later one reads, to be prefetched, so that who has many addresses to look up, and takes one step for all of them, then the
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

// Begin starts a lookup. It gives what Top and Cell read.
func (s *Search) Begin(p *Partition, hi uint64, v4 bool) (top, entry prefetch.Line) {
	t, _ := p.side(v4)
	entry = prefetch.At(&t.entries[hi>>(t.shift&63)])
	if !v4 {
		return entry, entry
	}
	return prefetch.At(&p.top[hi>>48]), entry
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

// Cell goes to the cell that holds the address, or one step towards it. It gives what Deep or Run read.
func (s *Search) Cell(p *Partition, hi, lo uint64, v4 bool) (a, b prefetch.Line) {
	t, v := p.side(v4)
	if s.entry = t.entries[hi>>(t.shift&63)]; s.entry&cellBit != 0 {
		return t.lines(v, s.entry&cellMask)
	}
	at := uint64(s.entry&blockMask) + window(u128{hi, lo}, 64-uint(t.shift))>>((64-strideOf(s.entry))&63)
	a = prefetch.At(&t.entries[at])
	return a, a
}

// Deep goes to the cell if Cell has not. It gives what Run reads, if Cell has not.
func (s *Search) Deep(p *Partition, hi, lo uint64, v4 bool) (a, b prefetch.Line) {
	if s.entry&cellBit != 0 {
		a = prefetch.At(s)
		return a, a
	}
	t, v := p.side(v4)
	s.entry = t.find(u128{hi, lo})
	return t.lines(v, s.entry&cellMask)
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

// lines gives what a cell holds and its value in v, at once: nearly all cells that a search comes to have several classes.
func (t *table) lines(v *values, cell uint32) (value, run prefetch.Line) {
	if v.large != nil {
		value = prefetch.At(&v.large[cell])
	} else {
		value = prefetch.At(&v.small[cell])
	}
	if cell < uint32(len(t.narrow)) {
		return value, prefetch.At(&t.narrow[cell])
	}
	return value, value
}
