package mapfile

import (
	"encoding/binary"
	"iter"
)

// list is networks of one family in their order, in few bytes: of each its length, its name, and how far it starts behind the one before.
type list struct {
	v4   bool
	n    int
	data []byte
}

// append adds a network, which comes behind those that are there; last is the one before.
func (l *list) append(last, n *network) {
	b := append(l.data, n.bits)
	b = binary.AppendUvarint(b, uint64(n.name))
	d := n.minus(last.address).down(zeros(last, n))
	b = binary.AppendUvarint(b, d.lo)
	if l.data = b; !l.v4 {
		l.data = binary.AppendUvarint(b, d.hi)
	}
	l.n++
}

// zeros is how many bits at the end of the distance of two networks are zero for sure.
func zeros(last, n *network) uint { return 128 - uint(max(last.bits, n.bits)) }

// all gives the networks in their order.
func (l *list) all() iter.Seq[network] {
	return func(yield func(network) bool) {
		last, at := network{v4: l.v4}, 0
		number := func() uint64 {
			v, size := binary.Uvarint(l.data[at:])
			at += size
			return v
		}
		for range l.n {
			n := network{bits: l.data[at], v4: l.v4}
			at++
			n.name = uint16(number())
			d := address{lo: number()}
			if !l.v4 {
				d.hi = number()
			}
			n.address = last.plus(d.up(zeros(&last, &n)))
			if !yield(n) {
				return
			}
			last = n
		}
	}
}
