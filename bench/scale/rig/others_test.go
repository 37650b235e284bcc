package rig

import (
	"errors"
	"testing"
	"time"

	"github.com/gti/gtm/cmd/gtmd/interop/process"
)

func TestOthers(t *testing.T) {
	start := time.Unix(1e9, 0)
	for _, tc := range []struct {
		name      string
		idle, own time.Duration
		cpus      float64
		met       string
	}{
		{"alone", 12 * time.Second, 8 * time.Second, 0, "yes"},
		{"nearly alone", 12 * time.Second, 7 * time.Second, 0.1, "yes"},
		{"beside another", 5 * time.Second, 8 * time.Second, 0.7, "unknown: not quiet"},
		{"more than there is, by what ticks leave out", 13 * time.Second, 8 * time.Second, 0, "yes"},
	} {
		var o Others
		before, after := process.Stat{{Idle: time.Hour}, {}}, process.Stat{{Idle: time.Hour + tc.idle}, {}}
		o.add(cpu{start, before, time.Minute}, cpu{start.Add(10 * time.Second), after, time.Minute + tc.own})
		if got := o.cpus(); got != tc.cpus {
			t.Errorf("%s: others took %v CPUs, want %v", tc.name, got, tc.cpus)
		}
		if got := o.Mark("p99", 4, 5, "ms")[3]; got != tc.met {
			t.Errorf("%s: met: %s, want %s", tc.name, got, tc.met)
		}
		if got := o.Mark("p99", 6, 5, "ms")[3]; got != "no" {
			t.Errorf("%s: met: %s, want no", tc.name, got)
		}
	}
}

func TestReadsProc(t *testing.T) {
	processes := []string{
		"10 (latency) S 1 10 10 0 -1 0 0 0 0 0 100 20 3 4 20 0",
		"11 (gt m) d) S 10 11 10 0 -1 0 0 0 0 0 1000 0 0 0 20 0",
		"12 (etcd) S 11 11 10 0 -1 0 0 0 0 0 10000 0 0 0 20 0",
		"14 (ksoftirqd/0) S 2 0 0 0 -1 0 0 0 0 0 0 500 0 0 20 0",
		"13 (other) S 1 13 10 0 -1 0 0 0 0 0 500000 0 0 0 20 0"}
	if got, err := computedBy([]int{10, 2}, processes); got != 11627*process.Tick || err != nil {
		t.Errorf("computed for %s, %v", got, err)
	}
	for _, broken := range []string{"", "10 (latency) S 1", "10 (latency) S x 10 10 0 -1 0 0 0 0 0 100 20 3 4 20 0",
		"10 (latency) S 1 10 10 0 -1 0 0 0 0 0 100 x 3 4 20 0"} {
		if _, err := computedBy([]int{10}, []string{broken}); err == nil {
			t.Errorf("%q is no error", broken)
		}
	}
}

// TestWatch watches this very process, whatever else goes on.
func TestWatch(t *testing.T) {
	var o Others
	if err := o.Watch(func() error { time.Sleep(20 * time.Millisecond); return nil }); err != nil || o.watched < 20*time.Millisecond {
		t.Errorf("watched for %s, %v", o.watched, err)
	}
	want := errors.New("broken")
	if err := o.Watch(func() error { return want }); err != want {
		t.Errorf("%v, want the error of what was watched", err)
	}
}
