package zones

import "testing"

func TestSerialOfItsOwn(t *testing.T) {
	for _, c := range []struct{ own, serial, added, want uint32 }{
		{0, 2078000005, 20785, 2078000005},
		{2026010101, 2078000005, 0, 2026010101},
		{2026010101, 2078000005, 20785, 2026030886},
		{0xFFFFFFFF, 1, 2, 1},
	} {
		if got := serialOf(c.own, c.serial, c.added); got != c.want {
			t.Errorf("serialOf(%d, %d, %d) = %d, want %d", c.own, c.serial, c.added, got, c.want)
		}
	}
}
