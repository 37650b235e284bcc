// Latency measures how long changes take to reach the wire: a verdict inside one edge, a configuration from gtmctl to
// every edge, and a new geography file under load, with the real programs. See bench/README.md. It needs root (for threads that go
// before others), two cores, bin/gtmd and bin/gtmctl.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"time"

	"github.com/gti/gtm/bench/figures"
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
	services int
	rate     float64
	rounds   int
	seconds  float64
	changes  int
	networks int
	env      string
}

// parts are what can be measured, in order.
var parts = []string{"verdict", "change", "geo"}

var measures = map[string]func(context.Context, options, *figures.Report) error{"verdict": verdicts, "change": changes, "geo": geography}

func main() {
	var o options
	o.Flags("latency", parts)
	flag.IntVar(&o.services, "services", 100_000, "services for verdicts; each has a pool of ten endpoints")
	flag.Float64Var(&o.rate, "rate", 100_000, "queries a second")
	flag.IntVar(&o.rounds, "pairs", 11, "rounds of a quiet run and runs with changes")
	flag.Float64Var(&o.seconds, "seconds", 4, "length of a run")
	flag.IntVar(&o.changes, "changes", 200, "changes by gtmctl")
	flag.IntVar(&o.networks, "networks", 5_000_000, "networks of the geography files")
	flag.StringVar(&o.env, "env", "", "further environment of edges, as in GOMAXPROCS=2 GODEBUG=gctrace=1")
	flag.Parse()
	rig.LoadProcess()
	runtime.GOMAXPROCS(8) // threads that ask must find a place at once when they wake
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := o.Measure("latency", "How long changes take", parts, func(part string, to *figures.Report) error {
		return measures[part](ctx, o, to)
	}); err != nil {
		fmt.Fprintln(os.Stderr, "latency:", err)
		os.Exit(1)
	}
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

// mark is one row of a table of marks.
func mark(what string, measured, most float64, unit string) []string {
	met := "yes"
	if measured > most {
		met = "no"
	}
	return []string{what, figures.Number(measured) + " " + unit, "at most " + figures.Number(most) + " " + unit, met}
}

var markHead = []string{"what", "measured", "mark", "met"}
