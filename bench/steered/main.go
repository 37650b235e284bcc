// Steered compares gtm with gdnsd and with the kernel's own floor on the steering job of bench/peers.
//
// Servers run on one core, the load on another, in interleaved rounds; what is told is the median of the rounds' ratios
// with an interval. See bench/README.md. It needs root (to install gdnsd), two cores, gcc, and bin/gtmd.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"time"

	"github.com/gti/gtm/bench/peers"
)

// options are what the command line says.
type options struct {
	root    string // of the repository
	pairs   int
	names   int
	seconds float64
	window  int
	tmp     string
	keep    bool
	others  bool
}

func main() {
	var o options
	flag.StringVar(&o.root, "root", ".", "the repository's `folder`")
	flag.IntVar(&o.pairs, "pairs", 31, "rounds in which every server is measured once")
	flag.IntVar(&o.names, "names", 1000, "steered names, and static names")
	flag.Float64Var(&o.seconds, "seconds", 1, "length of one measurement")
	flag.IntVar(&o.window, "window", 512, "queries that may be unanswered at once")
	flag.BoolVar(&o.others, "others", false, "measure Knot, PowerDNS, NSD and BIND as well, where they are installed")
	flag.BoolVar(&o.keep, "keep", false, "keep the working files in bench/results/tmp")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "steered:", err)
		os.Exit(1)
	}
}

// run prepares the job, starts the servers, checks that they agree, measures, and writes the table.
func run(ctx context.Context, o options) error {
	if o.pairs < 6 {
		return fmt.Errorf("-pairs %d: with fewer than 6 there is no 95%% interval", o.pairs)
	}
	var err error
	if o.root, err = filepath.Abs(o.root); err != nil {
		return err
	}
	o.tmp = filepath.Join(o.root, "bench", "results", "tmp")
	if err := prepare(ctx, o); err != nil {
		return err
	}
	if !o.keep {
		defer os.RemoveAll(o.tmp)
	}
	job := peers.Job{Dir: o.tmp, MMDB: filepath.Join(o.root, "geo", "country.mmdb"), Names: o.names}
	if err := writeJob(job); err != nil {
		return err
	}
	servers, err := startAll(ctx, o, subjects(o))
	defer stopAll(servers)
	if err != nil {
		return err
	}
	agreement, err := compareAnswers(filepath.Join(o.tmp, peers.Steered), gtmPort, gdnsdPort)
	if err != nil {
		return err
	}
	fmt.Println(agreement)
	var tables []table
	for _, load := range []string{peers.Steered, peers.Static} {
		t, err := measureAll(ctx, o, servers, load)
		if err != nil {
			return err
		}
		tables = append(tables, t)
	}
	return report(ctx, o, servers, agreement, tables)
}

// prepare makes the working folder empty, and the load and the floor from their sources.
func prepare(ctx context.Context, o options) error {
	if err := os.RemoveAll(o.tmp); err != nil {
		return err
	}
	if err := os.MkdirAll(o.tmp, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"dnsload", "udplimit"} {
		source := filepath.Join(o.root, "bench", name, name+".c")
		output, err := exec.CommandContext(ctx, "gcc", "-O2", "-o", filepath.Join(o.tmp, name), source).CombinedOutput()
		if err != nil {
			return fmt.Errorf("compiling %s: %w\n%s", source, err, output)
		}
	}
	return nil
}

func writeJob(job peers.Job) error {
	if err := job.WriteGtm(); err != nil {
		return err
	}
	if err := job.WriteGdnsd(gdnsdPort); err != nil {
		return err
	}
	if err := job.WriteOthers(peers.Ports{Knot: knotPort, NSD: nsdPort, PowerDNS: pdnsPort, BIND: bindPort}); err != nil {
		return err
	}
	return job.WriteQueries("/usr/share/tor/geoip")
}

// measureAll measures each server once in each round. The order turns from round to round, so that no server always
// comes first or behind the same other.
func measureAll(ctx context.Context, o options, servers []*server, load string) (table, error) {
	servers = slices.DeleteFunc(slices.Clone(servers), func(s *server) bool { return !s.serves(load) })
	t := table{load: load, rounds: make([]map[string]sample, o.pairs)}
	for _, s := range servers { // to warm up
		t.names = append(t.names, s.name)
		if _, err := s.measure(ctx, o, load, 1); err != nil {
			return t, err
		}
	}
	for round := range o.pairs {
		t.rounds[round] = map[string]sample{}
		for i := range servers {
			s := servers[(round+i)%len(servers)]
			measured, err := s.measure(ctx, o, load, o.seconds)
			if err != nil {
				return t, err
			}
			t.rounds[round][s.name] = measured
		}
		fmt.Printf("%s %2d/%d  %s\n", load, round+1, o.pairs, t.line(round))
		if err := ctx.Err(); err != nil {
			return t, err
		}
	}
	return t, nil
}

// pause lets a server that has just been measured come to rest.
const pause = 100 * time.Millisecond
