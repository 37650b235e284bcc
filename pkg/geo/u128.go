package geo

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// u128 is an address of either family, its first bit the highest: an IPv4 address fills the first 32 bits
// and the rest is zero, so that prefix lengths mean the same in both families.
type u128 struct{ hi, lo uint64 }

// fromAddr converts an address; an IPv4-mapped one counts as IPv4. v4 tells the family.
func fromAddr(addr netip.Addr) (x u128, v4 bool) {
	if addr = addr.Unmap(); addr.Is4() {
		b := addr.As4()
		return u128{hi: uint64(binary.BigEndian.Uint32(b[:])) << 32}, true
	}
	b := addr.As16()
	return u128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}, false
}

// addr converts back.
func (x u128) addr(v4 bool) netip.Addr {
	if v4 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(x.hi>>32))
		return netip.AddrFrom4(b)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], x.hi)
	binary.BigEndian.PutUint64(b[8:], x.lo)
	return netip.AddrFrom16(b)
}

func (x u128) less(y u128) bool { return x.hi < y.hi || x.hi == y.hi && x.lo < y.lo }

// prev is x-1, wrapping.
func (x u128) prev() u128 {
	lo, borrow := bits.Sub64(x.lo, 1, 0)
	return u128{x.hi - borrow, lo}
}

// minus is x-y, wrapping.
func (x u128) minus(y u128) u128 {
	lo, borrow := bits.Sub64(x.lo, y.lo, 0)
	return u128{x.hi - y.hi - borrow, lo}
}

// plus is x+y, wrapping.
func (x u128) plus(y u128) u128 {
	lo, carry := bits.Add64(x.lo, y.lo, 0)
	return u128{x.hi + y.hi + carry, lo}
}

// up and down shift by n bits, which are fewer than 128.
func (x u128) up(n uint) u128 {
	if n >= 64 {
		return u128{hi: x.lo << (n - 64)}
	}
	return u128{x.hi<<n | x.lo>>(64-n), x.lo << n}
}

func (x u128) down(n uint) u128 {
	if n >= 64 {
		return u128{lo: x.hi >> (n - 64)}
	}
	return u128{x.hi >> n, x.lo>>n | x.hi<<(64-n)}
}

// zeros is the number of zero bits at the end; 128 for zero.
func (x u128) zeros() uint {
	if x.lo != 0 {
		return uint(bits.TrailingZeros64(x.lo))
	}
	return 64 + uint(bits.TrailingZeros64(x.hi))
}

// after is the first address behind the prefix of n bits at x; over is true if the space ends there.
func (x u128) after(n int) (next u128, over bool) {
	if n == 0 {
		return u128{}, true
	}
	var carry uint64
	if n <= 64 {
		next.hi, carry = bits.Add64(x.hi, 1<<(64-n), 0)
		return next, carry != 0
	}
	next.lo, carry = bits.Add64(x.lo, 1<<(128-n), 0)
	next.hi, carry = bits.Add64(x.hi, 0, carry)
	return next, carry != 0
}

// with is x with the bit set that follows the first n bits.
func (x u128) with(n int) u128 {
	if n < 64 {
		x.hi |= 1 << (63 - n)
	} else {
		x.lo |= 1 << (127 - n)
	}
	return x
}

// common is the number of leading bits that x and y share, 0 to 128.
func (x u128) common(y u128) int {
	if x.hi != y.hi {
		return bits.LeadingZeros64(x.hi ^ y.hi)
	}
	return 64 + bits.LeadingZeros64(x.lo^y.lo)
}

// familyBits is the length of an address.
func familyBits(v4 bool) int {
	if v4 {
		return 32
	}
	return 128
}
