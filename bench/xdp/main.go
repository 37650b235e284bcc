// Xdp compares gtm's --xdp with gdnsd's sockets, with Knot's XDP and with gtm's own sockets, on veth pairs, under a load
// that is sent by AF_XDP.
//
// Servers run on one core, the load on another, in interleaved rounds; what is told is the median of the rounds'
// ratios with an interval, and what an answer costs the whole machine. See bench/README.md. It needs root, two cores,
// bin/gtmd, and Debian's gdnsd, knot, ethtool, bind9-dnsutils and tor-geoipdb.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/bench/peers"
	"github.com/gti/gtm/bench/program"
)

// options are what the command line says.
type options struct {
	program.Options
	names  int
	trials int
	window int
	rate   float64
	other  string
	marks  bool
	first  bool
}

func main() {
	var o options
	var t target
	o.Flags(flag.CommandLine, 0.8)
	flag.IntVar(&o.names, "names", 1000, "steered names, and static names")
	flag.IntVar(&o.trials, "trials", 4, "parts of a measurement, which servers take in turns")
	flag.IntVar(&o.window, "window", 240, "queries that may be unanswered at once; a veth holds 256")
	flag.Float64Var(&o.rate, "rate", 100_000, "queries a second, for the cost of an answer")
	flag.StringVar(&o.other, "other", "", "compare with this other gtmd instead, by --xdp both; nothing is kept")
	flag.BoolVar(&o.marks, "marks", false, "measure only the pairs that marks are about")
	flag.BoolVar(&o.first, "first", false, "run servers and load before all other work of the machine (nice -n -20)")
	flag.StringVar(&t.nic, "load", "", "do not measure: be the load, through this `interface`")
	mac := flag.String("mac", "", "hardware address of the server, for -load")
	flag.StringVar(&t.queries, "queries", "", "`file` of queries, for -load")
	flag.Parse()
	program.Main("xdp", func(ctx context.Context) (err error) {
		if t.nic == "" {
			return run(ctx, o)
		}
		if t.mac, err = net.ParseMAC(*mac); err != nil {
			return err
		}
		t.from, t.to, t.window = netip.AddrPortFrom(loadAddr, 0), serverPort, o.window
		return runLoad(t, os.Stdin, os.Stdout)
	})
}

// run starts the servers, measures, and writes the page.
func run(ctx context.Context, o options) error {
	loads, err := chosen(o.Only)
	if err != nil {
		return err
	}
	if err := program.Root("namespaces and XDP"); err != nil {
		return err
	}
	if err := o.Check(); err != nil {
		return err
	}
	remove, err := o.Folder()
	if err != nil {
		return err
	}
	defer remove()
	if err := (peers.Job{Dir: o.Tmp, Names: o.names}).WriteQueries("/usr/share/tor/geoip"); err != nil {
		return err
	}
	if o.first {
		if err := program.PreferSession(); err != nil {
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
		if err := s.await(ctx, o); err != nil {
			return err
		}
	}
	tables, err := measureLoads(ctx, o, servers, loads)
	if err != nil {
		return err
	}
	return report(o, tables)
}

// file is where the queries of a load are.
func (o options) file(load string) string { return filepath.Join(o.Tmp, load) }

// chosen gives the loads that a list names, or all.
func chosen(only string) (loads []string, err error) {
	names, err := program.Choose(only, []string{loadName(peers.Steered), loadName(peers.Static)})
	for _, name := range names {
		loads = append(loads, name+".q")
	}
	return loads, err
}

// measureLoads measures the servers with each load, once they give the same answers to it.
func measureLoads(ctx context.Context, o options, servers []*server, loads []string) (tables []table, err error) {
	for _, load := range loads {
		if err := compare(ctx, o, servers, load); err != nil {
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
	own    bool                               // see newPair
	rate   float64                            // 0: saturated
	names  []string                           // of the servers
	rounds figures.Rounds[map[string]float64] // figures by server
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
		c, err := newClient(ctx, o, s, load)
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
		for round := range o.Pairs {
			measured, err := measureRound(o, clients, round, rate)
			if err != nil {
				return nil, err
			}
			t.rounds = append(t.rounds, measured)
			fmt.Printf("%s %2d/%d ", load, round+1, o.Pairs)
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
		before, err := c.threadsCPU()
		if err != nil {
			return err
		}
		if _, err := c.try(moment, 0); err != nil {
			return err
		}
		after, err := c.threadsCPU()
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
			got, err := clients[at].try(o.Seconds/float64(o.trials), rate)
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
func (t table) column(name, figure string) []float64 {
	return t.rounds.Column(name, func(f map[string]float64) float64 { return f[figure] })
}
