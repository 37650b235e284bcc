package seam

import "encoding/binary"

const (
	typeSOA       = 6
	rcodeNXDomain = 3
	rrFixed       = 10 // bytes of type, class, TTL and length
)

// Freshness gives how long, in seconds, an HTTP cache may keep a reply (RFC 8484, 5.1): the smallest TTL of the answer
// section or, where that is empty, the negative TTL of the SOA record (RFC 2308, 5). 0: not at all; so too for a
// reply that can't be read.
func Freshness(msg []byte) uint32 {
	at := QuestionEnd(msg)
	if at == 0 {
		return 0
	}
	if rcode := msg[3] & 15; rcode != 0 && rcode != rcodeNXDomain {
		return 0
	}
	answers := int(binary.BigEndian.Uint16(msg[6:]))
	least, ok := uint32(1<<31-1), answers > 0
	for range answers {
		rr, end := record(msg, at)
		if end == 0 {
			return 0
		}
		least, at = min(least, rr.ttl), end
	}
	if ok {
		return least
	}
	for range binary.BigEndian.Uint16(msg[8:]) {
		rr, end := record(msg, at)
		if end == 0 {
			return 0
		}
		if rr.kind == typeSOA && end-rr.data >= 20 { // five numbers, the last of them the negative TTL
			return min(rr.ttl, plainTTL(binary.BigEndian.Uint32(msg[end-4:])))
		}
		at = end
	}
	return 0
}

// rr is what freshness wants of a record: data is where its data begin.
type rr struct {
	kind uint16
	ttl  uint32
	data int
}

// record reads the record at an offset, and gives the offset behind it; 0 if it is cut off.
func record(msg []byte, at int) (r rr, end int) {
	at = nameEnd(msg, at)
	if at == 0 || len(msg)-at < rrFixed {
		return r, 0
	}
	r = rr{kind: binary.BigEndian.Uint16(msg[at:]), ttl: plainTTL(binary.BigEndian.Uint32(msg[at+4:])), data: at + rrFixed}
	end = r.data + int(binary.BigEndian.Uint16(msg[at+8:]))
	if end > len(msg) {
		return r, 0
	}
	return r, end
}

// plainTTL takes a TTL with its highest bit set for 0 (RFC 2181, 8).
func plainTTL(ttl uint32) uint32 {
	if ttl>>31 != 0 {
		return 0
	}
	return ttl
}

// nameEnd gives the offset behind a name, compressed or not; 0 if it is cut off.
func nameEnd(msg []byte, at int) int {
	for at < len(msg) {
		switch length := int(msg[at]); {
		case length == 0:
			return at + 1
		case length >= 0xc0 && at+2 <= len(msg):
			return at + 2
		case length > 63:
			return 0
		default:
			at += 1 + length
		}
	}
	return 0
}
