package table

import (
	"encoding/binary"
	"math"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/steer"
)

// Family is what a steered name is asked for.
type Family uint8

// The families. A service of addresses has IPv4, IPv6 and what it asks for of HTTPS and SVCB, one of host names has CNAME alone,
// or SRV and MX in its place.
const (
	IPv4 Family = iota
	IPv6
	CNAME
	HTTPS
	SVCB
	SRV
	MX
	families
)

// Type gives the RR type that carries the family.
func (f Family) Type() uint16 {
	return [families]uint16{dnswire.TypeA, dnswire.TypeAAAA, dnswire.TypeCNAME, dnswire.TypeHTTPS, dnswire.TypeSVCB, dnswire.TypeSRV, dnswire.TypeMX}[f]
}

// Pick is how a service draws from a pool.
type Pick uint8

// The ways of picking.
const (
	Weighted Pick = iota
	Sticky
	All
)

// String gives the word used in resources.
func (p Pick) String() string { return [...]string{"weighted", "sticky", "all"}[p] }

// drawForm is how services draw from a pool. Those that do it alike share its draw.
type drawForm struct {
	pick    Pick
	answers int32
	extra   extra
}

// extra is what a service adds to the records of its pools; see render. Comparable.
type extra struct {
	https, svcb string // RDATA up to the hints, and the parameters: see svcbHead
	srv, mx     uint32 // 1 + what they need, packed; 0: not served
}

// Draw is how clients of one kind of service draw from one pool. It is immutable.
type Draw struct {
	fams [families]famDraw // what a query reads comes first
	Pool *steer.Pool
}

// node gives the leaf that draws from d.
func (d *Draw) node(ttl uint32) decisionNode {
	n := decisionNode{draw: d, ttl: ttl, bits4: stickyBits4, bits6: stickyBits6}
	for f := range families {
		if d.fams[f].live != nil {
			n.live |= 1 << f
		}
		if d.fams[f].all != nil {
			n.all |= 1 << f
		}
	}
	return n
}

// wants tells whether the services that share the key serve a family, as far as the pool allows.
func (k *drawForm) wants(f Family) bool {
	switch f {
	case HTTPS:
		return k.extra.https != ""
	case SVCB:
		return k.extra.svcb != ""
	case SRV:
		return k.extra.srv != 0
	case MX:
		return k.extra.mx != 0
	}
	return true
}

// famDraw is a Draw in one family.
type famDraw struct {
	live *picks // healthy endpoints; nil unless the pool is up and has one in this family
	all  *picks // as if all were healthy; nil when the pool has no endpoint in this family
}

// span is one rendered set: records without owner and TTL filled in; and a slot of the alias table (Walker, Vose) by which
// sets are drawn: below cut this set, above it the other.
type span struct {
	cut       uint32
	other     uint16
	count     uint16
	off, size uint32
	id        uint64 // of the content, whatever its order
}

// picks is a compiled choice and its sets, rendered.
type picks struct {
	sets  []span
	data  []byte
	table *steer.Table // sticky: it draws the set, and the spans' cuts don't
	parts []uint16     // the candidates of the sets, set after set, as many for each; for explanations
	joint *joint       // sticky, several answers: what is drawn is a bucket of the table, which names several sets; else nil
}

// partsOf gives the indexes of a set's candidates.
func (p *picks) partsOf(set int) []uint16 {
	n := len(p.parts) / len(p.sets)
	return p.parts[set*n : (set+1)*n]
}

// named gives the indexes of the candidates that what was drawn names, in order.
func (p *picks) named(drawn int) []uint16 {
	if p.joint == nil {
		return p.partsOf(drawn)
	}
	var out []uint16
	for _, set := range p.table.Rank(uint64(drawn), make([]uint16, steer.MaxAnswers)) {
		out = append(out, p.partsOf(int(set))...)
	}
	return out
}

// records gives those of a set; see Decision.Records.
func (p *picks) records(set int) ([]byte, uint16) {
	s := &p.sets[set]
	return p.data[s.off : s.off+s.size], s.count
}

// shares gives how often each set is drawn, or comes first of those that are.
func (p *picks) shares() []float64 {
	if p.table != nil {
		return p.table.Shares()
	}
	shares := make([]float64, len(p.sets))
	for i := range p.sets {
		s, own := &p.sets[i], 1.0
		if s.cut != math.MaxUint32 {
			own = float64(s.cut) / (1 << 32)
		}
		shares[i] += own / float64(len(p.sets))
		shares[s.other] += (1 - own) / float64(len(p.sets))
	}
	return shares
}

// appendRecord appends a record of class IN whose owner points at the question's name (offset 12).
func appendRecord(b []byte, typ uint16, ttl uint32, data []byte) []byte {
	b = append(b, 0xC0, 12)
	b = binary.BigEndian.AppendUint16(b, typ)
	b = binary.BigEndian.AppendUint16(b, dnswire.ClassIN)
	b = binary.BigEndian.AppendUint32(b, ttl)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

// choose gives the set that r (uniform) or, for sticky, the client's hash draws; with joint, the bucket.
func (p *picks) choose(r uint32, hash uint64) int {
	if p.table != nil {
		if p.joint != nil {
			return int(hash % steer.Buckets)
		}
		return p.table.Set(hash)
	}
	m := uint64(r) * uint64(len(p.sets))
	at := uint32(m >> 32)
	s := &p.sets[at]
	// Nobody can predict whether it is the other one, hence no branch: below is all ones if it is not.
	below := uint32((uint64(uint32(m)) - uint64(s.cut)) >> 32)
	return int(at&below | uint32(s.other)&^below)
}
