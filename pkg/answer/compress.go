package answer

import (
	"encoding/binary"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table"
)

// appendHeld appends a set that z holds, whose owner is q's name from label i on.
func (a *Answerer) appendHeld(z *table.Zone, set table.Set, q *dnswire.Query, at, i int, count *uint16) {
	if set.Shortens() {
		if short, ok := z.Short(set); ok {
			a.appendShort(short, set.Count, q, at, i, count)
			return
		}
	}
	a.appendSet(set, a.owner(q, at, i), count)
}

// appendShort appends a set in its short form, and has the pointers in it lead to where the message has what they stand for.
func (a *Answerer) appendShort(s table.Short, n uint16, q *dnswire.Query, at, i int, count *uint16) {
	r := &a.reply
	start, joints := r.pos, s.Data[:s.Joints*table.JointSize]
	a.appendSet(table.Set{Count: n, Wire: s.Data[len(joints):]}, a.owner(q, at, i), count)
	for ; len(joints) > 0 && !r.truncated; joints = joints[table.JointSize:] {
		to := int(binary.BigEndian.Uint16(joints[2:]))
		if to&table.JointInside != 0 {
			to = start + to&^table.JointInside
		} else {
			to = a.owner(q, at, q.Labels-to)
		}
		if to > maxPointer {
			r.truncated = true // as in appendSet
			return
		}
		binary.BigEndian.PutUint16(r.buf[start+int(binary.BigEndian.Uint16(joints)):], 0xC000|uint16(to))
	}
}

// owner gives the offset in the message of label i of q's name, which is at offset at.
func (a *Answerer) owner(q *dnswire.Query, at, i int) int {
	switch {
	case at != 12: // the chain's, with pointers in it
		return int(a.labelAt[i])
	case i >= q.Labels:
		return at + q.NameLen - 1
	}
	return at + int(q.LabelOff[i])
}

// takeChain reads the name at an offset of the reply into chain, and notes where its labels are.
func (a *Answerer) takeChain(at int, qtype uint16) bool {
	if a.truncated || at > maxPointer {
		return false
	}
	c := &a.chain
	c.QType, c.Labels, c.NameLen = qtype, 0, 0
	clear(c.Name[:])
	for {
		at = a.past(at)
		a.labelAt[c.Labels] = uint16(at)
		size := 1 + int(a.buf[at])
		copy(c.Name[c.NameLen:], a.buf[at:at+size])
		c.LabelOff[c.Labels&127] = uint8(c.NameLen)
		if c.NameLen += size; size == 1 {
			break
		}
		c.Labels++
		at += size
	}
	dnswire.FoldName(c.Name[:c.NameLen])
	return true
}

// past follows the pointers at an offset of the reply, all of which lead backwards.
func (r *reply) past(at int) int {
	for r.buf[at] >= 0xC0 {
		at = int(binary.BigEndian.Uint16(r.buf[at:])) & maxPointer
	}
	return at
}

// isChain reports whether the name at an offset of the reply is, in any case, that in chain.
func (a *Answerer) isChain(at int) bool {
	for name := a.chain.Name[:a.chain.NameLen]; ; {
		at = a.past(at)
		size := 1 + int(a.buf[at])
		if size > len(name) {
			return false
		}
		for i, c := range a.buf[at : at+size] { // lengths of labels are below 'A'
			if foldByte(c) != name[i] {
				return false
			}
		}
		if size == 1 {
			return true
		}
		at, name = at+size, name[size:]
	}
}
