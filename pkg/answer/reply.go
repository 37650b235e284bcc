package answer

import (
	"encoding/binary"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/table"
)

// maxPointer is the last offset that a compression pointer reaches (RFC 1035, 4.1.4).
const maxPointer = 0x3FFF

// reply is a message being written behind the question that stays in place.
type reply struct {
	buf        []byte
	pos        int
	limit      int // buf[:limit] is what may be used, the OPT record apart
	an, ns, ar uint16
	flags      uint16
	rcode      uint16
	opt        dnswire.OPT
	truncated  bool
}

// begin starts a reply to q in buf.
func (a *Answerer) begin(buf []byte, q *dnswire.Query) {
	r := &a.reply
	limit := len(buf)
	if !a.meta.Stream {
		limit = min(limit, 512)
		if q.EDNS {
			limit = min(len(buf), max(512, min(int(q.UDPSize), MaxUDP)))
		}
	}
	r.buf, r.pos, r.limit = buf, q.End, limit
	r.an, r.ns, r.ar, r.rcode, r.truncated = 0, 0, 0, 0, false
	r.flags = dnswire.FlagQR | q.Flags&(dnswire.FlagRD|dnswire.FlagCD|opcode)
	if !q.EDNS {
		return
	}
	o := &r.opt
	o.UDPSize, o.DO, o.CO, o.Scope, o.HasEDE, o.NSID = MaxUDP, q.DO, q.CO, 0, false, nil
	if q.NSID {
		o.NSID = a.nsid
	}
	o.Subnet = &q.Subnet
	r.limit -= o.Len()
}

const opcode = 0xF << 11

// fail sets an error and, for clients with EDNS, its extended form (RFC 8914). It comes before any section.
func (a *Answerer) fail(rcode, code uint16, text string) {
	a.rcode = rcode
	if !a.q.EDNS {
		return
	}
	was := a.opt.Len()
	a.opt.HasEDE, a.opt.EDE, a.opt.EDEText = true, code, text
	a.limit -= a.opt.Len() - was
}

// finish appends the OPT record and writes the header. A reply that did not fit is cut behind the question.
func (a *Answerer) finish(q *dnswire.Query) Outcome {
	r := &a.reply
	qd := uint16(1)
	if q.End <= 12 {
		qd = 0
	}
	if r.truncated {
		r.pos, r.an, r.ns, r.ar = q.End, 0, 0, 0
		r.flags |= dnswire.FlagTC
	}
	if q.EDNS {
		r.opt.Rcode = r.rcode
		r.pos = len(dnswire.AppendOPT(r.buf[:r.pos], &r.opt))
		r.ar++
	}
	dnswire.SetHeader(r.buf, q.ID, r.flags|r.rcode&0xF, qd, r.an, r.ns, r.ar)
	return Outcome{Size: r.pos, Truncated: r.truncated}
}

// room makes sure that n more bytes fit.
func (r *reply) room(n int) bool {
	if r.pos+n > r.limit {
		r.truncated = true
	}
	return !r.truncated
}

// appendSet appends an RRset whose owner stands at offset owner.
func (r *reply) appendSet(s table.Set, owner int, count *uint16) {
	if !r.appendWire(s.Wire, s.Count, count) || owner == 12 {
		return
	}
	if owner > maxPointer {
		r.truncated = true // only behind 16 KiB of chain, over a stream: better a cut answer than a wrong one
		return
	}
	for at := r.pos - len(s.Wire); at < r.pos; at += 12 + int(binary.BigEndian.Uint16(r.buf[at+10:])) {
		binary.BigEndian.PutUint16(r.buf[at:], 0xC000|uint16(owner))
	}
}

// appendWire appends whole records.
func (r *reply) appendWire(wire []byte, n uint16, count *uint16) bool {
	if !r.room(len(wire)) {
		return false
	}
	r.pos += copy(r.buf[r.pos:], wire)
	*count += n
	return true
}

// appendRecord appends one record.
func (r *reply) appendRecord(owner int, typ uint16, ttl uint32, data []byte, count *uint16) {
	if owner > maxPointer || !r.room(12+len(data)) {
		r.truncated = true
		return
	}
	b := r.buf[r.pos:]
	binary.BigEndian.PutUint16(b, 0xC000|uint16(owner))
	binary.BigEndian.PutUint16(b[2:], typ)
	binary.BigEndian.PutUint16(b[4:], dnswire.ClassIN)
	binary.BigEndian.PutUint32(b[6:], ttl)
	binary.BigEndian.PutUint16(b[10:], uint16(len(data)))
	r.pos += 12 + copy(b[12:], data)
	*count++
}

// appendSteered appends drawn records, which come without owner and TTL.
func (r *reply) appendSteered(wire []byte, n uint16, owner int, ttl uint32) {
	if owner > maxPointer || !r.room(len(wire)) {
		r.truncated = true
		return
	}
	b := r.buf[r.pos : r.pos+len(wire)]
	copy(b, wire)
	for len(b) > 0 {
		binary.BigEndian.PutUint16(b, 0xC000|uint16(owner))
		binary.BigEndian.PutUint32(b[6:], ttl)
		b = b[12+int(binary.BigEndian.Uint16(b[10:])):]
	}
	r.pos += len(wire)
	r.an += n
}
