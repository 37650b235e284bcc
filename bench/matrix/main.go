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
	"strconv"

	"github.com/gti/gtm/bench/program"
)

// options are what the command line says.
type options struct {
	program.Options
	window  int
	large   []int
	paced   bool
	missing []string // servers that are not installed
}

func main() {
	program.Main("matrix", func(ctx context.Context) error {
		o, err := parse(os.Args[1:])
		if err != nil {
			return err
		}
		return runAll(ctx, o)
	})
}

func parse(args []string) (options, error) {
	var o options
	set := flag.NewFlagSet("matrix", flag.ExitOnError)
	o.Flags(set, 0.7)
	set.IntVar(&o.window, "window", 128, "queries that may be unanswered at once, at saturation: few enough for every server's default "+
		"buffer")
	set.BoolVar(&o.paced, "paced", true, "measure at fixed rates as well")
	large := set.String("large", "100000,1000000", "larger `numbers` of names, with commas; empty for none, as with -quick")
	quick := set.Bool("quick", false, "6 rounds of 0.3 s, unless -pairs and -seconds say otherwise: to see that all works")
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
	for _, number := range program.Split(*large) {
		n, err := strconv.Atoi(number)
		if err != nil || n <= small {
			return o, fmt.Errorf("-large: %q is not a number above %d", number, small)
		}
		o.large = append(o.large, n)
	}
	return o, o.Check()
}
