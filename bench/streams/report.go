package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gti/gtm/bench/figures"
)

// saturated is the share of its core above which the server is what holds back.
const saturated = 0.97

// A table is what was measured with one load.
type table struct {
	load   load
	names  []string            // of the servers, gtm first
	rounds []map[string]sample // by server
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

// middle is the median of a figure of a server.
func (t table) middle(name string, figure func(sample) float64) float64 {
	return figures.Median(t.column(name, figure))
}

// column gives one figure of a server in each round.
func (t table) column(name string, figure func(sample) float64) []float64 {
	var all []float64
	for _, round := range t.rounds {
		all = append(all, figure(round[name]))
	}
	return all
}

// The two figures whose ratios are told: what a client gets, and what it costs the server.
func qps(s sample) float64    { return s.qps }
func perCPU(s sample) float64 { return 1e6 / s.cpu }
func busy(s sample) float64   { return s.busy }

// ratios gives a figure of one server over that of another, round by round.
func (t table) ratios(of, over string, figure func(sample) float64) []float64 {
	var all []float64
	for _, round := range t.rounds {
		all = append(all, figure(round[of])/figure(round[over]))
	}
	return all
}

// counts names the figure that a comparison goes by: what clients get, where both servers have their cores busy.
func (t table) counts(a, b string) string {
	if t.middle(a, busy) >= saturated && t.middle(b, busy) >= saturated {
		return "answers/s"
	}
	return "answers per CPU second"
}

// markdown is the table as it is kept.
func (t table) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n| server | answers/s | 95 %% interval | CPU us/answer | core busy | bytes | latency us |\n|---|---|---|---|---|---|---|\n",
		t.load.title)
	for _, name := range t.names {
		low, high := figures.Interval(t.column(name, qps))
		fmt.Fprintf(&b, "| %s | %.0f | %.0f to %.0f | %.2f | %.0f %% | %.0f | %.0f |\n", name, t.middle(name, qps), low, high,
			t.middle(name, func(s sample) float64 { return s.cpu }), 100*t.middle(name, busy),
			t.middle(name, func(s sample) float64 { return s.bytes }), t.middle(name, func(s sample) float64 { return s.latency }))
	}
	if len(t.names) < 2 {
		return b.String()
	}
	fmt.Fprintf(&b, "\n| ratio, over %d rounds | of | median | lower end of 95 %% | upper end | counts |\n|---|---|---|---|---|---|\n", len(t.rounds))
	for _, over := range t.names[1:] {
		for _, figure := range []struct {
			name string
			of   func(sample) float64
		}{{"answers/s", qps}, {"answers per CPU second", perCPU}} {
			ratios := t.ratios(t.names[0], over, figure.of)
			low, high := figures.Interval(ratios)
			counts := ""
			if t.counts(t.names[0], over) == figure.name {
				counts = "yes"
			}
			fmt.Fprintf(&b, "| %s / %s | %s | %.3f | %.3f | %.3f | %s |\n", t.names[0], over, figure.name, figures.Median(ratios), low, high, counts)
		}
	}
	return b.String()
}

// report prints what was measured and keeps it in bench/results, named by date.
func report(ctx context.Context, o options, servers []*server, agreed string, tables []table) error {
	now := time.Now().UTC()
	var b strings.Builder
	fmt.Fprintf(&b, "# DNS through connections, %s\n\n%s\n\nServer on core %s, load on core %s; %d rounds of %g s each, %d connections, %d queries open, %d names.\n%s\n",
		now.Format("2 January 2006, 15:04 UTC"), machine(ctx, servers), serverCore, loadCore, o.pairs, o.seconds, o.conns, o.outstanding, o.names, agreed)
	fmt.Fprintf(&b, "Where both servers keep their core at least %.0f %% busy, answers/s count, else answers per CPU second.\n", 100*saturated)
	for _, t := range tables {
		b.WriteString("\n" + t.markdown())
	}
	file := filepath.Join(o.root, "bench", "results", now.Format("2006-01-02-1504")+"-streams.md")
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		return err
	}
	fmt.Printf("\n%s\n(kept as %s)\n", b.String(), file)
	return nil
}

// machine names the hardware and the versions.
func machine(ctx context.Context, servers []*server) string {
	text := fmt.Sprintf("%s, %d cores; %s; %s; dnsperf %s", processor(), runtime.NumCPU(), runtime.Version(), output(ctx, "openssl", "version"),
		output(ctx, "dpkg-query", "-W", "-f", "${Version}", "dnsperf"))
	for _, s := range servers {
		text += fmt.Sprintf("; %s %s", s.name, output(ctx, s.version[0], s.version[1:]...))
	}
	return text
}

// processor is the name of the processor as the kernel tells it.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}

func output(ctx context.Context, name string, args ...string) string {
	text, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}
