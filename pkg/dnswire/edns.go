package dnswire

import (
	"encoding/binary"
	"math/bits"
)

// Option codes (IANA, DNS EDNS0 option codes).
const (
	optNSID         = 3
	optSubnet       = 8
	optCookie       = 10
	optTCPKeepalive = 11
	optPadding      = 12
	optEDE          = 15
)

// The flags in the lower half of an OPT record's TTL.
const (
	ednsDO = 1 << 15
	ednsCO = 1 << 14
)

// Subnet is an EDNS Client Subnet option (RFC 7871).
type Subnet struct {
	Present bool
	Source  uint8  // prefix length, at most 32 or 128
	OptLen  uint8  // bytes of the address as sent: as many as Source needs
	Family  uint16 // 1 IPv4, 2 IPv6, or 0 with Source 0
	// Addr is in network order, IPv4 in Addr[:4]. The bits past Source are zero.
	Addr [16]byte
}

// ednsHeader takes what an OPT record keeps in its class and TTL.
func (q *Query) ednsHeader(class uint16, ttl uint32) {
	q.EDNS = true
	q.UDPSize = class
	q.Version = uint8(ttl >> 16)
	q.DO = ttl&ednsDO != 0
	q.CO = ttl&ednsCO != 0
}

// options reads the options from off to the end of msg.
func (q *Query) options(msg []byte, off int) bool {
	for off < len(msg) {
		if len(msg)-off < 4 {
			return false
		}
		head := binary.BigEndian.Uint32(msg[off:])
		off += 4
		n := int(head & 0xFFFF)
		if n > len(msg)-off {
			return false
		}
		switch head >> 16 {
		case optSubnet:
			// Two subnets ask for two answers, so a second one is refused.
			if q.Subnet.Present || !q.Subnet.parse(msg[:off+n], n) {
				return false
			}
		case optCookie:
			// of several only the first counts (RFC 7873, 5.2)
			if !q.Cookie.Present && !q.Cookie.parse(msg[off:off+n]) {
				return false
			}
		case optNSID:
			q.NSID = true // data in a query is ignored (RFC 5001, 2.1)
		case optTCPKeepalive:
			q.TCPKeepalive = true
		case optPadding:
			q.Padding = true
		}
		off += n
	}
	return true
}

// parse reads the option's data, the last n bytes of msg. By RFC 7871, 6 and 7.1.2, it is malformed when its
// scope is not zero, its address is longer or shorter than the source prefix needs, bits are set past that
// prefix, or the family is unknown. Family 0 is accepted with source 0, where the family says nothing:
// stub resolvers that ask for privacy send it so.
func (s *Subnet) parse(msg []byte, n int) bool {
	if n < 4 || n > 20 {
		return false
	}
	head := binary.BigEndian.Uint32(msg[len(msg)-n:])
	family, source := uint16(head>>16), uint8(head>>8)
	n -= 4
	if uint8(head) != 0 || n != (int(source)+7)/8 {
		return false
	}
	switch {
	case family == 1 && source <= 32, family == 2 && source <= 128, family == 0 && source == 0:
	default:
		return false
	}
	// The last eight bytes of msg are there, being behind a header and a question; what is not address is
	// shifted out. A shift by 64 or more gives 0.
	var left, right uint64 // as little-endian words, in network order
	last := binary.LittleEndian.Uint64(msg[len(msg)-8:])
	if n <= 8 {
		left = last >> (64 - 8*n)
	} else {
		left = binary.LittleEndian.Uint64(msg[len(msg)-n:])
		right = last >> (128 - 8*n)
	}
	beyond := bits.ReverseBytes64(left) << source
	if source > 64 {
		beyond = bits.ReverseBytes64(right) << (source - 64)
	}
	if beyond != 0 {
		return false
	}
	binary.LittleEndian.PutUint64(s.Addr[:8], left)
	binary.LittleEndian.PutUint64(s.Addr[8:], right)
	s.Present, s.Family, s.Source, s.OptLen = true, family, source, uint8(n)
	return true
}
