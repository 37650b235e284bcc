// Prober measures what a prober is for: how long after its death an endpoint is still answered, end to end through prober, etcd, judge
// and edge, and how many checks one core makes in time. See bench/README.md. It needs root (for threads that go before others), two
// cores and bin/gtmd.
package main

import (
	"context"
	"flag"
	"os"
	"time"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/bench/program"
	"github.com/gti/gtm/bench/scale/rig"
)

// The cores: the prober has one for itself where its checks are counted; what it checks, etcd and this program share the other.
const (
	proberCore = "0"
	restCore   = "1"
)

// patience is how long anything is waited for.
const patience = time.Minute

// options are what the command line says.
type options struct {
	rig.Places
	deaths  int // of each kind
	asked   int // endpoints that die and live at the same time
	numbers []int
	secure  []int
	seconds float64
	first   bool
}

// parts are what can be measured, in order.
var parts = []string{"death", "checks"}

var measures = map[string]func(context.Context, options, *figures.Report) error{"death": deaths, "checks": checks}

func main() {
	var o options
	o.Flags("prober", parts, 30*time.Minute)
	flag.IntVar(&o.deaths, "deaths", 200, "deaths of each kind")
	flag.IntVar(&o.asked, "at-once", 4, "endpoints that die and live again beside each other")
	program.Numbers(flag.CommandLine, &o.numbers, "checks", "numbers of tcp and http checks", 100, 1000, 5000, 20_000, 50_000, 100_000)
	program.Numbers(flag.CommandLine, &o.secure, "https", "numbers of https checks", 100, 1000, 5000, 20_000, 50_000)
	flag.Float64Var(&o.seconds, "seconds", 20, "how long checks are counted")
	flag.BoolVar(&o.first, "first", false, "run all of it before other work of the machine (start it by setsid -w)")
	targetsProcess()
	flag.Parse()
	program.Main("prober", func(ctx context.Context) error {
		if err := o.goFirst(); err != nil {
			return err
		}
		return o.Measure(ctx, "prober", "What a prober sees, and how soon", parts,
			func(part string, to *figures.Report) error { return measures[part](ctx, o, to) })
	})
}

// goFirst has this program, and whatever it starts, run before other work, if that is wanted.
func (o *options) goFirst() error {
	if !o.first {
		return nil
	}
	if err := program.PreferSession(); err != nil {
		return err
	}
	return program.Prefer(os.Getpid())
}

// tellFirst says so in a report.
func (o *options) tellFirst(report *figures.Report) {
	if o.first {
		report.Text("All of it ran before other work of the machine: what others took, they took of what was left.")
	}
}

// inSeconds gives durations as numbers of seconds.
func inSeconds(all []time.Duration) []float64 {
	out := make([]float64, len(all))
	for i, d := range all {
		out[i] = d.Seconds()
	}
	return out
}
