package xdp

import (
	"encoding/binary"
	"math/bits"
)

// The Internet checksum (RFC 1071) does not depend on the byte order in which words are added, as long as the sum is
// stored in the same order. Words of 4 bytes, little-endian, are added here to a sum of 64 bits: a packet is too short for that
// to overflow, so there is no carry to look after.

// half is the lower 4 bytes of a word of 8.
const half = 0xffffffff

// words gives what a word of 8 bytes adds to a sum.
func words(w uint64) uint64 { return w&half + w>>32 }

// add adds b to a sum. Only the last part of what is summed may have a length that is no multiple of 4.
func add(sum uint64, b []byte) uint64 {
	for len(b) >= 16 {
		sum += words(binary.LittleEndian.Uint64(b)) + words(binary.LittleEndian.Uint64(b[8:16]))
		b = b[16:]
	}
	if len(b) >= 8 {
		sum += words(binary.LittleEndian.Uint64(b))
		b = b[8:]
	}
	if len(b) >= 4 {
		sum += uint64(binary.LittleEndian.Uint32(b))
		b = b[4:]
	}
	var last uint64
	for i, c := range b {
		last |= uint64(c) << (8 * i)
	}
	return sum + last
}

// fold makes 16 bits of a sum.
func fold(sum uint64) uint16 {
	sum = words(sum)
	sum = words(sum)
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return uint16(sum)
}

// number is a 16-bit number of a header as it stands in a sum.
func number(n int) uint64 { return uint64(bits.ReverseBytes16(uint16(n))) }

// pseudo begins the sum of a UDP datagram with its pseudo header: the addresses (both, as they stand in the packet),
// the protocol and the length.
func pseudo(addrs []byte, length int) uint64 { return add(number(protocolUDP)+number(length), addrs) }
