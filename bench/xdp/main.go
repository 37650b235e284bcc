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
	"slices"
	"strings"
	"syscall"

	"github.com/gti/gtm/bench/peers"
)

// options are what the command line says.
type options struct {
	root    string // of the repository
	pairs   int
	names   int
	seconds float64
	trials  int
	window  int
	rate    float64
	gtmd    string
	other   string
	only    string
	marks   bool
	first   bool
	keep    bool
	tmp     string
}

func main() {
	var o options
	var t target
	var mac string
	flag.StringVar(&o.root, "root", "..", "the repository's `folder`")
	flag.IntVar(&o.pairs, "pairs", 11, "rounds in which every server is measured once")
	flag.IntVar(&o.names, "names", 1000, "steered names, and static names")
	flag.Float64Var(&o.seconds, "seconds", 0.8, "length of one measurement")
	flag.IntVar(&o.trials, "trials", 4, "parts of a measurement, which servers take in turns")
	flag.IntVar(&o.window, "window", 240, "queries that may be unanswered at once; a veth holds 256")
	flag.Float64Var(&o.rate, "rate", 100_000, "queries a second, for the cost of an answer")
	flag.StringVar(&o.gtmd, "gtmd", "", "the gtmd to measure (default: bin/gtmd)")
	flag.StringVar(&o.other, "other", "", "compare with this other gtmd instead, by --xdp both; nothing is kept")
	flag.StringVar(&o.only, "only", "steered,static", "the `loads` to measure with")
	flag.BoolVar(&o.marks, "marks", false, "measure only the pairs that marks are about")
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
		t.window = o.window
		err = runLoad(t, os.Stdin, os.Stdout)
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
	loads, err := chosen(o.only)
	if err != nil {
		return err
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
	if o.first {
		if err := preferSession(); err != nil {
			return err
		}
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
	for i, subject := range subjects(o) {
		if o.marks && !subject.own {
			continue
		}
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
	tables, err := measureLoads(ctx, o, servers, loads)
	if err != nil {
		return err
	}
	return report(o, tables)
}

// chosen gives the loads that a list names, in its order.
func chosen(only string) (loads []string, err error) {
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(allLoads, func(load string) bool { return loadName(load) == name })
		if i < 0 {
			return nil, fmt.Errorf("-only: there is no load %q; there are steered and static", name)
		}
		loads = append(loads, allLoads[i])
	}
	return loads, nil
}

var allLoads = []string{peers.Steered, peers.Static}

// measureLoads measures the servers with each load, once they give the same answers to it.
func measureLoads(ctx context.Context, o options, servers []*server, loads []string) (tables []table, err error) {
	for _, load := range loads {
		if err := agree(ctx, servers, filepath.Join(o.tmp, load)); err != nil {
			return nil, err
		}
		for _, own := range []bool{true, false} {
			some := slices.DeleteFunc(slices.Clone(servers), func(s *server) bool { return s.subject.own != own })
			if len(some) == 0 {
				continue
			}
			measured, err := measureAll(ctx, o, some, load)
			if err != nil {
				return nil, err
			}
			tables = append(tables, measured...)
		}
	}
	return tables, nil
}

// A table is what was measured of some servers with one load.
type table struct {
	load   string
	own    bool                            // see newPair
	rate   float64                         // 0: saturated
	names  []string                        // of the servers
	rounds []map[string]map[string]float64 // figures by server
}

// measureAll measures servers, all of which receive in the same way, saturated and at a rate.
func measureAll(ctx context.Context, o options, servers []*server, load string) (tables []table, err error) {
	var clients []*client
	defer func() {
		for _, c := range clients {
			_ = c.end() // its trials are over
		}
	}()
	for _, s := range servers {
		c, err := newClient(ctx, o, s, filepath.Join(o.tmp, load))
		if err != nil {
			return nil, err
		}
		clients = append(clients, c)
	}
	if err := checkReceivers(clients); err != nil {
		return nil, err
	}
	for _, rate := range []float64{0, o.rate} {
		t := table{load: load, own: servers[0].subject.own, rate: rate}
		for _, s := range servers {
			t.names = append(t.names, s.name)
		}
		for round := range o.pairs {
			measured, err := measureRound(o, clients, round, rate)
			if err != nil {
				return nil, err
			}
			t.rounds = append(t.rounds, measured)
			fmt.Printf("%s %2d/%d ", load, round+1, o.pairs)
			for _, name := range t.names {
				f := measured[name]
				fmt.Printf(" %s %.0f/s %.2f us, waited %.2f;", name, f["qps"], f["servercpu"], f["waited"])
			}
			fmt.Println()
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// checkReceivers has each client load its server for a moment, and makes sure that the packets are received where pairs promise it.
func checkReceivers(clients []*client) error {
	const moment = 0.1 // s
	for _, c := range clients {
		before, err := worktime(nobody, c.threads())
		if err != nil {
			return err
		}
		if _, err := c.try(moment, 0); err != nil {
			return err
		}
		after, err := worktime(nobody, c.threads())
		if err != nil {
			return err
		}
		if c.pair.own && (after-before).Seconds() < moment/100 {
			return fmt.Errorf("%s: the thread of interface %s ran for %v only: another core receives its packets, so that figures "+
				"could not be compared; see newPair", c.name, c.serverNIC, after-before)
		}
	}
	return nil
}

// measureRound measures each server once: in several trials, in turns, so that what else happens on the machine falls on all alike.
// The order turns from round to round. A first trial of each, which does not count, has it warm.
func measureRound(o options, clients []*client, round int, rate float64) (map[string]map[string]float64, error) {
	sums := make([]sum, len(clients))
	for trial := range 1 + o.trials {
		for i := range clients {
			at := (round + trial + i) % len(clients)
			got, err := clients[at].try(o.seconds/float64(o.trials), rate)
			if err != nil {
				return nil, err
			}
			if trial == 0 {
				sums[at] = sum{}
			} else {
				sums[at].add(got)
			}
		}
	}
	measured := map[string]map[string]float64{}
	for i, c := range clients {
		if sums[i]["got"] == 0 {
			return nil, fmt.Errorf("%s: not one answer came", c.name)
		}
		measured[c.name] = sums[i].figures(o.trials)
	}
	return measured, nil
}

// column gives one figure of a server in each round.
func (t table) column(name, figure string) (all []float64) {
	for _, round := range t.rounds {
		all = append(all, round[name][figure])
	}
	return all
}
