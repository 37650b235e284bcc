package datagram

import (
	"testing"
	"time"
)

func TestRest(t *testing.T) {
	var r rest
	start := time.Unix(1_700_000_000, 0)
	for i, c := range []struct {
		at   time.Duration // since start
		want bool
	}{
		{0, true}, // it never went before
		{0, false},
		{restEvery - 1, false},
		{restEvery, true},
		{restEvery + 1, false}, // it counts from the last time
		{2*restEvery - 1, false},
		{5 * restEvery, true}, // it may have slept for long
		{6*restEvery - 1, false},
		{6 * restEvery, true},
	} {
		if got := r.due(start.Add(c.at)); got != c.want {
			t.Errorf("%d: after %v: %v, want %v", i, c.at, got, c.want)
		}
	}
}
