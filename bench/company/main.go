// Company measures the control plane at the size of a company: a hundred tenants with a hundred services and a thousand endpoints each,
// all of which have changed things a thousand times. See bench/README.md. It needs root (for threads that go before others), two cores,
// bin/gtmd and bin/gtmctl.
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

// options are what the command line says.
type options struct {
	rig.Places
	tenants  int
	services int // of each tenant, each with a pool of its own
	history  int // changes of each tenant before anything is measured
	rounds   int
}

func main() {
	var o options
	o.Flags("company", []string{"company"}, 30*time.Minute)
	flag.IntVar(&o.tenants, "tenants", 100, "tenants")
	flag.IntVar(&o.services, "services", 100, "services of each tenant, each with a pool of ten endpoints")
	flag.IntVar(&o.history, "history", 1000, "changes of each tenant before anything is measured")
	flag.IntVar(&o.rounds, "rounds", 100, "plans, changes and lists of each kind that are measured")
	flag.Parse()
	runtime.GOMAXPROCS(8) // threads that ask must find a place at once when they wake
	program.Main("company", func(ctx context.Context) error {
		return o.Measure(ctx, "company", "The control plane of a company", []string{"company"},
			func(_ string, to *figures.Report) error { return measure(ctx, o, to) })
	})
}
