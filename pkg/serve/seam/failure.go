package seam

import "encoding/binary"

// What serve itself knows of DNS: enough to refuse or fail a query without a Handler.

const (
	HeaderSize = 12

	flagQR     = 0x8000
	FlagTC     = 0x0200
	flagRD     = 0x0100
	opcodeMask = 0x7800

	RcodeServFail = 2
	RcodeRefused  = 5
)

// Failure writes to dst, which has room for query, the reply to query that bears rcode (or flagTC): the header and,
// where it can be told safely, the question. 0: query deserves none (no header, or itself a reply). The two may overlap if
// they begin at the same byte.
func Failure(dst, query []byte, rcode uint16) int {
	if len(query) < HeaderSize {
		return 0
	}
	flags := binary.BigEndian.Uint16(query[2:])
	if flags&flagQR != 0 {
		return 0
	}
	n, questions := QuestionEnd(query), uint16(1)
	if n == 0 {
		n, questions = HeaderSize, 0
	}
	copy(dst[:n], query[:n])
	binary.BigEndian.PutUint16(dst[2:], flagQR|flags&(opcodeMask|flagRD)|rcode)
	binary.BigEndian.PutUint16(dst[4:], questions)
	clear(dst[6:HeaderSize])
	return n
}

// QuestionEnd gives the offset behind the only question of msg; 0 where there is not exactly one, or where its
// name is compressed, too long or cut off.
func QuestionEnd(msg []byte) int {
	if len(msg) < HeaderSize || binary.BigEndian.Uint16(msg[4:]) != 1 {
		return 0
	}
	at := HeaderSize
	for at < len(msg) && at < HeaderSize+255 {
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
