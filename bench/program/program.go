// Package program is what the programs of bench have in common: flags, how they begin and how they end.
package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Main runs a program until it is over or someone ends it, and says what went wrong.
func Main(name string, run func(ctx context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Options are what every comparison of servers is told.
type Options struct {
	Root    string // of the repository
	Gtmd    string
	Only    string
	Pairs   int
	Seconds float64
	Keep    bool
	Tmp     string // working files: see Folder
}

// Flags adds their flags to a set, with the length of a measurement that is usual.
func (o *Options) Flags(set *flag.FlagSet, seconds float64) {
	set.StringVar(&o.Root, "root", "..", "the repository's `folder`")
	set.StringVar(&o.Gtmd, "gtmd", "", "the `program` to measure (default bin/gtmd of the repository)")
	set.StringVar(&o.Only, "only", "", "the `loads` to measure, by name and with commas (default: all)")
	set.IntVar(&o.Pairs, "pairs", 11, "rounds in which every server is measured once")
	set.Float64Var(&o.Seconds, "seconds", seconds, "length of one measurement")
	set.BoolVar(&o.Keep, "keep", false, "keep the working files")
}

// Check completes the options once they are read.
func (o *Options) Check() (err error) {
	if o.Pairs < 6 {
		return fmt.Errorf("-pairs %d: with fewer than 6 there is no 95 %% interval", o.Pairs)
	}
	if o.Root, err = filepath.Abs(o.Root); err != nil {
		return err
	}
	if o.Gtmd == "" {
		o.Gtmd = filepath.Join(o.Root, "bin", "gtmd")
	}
	if _, err := os.Stat(o.Gtmd); err != nil {
		return fmt.Errorf("%w (make build makes it)", err)
	}
	return nil
}

// Folder makes the folder for working files, and gives what removes it, unless it is to be kept. Servers may read it under other users.
func (o *Options) Folder() (remove func(), err error) {
	if o.Tmp, err = os.MkdirTemp("", "gtm-bench-"); err != nil {
		return nil, err
	}
	if o.Keep {
		fmt.Println("working files are in", o.Tmp)
		return func() {}, os.Chmod(o.Tmp, 0o755)
	}
	return func() { _ = os.RemoveAll(o.Tmp) }, os.Chmod(o.Tmp, 0o755)
}

// Root tells whoever is not root what root is needed for.
func Root(what string) error {
	if os.Geteuid() != 0 {
		return errors.New(what + " need root")
	}
	return nil
}

// Split gives the words of a list with commas.
func Split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

// Numbers adds a flag for numbers with commas, of which none is below least, in order; all are what it has without the flag.
func Numbers(set *flag.FlagSet, to *[]int, name, usage string, least int, all ...int) {
	*to = all
	without := strings.ReplaceAll(strings.Trim(fmt.Sprint(all), "[]"), " ", ",")
	set.Func(name, usage+" (default "+without+")", func(text string) error {
		*to = nil
		for _, word := range Split(text) {
			n, err := strconv.Atoi(word)
			if err != nil || n < least {
				return fmt.Errorf("%q is no number from %d on", word, least)
			}
			*to = append(*to, n)
		}
		slices.Sort(*to)
		if len(*to) == 0 {
			return errors.New("no number")
		}
		return nil
	})
}

// Choose gives those that the list names, or all where it is empty. An unknown name is an error.
func Choose(list string, all []string) ([]string, error) {
	some := Split(list)
	for _, name := range some {
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("-only: there is no %q; there are %s", name, strings.Join(all, ", "))
		}
	}
	if len(some) == 0 {
		return all, nil
	}
	return some, nil
}

// Rest waits for so long, or until ctx ends, which is the error.
func Rest(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
