package sim

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// TestRecordIsRead reads a record that is written by hand: two endpoints, of which the second dies after two steps.
func TestRecordIsRead(t *testing.T) {
	c := Record{counts: Counts{Begun: make([]uint32, 2)}, Steps: []Counts{
		{Starts: 100, Squares: 100, Begun: []uint32{60, 40}, Sessions: []uint32{60, 40}},
		{Starts: 100, Squares: 400, Begun: []uint32{50, 50}, Sessions: []uint32{110, 90}},
		{Starts: 1000, Wrong: 50, Retries: 10, Cut: 90, Begun: []uint32{950, 0}, Sessions: []uint32{1000, 0}},
		{Starts: 1000, Wrong: 1, Begun: []uint32{999, 0}, Sessions: []uint32{1900, 0}},
		{Starts: 2000, Wrong: 1, Begun: []uint32{1999, 0}, Sessions: []uint32{2900, 0}},
	}, Verdicts: []Verdict{{11 * time.Second, 1, health.Down}, {20 * time.Second, 1, health.Up}, {22 * time.Second, 0, health.Down}}}
	first, second := []int{0}, []int{1}
	b := c.Between(5*time.Second, 15*time.Second)
	if b.Starts != 1100 || b.Wrong != 50 || b.Cut != 90 || b.Begun[0] != 1000 || b.Sessions[0] != 1000 {
		t.Errorf("from 5 to 15 s: %+v", b)
	}
	if got := c.Load(second, 10*time.Second); got != 90 {
		t.Errorf("the second has %v sessions at 10 s", got)
	}
	if got := c.Share(second, 0, 10*time.Second); got != 0.45 {
		t.Errorf("the second has a part of %v in the first 10 s", got)
	}
	if got := c.Recovered(10*time.Second, 0.001); got != 10*time.Second { // one of 1000 in the fourth step is not below
		t.Errorf("less than 0.1 %% went wrong after %s", got)
	}
	if got := c.Recovered(10*time.Second, 0.0001); got != 15*time.Second {
		t.Errorf("less than 0.01 %% went wrong after %s", got)
	}
	if got, want := c.Chance(0.5, 5*time.Second, 10*time.Second), 0.5*math.Sqrt(4.0/100); got != want { // each answer told four times
		t.Errorf("a standard deviation of %v, not %v", got, want)
	}
	for _, j := range []struct {
		of    []int
		state health.State
		after time.Duration
		at    time.Duration
		ok    bool
	}{
		{second, health.Down, 10 * time.Second, 11 * time.Second, true},
		{second, health.Down, 12 * time.Second, 0, false},
		{second, health.Up, 10 * time.Second, 20 * time.Second, true},
		{first, health.Up, 0, 0, false},
		{[]int{0, 1}, health.Down, 0, 22 * time.Second, true},
	} {
		if at, ok := c.Judged(j.of, j.state, j.after); ok != j.ok || ok && at != j.at {
			t.Errorf("%v %s after %s: %s, %v", j.of, j.state, j.after, at, ok)
		}
	}
}

// TestMoved compares assignments: of five clients one had to move, another did, and one was not there lately.
func TestMoved(t *testing.T) {
	before := Assignment{100 * time.Second, []uint16{1, 2, 3, 3, none}, []int32{90, 95, 99, 10, 0}}
	after := Assignment{200 * time.Second, []uint16{1, 1, 2, 2, 2}, []int32{190, 190, 190, 190, 190}}
	moved, had, clients := Moved(before, after, 20*time.Second, []int{3})
	if clients != 3 || moved != 2.0/3 || had != 1.0/3 {
		t.Errorf("%d clients, %v moved, %v had to", clients, moved, had)
	}
}

// TestRoundTrip takes Frankfurt and Tokyo, 9,370 km: 141 ms there and back, as ping tells of fibre that goes round Asia or nearly so.
func TestRoundTrip(t *testing.T) {
	fra, nrt := spec.Location{Lat: 50.11, Lon: 8.68}, spec.Location{Lat: 35.76, Lon: 140.39}
	if got := roundTrip(fra, nrt); got < 139*time.Millisecond || got > 143*time.Millisecond || got != roundTrip(nrt, fra) {
		t.Errorf("%s", got)
	}
	if got := roundTrip(fra, fra); got != 0 {
		t.Errorf("to itself %s", got)
	}
}

// TestPausesDouble checks that clients that fail again wait longer, up to a bound, and not all equally long.
func TestPausesDouble(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	bases := map[uint8]time.Duration{1: time.Second, 2: 2 * time.Second, 4: 8 * time.Second, 6: lastRetry, 100: lastRetry}
	for failed, base := range bases {
		least, most := never, time.Duration(0)
		for range 1000 {
			p := pause(failed, random)
			least, most = min(least, p), max(most, p)
		}
		if least < base/2 || least > base*6/10 || most >= base*3/2 || most < base*14/10 {
			t.Errorf("after %d failures clients wait %s to %s", failed, least, most)
		}
	}
}

// TestSomeResolversStretch counts those that keep answers longer, and sees that they do.
func TestSomeResolversStretch(t *testing.T) {
	r := small(t, 1, testResources)
	play(t, r)
	stretching, longest := 0, [2]time.Duration{}
	for i := range r.crowd.resolvers {
		at, kind := &r.crowd.resolvers[i], 0
		if at.least > 0 {
			stretching++
			kind = 1
		}
		longest[kind] = max(longest[kind], at.one.expires-r.clock.now)
	}
	if part := float64(stretching) / float64(len(r.crowd.resolvers)); part < 0.02 || part > 0.08 {
		t.Errorf("%.3f of the resolvers stretch, not 0.05", part)
	}
	if longest[0] > 20*time.Second || longest[0] < 18*time.Second || longest[1] <= 20*time.Second || longest[1] > 30*time.Second {
		t.Errorf("answers are kept for %v at most", longest)
	}
}
