package answer

import "github.com/gti/gtm/pkg/table"

// trail is where the present query's chain has been.
type trail [maxChain + 1]struct {
	name int         // the offset of the name that was looked up, whole
	zone *table.Zone // of the DNAME that renamed it; nil: there was none
	node uint32      // of that DNAME
}

// visited reports whether the name in chain has been looked up before, in one of the steps 0 to last.
func (a *Answerer) visited(last int) bool {
	for _, step := range a.trail[:last+1] {
		if a.isChain(step.name) {
			return true
		}
	}
	return false
}

// isAtOrBelow reports whether a wire name of any case is at or below a folded one.
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

// renamed reports whether a DNAME has renamed before step hops: its record is in the answer.
func (a *Answerer) renamed(z *table.Zone, node uint32, hops int) bool {
	for _, step := range a.trail[:hops] {
		if step.zone == z && step.node == node {
			return true
		}
	}
	return false
}
