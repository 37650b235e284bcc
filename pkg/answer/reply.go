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
	end        int // buf[:end] is what may be used with it
	an, ns, ar uint16
	flags      uint16
	rcode      uint16
	opt        dnswire.OPT
	truncated  bool
	deferred   bool // see Outcome.Deferred
	madeUp     bool // and it is for a name that clients can make up
	exempt     bool // see Outcome
	badCookie  bool // the query must come again, with the reply's cookie
}

// begin starts a reply to q in buf.
func (a *Answerer) begin(buf []byte, q *dnswire.Query) {
	r := &a.reply
	end := len(buf)
	if !a.meta.Stream {
		end = min(end, 512)
		if q.EDNS {
			end = min(len(buf), max(512, min(int(q.UDPSize), a.cfg.MaxUDP)))
		}
	}
	r.buf, r.pos, r.limit, r.end = buf, q.End, end, end
	r.an, r.ns, r.ar, r.rcode, r.truncated, r.deferred, r.madeUp, r.exempt, r.badCookie = 0, 0, 0, 0, false, false, false, false, false
	r.flags = dnswire.FlagQR | q.Flags&(dnswire.FlagRD|dnswire.FlagCD|opcode)
	if q.EDNS {
		a.beginEDNS(q)
	}
}

const opcode = 0xF << 11

// finish appends the OPT record and writes the header. A reply that did not fit is cut behind the question.
func (a *Answerer) finish(q *dnswire.Query) Outcome {
	r := &a.reply
	if r.deferred {
		if !a.meta.Slow {
			copy(r.buf[q.End:], a.tail)
			o := Outcome{Kind: DeferKnown, Exempt: r.exempt}
			if r.madeUp {
				o.Kind = Defer
			}
			return o
		}
		r.pos, r.an, r.ns, r.ar, r.rcode = q.End, 0, 0, 0, dnswire.RcodeServFail // signing failed
	}
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
		r.pos = len(dnswire.AppendOPT(r.buf[:r.pos:r.end], &r.opt))
		r.ar++
	}
	dnswire.SetHeader(r.buf, q.ID, r.flags|r.rcode&0xF, qd, r.an, r.ns, r.ar)
	return Outcome{Kind: Send, Size: r.pos, Truncated: r.truncated, Exempt: r.exempt}
}

// fits makes sure that n more bytes fit.
func (r *reply) fits(n int) bool {
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
	if !r.fits(len(wire)) {
		return false
	}
	r.pos += copy(r.buf[r.pos:], wire)
	*count += n
	return true
}

// appendAdditional appends what fits of the addresses that go with a set, which stands at offset set of the message.
func (r *reply) appendAdditional(e table.Additional, set int) {
	for wire := e.Wire; len(wire) > 0 && !r.truncated; {
		size, count := firstSet(wire)
		name := set + int(binary.BigEndian.Uint16(wire))
		if name <= maxPointer && r.pos+size <= r.limit {
			copy(r.buf[r.pos:], wire[:size])
			for at := r.pos; at < r.pos+size; at += 12 + int(binary.BigEndian.Uint16(r.buf[at+10:])) {
				binary.BigEndian.PutUint16(r.buf[at:], 0xC000|uint16(name))
			}
			r.pos += size
			r.ar += count
		}
		wire = wire[size:]
	}
}

// appendGlue appends the addresses without which a delegation, whose NS set stands at offset set, leads nowhere (RFC 9471).
func (r *reply) appendGlue(e table.Additional, set int) {
	if r.fits(len(e.Wire)) {
		r.appendAdditional(e, set) // all but what no pointer reaches: that is over a stream alone, where a cut reply leads nobody further
	}
}

// firstSet gives the size and count of the records at the start of wire that have one owner and type.
func firstSet(wire []byte) (size int, count uint16) {
	for size < len(wire) && string(wire[size:size+4]) == string(wire[:4]) {
		size += 12 + int(binary.BigEndian.Uint16(wire[size+10:]))
		count++
	}
	return size, count
}

// appendRecord appends one record.
func (r *reply) appendRecord(owner int, typ uint16, ttl uint32, data []byte, count *uint16) {
	if owner > maxPointer || !r.fits(12+len(data)) {
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
	if owner > maxPointer || !r.fits(len(wire)) {
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
