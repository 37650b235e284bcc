// Xdp compares gtm's --xdp with gdnsd's sockets, with Knot's XDP and with gtm's own sockets, on veth pairs, under a load
// that is sent by AF_XDP.
//
// Servers run on one core, the load on another, in interleaved rounds; what is told is the median of the rounds'
// ratios with an interval, and what an answer costs the whole machine. See bench/README.md. It needs root, two cores,
// bin/gtmd, and Debian's gdnsd, knot, ethtool, bind9-dnsutils and tor-geoipdb.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
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
	rate    float64
	gtmd    string
	first   bool
	keep    bool
	tmp     string
}

// priority is put before a command.
func (o options) priority() []string {
	if o.first {
		return []string{"nice", "-n", "-20"}
	}
	return nil
}

func main() {
	var o options
	var t target
	var mac string
	flag.StringVar(&o.root, "root", ".", "the repository's `folder`")
	flag.IntVar(&o.pairs, "pairs", 11, "rounds in which every server is measured once")
	flag.IntVar(&o.names, "names", 1000, "steered names, and static names")
	flag.Float64Var(&o.seconds, "seconds", 0.8, "length of one measurement")
	flag.IntVar(&o.window, "window", 240, "queries that may be unanswered at once; a veth holds 256")
	flag.Float64Var(&o.rate, "rate", 100_000, "queries a second, for the cost of an answer")
	flag.StringVar(&o.gtmd, "gtmd", "", "the gtmd to measure (default: bin/gtmd)")
	flag.BoolVar(&o.first, "first", false, "run servers and load before all other work of the machine (nice -n -20)")
	flag.BoolVar(&o.keep, "keep", false, "keep the working files")
	flag.StringVar(&t.nic, "load", "", "do not measure: be the load, through this `interface`")
	flag.StringVar(&mac, "mac", "", "hardware address of the server, for -load")
	flag.StringVar(&t.queries, "queries", "", "`file` of queries, for -load and -ask")
	ask := flag.Bool("ask", false, "do not measure: print answers")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	var err error
	if *ask {
		err = runAsk(t.queries, os.Stdout)
	} else if t.nic == "" {
		err = run(ctx, o)
	} else if t.mac, err = net.ParseMAC(mac); err == nil {
		t.from, t.to = netip.AddrPortFrom(loadAddr, 0), serverPort
		t.seconds, t.window, t.rate = o.seconds, o.window, o.rate
		err = runLoad(t, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "xdp:", err)
		os.Exit(1)
	}
}

// run starts the servers, measures, and writes the page.
func run(ctx context.Context, o options) (err error) {
	if o.pairs < 6 {
		return fmt.Errorf("-pairs %d: with fewer than 6 there is no 95%% interval", o.pairs)
	}
	if os.Geteuid() != 0 {
		return errors.New("namespaces and XDP need root")
	}
	if o.root, err = filepath.Abs(o.root); err != nil {
		return err
	}
	if o.gtmd == "" {
		o.gtmd = filepath.Join(o.root, "bin", "gtmd")
	}
	if o.tmp, err = os.MkdirTemp("", "gtm-bench-xdp-"); err != nil {
		return err
	}
	if !o.keep {
		defer os.RemoveAll(o.tmp)
	}
	if err := os.Chmod(o.tmp, 0o755); err != nil {
		return err
	}
	if err := (peers.Job{Dir: o.tmp, Names: o.names}).WriteQueries("/usr/share/tor/geoip"); err != nil {
		return err
	}
	if err := sweep(); err != nil {
		return err
	}
	var servers []*server
	defer func() {
		for _, s := range servers {
			s.end()
		}
	}()
	for i, subject := range subjects() {
		s, err := start(ctx, o, i, subject)
		servers = append(servers, s)
		if err != nil {
			return fmt.Errorf("%s: %w", subject.name, err)
		}
	}
	for _, s := range servers {
		if err := s.await(ctx); err != nil {
			return err
		}
	}
	var tables []table
	for _, load := range []string{peers.Steered, peers.Static} {
		if err := agree(ctx, servers, filepath.Join(o.tmp, load)); err != nil {
			return err
		}
		for _, rate := range []float64{0, o.rate} {
			t, err := measureAll(ctx, o, servers, load, rate)
			if err != nil {
				return err
			}
			tables = append(tables, t)
		}
	}
	return report(o, tables)
}

// A table is what was measured with one load.
type table struct {
	load   string
	rate   float64                         // 0: saturated
	names  []string                        // of the servers
	rounds []map[string]map[string]float64 // figures by server
}

// measureAll measures each server once in each round. The order turns from round to round.
func measureAll(ctx context.Context, o options, servers []*server, load string, rate float64) (table, error) {
	t := table{load: load, rate: rate}
	queries := filepath.Join(o.tmp, load)
	for _, s := range servers { // to warm up
		t.names = append(t.names, s.name)
		if _, err := s.measure(ctx, o, queries, rate); err != nil {
			return t, err
		}
	}
	for round := range o.pairs {
		measured := map[string]map[string]float64{}
		for i := range servers {
			s := servers[(round+i)%len(servers)]
			time.Sleep(50 * time.Millisecond)
			got, err := s.measure(ctx, o, queries, rate)
			if err != nil {
				return t, err
			}
			measured[s.name] = got
		}
		t.rounds = append(t.rounds, measured)
		fmt.Printf("%s %2d/%d ", load, round+1, o.pairs)
		for _, name := range t.names {
			fmt.Printf(" %s %.0f/s %.2f us;", name, measured[name]["qps"], measured[name]["cpu"])
		}
		fmt.Println()
	}
	return t, nil
}

// column gives one figure of a server in each round.
func (t table) column(name, figure string) (all []float64) {
	for _, round := range t.rounds {
		all = append(all, round[name][figure])
	}
	return all
}
