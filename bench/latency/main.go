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
	"path/filepath"
	"runtime"
	"slices"
	"strings"
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
	root, work string
	bin        string // folder of gtmd and gtmctl
	only       string
	services   int
	rate       float64
	rounds     int
	seconds    float64
	changes    int
	networks   int
	env        string
}

func (o options) gtmd() string   { return filepath.Join(o.bin, "gtmd") }
func (o options) gtmctl() string { return filepath.Join(o.bin, "gtmctl") }

// parts are what can be measured, in order.
var parts = []struct {
	name    string
	measure func(context.Context, options, *figures.Report) error
}{
	{"verdict", verdicts}, {"change", changes}, {"geo", geography},
}

func main() {
	var o options
	flag.StringVar(&o.root, "root", ".", "the repository's `folder`")
	flag.StringVar(&o.work, "work", filepath.Join(os.TempDir(), "gtm-latency"), "`folder` for working files; geography files are kept there for the next run")
	flag.StringVar(&o.bin, "bin", "", "`folder` of gtmd and gtmctl (default: bin in the repository)")
	flag.StringVar(&o.only, "only", "verdict,change,geo", "what to measure")
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
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "latency:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
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
	report := figures.NewReport(o.root, "latency", "How long changes take", time.Now())
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
