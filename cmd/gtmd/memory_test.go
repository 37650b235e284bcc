package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestTidy(t *testing.T) {
	const mb = 1 << 20
	for _, test := range []struct {
		name     string
		was, now heap
		waited   time.Duration
		worthIt  bool
	}{
		{"small, nothing left", heap{allocated: 100 * mb}, heap{live: 25 * mb, objects: 26 * mb, free: mb, allocated: 100 * mb},
			tidyEvery, false},
		{"small, a burst before", heap{allocated: 100 * mb}, heap{live: 25 * mb, objects: 30 * mb, allocated: 100*mb + 1000},
			tidyEvery, true},
		{"small, held free", heap{allocated: 100 * mb}, heap{live: 25 * mb, objects: 25 * mb, free: 4 * mb, allocated: 100 * mb},
			tidyEvery, true},
		{"small, in the midst", heap{allocated: 95 * mb}, heap{live: 25 * mb, objects: 30 * mb, allocated: 100 * mb}, tidyEvery, false},
		{"large, nothing worth it", heap{allocated: 2000 * mb}, heap{live: 800 * mb, objects: 830 * mb, allocated: 2000 * mb},
			tidyEvery, false},
		{"large, a burst before", heap{allocated: 2000 * mb}, heap{live: 800 * mb, objects: 900 * mb, allocated: 2003 * mb},
			tidyEvery, true},
		{"large, in the midst", heap{allocated: 1990 * mb}, heap{live: 800 * mb, objects: 900 * mb, allocated: 2000 * mb},
			tidyEvery, false},
		{"streams, not yet", heap{allocated: 50 * mb}, heap{live: 25 * mb, objects: 30 * mb, allocated: 100 * mb}, tidyAnyway - 1, false},
		{"streams, long enough", heap{allocated: 50 * mb}, heap{live: 25 * mb, objects: 30 * mb, allocated: 100 * mb}, tidyAnyway, true},
		{"streams, nothing left", heap{allocated: 50 * mb}, heap{live: 25 * mb, objects: 26 * mb, allocated: 100 * mb}, tidyAnyway, false},
		{"just collected", heap{allocated: 100 * mb}, heap{live: 25 * mb, objects: 24 * mb, allocated: 100 * mb}, tidyEvery, false},
	} {
		if got := test.now.tidy(test.was, test.waited); got != test.worthIt {
			t.Errorf("%s: %v; want %v", test.name, got, test.worthIt)
		}
	}
}

// TestGivingBackTakesLittle: during a collection that was asked for the heap could become eleven times as large as what lives, and with
// busy processors and 300 clients that post large messages it grew from 66 to 398 MB, once to 696.
func TestGivingBackTakesLittle(t *testing.T) {
	const mb = 1 << 20
	for _, test := range []struct {
		now  heap
		want uint64
	}{
		{heap{live: mb, objects: mb}, mostGrowthDuring}, {heap{}, mostGrowthDuring}, {heap{live: 32 * mb, objects: 32 * mb}, 100},
		{heap{live: 64 * mb, objects: 80 * mb}, 75}, {heap{live: 64 * mb, objects: 10 * mb}, 50},
		{heap{live: 800 * mb, objects: 1000 * mb}, 75},
	} {
		if got := test.now.growthDuring(); got != test.want {
			t.Errorf("%+v: %d%%; want %d%%", test.now, got, test.want)
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
			steady := hurry()
			steady(t.Context())
			if got := percent(); got != 77 {
				t.Errorf("the collector was set to %d%%", got)
			}
		})
	}
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	steady := hurry()
	if got := percent(); got != startGrowth {
		t.Errorf("at the start: %d%%", got)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	steady(ended) // it ends where gtmd does
	if got := percent(); got != steadyGrowth {
		t.Errorf("after the start: %d%%", got)
	}
	debug.SetGCPercent(77)
	if giveBack(); percent() != steadyGrowth {
		t.Errorf("after giving back: %d%%", percent())
	}
}
