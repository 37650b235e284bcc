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
)

// A table is what was measured with one load.
type table struct {
	load   string
	names  []string            // of the servers, gtm first
	rounds []map[string]sample // by server
}

// line is one round for who watches.
func (t table) line(round int) string {
	var b strings.Builder
	for _, name := range t.names {
		s := t.rounds[round][name]
		fmt.Fprintf(&b, "%s %.0f/s %.2f us  ", name, s.qps, s.cpu)
	}
	return b.String()
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

// ratios gives a figure of one server over that of another, round by round.
func (t table) ratios(of, over string, figure func(sample) float64) []float64 {
	var all []float64
	for _, round := range t.rounds {
		all = append(all, figure(round[of])/figure(round[over]))
	}
	return all
}

// markdown is the table as it is kept.
func (t table) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n| server | answers/s | 95 %% interval | CPU us/answer | bytes | p50 us | p99 us |\n|---|---|---|---|---|---|---|\n",
		strings.TrimSuffix(t.load, ".q"))
	for _, name := range t.names {
		low, high := interval(t.column(name, qps))
		fmt.Fprintf(&b, "| %s | %.0f | %.0f to %.0f | %.2f | %.0f | %.0f | %.0f |\n", name, median(t.column(name, qps)), low, high,
			median(t.column(name, func(s sample) float64 { return s.cpu })), median(t.column(name, func(s sample) float64 { return s.bytes })),
			median(t.column(name, func(s sample) float64 { return s.p50 })), median(t.column(name, func(s sample) float64 { return s.p99 })))
	}
	fmt.Fprintf(&b, "\n| ratio, over %d rounds | of | median | lower end of 95 %% | upper end |\n|---|---|---|---|---|\n", len(t.rounds))
	for _, over := range t.names[1:] {
		for _, figure := range []struct {
			name string
			of   func(sample) float64
		}{{"answers/s", qps}, {"answers per CPU second", perCPU}} {
			ratios := t.ratios(t.names[0], over, figure.of)
			low, high := interval(ratios)
			fmt.Fprintf(&b, "| %s / %s | %s | %.3f | %.3f | %.3f |\n", t.names[0], over, figure.name, median(ratios), low, high)
		}
	}
	return b.String()
}

// report prints what was measured and keeps it in bench/results, named by date.
func report(ctx context.Context, o options, servers []*server, agreed agreement, tables []table) error {
	now := time.Now().UTC()
	var b strings.Builder
	fmt.Fprintf(&b, "# Steered job, %s\n\n%s\n\nServer on core %s, load on core %s; %d rounds of %g s each, window %d, %d names.\nBefore: %s.\n",
		now.Format("2 January 2006, 15:04 UTC"), machine(ctx, servers), serverCore, loadCore, o.pairs, o.seconds, o.window, o.names, agreed)
	for _, t := range tables {
		b.WriteString("\n" + t.markdown())
	}
	file := filepath.Join(o.root, "bench", "results", now.Format("2006-01-02-1504")+"-steered.md")
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		return err
	}
	fmt.Printf("\n%s\n(kept as %s)\n", b.String(), file)
	return nil
}

// machine names the hardware and the versions.
func machine(ctx context.Context, servers []*server) string {
	text := fmt.Sprintf("%s, %d cores; %s", processor(), runtime.NumCPU(), runtime.Version())
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
