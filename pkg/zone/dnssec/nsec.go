package dnssec

import "slices"

// TypeBitmap gives the bitmap of NSEC, NSEC3 and CSYNC that names the types (RFC 4034, 4.1.2), in any order.
func TypeBitmap(types []uint16) []byte {
	return appendBitmap(make([]byte, 0, 34), types)
}

func appendBitmap(b []byte, types []uint16) []byte {
	if !slices.IsSorted(types) {
		types = slices.Sorted(slices.Values(types))
	}
	for len(types) > 0 {
		window, head := types[0]>>8, len(b)
		b = append(b, byte(window), 0)
		for len(types) > 0 && types[0]>>8 == window {
			low := int(types[0] & 0xFF)
			for len(b) <= head+2+low/8 {
				b = append(b, 0)
			}
			b[head+2+low/8] |= 0x80 >> (low & 7)
			types = types[1:]
		}
		b[head+1] = byte(len(b) - head - 2)
	}
	return b
}

// NSEC gives the RDATA of an NSEC: the next owner in wire form, whose case is kept (RFC 6840, 5.1), and the types.
func NSEC(next []byte, types []uint16) []byte {
	return appendBitmap(append(make([]byte, 0, len(next)+34), next...), types)
}
