// Latency measures how long changes take to reach the wire: a verdict inside one edge, a configuration from gtmctl to
// every edge, and a new geography file under load, with the real programs. See bench/README.md. It needs root (for threads that go
// before others), two cores, bin/gtmd and bin/gtmctl.
package main

import (
	"context"
	"flag"
	"runtime"
	"time"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/bench/program"
	"github.com/gti/gtm/bench/scale/rig"
)

// The cores: the edge that is measured has one for itself; load, etcd, control and this program share the other.
const (
	edgeCore = "0"
	restCore = "1"
	loadCore = 1 // the same
)

// options are what the command line says.
type options struct {
	rig.Places
	sizes     []int // numbers of services, the largest last
	poolSizes []int // numbers of endpoints of each pool, where these are what changes
	services  int   // of the configuration at hand
	endpoints int   // of each of its pools
	rate      float64
	rounds    int
	seconds   float64
	changes   int
	networks  int
}

// parts are what can be measured, in order.
var parts = []string{"verdict", "pools", "change", "geo"}

var measures = map[string]func(context.Context, options, *figures.Report) error{"verdict": verdicts, "pools": pools, "change": changes,
	"geo": geography}

func main() {
	o := options{endpoints: 10}
	o.Flags("latency", parts, 10*time.Minute)
	program.Numbers(flag.CommandLine, &o.sizes, "services",
		"numbers of services, each with a pool of ten endpoints; marks are those of the largest", 100, 1000, 10_000, 100_000)
	program.Numbers(flag.CommandLine, &o.poolSizes, "endpoints", "numbers of endpoints of each pool that pools measures", 2, 10, 100, 1000)
	flag.Float64Var(&o.rate, "rate", 100_000, "queries a second")
	flag.IntVar(&o.rounds, "pairs", 11, "rounds of a quiet run and runs with changes")
	flag.Float64Var(&o.seconds, "seconds", 3, "length of a run")
	flag.IntVar(&o.changes, "changes", 200, "changes by gtmctl of the largest configuration")
	flag.IntVar(&o.networks, "networks", 5_000_000, "networks of the geography files")
	flag.Parse()
	rig.LoadProcess()
	runtime.GOMAXPROCS(8) // threads that ask must find a place at once when they wake
	program.Main("latency", func(ctx context.Context) error {
		return o.Measure(ctx, "latency", "How long changes take", parts,
			func(part string, to *figures.Report) error { return measures[part](ctx, o, to) })
	})
}

// of gives the options for one size. What is not the largest is there for the curve, for which fewer rounds and changes will do.
func (o options) of(services int) options {
	o.services = services
	if services != o.sizes[len(o.sizes)-1] {
		o.rounds, o.changes = max(1, o.rounds/4), max(1, o.changes/2)
	}
	return o
}

// millis gives durations as numbers of milliseconds.
func millis(all []time.Duration) []float64 {
	out := make([]float64, len(all))
	for i, d := range all {
		out[i] = float64(d) / float64(time.Millisecond)
	}
	return out
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
