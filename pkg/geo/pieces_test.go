package geo

import (
	"crypto/sha256"
	"slices"
	"testing"
)

func TestPieces(t *testing.T) {
	for _, n := range []int{0, 1, pieceItems - 1, pieceItems, pieceItems + 1, 5*pieceItems + 7} {
		s := make([]uint32, n)
		for i := range s {
			s[i] = uint32(i) * 2654435761
		}
		c := clone(s)
		if !slices.Equal(c, s) || cap(c) != n {
			t.Errorf("the clone of %d elements differs, or has room for %d", n, cap(c))
		}
		grown := append(grow(s, 3), 1, 2, 3)
		if !slices.Equal(grown[:n], s) || len(grown) != n+3 {
			t.Errorf("%d elements with room for 3 more differ", n)
		}
		if n > 0 && &grown[0] == &s[0] {
			t.Errorf("%d elements, of which there was no room for 3 more, did not move", n)
		}
		if more := grow(grown[:n], 1); n > 0 && &more[0] != &grown[0] {
			t.Errorf("%d elements with room moved", n)
		}
	}
	for _, n := range []int{0, 1, pieceBytes, pieceBytes + 1, 3*pieceBytes + 5} {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(i >> 3)
		}
		if want := sha256.Sum256(data); !slices.Equal(sumOf(data), want[:]) {
			t.Errorf("the sum of %d bytes differs", n)
		}
	}
}
