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
	"path/filepath"
	"runtime"
	"slices"
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
	root, work, bin string
	only            string
	steps           []int
	starts          int
	seconds         float64
	rate            float64
	memory          int64 // bytes that a step may take at most
	env             []string
}

func (o options) gtmd() string   { return filepath.Join(o.bin, "gtmd") }
func (o options) gtmctl() string { return filepath.Join(o.bin, "gtmctl") }

// parts are what can be measured, in order.
var parts = []struct {
	name    string
	measure func(context.Context, options, *figures.Report) error
}{
	{"marks", marks}, {"services", services}, {"names", names}, {"networks", networks}, {"apply", apply},
}

func main() {
	rig.LoadProcess()
	runtime.GOMAXPROCS(8) // threads that ask must find a place at once when they wake
	var o options
	var steps, env string
	var gigabytes int64
	flag.StringVar(&o.root, "root", ".", "the repository's `folder`")
	flag.StringVar(&o.work, "work", filepath.Join(os.TempDir(), "gtm-scale"), "`folder` for working files; geography files are kept there for the next run")
	flag.StringVar(&o.bin, "bin", "", "`folder` of gtmd and gtmctl (default: bin in the repository)")
	flag.StringVar(&o.only, "only", "marks,services,names,networks,apply", "what to measure")
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
	var err error
	if o.root, err = filepath.Abs(o.root); err != nil {
		return err
	}
	if o.bin == "" {
		o.bin = filepath.Join(o.root, "bin")
	}
	if o.work, err = filepath.Abs(o.work); err != nil {
		return err
	}
	if err := os.MkdirAll(o.work, 0o755); err != nil {
		return err
	}
	report := figures.NewReport(o.root, "scale", "From a thousand to a million", time.Now())
	wanted := strings.Split(o.only, ",")
	for _, p := range parts {
		if !slices.Contains(wanted, p.name) {
			continue
		}
		if err := p.measure(ctx, o, report); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	file, err := report.Save()
	fmt.Println(report.String())
	fmt.Println(file)
	return err
}

// folder gives an empty folder of that name below the work folder.
func (o options) folder(name string) (string, error) {
	dir := filepath.Join(o.work, name)
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o700)
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
