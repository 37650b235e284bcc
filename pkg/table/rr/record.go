package rr

import (
	"encoding/binary"

	"github.com/gti/gtm/pkg/dnswire"
)

// Append appends a record of class IN whose owner points at the question's name (offset 12).
func Append(b []byte, typ uint16, ttl uint32, data []byte) []byte {
	b = append(b, 0xC0, 12)
	b = binary.BigEndian.AppendUint16(b, typ)
	b = binary.BigEndian.AppendUint16(b, dnswire.ClassIN)
	b = binary.BigEndian.AppendUint32(b, ttl)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

// Data takes the RDATA out of rendered records.
func Data(wire []byte) (data [][]byte) {
	n := 0
	for at := 0; at < len(wire); at += 12 + int(wire[at+10])<<8 + int(wire[at+11]) {
		n++
	}
	data = make([][]byte, 0, n)
	for len(wire) > 0 {
		end := 12 + int(wire[10])<<8 + int(wire[11])
		data = append(data, wire[12:end])
		wire = wire[end:]
	}
	return data
}

// Uint32 reads a number in network order.
func Uint32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}
