// The program simulate plays scenarios against gtm's own code in virtual time, prints what came of them and draws the load. It ends with 1
// where a mark is missed. What it prints and draws follows from the seed alone; how fast it was goes to standard error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/gti/gtm/bench/program"
	"github.com/gti/gtm/bench/simulate/sim"
	"github.com/gti/gtm/pkg/geo"
)

func main() {
	program.Main("simulate", func(ctx context.Context) error {
		atlas, err := geo.Open()
		if err != nil {
			return err
		}
		return run(ctx, os.Args[1:], scenarios, sim.Survey(atlas), os.Stdout, os.Stderr)
	})
}

// errMissed tells that marks were missed.
var errMissed = errors.New("marks were missed")

// run plays those of the scenarios that the arguments ask for. The error is errMissed where all were played and a mark was missed.
func run(ctx context.Context, args []string, all []scenario, land *sim.Land, out, speed io.Writer) error {
	f := form{land: land}
	var folder, only string
	set := flag.NewFlagSet("simulate", flag.ContinueOnError)
	set.BoolVar(&f.short, "short", false, "with fewer clients and for less time: what CI plays")
	set.Uint64Var(&f.seed, "seed", 1, "of all that is random")
	set.StringVar(&folder, "out", filepath.Join("results", "tmp", "simulate"), "`folder` for pictures; empty: draw none")
	set.StringVar(&only, "only", "", "the `scenarios` to play, by name and with commas (default: all)")
	if err := set.Parse(args); err != nil {
		return err
	}
	var names []string
	for _, s := range all {
		names = append(names, s.name)
	}
	wanted, err := program.Choose(only, names)
	if err != nil {
		return err
	}
	missed := 0
	for _, s := range all {
		if !slices.Contains(wanted, s.name) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		began, spent := time.Now(), cpu()
		o, err := s.play(f)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		took, spent := time.Since(began), cpu()-spent
		missed += o.print(out, s)
		if err := o.draw(folder, s); err != nil {
			return err
		}
		virtual := o.run.Warm + o.run.Length
		fmt.Fprintf(speed, "%s: %s in %.1f s, %.1f s of one CPU: %.0f times as fast as real time\n", s.name, virtual, took.Seconds(),
			spent.Seconds(), virtual.Seconds()/took.Seconds())
	}
	if missed > 0 {
		return fmt.Errorf("%d %w", missed, errMissed)
	}
	return nil
}

// cpu is the time that the process has had of CPUs.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
