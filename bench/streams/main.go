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
	"slices"
	"time"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/bench/program"
)

// options are what the command line says.
type options struct {
	program.Options
	names       int
	conns       int
	outstanding int
	against     string // another gtmd
}

func main() {
	var o options
	var quic quicOptions
	var connect connectOptions
	o.Flags(flag.CommandLine, 2)
	flag.IntVar(&o.names, "names", 1000, "static names")
	flag.IntVar(&o.conns, "conns", 8, "connections")
	flag.IntVar(&o.outstanding, "outstanding", 100, "queries that may be unanswered at once, over all connections")
	flag.StringVar(&o.against, "against", "", "another gtmd, measured beside it")
	flag.StringVar(&quic.serve, "quic-serve", "", "do not measure: answer every stream at this `address` with -quic-answer bytes")
	flag.StringVar(&quic.load, "quic-load", "", "do not measure: ask at this `address`")
	flag.IntVar(&quic.answer, "quic-answer", 49, "bytes of an answer, with its length, for -quic-serve")
	flag.StringVar(&connect.load, "connect-load", "",
		"do not measure: ask at this `address`, one query at a time in each connection of TLS")
	flag.StringVar(&connect.protocol, "connect-protocol", protocolTLS, "what is spoken above TLS, for -connect-load: dot or h2")
	flag.BoolVar(&connect.keep, "connect-keep", false, "keep each connection for all its queries, for -connect-load")
	flag.BoolVar(&connect.resume, "connect-resume", false, "resume sessions, for -connect-load")
	flag.StringVar(&quic.dir, "dir", "", "where certificate and queries are, for -quic-serve, -quic-load and -connect-load")
	flag.Parse()
	quic.conns, quic.outstanding, quic.seconds = o.conns, o.outstanding, o.Seconds
	connect.dir, connect.conns, connect.seconds = quic.dir, o.conns, o.Seconds
	program.Main("streams", func(ctx context.Context) error {
		switch {
		case connect.load != "":
			return loadConnections(ctx, connect, os.Stdout)
		case quic.serve != "":
			return serveQUIC(ctx, quic)
		case quic.load != "":
			return loadQUIC(ctx, quic, os.Stdout)
		}
		return run(ctx, o)
	})
}

// run prepares the job, starts the servers, checks that they agree, measures, and writes the tables.
func run(ctx context.Context, o options) error {
	loads, err := chosen(o.Only)
	if err != nil {
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
	if err := writeJob(o); err != nil {
		return err
	}
	servers, err := startAll(ctx, o, subjects(o))
	defer func() {
		for _, s := range servers {
			s.Stop()
		}
	}()
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
	return report(o, servers, agreed, tables)
}

// chosen gives the loads that a list names, or all.
func chosen(list string) (some []load, err error) {
	var names []string
	for _, l := range loads {
		names = append(names, l.name)
	}
	if names, err = program.Choose(list, names); err != nil {
		return nil, err
	}
	for _, name := range names {
		some = append(some, loads[slices.IndexFunc(loads, func(l load) bool { return l.name == name })])
	}
	return some, nil
}

// measureAll measures each server once in each round. The order turns from round to round, so that no server always
// comes first or behind the same other.
func measureAll(ctx context.Context, o options, servers []*server, l load) (table, error) {
	servers = slices.DeleteFunc(slices.Clone(servers), func(s *server) bool { return s.ports[l.transport] == 0 })
	t := table{load: l, rounds: make(figures.Rounds[sample], o.Pairs)}
	for _, s := range servers { // to warm up
		t.names = append(t.names, s.name)
		if _, err := s.measure(ctx, o, l, tries); err != nil {
			return t, err
		}
	}
	for round := range o.Pairs {
		t.rounds[round] = map[string]sample{}
		for i := range servers {
			s := servers[(round+i)%len(servers)]
			measured, err := s.measure(ctx, o, l, tries)
			if err != nil {
				return t, err
			}
			t.rounds[round][s.name] = measured
		}
		fmt.Printf("%s %2d/%d  %s\n", l.name, round+1, o.Pairs, t.line(round))
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
