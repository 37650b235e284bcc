// Matrix measures gtm beside other authoritative servers and beside the kernel's own floor, on the job of bench/peers.
//
// Servers run on one core, the load on another, in interleaved rounds; what is told is the median of the rounds' ratios
// with an interval. See bench/README.md. It needs root, two cores, gcc, bin/gtmd, and the peers that are to be measured.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// options are what the command line says.
type options struct {
	root    string // of the repository
	gtmd    string
	pairs   int
	seconds float64
	window  int
	only    []string
	large   []int
	paced   bool
	keep    bool
	missing []string // servers that are not installed
}

func main() {
	o, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := runAll(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	set := flag.NewFlagSet("matrix", flag.ExitOnError)
	set.StringVar(&o.root, "root", "..", "the repository's `folder`")
	set.StringVar(&o.gtmd, "gtmd", "", "the `program` to measure (default bin/gtmd of the repository)")
	set.IntVar(&o.pairs, "pairs", 11, "rounds in which every server is measured once (6 with -quick)")
	set.Float64Var(&o.seconds, "seconds", 0.7, "length of one measurement (0.3 with -quick)")
	set.IntVar(&o.window, "window", 128, "queries that may be unanswered at once, at saturation: few enough for every server's default buffer")
	set.BoolVar(&o.paced, "paced", true, "measure at fixed rates as well")
	set.BoolVar(&o.keep, "keep", false, "keep the working files in bench/results/tmp")
	only := set.String("only", "", "the `loads` to measure, by name and with commas (default: all)")
	large := set.String("large", "100000,1000000", "larger `numbers` of names, with commas; empty for none, as with -quick")
	quick := set.Bool("quick", false, "few short rounds: to see that all works")
	if err := set.Parse(args); err != nil {
		return o, err
	}
	if set.NArg() > 0 {
		return o, fmt.Errorf("%q: there are flags only (-help)", set.Arg(0))
	}
	if *quick {
		given := map[string]bool{}
		set.Visit(func(f *flag.Flag) { given[f.Name] = true })
		for name, value := range map[string]string{"pairs": "6", "seconds": "0.3", "large": ""} {
			if given[name] {
				continue
			}
			if err := set.Set(name, value); err != nil {
				return o, err
			}
		}
	}
	if o.pairs < 6 {
		return o, fmt.Errorf("-pairs %d: with fewer than 6 there is no 95 %% interval", o.pairs)
	}
	for _, number := range split(*large) {
		n, err := strconv.Atoi(number)
		if err != nil || n <= small {
			return o, fmt.Errorf("-large: %q is not a number above %d", number, small)
		}
		o.large = append(o.large, n)
	}
	o.only = split(*only)
	var err error
	if o.root, err = filepath.Abs(o.root); err != nil {
		return o, err
	}
	if o.gtmd == "" {
		o.gtmd = filepath.Join(o.root, "bin", "gtmd")
	}
	if _, err := os.Stat(o.gtmd); err != nil {
		return o, fmt.Errorf("%w (make build makes it)", err)
	}
	return o, nil
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}
