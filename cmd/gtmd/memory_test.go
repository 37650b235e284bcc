package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
)

func TestTidy(t *testing.T) {
	const mb = 1 << 20
	for _, test := range []struct {
		name     string
		was, now heap
		worthIt  bool
	}{
		{"small, nothing left", heap{allocated: 100 * mb}, heap{live: 25 * mb, objects: 26 * mb, free: mb, allocated: 100 * mb}, false},
		{"small, a burst before", heap{allocated: 100 * mb}, heap{live: 25 * mb, objects: 30 * mb, allocated: 100*mb + 1000}, true},
		{"small, held free", heap{allocated: 100 * mb}, heap{live: 25 * mb, objects: 25 * mb, free: 4 * mb, allocated: 100 * mb}, true},
		{"small, in the midst", heap{allocated: 95 * mb}, heap{live: 25 * mb, objects: 30 * mb, allocated: 100 * mb}, false},
		{"large, nothing worth it", heap{allocated: 2000 * mb}, heap{live: 800 * mb, objects: 830 * mb, allocated: 2000 * mb}, false},
		{"large, a burst before", heap{allocated: 2000 * mb}, heap{live: 800 * mb, objects: 900 * mb, allocated: 2003 * mb}, true},
		{"large, in the midst", heap{allocated: 1990 * mb}, heap{live: 800 * mb, objects: 900 * mb, allocated: 2000 * mb}, false},
		{"just collected", heap{allocated: 100 * mb}, heap{live: 25 * mb, objects: 24 * mb, allocated: 100 * mb}, false},
	} {
		if got := test.now.tidy(test.was); got != test.worthIt {
			t.Errorf("%s: %v; want %v", test.name, got, test.worthIt)
		}
	}
}

// TestMeasureHeap holds what is measured against an allocation of known size.
func TestMeasureHeap(t *testing.T) {
	before := measureHeap()
	b := make([]byte, 8<<20)
	after := measureHeap()
	if after.allocated-before.allocated < uint64(len(b)) || after.objects < uint64(len(b)) {
		t.Errorf("before %+v, then %+v", before, after)
	}
	runtime.KeepAlive(b)
}

// TestTheOperatorsCollectorHolds: where the environment says how the collector is to work, gtmd changes nothing of that, neither at the
// start nor later.
func TestTheOperatorsCollectorHolds(t *testing.T) {
	percent := func() uint64 {
		sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	defer debug.SetGCPercent(debug.SetGCPercent(77))
	for _, name := range []string{"GOGC", "GOMEMLIMIT"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOGC", "")
			t.Setenv("GOMEMLIMIT", "")
			t.Setenv(name, "88")
			settle := hurry()
			settle(t.Context())
			if got := percent(); got != 77 {
				t.Errorf("the collector was set to %d%%", got)
			}
		})
	}
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	settle := hurry()
	if got := percent(); got != startGrowth {
		t.Errorf("at the start: %d%%", got)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	settle(ended) // it ends where gtmd does
	if got := percent(); got != steadyGrowth {
		t.Errorf("after the start: %d%%", got)
	}
	debug.SetGCPercent(77)
	if giveBack(); percent() != steadyGrowth {
		t.Errorf("after giving back: %d%%", percent())
	}
}
