package geo

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestLatency(t *testing.T) {
	made := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	l := NewLatency(made, SiteLatency{"sin", 181.4, 4}, SiteLatency{"ams", 12.6, 70_000}, SiteLatency{"fra", 100, 30})
	want := []SiteLatency{{"ams", 13, 1000}, {"fra", 100, 30}, {"sin", 180, 3}}
	if got := slices.Collect(l.All()); !slices.Equal(got, want) || l.Measured() != made {
		t.Errorf("%v of %s; want %v", got, l.Measured(), want)
	}
	for _, w := range want {
		if ms, samples, measured, ok := l.Of(w.Site); ms != w.Milliseconds || samples != w.Samples || measured != made || !ok {
			t.Errorf("%s: %v ms, %d samples, %s, %t", w.Site, ms, samples, measured, ok)
		}
	}
	for _, none := range []*Latency{l, nil, NewLatency(made)} {
		if ms, samples, measured, ok := none.Of("iad"); ms != 0 || samples != 0 || !measured.IsZero() || ok {
			t.Errorf("a site that is not known: %v ms, %d samples, %s", ms, samples, measured)
		}
	}
	if none := (*Latency)(nil); len(slices.Collect(none.All())) != 0 || !none.Measured().IsZero() || NewLatency(made) != nil {
		t.Error("nothing is something")
	}
}

// TestLatencySteps: what is rounded stays near, and rounding it again changes nothing.
func TestLatencySteps(t *testing.T) {
	last := uint8(0)
	for ms := 0.0; ms < 100_000; ms += 0.25 {
		step := millisecondStep(ms)
		got := float64(millisecondSteps[step])
		if off := math.Abs(got - ms); off > max(0.5, 0.03*ms) || step < last || millisecondStep(got) != step {
			t.Fatalf("%v ms are %v, step %d after %d", ms, got, step, last)
		}
		last = step
	}
	if millisecondStep(1e300) != 255 || millisecondStep(-1) != 0 {
		t.Error("what lies outside does not have the first or last step")
	}
	for n, want := range map[int]int{0: 1, 1: 1, 4: 3, 5: 5, 29: 20, 30: 30, 999: 500, 1000: 1000, 1 << 40: 1000} {
		if got := sampleSteps[sampleStep(n)]; got != want {
			t.Errorf("%d samples are %d; want %d", n, got, want)
		}
	}
}
