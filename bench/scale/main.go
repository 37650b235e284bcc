// Scale measures gtm with configurations of a thousand to a million services, endpoints, names and networks: start,
// memory, price of a query, and how long changes take. See bench/README.md. It needs root, two cores, bin/gtmd and
// bin/gtmctl.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/bench/scale/rig"
)

// The cores: the edge that is measured has one for itself.
const (
	edgeCore = "0"
	restCore = "1"
	loadCore = 1 // the same
)

// options are what the command line says.
type options struct {
	rig.Places
	steps   []int
	starts  int
	seconds float64
	rate    float64
	memory  int64 // bytes that a step may take at most
	env     []string
}

// parts are what can be measured, in order.
var parts = []string{"marks", "services", "names", "networks", "apply"}

var measures = map[string]func(context.Context, options, *figures.Report) error{"marks": marks, "services": services, "names": names,
	"networks": networks, "apply": apply}

func main() {
	rig.LoadProcess()
	runtime.GOMAXPROCS(8) // threads that ask must find a place at once when they wake
	var o options
	var steps, env string
	var gigabytes int64
	o.Flags("scale", parts)
	flag.StringVar(&steps, "steps", "1000,10000,100000,1000000", "sizes")
	flag.IntVar(&o.starts, "pairs", 5, "starts of each configuration; those that take long are fewer")
	flag.Float64Var(&o.seconds, "seconds", 5, "length of a load")
	flag.Float64Var(&o.rate, "rate", 50_000, "queries a second")
	flag.Int64Var(&gigabytes, "memory", 12, "gigabytes that a step may take at most")
	flag.StringVar(&env, "env", "", "further environment of edges, as in GOMAXPROCS=2 GODEBUG=gctrace=1")
	flag.Parse()
	o.starts = max(1, o.starts)
	o.memory, o.env = gigabytes<<30, strings.Fields(env)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, steps); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, steps string) error {
	for text := range strings.SplitSeq(steps, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 100 {
			return fmt.Errorf("-steps: %q is no number from 100 on", text)
		}
		o.steps = append(o.steps, n)
	}
	return o.Measure("scale", "From a thousand to a million", parts, func(part string, to *figures.Report) error {
		return measures[part](ctx, o, to)
	})
}

// tooLarge tells why a step is left out; empty: it is not. The estimate is a straight line through the last step.
func (o options) tooLarge(n, lastN int, lastPeak int64, lastTook time.Duration) string {
	const longest = 5 * time.Minute
	if lastN == 0 {
		return ""
	}
	times := float64(n) / float64(lastN)
	switch {
	case float64(lastPeak)*times > float64(o.memory):
		return fmt.Sprintf("%d: left out, since %d took %.1f GB at most, and %d GB is the limit", n, lastN, float64(lastPeak)/(1<<30), o.memory>>30)
	case time.Duration(float64(lastTook)*times) > longest:
		return fmt.Sprintf("%d: left out, since %d took %s, and %s is the limit", n, lastN, lastTook.Round(time.Second), longest)
	}
	return ""
}
