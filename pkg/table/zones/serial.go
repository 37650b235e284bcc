package zones

import (
	"slices"
	"sync/atomic"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table/rr"
	"github.com/gti/gtm/pkg/zone"
)

// serialOf gives the serial that a zone is served with, from the one in its SOA record.
func serialOf(own, serial, added uint32) uint32 {
	if own == 0 {
		return serial
	}
	return own + added
}

// ServedSerial gives the serial that a zone is served with: see stampZone. Not ok: it has no SOA record.
func ServedSerial(static *zone.Zone, serial, added uint32) (uint32, bool) {
	at := slices.IndexFunc(static.Sets, isSOA)
	if at < 0 {
		return 0, false
	}
	data := static.Sets[at].Data[0]
	return serialOf(rr.Uint32(data[len(data)-20:]), serial, added), true
}

// Renumbered gives a copy of the zone with another serial. Signatures stay, but that of the SOA record.
func (z *Zone) Renumbered(serial uint32) *Zone {
	n := *z
	n.Serial = serial
	n.data = append(make([]byte, 0, len(z.data)+len(z.data)/64), z.data...) // with some room for sets that replace others
	s := z.sets[z.soa.at]
	putSerial(n.data[s.off:s.off+s.size], serial)
	if short, ok := n.Short(n.soa); ok {
		putSerial(short.Data, serial)
	}
	n.soa.Wire = slices.Clone(z.soa.Wire)
	putSerial(n.soa.Wire, serial)
	if z.sigs == nil {
		return &n
	}
	n.sigs = &zoneSigs{Signer: z.sigs.Signer, sets: make([]atomic.Pointer[signature], len(z.sigs.sets)),
		nodes: make([]atomic.Pointer[signature], len(z.sigs.nodes)), fixed: z.sigs.fixed, made: z.sigs.made}
	for i := range z.sigs.sets {
		if uint32(i) != z.soa.at {
			n.sigs.sets[i].Store(z.sigs.sets[i].Load())
		}
	}
	for i := range z.sigs.nodes {
		n.sigs.nodes[i].Store(z.sigs.nodes[i].Load())
	}
	return &n
}

// putSerial writes the serial into the end of an SOA record: five numbers, of which it is the first.
func putSerial(record []byte, serial uint32) {
	at := record[len(record)-20:]
	at[0], at[1], at[2], at[3] = byte(serial>>24), byte(serial>>16), byte(serial>>8), byte(serial)
}

func isSOA(s zone.RRset) bool { return s.Type == dnswire.TypeSOA }
