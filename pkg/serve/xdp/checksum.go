package xdp

import (
	"encoding/binary"
	"math/bits"
)

// The Internet checksum (RFC 1071) does not depend on the byte order in which words are added, as long as the sum is
// stored in the same order; it is added in little-endian words of 8 bytes here.

// add adds b to a sum. Only the last part of what is summed may have an odd length.
func add(sum uint64, b []byte) uint64 {
	var carry uint64
	for len(b) >= 8 {
		sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(b), carry)
		b = b[8:]
	}
	var last [8]byte
	copy(last[:], b)
	sum, carry = bits.Add64(sum, binary.LittleEndian.Uint64(last[:]), carry)
	return addCarry(sum, carry)
}

// addCarry adds a carry back to a sum, and what carry that makes.
func addCarry(sum, carry uint64) uint64 {
	sum, carry = bits.Add64(sum, 0, carry)
	return sum + carry
}

// fold makes 16 bits of a sum.
func fold(sum uint64) uint16 {
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>32 + sum&0xffffffff
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return uint16(sum)
}

// pseudo begins the sum of a UDP datagram with its pseudo header: the addresses (both, as they stand in the packet),
// the protocol and the length.
func pseudo(addrs []byte, length int) uint64 {
	head := [8]byte{1: protocolUDP, 2: byte(length >> 8), 3: byte(length)}
	return add(add(0, addrs), head[:])
}
