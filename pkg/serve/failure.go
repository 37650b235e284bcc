package serve

import "encoding/binary"

// What serve itself knows of DNS: enough to refuse or fail a query without a Handler.

const (
	headerSize = 12

	flagQR     = 0x8000
	flagTC     = 0x0200
	flagRD     = 0x0100
	opcodeMask = 0x7800

	rcodeServFail = 2
	rcodeRefused  = 5
)

// failure writes to dst, which has room for query, the reply to query that bears rcode (or flagTC): the header and,
// where it can be told safely, the question. 0: query deserves none (no header, or itself a reply). The two may overlap if
// they begin at the same byte.
func failure(dst, query []byte, rcode uint16) int {
	if len(query) < headerSize {
		return 0
	}
	flags := binary.BigEndian.Uint16(query[2:])
	if flags&flagQR != 0 {
		return 0
	}
	n, questions := questionEnd(query), uint16(1)
	if n == 0 {
		n, questions = headerSize, 0
	}
	copy(dst[:n], query[:n])
	binary.BigEndian.PutUint16(dst[2:], flagQR|flags&(opcodeMask|flagRD)|rcode)
	binary.BigEndian.PutUint16(dst[4:], questions)
	clear(dst[6:headerSize])
	return n
}

// questionEnd gives the offset behind the only question of msg; 0 where there is not exactly one, or where its
// name is compressed, too long or cut off.
func questionEnd(msg []byte) int {
	if len(msg) < headerSize || binary.BigEndian.Uint16(msg[4:]) != 1 {
		return 0
	}
	at := headerSize
	for at < len(msg) && at < headerSize+255 {
		length := int(msg[at])
		at++
		if length == 0 {
			if at+4 > len(msg) {
				return 0
			}
			return at + 4
		}
		if length > 63 {
			return 0
		}
		at += length
	}
	return 0
}
