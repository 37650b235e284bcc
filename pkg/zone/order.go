package zone

import "bytes"

// CompareNames compares two folded names in wire form as RFC 4034, 6.1 orders them: label by label from the right.
func CompareNames(a, b []byte) int {
	var offsA, offsB [128]uint8
	na, nb := labelOffsets(&offsA, a), labelOffsets(&offsB, b)
	for i := 1; i <= min(na, nb); i++ {
		x, y := offsA[na-i], offsB[nb-i]
		if c := bytes.Compare(a[x+1:int(x)+1+int(a[x])], b[y+1:int(y)+1+int(b[y])]); c != 0 {
			return c
		}
	}
	return na - nb
}

func labelOffsets(offs *[128]uint8, name []byte) int {
	n := 0
	for off := 0; name[off] != 0; off += 1 + int(name[off]) {
		offs[n] = uint8(off)
		n++
	}
	return n
}
