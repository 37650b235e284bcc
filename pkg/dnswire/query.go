package dnswire

import "encoding/binary"

// Query is what one message asks. The zero value is ready; each Parse overwrites all of it, so that one
// Query serves a worker for all its messages.
type Query struct {
	ID    uint16
	Flags uint16 // the header's second word as it came: Flag bits, opcode, rcode

	// End is the offset behind what a reply repeats: behind the question, or behind the header where no
	// question could be read. The reply keeps those bytes of the message, and with them the case of the name.
	End int

	QType  uint16
	QClass uint16

	// Name[:NameLen] is the QNAME in wire form, folded to lower case. Up to the next multiple of eight
	// zeros follow, so that it can be hashed in whole words; what is behind them is undefined.
	NameLen int
	Labels  int // without the root

	EDNS         bool   // an OPT record is there (RFC 6891)
	DO           bool   // DNSSEC OK (RFC 3225)
	CO           bool   // compact answers OK (RFC 9824)
	NSID         bool   // RFC 5001
	TCPKeepalive bool   // RFC 7828; means nothing over UDP
	Padding      bool   // RFC 7830
	HasTSIG      bool   // the last record is a TSIG (RFC 8945), not verified here
	Version      uint8  // of EDNS
	UDPSize      uint16 // as asked, so possibly below 512 (which then means 512); 0 without EDNS
	Subnet       Subnet
	Cookie       Cookie

	// LabelOff[:Labels] are the offsets in Name of the labels, left to right; LabelOff[0] is 0.
	LabelOff [128]uint8
	Name     [256]byte
}

// Result says what to do with a message.
type Result uint8

const (
	// Answer: the query is well formed.
	Answer Result = iota
	// Silent: send nothing. It is shorter than a header, or a response (which, answered, could loop).
	Silent
	// Reject: reply with the rcode, repeating message[:End], and with an OPT record if EDNS is set.
	Reject
	// CookieOnly: there is no question, but a COOKIE option: reply with a server cookie and no records, and with
	// RcodeBadCook where the query's own server cookie is not valid (RFC 7873, 5.4).
	CookieOnly
)

const (
	headerLen  = 12
	maxName    = 255
	maxLabel   = 63
	opcodeMask = 0xF << 11
)

// Parse reads one message. It keeps no reference to msg. The rcode is meaningful with Reject only:
//
//   - RcodeNotImp: an opcode other than QUERY. Nothing behind the header is read.
//   - RcodeFormErr: not exactly one question; a compressed name in it; records in answer or authority (but
//     IXFR's one SOA, RFC 1995); a second OPT record, or one not at the root; options that do not fit;
//
// a client subnet against RFC 7871; a cookie of a wrong length (RFC 7873, 5.2.2); a TSIG that is not last; bytes behind the last record.
// What had been
//
//	  read up to the fault stays set.
//	- RcodeBadVers: an EDNS version other than 0, whose options are therefore not looked at.
//
// TC and the reserved bits are ignored, and so are unknown options and further additional records.
func (q *Query) Parse(msg []byte) (Result, uint16) {
	q.reset()
	if len(msg) < headerLen {
		return Silent, 0
	}
	q.End = headerLen
	first := binary.BigEndian.Uint32(msg)
	q.ID, q.Flags = uint16(first>>16), uint16(first)
	if q.Flags&(FlagQR|opcodeMask) != 0 {
		if q.Flags&FlagQR != 0 {
			return Silent, 0
		}
		return Reject, RcodeNotImp
	}
	counts := binary.BigEndian.Uint64(msg[4:]) // QD, AN, NS, AR
	if counts>>48 != 1 || !q.question(msg) {
		return q.noQuestion(msg, counts)
	}
	off := q.End
	if uint32(counts>>16) != 0 { // AN and NS
		if off = q.authority(msg, uint32(counts>>16)); off < 0 {
			return Reject, RcodeFormErr
		}
	}
	if !q.additional(msg, off, uint16(counts)) {
		return Reject, RcodeFormErr
	}
	if q.Version != 0 {
		return Reject, RcodeBadVers
	}
	return Answer, RcodeSuccess
}

// noQuestion goes on where no question could be read. Only a query for a cookie may come without one.
func (q *Query) noQuestion(msg []byte, counts uint64) (Result, uint16) {
	if counts>>16 != 0 || !q.additional(msg, headerLen, uint16(counts)) {
		return Reject, RcodeFormErr
	}
	switch {
	case q.Version != 0:
		return Reject, RcodeBadVers
	case !q.Cookie.Present:
		return Reject, RcodeFormErr
	}
	return CookieOnly, RcodeSuccess
}

// reset clears what parsing does not always set. Name and LabelOff are bounded by NameLen and Labels.
func (q *Query) reset() {
	q.ID, q.Flags, q.QType, q.QClass = 0, 0, 0, 0
	q.End, q.NameLen, q.Labels = 0, 0, 0
	q.EDNS, q.DO, q.CO, q.NSID = false, false, false, false
	q.TCPKeepalive, q.Padding, q.HasTSIG = false, false, false
	q.Version, q.UDPSize = 0, 0
	q.Subnet = Subnet{}
	q.Cookie.Present, q.Cookie.ServerLen = false, 0
}

// question reads the name, type and class behind the header.
func (q *Query) question(msg []byte) bool {
	off, labels := headerLen, 0
	for {
		if off >= len(msg) || off >= headerLen+maxName {
			return false
		}
		n := int(msg[off])
		if n == 0 {
			break
		}
		if n > maxLabel { // compression or a reserved label type
			return false
		}
		q.LabelOff[labels&127] = uint8(off - headerLen) // 255 bytes hold 127 labels at most
		labels++
		off += n + 1
	}
	off++
	if len(msg)-off < 4 {
		return false
	}
	tail := binary.BigEndian.Uint32(msg[off:])
	q.QType, q.QClass = uint16(tail>>16), uint16(tail)
	q.Labels, q.NameLen, q.End = labels, off-headerLen, off+4
	foldInto(&q.Name, msg[:off])
	return true
}

// authority skips the one SOA record that an IXFR query carries; anything else in the answer or authority
// section is a fault. It gives the offset of the additional section, or -1.
func (q *Query) authority(msg []byte, anns uint32) int {
	if anns != 1 || q.QType != TypeIXFR { // anns is ANCOUNT<<16 | NSCOUNT
		return -1
	}
	off := skipName(msg, q.End)
	if off < 0 || len(msg)-off < recordLen || binary.BigEndian.Uint16(msg[off:]) != TypeSOA {
		return -1
	}
	off += recordLen + int(binary.BigEndian.Uint16(msg[off+8:]))
	if off > len(msg) {
		return -1
	}
	return off
}

// recordLen is the length of type, class, TTL and RDLENGTH, which follow a record's owner.
const recordLen = 10

// additional reads count records from off on, of which OPT and TSIG matter; they must end the message.
func (q *Query) additional(msg []byte, off int, count uint16) bool {
	for ; count > 0; count-- {
		root := off < len(msg) && msg[off] == 0
		if root {
			off++
		} else if off = skipName(msg, off); off < 0 {
			return false
		}
		if len(msg)-off < recordLen {
			return false
		}
		fixed := msg[off : off+recordLen]
		rdata := off + recordLen
		off = rdata + int(binary.BigEndian.Uint16(fixed[8:]))
		if off > len(msg) {
			return false
		}
		switch binary.BigEndian.Uint16(fixed) {
		case TypeOPT:
			if q.EDNS || !root {
				return false
			}
			q.ednsHeader(binary.BigEndian.Uint16(fixed[2:]), binary.BigEndian.Uint32(fixed[4:]))
			if q.Version == 0 && !q.options(msg[:off], rdata) {
				return false
			}
		case TypeTSIG:
			if count != 1 {
				return false
			}
			q.HasTSIG = true
		}
	}
	return off == len(msg)
}

// skipName gives the offset behind the name at off, or -1. A compression pointer must point backwards; it
// is not followed, since nobody asks for the name.
func skipName(msg []byte, off int) int {
	for end := off + maxName; off < len(msg) && off < end; {
		n := int(msg[off])
		switch {
		case n == 0:
			return off + 1
		case n <= maxLabel:
			off += n + 1
		case n >= 0xC0:
			if off+2 > len(msg) || int(binary.BigEndian.Uint16(msg[off:])&0x3FFF) >= off {
				return -1
			}
			return off + 2
		default:
			return -1
		}
	}
	return -1
}
