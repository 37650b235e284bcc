package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/gti/gtm/bench/figures"
)

// saturated is the share of its core above which the server is what holds back.
const saturated = 0.97

// A table is what was measured with one load.
type table struct {
	load   load
	names  []string               // of the servers, gtm first
	rounds figures.Rounds[sample] // by server
}

// line is one round for who watches.
func (t table) line(round int) string {
	var b strings.Builder
	for _, name := range t.names {
		s := t.rounds[round][name]
		fmt.Fprintf(&b, "%s %.0f/s %.2f us %.0f %%  ", name, s.qps, s.cpu, 100*s.busy)
	}
	return b.String()
}

// The two figures whose ratios are told: what a client gets, and what it costs the server.
func qps(s sample) float64    { return s.qps }
func perCPU(s sample) float64 { return 1e6 / s.cpu }
func busy(s sample) float64   { return s.busy }

// counts names the figure that a comparison goes by: what clients get, where both servers have their cores busy.
func (t table) counts(a, b string) string {
	if t.rounds.Median(a, busy) >= saturated && t.rounds.Median(b, busy) >= saturated {
		return "answers/s"
	}
	return "answers per CPU second"
}

// write adds the table's section.
func (t table) write(r *figures.Report) {
	r.Section(t.load.title)
	var rows [][]string
	for _, name := range t.names {
		low, high := figures.Interval(t.rounds.Column(name, qps))
		m := func(format string, figure func(s sample) float64) string {
			return fmt.Sprintf(format, t.rounds.Median(name, figure))
		}
		rows = append(rows, []string{name, m("%.0f", qps), fmt.Sprintf("%.0f to %.0f", low, high),
			m("%.2f", func(s sample) float64 { return s.cpu }),
			m("%.0f %%", func(s sample) float64 { return 100 * s.busy }), m("%.0f", func(s sample) float64 { return s.bytes }),
			m("%.0f", func(s sample) float64 { return s.latency })})
	}
	r.Table([]string{"server", "answers/s", "95 % interval", "CPU us/answer", "core busy", "bytes", "latency us"}, rows)
	if len(t.names) < 2 {
		return
	}
	rows = nil
	for _, over := range t.names[1:] {
		for _, figure := range []struct {
			name string
			of   func(sample) float64
		}{{"answers/s", qps}, {"answers per CPU second", perCPU}} {
			s := figures.Summarize(t.rounds.Ratios(t.names[0], over, figure.of))
			counts := map[bool]string{true: "yes"}[t.counts(t.names[0], over) == figure.name]
			rows = append(rows, []string{t.names[0] + " / " + over, figure.name, fmt.Sprintf("%.3f", s.Median), fmt.Sprintf("%.3f", s.Low),
				fmt.Sprintf("%.3f", s.High), counts})
		}
	}
	r.Table([]string{fmt.Sprintf("ratio, over %d rounds", len(t.rounds)), "of", "median", "lower end of 95 %", "upper end", "counts"}, rows)
}

// report prints what was measured and keeps it in bench/results, named by date.
func report(o options, servers []*server, agreed string, tables []table) error {
	versions := []string{figures.Output("openssl", "version"), figures.Debian("dnsperf")}
	for _, s := range servers {
		versions = append(versions, s.name+" "+figures.Output(s.version[0], s.version[1:]...))
	}
	r := figures.NewReport(o.Root, "streams", "DNS through connections", time.Now(), versions...)
	r.Text("Server on core %s, load on core %s; %d rounds of %g s each, %d connections, %d queries open, %d names.\n%s\n"+
		"Where both servers keep their core at least %.0f %% busy, answers/s count, else answers per CPU second.",
		serverCore, loadCore, o.Pairs, o.Seconds, o.conns, o.outstanding, o.names, agreed, 100*saturated)
	for _, t := range tables {
		t.write(r)
	}
	return r.Keep()
}
