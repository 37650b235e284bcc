package main

import "testing"

func TestFigures(t *testing.T) {
	one := sum{"seconds": 0.2, "intime": 90, "got": 100, "lost": 1, "samples": 10, "bytes": 600, "p50": 1e-4, "p99": 3e-4, "server": 0.1,
		"waited": 0.05, "worked": 0.3, "loaded": 0.18, "servercpu": 0.1}
	other := sum{"seconds": 0.2, "intime": 110, "got": 100, "samples": 10, "bytes": 800, "p50": 3e-4, "p99": 5e-4, "server": 0.2,
		"waited": 0.15, "worked": 0.3, "loaded": 0.22, "servercpu": 0.3}
	all := sum{}
	all.add(one)
	all.add(other)
	got := all.figures(2)
	for name, want := range map[string]float64{"qps": 500, "lost": 1, "bytes": 70, "cpu": 3000, "servercpu": 2000, "loadcpu": 2000,
		"server": 0.75, "waited": 0.5, "p50us": 200, "p99us": 400} {
		if off := got[name] - want; off > 1e-6 || off < -1e-6 {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
	if none := (sum{"seconds": 0.2}).figures(1); none["qps"] != 0 || none["servercpu"] != 0 {
		t.Errorf("without an answer: %v", none)
	}
}

func TestLoadKeepsItsWindowAndItsRate(t *testing.T) {
	for _, c := range []struct {
		what       string
		rate       float64
		open, sent int
		after      float64 // seconds
		want       int     // how many are due; 0: too few
	}{
		{"at saturation, a burst", 0, 0, 0, 0, burst},
		{"at saturation, what the window leaves", 0, 200, 500, 1, 40},
		{"at saturation, too few", 0, 209, 500, 1, 0},
		{"at a rate, not yet as many as come together", 100_000, 0, 993, 0.01, 0},
		{"at a rate, as many", 100_000, 0, 992, 0.01, together},
		{"at a rate, late", 100_000, 0, 0, 0.01, burst},
		{"at a rate, with a full window", 100_000, 240, 900, 0.01, 0},
	} {
		tr := &trial{load: &load{target: target{window: 240}}, rate: c.rate, sent: c.sent, seen: c.sent - c.open}
		if got := tr.due(c.after); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
}
