package zones

import (
	"encoding/binary"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table/names"
)

// lastInside is the last offset of a set that its own names lead to: behind 12 KiB of other records a pointer still reaches it.
const lastInside = 0xFFF

// extra gives what a set has beside its records, and makes room for it.
func (b *zoneBuilder) extra(s *set) *setExtra {
	if s.extra == 0 {
		b.z.extras = append(b.z.extras, setExtra{})
		s.extra = uint32(len(b.z.extras))
	}
	return &b.z.extras[s.extra-1]
}

// shorten makes the short form of a set, if it saves something.
func (b *zoneBuilder) shorten(owner string, s *set) {
	if s.typ >= 32 || shortens>>s.typ&1 == 0 {
		return
	}
	w := shortener{owner: owner}
	if names.IsWildcard(owner) {
		w.owner = owner[2:] // it answers for names that only share the rest with it
	}
	full := b.z.data[s.off : s.off+s.size]
	for at := 0; at < len(full); {
		rdata := full[at+12 : at+12+int(binary.BigEndian.Uint16(full[at+10:]))]
		start := len(w.out)
		w.out = append(w.out, full[at:at+12]...)
		w.record(s.typ, rdata)
		binary.BigEndian.PutUint16(w.out[start+10:], uint16(len(w.out)-start-12))
		at += 12 + len(rdata)
	}
	if len(w.joints) == 0 || len(w.joints)/JointSize > 0xFFFF {
		return
	}
	e := b.extra(s)
	e.joints, e.short = uint16(len(w.joints)/JointSize), uint32(len(b.z.data))
	b.z.data = append(append(b.z.data, w.joints...), w.out...)
	e.shortSize = uint32(len(b.z.data)) - e.short
}

// shortener writes the records of one set with compressed names.
type shortener struct {
	owner  string
	out    []byte
	joints []byte
	seen   map[string]uint16 // names written, folded, to where they stand
}

// record writes RDATA, with the names in it compressed; as it is where they cannot be read.
func (w *shortener) record(typ uint16, rdata []byte) {
	skip, names := 0, 1
	switch typ {
	case dnswire.TypeMX:
		skip = 2
	case dnswire.TypeSOA:
		names = 2
	}
	end := skip
	for range names {
		host, ok := hostName(rdata, end)
		if !ok {
			w.out = append(w.out, rdata...)
			return
		}
		end += len(host)
	}
	w.out = append(w.out, rdata[:skip]...)
	for at := skip; at < end; {
		host, _ := hostName(rdata, at)
		w.name(rdata[at:at+len(host)], host)
		at += len(host)
	}
	w.out = append(w.out, rdata[end:]...)
}

// name writes a name: labels as they are, until the rest stands elsewhere.
func (w *shortener) name(name []byte, folded string) {
	for off := 0; name[off] != 0; off += 1 + int(name[off]) {
		rest, here := folded[off:], len(w.out)
		if here > 0xFFFF {
			w.out = append(w.out, name[off:]...)
			return
		}
		if names.IsAtOrBelow(w.owner, rest) {
			w.point(here, labelsOf(rest))
			return
		}
		if at, ok := w.seen[rest]; ok {
			w.point(here, JointInside|at)
			return
		}
		if here <= lastInside {
			if w.seen == nil {
				w.seen = map[string]uint16{}
			}
			w.seen[rest] = uint16(here)
		}
		w.out = append(w.out, name[off:off+1+int(name[off])]...)
	}
	w.out = append(w.out, 0)
}

// point writes a pointer that the answer has to fill in.
func (w *shortener) point(here int, to uint16) {
	w.joints = binary.BigEndian.AppendUint16(w.joints, uint16(here))
	w.joints = binary.BigEndian.AppendUint16(w.joints, to)
	w.out = append(w.out, 0xC0, 0)
}

func labelsOf(name string) (n uint16) {
	for ; name[0] != 0; name = name[1+int(name[0]):] {
		n++
	}
	return n
}

// eachHost goes through the hosts that the records of a set name, folded, and tells where in what goes into an answer the name stands.
func (b *zoneBuilder) eachHost(s *set, yield func(rdata []byte, host string, ref int)) {
	skip, _ := hostAt(s.typ)
	full := b.z.data[s.off : s.off+s.size]
	wire := full
	if s.extra != 0 && b.z.extras[s.extra-1].joints > 0 {
		e := &b.z.extras[s.extra-1]
		wire = b.z.data[e.short+uint32(e.joints)*JointSize : e.short+e.shortSize]
	}
	for at, ref := 0, 0; at < len(full); {
		rdata := full[at+12 : at+12+int(binary.BigEndian.Uint16(full[at+10:]))]
		if host, ok := hostName(rdata, skip); ok {
			yield(rdata, host, ref+12+skip)
		}
		at += 12 + len(rdata)
		ref += 12 + int(binary.BigEndian.Uint16(wire[ref+10:]))
	}
}
