package answer

import (
	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table"
)

// trail is where the present query's chain has been.
type trail [maxChain + 1]struct {
	name int         // the offset of the name that was looked up, whole
	zone *table.Zone // of the DNAME that renamed it; nil: there was none
	node uint32      // of that DNAME
}

// visited tells whether the name in chain has been looked up before, in one of the steps 0 to last.
func (a *Answerer) visited(last int) bool {
	for _, step := range a.trail[:last+1] {
		if step.name+a.chain.NameLen <= a.pos && a.isChain(a.buf[step.name:step.name+a.chain.NameLen]) {
			return true
		}
	}
	return false
}

// isAtOrBelow tells whether a wire name of any case is at or below a folded one.
func isAtOrBelow(name, above []byte) bool {
	for len(name) > len(above) {
		name = name[1+int(name[0]):]
	}
	if len(name) != len(above) {
		return false
	}
	for i, c := range name {
		if foldByte(c) != above[i] {
			return false
		}
	}
	return true
}

func foldByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c |= 0x20
	}
	return c
}

// isChain compares a whole name, of any case, with that in chain.
func (a *Answerer) isChain(name []byte) bool {
	for i, c := range name {
		if foldByte(c) != a.chain.Name[i] {
			return false
		}
	}
	return true
}

// renamed tells whether a DNAME has renamed before step hops: its record is in the answer.
func (a *Answerer) renamed(z *table.Zone, node uint32, hops int) bool {
	for _, step := range a.trail[:hops] {
		if step.zone == z && step.node == node {
			return true
		}
	}
	return false
}

// takeChain reads the name at an offset of the reply, uncompressed, into chain.
func (a *Answerer) takeChain(at int, qtype uint16) bool {
	if a.truncated || at > maxPointer {
		return false
	}
	c := &a.chain
	c.QType, c.Labels = qtype, 0
	off := 0
	for a.buf[at+off] != 0 {
		c.LabelOff[c.Labels] = uint8(off)
		c.Labels++
		off += 1 + int(a.buf[at+off])
	}
	c.NameLen = off + 1
	clear(c.Name[copy(c.Name[:], a.buf[at:at+c.NameLen]):])
	dnswire.FoldName(c.Name[:c.NameLen])
	return true
}
