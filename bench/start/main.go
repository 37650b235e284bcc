// Command start measures how long an edge takes from its start to its first answer, and how much memory it has then and
// later: the real gtmd, in a process of its own, from a snapshot as a former run left it.
//
//	go run -C bench ./start -size large                # no store within reach
//	go run -C bench ./start -size small -store         # an etcd with the same configuration within reach, and changes
//
// The four figures of docs/performance.md, the last one from an edge whose store changes:
//
//	go run -C bench ./start -all
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/embedded"
	"github.com/gti/gtm/pkg/store/snapshot"
	"github.com/gti/gtm/pkg/store/state"
)

type options struct {
	gtmd, dir string
	size      size
	store     bool
	changes   int
	runs      int
	rest      time.Duration
	port      int
}

// all are the figures of docs/performance.md: what is measured, in a folder of which name, and how long memory is given to settle.
var all = []struct {
	dir        string
	size       size
	partitions int
	store      bool
	rest       time.Duration
}{
	{"small", small, 20, false, 15 * time.Second},
	{"small-store", small, 20, true, 15 * time.Second},
	{"large", large, 20, false, 30 * time.Second},
	{"large-store", large, 1000, true, 45 * time.Second},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "start:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	o := options{}
	set := flag.NewFlagSet("start", flag.ContinueOnError)
	name := set.String("size", "small", "small (1,000 services) or large (100,000 services, 1,000,000 endpoints)")
	parts := set.Int("partitions", 0, "how many sets of places the rules have (0: 20)")
	set.StringVar(&o.gtmd, "gtmd", "", "the program (default: built for this run)")
	set.StringVar(&o.dir, "dir", "", "folder to work in, kept, and used again as it is (default: a temporary one)")
	every := set.Bool("all", false, "the four figures, one after the other, whatever -size, -partitions, -store and -rest say")
	set.BoolVar(&o.store, "store", false, "have an etcd within reach, and changes in it")
	set.IntVar(&o.changes, "changes", 100, "how many verdicts, and how many weights, change there before memory is looked at once more")
	set.IntVar(&o.runs, "runs", 5, "how many starts")
	set.DurationVar(&o.rest, "rest", 10*time.Second, "when after the first answer memory is looked at again")
	set.IntVar(&o.port, "port", 5399, "port of the edge; its HTTP port is the next one")
	if err := set.Parse(args); err != nil {
		return err
	}
	switch *name {
	case "small":
		o.size = small
	case "large":
		o.size = large
	default:
		return fmt.Errorf("-size: %q is neither small nor large", *name)
	}
	if *parts > 0 {
		o.size.partitions = *parts
	}
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "gtm-start")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.dir = dir
	}
	var err error
	if o.dir, err = filepath.Abs(o.dir); err != nil {
		return err
	}
	if o.gtmd == "" {
		o.gtmd = filepath.Join(o.dir, "gtmd")
		build := exec.CommandContext(ctx, "go", "build", "-C", "..", "-o", o.gtmd, "./cmd/gtmd")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("building gtmd (run this as go run -C bench ./start, or give -gtmd): %w", err)
		}
	}
	if !*every {
		return measure(ctx, o)
	}
	for _, a := range all {
		one := o
		one.dir, one.size, one.store, one.rest = filepath.Join(o.dir, a.dir), a.size, a.store, a.rest
		one.size.partitions = a.partitions
		if err := os.MkdirAll(one.dir, 0o700); err != nil {
			return err
		}
		if err := measure(ctx, one); err != nil {
			return err
		}
	}
	return nil
}

// measure prepares a data folder and starts the edge on it again and again.
func measure(ctx context.Context, o options) (err error) {
	u, err := o.size.world()
	if err != nil {
		return err
	}
	etcd := "http://127.0.0.1:1" // nobody listens there
	var client *store.Client
	if o.store {
		child, err := embedded.Start(ctx, embedded.Config{Dir: filepath.Join(o.dir, "etcd"), Binary: o.gtmd, Args: []string{"etcd"}})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, child.Stop()) }()
		etcd = child.Endpoint()
		if client, err = store.Open(ctx, store.Config{Endpoints: []string{etcd}}); err != nil {
			return err
		}
		defer client.Close()
		if err := fillStore(ctx, client, u); err != nil {
			return err
		}
		first := edgeRun{options: o, etcd: etcd, current: true}
		if _, err := first.run(ctx, nil); err != nil { // leaves the snapshot
			return err
		}
	} else if err := writeSnapshot(filepath.Join(o.dir, "data"), u); err != nil {
		return err
	}
	u = nil // the processes measured share the memory with this one
	var all []result
	for range o.runs {
		var stir func(context.Context) error
		if o.store {
			stir = func(ctx context.Context) error { return o.size.stir(ctx, client, o.changes) }
		}
		r := edgeRun{options: o, etcd: etcd, current: o.store}
		res, err := r.run(ctx, stir)
		if err != nil {
			return err
		}
		all = append(all, res)
		fmt.Println(res)
	}
	slices.SortFunc(all, func(a, b result) int { return int(a.answer - b.answer) })
	fmt.Printf("%d services, %d endpoints, %d sets of places, store %v; medians: %v\n", o.size.services, o.size.pools*o.size.endpoints, o.size.partitions, o.store, all[len(all)/2])
	return nil
}

// writeSnapshot leaves what an edge would.
func writeSnapshot(data string, u *state.Update) error {
	s, _, err := snapshot.Open(filepath.Join(data, "edge", "snapshot"), nil)
	if err != nil {
		return err
	}
	return errors.Join(s.Append(*u), s.Close())
}
