package main

import (
	"runtime"
	"testing"
)

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
