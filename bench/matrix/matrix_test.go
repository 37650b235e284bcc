package main

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func everything(string) bool { return true }

func TestLoadsAreWhole(t *testing.T) {
	all, _, err := choose(loads([]int{100_000, 1_000_000}), "", everything)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, l := range all {
		if seen[l.name] {
			t.Errorf("two loads are called %s", l.name)
		}
		seen[l.name] = true
		if l.lanes[0].name != "gtm" {
			t.Errorf("%s: the first lane is %s", l.name, l.lanes[0].name)
		}
		lanes := map[string]bool{}
		for _, lane := range l.lanes {
			if lanes[lane.name] || lane.file == "" || lane.isFloor() && !l.has(lane.like) {
				t.Errorf("%s: lane %+v", l.name, lane)
			}
			lanes[lane.name] = true
		}
		for _, c := range l.compare {
			for _, name := range []string{c.of, c.over, c.aside[0], c.aside[1]} {
				if name != "" && !lanes[name] {
					t.Errorf("%s compares with %s, which is not measured", l.name, name)
				}
			}
		}
	}
	for _, name := range []string{"steered", "static", "steered-100k", "static-1M"} {
		if !seen[name] {
			t.Errorf("no load %s", name)
		}
	}
}

func TestChoose(t *testing.T) {
	chosen, missing, err := choose(loads(nil), "static", func(name string) bool { return name != "nsd" })
	if err != nil {
		t.Fatal(err)
	}
	if len(chosen) != 1 || chosen[0].has("nsd") || !chosen[0].has("knot") || !chosen[0].has("floor") {
		t.Errorf("chosen: %+v", chosen)
	}
	for _, c := range chosen[0].compare {
		if c.over == "nsd" {
			t.Error("compared with nsd, which is not there")
		}
	}
	if !slices.Equal(missing, []string{"nsd"}) {
		t.Errorf("missing: %v", missing)
	}
	if _, _, err := choose(loads(nil), "statik", everything); err == nil || !strings.Contains(err.Error(), "steered-signed") {
		t.Errorf("of an unknown load: %v", err)
	}
}

func TestOrder(t *testing.T) {
	first := map[int]int{}
	for round := range 10 {
		got := order(round, 5)
		first[got[0]]++
		if sorted := slices.Sorted(slices.Values(got)); !slices.Equal(sorted, []int{0, 1, 2, 3, 4}) {
			t.Errorf("round %d: %v", round, got)
		}
	}
	for lane, times := range first {
		if times != 2 {
			t.Errorf("lane %d comes first %d times in 10 rounds", lane, times)
		}
	}
}

func TestNewSample(t *testing.T) {
	const printed = "qps=1000 sent=510 got=500 lost=10 noerror=400 nxdomain=100 other=100 truncated=0 bytes=69.0 p50us=1.5 p90us=2 " +
		"p99us=3 p999us=4 maxus=5 lateus=0 batch=3 seconds=0.500 busy=0.990\n"
	got, err := newSample(printed, 250*time.Millisecond, false)
	if err != nil {
		t.Fatal(err)
	}
	if want := (sample{qps: 1000, lost: 10.0 / 510, bytes: 69, cpu: 500, core: 0.99, own: 0.5, p50: 1.5, p99: 3, p999: 4}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, bad := range []string{"", "qps=x", strings.Replace(printed, "nxdomain=100", "nxdomain=99", 1),
		strings.Replace(printed, "got=500", "got=0", 1)} {
		if _, err := newSample(bad, time.Second, false); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if _, err := newSample(strings.Replace(printed, "nxdomain=100", "nxdomain=99", 1), time.Second, true); err != nil {
		t.Errorf("of a floor, whose response codes say nothing: %v", err)
	}
}

// measured makes a run in which every round is alike.
func measured(rate float64, lanes map[string]sample) run {
	r := run{rate: rate}
	for name := range lanes {
		r.lanes = append(r.lanes, lane{name: name})
	}
	// gtm first, as in loads.
	slices.SortFunc(r.lanes, func(a, b lane) int { return -strings.Compare(a.name, b.name) })
	for range 6 {
		r.rounds = append(r.rounds, lanes)
	}
	return r
}

func TestRatiosAndMarks(t *testing.T) {
	full := sample{qps: 300, cpu: 3, core: 1, own: 0.99}
	slack := sample{qps: 200, cpu: 4, core: 1, own: 0.9}
	paced := measured(100, map[string]sample{"gtm": {qps: 100, cpu: 5}, "peer": {qps: 100, cpu: 6}})
	l := load{compare: []comparison{{of: "gtm", over: "peer", mark: 0.9}}}
	for _, c := range []struct {
		name   string
		peer   sample
		marked []bool
	}{
		{"full cores: answers/s count", full, []bool{true, false}},
		{"a core not full: the CPU at the fixed rate counts", slack, []bool{false, true}},
	} {
		res := result{load: l, runs: []run{measured(0, map[string]sample{"gtm": full, "peer": c.peer}), paced}}
		var marked []bool
		for _, r := range res.ratios() {
			marked = append(marked, r.Mark == 0.9)
		}
		if !slices.Equal(marked, c.marked) {
			t.Errorf("%s: marked %v", c.name, marked)
		}
	}
	aside := comparison{of: "gtm", over: "peer", aside: [2]string{"floor", "floor peer"}}
	got := aside.ratios(measured(0, map[string]sample{"gtm": {qps: 80}, "peer": {qps: 90}, "floor": {qps: 100}, "floor peer": {qps: 120}}),
		qps)
	if want := 0.8 / 0.75; math.Abs(got[0]-want) > 1e-9 {
		t.Errorf("bytes aside %v, want %v", got[0], want)
	}
}

func TestPace(t *testing.T) {
	for _, c := range []struct {
		name  string
		gtm   float64
		lanes []string
		rates []float64
	}{
		{"a slow server is left out", 500_000, []string{"gtm", "floor", "bind"}, []float64{100_000, 160_000}},
		{"gtm is not, however slow", 50_400, []string{"gtm", "floor", "bind"}, []float64{25_000, 40_000}},
	} {
		lanes, rates := pace(measured(0, map[string]sample{"gtm": {qps: c.gtm}, "floor": {qps: 300_000}, "bind": {qps: 200_000},
			"a slow one": {qps: 190_000}}))
		var names []string
		for _, l := range lanes {
			names = append(names, l.name)
		}
		if !slices.Equal(names, c.lanes) || !slices.Equal(rates, c.rates) {
			t.Errorf("%s: %v at %v", c.name, names, rates)
		}
	}
}

func TestParse(t *testing.T) {
	root := t.TempDir()
	o, err := parse([]string{"-root", root, "-gtmd", root, "-quick", "-seconds", "0.1", "-only", "static,mixed"})
	if err != nil {
		t.Fatal(err)
	}
	if o.Pairs != 6 || o.Seconds != 0.1 || len(o.large) != 0 || o.Only != "static,mixed" {
		t.Errorf("%+v", o)
	}
	for _, bad := range [][]string{{"-pairs", "5"}, {"-large", "12"}, {"-large", "x"}, {"-gtmd", root + "/none"}} {
		if _, err := parse(append([]string{"-root", root, "-gtmd", root}, bad...)); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
}
