// Scale measures gtm with configurations of a thousand to a million services, endpoints, names and networks: start,
// memory, price of a query, and how long changes take. See bench/README.md. It needs root, two cores, bin/gtmd and
// bin/gtmctl.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/bench/program"
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
	changes int
	seconds float64
	rate    float64
	memory  int64 // bytes that a step may take at most
}

// parts are what is measured unless -only says otherwise, in order; more are measured only when they are asked for.
var (
	parts = []string{"marks", "services", "endpoints", "names", "networks", "apply"}
	more  = []string{"small", "small-store", "large", "large-store", "near-rules", "near"}
)

var measures = map[string]func(context.Context, options, *figures.Report) error{"marks": marks, "services": services,
	"endpoints": manyEndpoints, "names": names, "networks": networks, "apply": apply,
	"small":       startsOf(rig.Small, 20, false, 15*time.Second),
	"small-store": startsOf(rig.Small, 20, true, 15*time.Second),
	"large":       startsOf(rig.Large, 20, false, 30*time.Second),
	"large-store": startsOf(rig.Large, 1000, true, 45*time.Second),
	"near-rules":  startsOf(steeredBy(rig.FivePools), 1, false, 30*time.Second),
	"near":        startsOf(steeredBy(rig.Nearest), 1, false, 30*time.Second)}

// steeredBy is a configuration whose services go to five pools each.
func steeredBy(way rig.Steering) rig.Mixed {
	size := rig.Near
	size.Steering = way
	return size
}

func main() {
	rig.LoadProcess()
	runtime.GOMAXPROCS(8) // threads that ask must find a place at once when they wake
	var o options
	var gigabytes int64
	o.Flags("scale", parts, 12*time.Minute)
	program.Numbers(flag.CommandLine, &o.steps, "steps", "sizes", 100, 1000, 10_000, 100_000, 1_000_000)
	flag.IntVar(&o.starts, "pairs", 5, "starts of each configuration; those that take long are fewer")
	flag.IntVar(&o.changes, "changes", 100, "how many verdicts, and how many weights, change in the parts whose names end in store")
	flag.Float64Var(&o.seconds, "seconds", 5, "length of a load")
	flag.Float64Var(&o.rate, "rate", 50_000, "queries a second")
	flag.Int64Var(&gigabytes, "memory", freeGigabytes()*4/5, "gigabytes that a step may take at most; the default is most of what is free")
	flag.Parse()
	o.starts = max(1, o.starts)
	o.memory = gigabytes << 30
	program.Main("scale", func(ctx context.Context) error {
		return o.Measure(ctx, "scale", "From a thousand to a million", slices.Concat(parts, more),
			func(part string, to *figures.Report) error { return measures[part](ctx, o, to) })
	})
}

// step is what a step took that was made.
type step struct {
	size int
	peak int64 // bytes
	took time.Duration
}

// tooLarge tells why a step is left out after others; empty: it is not. The estimate is a straight line through the last two steps, since
// each has a part that does not depend on its size, but never more than in proportion to the last: small steps differ by chance.
func (o options) tooLarge(n int, before []step) string {
	if len(before) < 2 {
		return ""
	}
	a, b := before[len(before)-2], before[len(before)-1]
	times := float64(n-b.size) / float64(max(1, b.size-a.size))
	ratio := float64(n) / float64(b.size)
	line := func(a, b float64) float64 { return min(b+times*(b-a), b*ratio) }
	peak := line(float64(a.peak), float64(b.peak))
	took := time.Duration(line(float64(a.took), float64(b.took)))
	switch {
	case peak > float64(o.memory):
		return fmt.Sprintf("%d: left out, since it would take %.0f GB, and %d GB is the limit", n, peak/(1<<30), o.memory>>30)
	case took > o.Left():
		return fmt.Sprintf("%d: left out, since it would take %s, and %s are left for it (-most)", n, took.Round(time.Second),
			max(0, o.Left()).Round(time.Second))
	}
	return ""
}

// freeGigabytes is how much memory is free, or is so when asked for (MemAvailable of proc(5)).
func freeGigabytes() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "MemAvailable:")
	number, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	kb, _ := strconv.ParseInt(number, 10, 64) // 0 where there is no such line: then all but the first two steps are left out
	return kb >> 20
}
