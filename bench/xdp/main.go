// Xdp compares gtm's --xdp with gdnsd's sockets, with Knot's XDP and with gtm's own sockets, on veth pairs, under a load
// that is sent by AF_XDP.
//
// Servers run on one core, the load on another, in interleaved rounds; what is told is the median of the rounds'
// ratios with an interval, and what an answer costs the whole machine. See bench/README.md. It needs root, two cores,
// bin/gtmd, and Debian's gdnsd, knot, ethtool, dnsutils and tor-geoipdb.
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
	"time"

	"github.com/gti/gtm/bench/figures"
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
	fifo    bool
	keep    bool
	tmp     string
}

// priority is put before a command.
func (o options) priority() []string {
	if o.fifo {
		return []string{"chrt", "-f", "10"}
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
	flag.Float64Var(&o.seconds, "seconds", 1, "length of one measurement")
	flag.IntVar(&o.window, "window", 240, "queries that may be unanswered at once; a veth holds 256")
	flag.Float64Var(&o.rate, "rate", 100_000, "queries a second, for the cost of an answer")
	flag.StringVar(&o.gtmd, "gtmd", "", "the gtmd to measure (default: bin/gtmd)")
	flag.BoolVar(&o.fifo, "fifo", false, "run servers and load before all other work of the machine (SCHED_FIFO)")
	flag.BoolVar(&o.keep, "keep", false, "keep the working files")
	flag.StringVar(&t.nic, "load", "", "do not measure: be the load, through this `interface`")
	flag.StringVar(&mac, "mac", "", "hardware address of the server, for -load")
	flag.StringVar(&t.queries, "queries", "", "`file` of queries, for -load")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if t.nic == "" {
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
			figures, err := s.measure(ctx, o, queries, rate)
			if err != nil {
				return t, err
			}
			measured[s.name] = figures
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

// report writes the page.
func report(o options, tables []table) error {
	r := figures.NewReport(o.root, "xdp", "AF_XDP on veth pairs", time.Now(), figures.Debian("gdnsd"), figures.Debian("knot"))
	r.Text("Server on core %d, load (by AF_XDP) on core %d, %d rounds of %g s, at most %d queries open, %d names. Each server has a veth pair of its own, all "+
		"made alike. Packets are received by a thread of the receiving interface on the core of its side (threaded NAPI, GRO on), "+
		"or else, where it says *sender's softirq*, on the core that sent them, as veth does by itself. CPU is what all cores of the machine spent for an answer, the load's part included.",
		serverCore, loadCore, o.pairs, o.seconds, o.window, o.names)
	for _, t := range tables {
		what := "saturated"
		if t.rate > 0 {
			what = fmt.Sprintf("%.0f queries a second", t.rate)
		}
		r.Section(t.load[:len(t.load)-len(".q")] + ", " + what)
		t.report(r)
	}
	file, err := r.Save()
	if err == nil {
		fmt.Printf("\n%s\n(kept as %s)\n", r, file)
	}
	return err
}

func (t table) report(r *figures.Report) {
	var rows [][]string
	for _, name := range t.names {
		row := []string{name, figures.Summarize(t.column(name, "qps")).String(), figures.Summarize(t.column(name, "cpu")).String()}
		for _, figure := range []string{"server", "load", "p50us", "p99us", "lost"} {
			row = append(row, figures.Number(figures.Median(t.column(name, figure))))
		}
		rows = append(rows, row)
	}
	r.Table([]string{"server", "answers/s", "machine's CPU us/answer", "server's core busy", "load's core busy", "p50 us", "p99 us", "lost"}, rows)
	var ratios []figures.Ratio
	for _, where := range []string{"", senderSide} {
		for _, over := range []struct {
			name string
			mark float64
		}{{"gdnsd", 1.8}, {"knot xdp", 1}, {"gtm sockets", 0}} {
			of, over, mark := "gtm xdp"+where, over.name+where, over.mark
			if t.rate == 0 {
				ratios = append(ratios, figures.Ratio{Of: of, Over: over, Figure: "answers/s", Mark: mark,
					Ratios: figures.Ratios(t.column(of, "qps"), t.column(over, "qps"))})
			}
			ratios = append(ratios, figures.Ratio{Of: of, Over: over, Figure: "machine's CPU per answer",
				Ratios: figures.Ratios(t.column(of, "cpu"), t.column(over, "cpu"))})
		}
	}
	r.Ratios(ratios)
}
