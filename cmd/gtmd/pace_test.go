package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

func TestGrowthFor(t *testing.T) {
	const mb = 1 << 20
	for _, test := range []struct{ live, want uint64 }{
		{0, mostGrowth}, {mb, mostGrowth}, {8 * mb, 200}, {16 * mb, 100}, {64 * mb, steadyGrowth}, {800 * mb, steadyGrowth},
	} {
		if got := growthFor(test.live); got != test.want {
			t.Errorf("%d MB: %d%%; want %d%%", test.live/mb, got, test.want)
		}
	}
}

func TestAdjustRoom(t *testing.T) {
	percent := func() uint64 {
		samples := []metrics.Sample{{Name: "/gc/gogc:percent"}}
		metrics.Read(samples)
		return samples[0].Value.Uint64()
	}
	defer debug.SetGCPercent(debug.SetGCPercent(steadyGrowth))
	runtime.GC()
	if adjustHeadroom(); percent() <= steadyGrowth || percent() > mostGrowth { // little lives in a test
		t.Errorf("in a small heap: %d%%", percent())
	}
	const other = 30
	debug.SetGCPercent(other)
	relaxed.Store(true)
	defer relaxed.Store(false)
	if adjustHeadroom(); percent() != other {
		t.Errorf("where %d%% are wanted for a while: %d%%", other, percent())
	}
}

// TestAfterCollection counts collections; each is noticed before the next one is asked for.
func TestAfterCollection(t *testing.T) {
	noticed := make(chan bool)
	ended := make(chan bool)
	defer close(ended)
	afterCollection(func() {
		select {
		case noticed <- true:
		case <-ended:
		}
	})
	for i := range 3 {
		runtime.GC()
		select {
		case <-noticed:
		case <-time.After(10 * time.Second):
			t.Fatalf("collection %d went unnoticed", i)
		}
	}
}

func TestMakeRoom(t *testing.T) {
	was := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(was)
	edge := map[string]bool{roleEdge: true}
	for _, c := range []struct {
		name, environment string
		cfg               config
		want              int
	}{
		{"an edge", "", config{roles: edge}, 4 + spareProcs},
		{"few workers", "", config{roles: edge, workers: 2}, 4 + spareProcs},
		{"many workers", "", config{roles: edge, workers: 9}, 9 + spareProcs},
		{"no edge", "", config{roles: map[string]bool{roleControl: true}, workers: 9}, 4},
		{"GOMAXPROCS says", "4", config{roles: edge}, 4},
	} {
		t.Setenv("GOMAXPROCS", c.environment)
		runtime.GOMAXPROCS(4)
		if raiseProcs(&c.cfg); runtime.GOMAXPROCS(0) != c.want {
			t.Errorf("%s: %d threads, want %d", c.name, runtime.GOMAXPROCS(0), c.want)
		}
	}
}
