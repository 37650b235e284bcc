package names

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/prefetch"
)

// MaxLabels is how many labels a name of 255 bytes can have, without the root.
const MaxLabels = 127

// Hashes holds the hash of each suffix of a name: Hashes[i] that of the name from its label i on, Hashes[labels]
// that of the root.
type Hashes [MaxLabels + 1]uint64

// HashSuffixes fills out for a folded name. Hashing goes from the root to the left, so that every suffix's hash
// falls out on the way.
func HashSuffixes(out *Hashes, name *[256]byte, offs *[128]uint8, labels, length int, seed uint64) {
	h, end := seed, length-1
	out[labels&MaxLabels] = h
	for i := labels - 1; i >= 0; i-- {
		off := int(offs[i&127])
		next := off
		for ; end-off > 8; off += 8 {
			h = mix(h, binary.LittleEndian.Uint64(name[off:off+8]))
		}
		if off <= 248 {
			h = mix(h, binary.LittleEndian.Uint64(name[off:off+8])&(^uint64(0)>>((64-8*uint(end-off))&63)))
		} else {
			h = mix(h, lastWord(name, off, end))
		}
		out[i&MaxLabels] = h
		end = next
	}
}

// mix mixes eight bytes of a label (with its length byte) into the hash of what is to the right of it.
func mix(h, w uint64) uint64 {
	hi, lo := bits.Mul64(h^w^0xa0761d6478bd642f, 0xe7037ed1a0b428db)
	return hi ^ lo
}

// lastWord gives name[off:end], less than eight bytes at the end of the room for a name, as a word.
func lastWord(name *[256]byte, off, end int) (w uint64) {
	for i := end - 1; i >= off; i-- {
		w = w<<8 | uint64(name[i])
	}
	return w
}

// inlineName is how long a name fits into its line.
const inlineName = 47

// Line is one place of the table: a cache line that holds all that a probe needs.
type Line struct {
	tag     uint32 // 0: empty
	Value   uint32
	Service uint32 // 1 + place in View.Services, where all that a query of the name needs is there; 0: see the node
	off     uint32 // of a longer name, in Table.long
	size    uint8
	name    [inlineName]byte
}

// Table maps folded wire names to numbers. It is open-addressed, free of pointers, and immutable once built.
type Table struct {
	lines []Line
	mask  uint64
	long  []byte
}

// New makes a table with room for n names at a load of at most two thirds.
func New(n int) Table {
	size := 1
	for size*2 < n*3 || size < 2 {
		size *= 2
	}
	return Table{lines: make([]Line, size), mask: uint64(size - 1)}
}

func tagOf(h uint64) uint32 { return uint32(h>>32) | 1 }

// Ahead gives the line where the search for h begins.
func (n *Table) Ahead(h uint64) prefetch.Line {
	if len(n.lines) == 0 {
		return prefetch.At(n)
	}
	return prefetch.At(&n.lines[h&n.mask])
}

// Find gives the line of name, whose hash is h, nil when it is not there.
func (n *Table) Find(name []byte, h uint64) *Line {
	if len(n.lines) == 0 {
		return nil
	}
	tag := tagOf(h)
	for i := h & n.mask; ; i = (i + 1) & n.mask {
		l := &n.lines[i]
		if l.tag == tag && int(l.size) == len(name) {
			if len(name) <= inlineName {
				if l.holds(name) {
					return l
				}
			} else if string(n.long[l.off:int(l.off)+len(name)]) == string(name) {
				return l
			}
		}
		if l.tag == 0 {
			return nil
		}
	}
}

// holds tells whether the line's name, which is as long, is name. A loop over words is quicker than a call for so few bytes.
func (l *Line) holds(name []byte) bool {
	i := 0
	for ; i+8 <= len(name) && i+8 <= inlineName; i += 8 {
		if binary.LittleEndian.Uint64(l.name[i:i+8]) != binary.LittleEndian.Uint64(name[i:i+8]) {
			return false
		}
	}
	if i == 0 {
		return string(l.name[:len(name)]) == string(name)
	}
	i = len(name) - 8 // the last eight, some of which may have been compared
	return binary.LittleEndian.Uint64(l.name[i:i+8]) == binary.LittleEndian.Uint64(name[i:i+8])
}

// nameOf gives the name of a line.
func (n *Table) nameOf(l *Line) []byte {
	if int(l.size) <= inlineName {
		return l.name[:l.size]
	}
	return n.long[l.off : int(l.off)+int(l.size)]
}

// All goes through the names and what they are mapped to, in no order.
func (n *Table) All(yield func(name []byte, value uint32) bool) {
	for i := range n.lines {
		if l := &n.lines[i]; l.tag != 0 && !yield(n.nameOf(l), l.Value) {
			return
		}
	}
}

// Copied gives a table of the same names that may be changed without changing this one.
func (n *Table) Copied() Table {
	return Table{lines: slices.Clone(n.lines), mask: n.mask, long: slices.Clip(n.long)}
}

// HasRoomFor tells whether so many names leave the load at two thirds at most.
func (n *Table) HasRoomFor(names int) bool { return 3*names <= 2*len(n.lines) }

// Put adds a name that is not there yet, and gives its line.
func (n *Table) Put(name []byte, h uint64, value uint32) *Line {
	i := h & n.mask
	for n.lines[i].tag != 0 {
		i = (i + 1) & n.mask
	}
	l := &n.lines[i]
	l.tag, l.Value, l.size = tagOf(h), value, uint8(len(name))
	if len(name) <= inlineName {
		copy(l.name[:], name)
		return l
	}
	l.off = uint32(len(n.long))
	n.long = append(n.long, name...)
	return l
}

// Key is a name prepared for the table outside of queries.
type Key struct {
	name   [256]byte
	offs   [128]uint8
	Labels int
	length int
	Hashes Hashes
}

// NewKey takes a valid, folded, uncompressed wire name.
func NewKey(wire []byte, seed uint64) *Key {
	k := new(Key)
	k.Set(wire, seed)
	return k
}

// Set has k hold another name, so that one key serves for many.
func (k *Key) Set(wire []byte, seed uint64) {
	k.length, k.Labels = len(wire), 0
	clear(k.name[copy(k.name[:], wire):])
	for off := 0; k.name[off] != 0; off += 1 + int(k.name[off]) {
		k.offs[k.Labels] = uint8(off)
		k.Labels++
	}
	HashSuffixes(&k.Hashes, &k.name, &k.offs, k.Labels, k.length, seed)
}

// Query gives a question for the name. It allocates.
func (k *Key) Query(qtype uint16) *dnswire.Query {
	return &dnswire.Query{Name: k.name, LabelOff: k.offs, Labels: k.Labels, NameLen: k.length, QType: qtype}
}

// Suffix gives the wire name from label i on.
func (k *Key) Suffix(i int) []byte {
	if i == k.Labels {
		return k.name[k.length-1 : k.length]
	}
	return k.name[k.offs[i]:k.length]
}

// Suffix gives q's name from label i on.
func Suffix(q *dnswire.Query, i int) []byte {
	if i == q.Labels {
		return q.Name[q.NameLen-1 : q.NameLen]
	}
	return q.Name[q.LabelOff[i]:q.NameLen]
}

// AnyBelow tells whether there is a name below name.
func (n *Table) AnyBelow(name []byte) bool {
	for i := range n.lines {
		l := &n.lines[i]
		if l.tag == 0 || int(l.size) <= len(name) {
			continue
		}
		if other := n.nameOf(l); bytes.HasSuffix(other, name) && IsBelow(string(other), string(name)) {
			return true
		}
	}
	return false
}

// Remove takes a name away that is there, and moves up those behind it that would not be found any more.
func (n *Table) Remove(name []byte, h, seed uint64) {
	hole := h & n.mask
	for l := n.Find(name, h); &n.lines[hole] != l; hole = (hole + 1) & n.mask {
	}
	var k Key
	for i := (hole + 1) & n.mask; n.lines[i].tag != 0; i = (i + 1) & n.mask {
		k.Set(n.nameOf(&n.lines[i]), seed)
		if home := k.Hashes[0] & n.mask; (i-home)&n.mask >= (i-hole)&n.mask { // its search passes the hole
			n.lines[hole], hole = n.lines[i], i
		}
	}
	n.lines[hole] = Line{}
}
