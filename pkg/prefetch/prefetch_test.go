package prefetch

import "testing"

// TestChangesNothing: a prefetch of any place, nil and the last of a slice among them, leaves everything as it was.
func TestChangesNothing(t *testing.T) {
	a, b, c, d := []byte{1, 2, 3}, []uint16{4, 5, 6}, []uint32{7, 8, 9}, []uint64{10, 11, 12}
	if n := testing.AllocsPerRun(100, func() {
		for i := range 3 {
			Of(&a[i])
			Of(&b[i])
			Of(&c[i])
			Of(&d[i])
			Lines([]Line{At(&a[i]), At(&b[i]), At(&c[i]), At(&d[i]), At[byte](nil)})
		}
		Of[byte](nil)
		Of[uint64](nil)
		Lines(nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	for i := range 3 {
		if a[i] != byte(1+i) || b[i] != uint16(4+i) || c[i] != uint32(7+i) || d[i] != uint64(10+i) {
			t.Errorf("changed: %v %v %v %v", a, b, c, d)
		}
	}
}
