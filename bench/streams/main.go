// Streams compares gtm with NSD and BIND where DNS goes through connections: TCP, DNS over TLS, DNS over HTTPS; and its
// DNS over QUIC with the QUIC library's own rate.
//
// Servers run on one core, the load (dnsperf, with the same connections for each) on another, in interleaved rounds;
// what is told is the median of the rounds' ratios with an interval. See bench/README.md. It needs root, two cores,
// bin/gtmd, and Debian's dnsperf, nsd, bind9 and openssl.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are what the command line says.
type options struct {
	root        string // of the repository
	pairs       int
	names       int
	seconds     float64
	conns       int
	outstanding int
	only        string
	tmp         string
	keep        bool
	gtmd        string
	against     string // another gtmd
}

func main() {
	var o options
	var quic quicOptions
	var connect connectOptions
	flag.StringVar(&o.root, "root", "..", "the repository's `folder`")
	flag.IntVar(&o.pairs, "pairs", 11, "rounds in which every server is measured once")
	flag.IntVar(&o.names, "names", 1000, "static names")
	flag.Float64Var(&o.seconds, "seconds", 2, "length of one measurement")
	flag.IntVar(&o.conns, "conns", 8, "connections")
	flag.IntVar(&o.outstanding, "outstanding", 100, "queries that may be unanswered at once, over all connections")
	flag.StringVar(&o.only, "only", "", "measure these `loads` only, as in dot,doh")
	flag.BoolVar(&o.keep, "keep", false, "keep the working files")
	flag.StringVar(&o.gtmd, "gtmd", "", "the gtmd to measure (default: bin/gtmd)")
	flag.StringVar(&o.against, "against", "", "another gtmd, measured beside it")
	flag.StringVar(&quic.serve, "quic-serve", "", "do not measure: answer every stream at this `address` with -quic-answer bytes")
	flag.StringVar(&quic.load, "quic-load", "", "do not measure: ask at this `address`")
	flag.IntVar(&quic.answer, "quic-answer", 49, "bytes of an answer, with its length, for -quic-serve")
	flag.StringVar(&connect.load, "connect-load", "", "do not measure: ask at this `address`, one query at a time in each connection of TLS")
	flag.StringVar(&connect.protocol, "connect-protocol", protocolTLS, "what is spoken above TLS, for -connect-load: dot or h2")
	flag.BoolVar(&connect.keep, "connect-keep", false, "keep each connection for all its queries, for -connect-load")
	flag.BoolVar(&connect.resume, "connect-resume", false, "resume sessions, for -connect-load")
	flag.StringVar(&quic.dir, "dir", "", "where certificate and queries are, for -quic-serve, -quic-load and -connect-load")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	quic.conns, quic.outstanding, quic.seconds = o.conns, o.outstanding, o.seconds
	connect.dir, connect.conns, connect.seconds = quic.dir, o.conns, o.seconds
	var err error
	switch {
	case connect.load != "":
		err = loadConnections(ctx, connect, os.Stdout)
	case quic.serve != "":
		err = serveQUIC(ctx, quic)
	case quic.load != "":
		err = loadQUIC(ctx, quic, os.Stdout)
	default:
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "streams:", err)
		os.Exit(1)
	}
}

// run prepares the job, starts the servers, checks that they agree, measures, and writes the tables.
func run(ctx context.Context, o options) error {
	if o.pairs < 6 {
		return fmt.Errorf("-pairs %d: with fewer than 6 there is no 95%% interval", o.pairs)
	}
	loads, err := chosen(o.only)
	if err != nil {
		return err
	}
	if o.root, err = filepath.Abs(o.root); err != nil {
		return err
	}
	if o.gtmd == "" {
		o.gtmd = filepath.Join(o.root, "bin", "gtmd")
	}
	if o.tmp, err = os.MkdirTemp("", "gtm-streams-"); err != nil {
		return err
	}
	if o.keep {
		fmt.Println("working files are in", o.tmp)
	} else {
		defer os.RemoveAll(o.tmp)
	}
	if err := writeJob(o); err != nil {
		return err
	}
	servers, err := startAll(ctx, o, subjects(o))
	defer stopAll(servers)
	if err != nil {
		return err
	}
	agreed, err := compareAnswers(ctx, o, servers)
	if err != nil {
		return err
	}
	fmt.Println(agreed)
	var tables []table
	for _, l := range loads {
		t, err := measureAll(ctx, o, servers, l)
		if err != nil {
			return err
		}
		tables = append(tables, t)
	}
	return report(ctx, o, servers, agreed, tables)
}

// chosen gives the loads that a list names, or all.
func chosen(list string) ([]load, error) {
	if list == "" {
		return loads, nil
	}
	var some []load
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(loads, func(l load) bool { return l.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-only %s: there is no such load; there are %s", name, strings.Join(loadNames(), ", "))
		}
		some = append(some, loads[i])
	}
	return some, nil
}

// measureAll measures each server once in each round. The order turns from round to round, so that no server always
// comes first or behind the same other.
func measureAll(ctx context.Context, o options, servers []*server, l load) (table, error) {
	servers = slices.DeleteFunc(slices.Clone(servers), func(s *server) bool { return s.ports[l.transport] == 0 })
	t := table{load: l, rounds: make([]map[string]sample, o.pairs)}
	for _, s := range servers { // to warm up
		t.names = append(t.names, s.name)
		if _, err := s.measure(ctx, o, l, tries); err != nil {
			return t, err
		}
	}
	for round := range o.pairs {
		t.rounds[round] = map[string]sample{}
		for i := range servers {
			s := servers[(round+i)%len(servers)]
			measured, err := s.measure(ctx, o, l, tries)
			if err != nil {
				return t, err
			}
			t.rounds[round][s.name] = measured
		}
		fmt.Printf("%s %2d/%d  %s\n", l.name, round+1, o.pairs, t.line(round))
		if err := ctx.Err(); err != nil {
			return t, err
		}
	}
	return t, nil
}

// tries is how often a load may be begun.
const tries = 5

// pause lets a server that has just been measured come to rest.
const pause = 100 * time.Millisecond
