package link

import "testing"

func TestNextPage(t *testing.T) {
	for _, row := range []struct{ limit, bytes, want int }{
		{500, 1 << 20, 1000}, {500, 8 << 20, 1000}, {1000, 80 << 20, 100}, {100, 1 << 20, 200}, {1, 9 << 20, 1},
		{1000, 1 << 40, 1},
	} {
		if got := nextPage(row.limit, row.bytes); got != row.want {
			t.Errorf("after %d keys of %d bytes: %d; want %d", row.limit, row.bytes, got, row.want)
		}
	}
}
