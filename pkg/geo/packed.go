package geo

import (
	"encoding/binary"
	"sort"
)

// packed is runs in a third of the memory, for what is kept but seldom read: all that can be done is to go through it, and to look
// up. Immutable.
//
// In data stand, run after run, its id, and the distance of its start to the next run's. Starts are the ends of prefixes, so that a
// distance has few bits between many zeros: of those its number is written (one byte), then what is left (mostly one more).
type packed struct {
	v4    bool
	n     int    // how many runs
	marks []mark // of the runs 0, packStride, 2*packStride and so on
	data  []byte
}

// mark is where one can begin to read.
type mark struct {
	start u128 // of the run
	at    int  // where its id stands
}

const (
	packStride = 256
	farDelta   = 0xff // instead of the number of zeros: 16 bytes follow, the distance as it is
)

func (p *packed) len() int { return p.n }

// find gives the id of the run that holds x, and the length of the shortest prefix around x that lies wholly in it; see runs.scope.
func (p *packed) find(x u128) (id uint32, scope int) {
	behind := sort.Search(len(p.marks), func(i int) bool { return x.less(p.marks[i].start) })
	c := p.from(behind - 1)
	for !c.last() && !x.less(c.next) {
		c.step()
	}
	if c.run > 0 {
		scope = x.common(c.start.prev()) + 1
	}
	if !c.last() {
		scope = max(scope, x.common(c.next)+1)
	}
	return c.id, scope
}

// unpack gives the runs.
func (p *packed) unpack() *runs {
	r := newRuns(p.v4, p.n)
	for c := p.from(0); ; c.step() {
		r.hi, r.id = append(r.hi, c.start.hi), append(r.id, c.id)
		if !p.v4 {
			r.lo = append(r.lo, c.start.lo)
		}
		if c.last() {
			return r
		}
	}
}

// cursor stands at a run.
type cursor struct {
	p     *packed
	run   int
	start u128
	id    uint32
	next  u128 // where the next run starts, unless this is the last
	at    int  // what is read next
}

// from gives a cursor at a mark's run.
func (p *packed) from(mark int) cursor {
	c := cursor{p: p, run: mark*packStride - 1, next: p.marks[mark].start, at: p.marks[mark].at}
	c.step()
	return c
}

func (c *cursor) last() bool { return c.run+1 == c.p.n }

// step goes to the next run, which there must be.
func (c *cursor) step() {
	c.run++
	c.start = c.next
	c.id = uint32(c.number())
	if c.last() {
		return
	}
	zeros := c.p.data[c.at]
	c.at++
	if zeros == farDelta {
		b := c.p.data[c.at:][:16]
		c.next = c.start.plus(u128{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])})
		c.at += 16
		return
	}
	odd := c.number()
	c.next = c.start.plus(u128{odd >> 63, odd<<1 | 1}.up(uint(zeros)))
}

func (c *cursor) number() uint64 {
	if b := c.p.data[c.at]; b < 0x80 {
		c.at++
		return uint64(b)
	}
	n, size := binary.Uvarint(c.p.data[c.at:])
	c.at += size
	return n
}

// packer makes packed runs. It holds the last two runs back, since of those add may still change its mind.
type packer struct {
	packed
	held        int
	prior, last packerRun
	from        u128 // where the run starts that was written last
}

type packerRun struct {
	start u128
	id    uint32
}

// newPacker gives a packer with capacity for so many bytes.
func newPacker(v4 bool, capacity int) *packer {
	return &packer{packed: packed{v4: v4, data: make([]byte, 0, capacity)}}
}

// empty reports whether nothing was added.
func (w *packer) empty() bool { return w.held == 0 }

// add lets id begin at start, as runs.add does.
func (w *packer) add(start u128, id uint32) {
	if w.held > 0 && w.last.start == start {
		w.held--
		w.last = w.prior
	}
	if w.held > 0 && w.last.id == id {
		return
	}
	if w.held == 2 {
		w.write(w.prior)
		w.held--
	}
	w.prior, w.last = w.last, packerRun{start, id}
	w.held++
}

// done gives what was added.
func (w *packer) done() *packed {
	if w.held == 2 {
		w.write(w.prior)
	}
	if w.held > 0 {
		w.write(w.last)
	}
	w.data, w.marks = clone(w.data), clone(w.marks)
	p := w.packed
	return &p
}

func (w *packer) write(r packerRun) {
	w.data = grow(w.data, 2*binary.MaxVarintLen64+17)
	if w.n > 0 {
		w.distance(r.start.minus(w.from))
	}
	if w.n%packStride == 0 {
		w.marks = append(grow(w.marks, 1), mark{r.start, len(w.data)})
	}
	w.data = binary.AppendUvarint(w.data, uint64(r.id))
	w.from = r.start
	w.n++
}

func (w *packer) distance(d u128) {
	zeros := d.zeros()
	odd := d.down(zeros)
	if odd.hi > 1 {
		w.data = append(w.data, farDelta)
		w.data = binary.BigEndian.AppendUint64(w.data, d.hi)
		w.data = binary.BigEndian.AppendUint64(w.data, d.lo)
		return
	}
	w.data = binary.AppendUvarint(append(w.data, byte(zeros)), odd.hi<<63|odd.lo>>1)
}

// inStep goes through two divisions of the same addresses: it visits each part where both are the same throughout.
func inStep(a, b *packed, visit func(start u128, a, b uint32)) {
	x, y := a.from(0), b.from(0)
	for start := (u128{}); ; {
		visit(start, x.id, y.id)
		switch {
		case x.last() && y.last():
			return
		case y.last() || !x.last() && x.next.less(y.next):
			x.step()
			start = x.start
		case x.last() || y.next.less(x.next):
			y.step()
			start = y.start
		default:
			x.step()
			y.step()
			start = x.start
		}
	}
}
