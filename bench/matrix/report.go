package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/bench/figures"
)

// full is how busy the server's core must be with that server for answers a second to tell servers apart. Below it, the
// load or the machine held them back, and what counts is the CPU that an answer costs at a fixed rate.
const full = 0.97

// report prints what was measured and keeps it in bench/results, named by date. broken is why the run ended early, or nil.
func report(o options, results []result, versions map[string]string, began time.Time, broken error) error {
	var peers []string
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		peers = append(peers, versions[name])
	}
	r := figures.NewReport(o.Root, "matrix", "gtm beside its peers and the kernel's floor", began, peers...)
	r.Text("Servers on core %s, load on core %s, one UDP thread each; %d rounds of %g s for each line, interleaved; window %d. "+
		"Medians, with the interval that holds the true median with 95 %%. Took %v.\n\n*Core busy*: share of the time in which the "+
		"server's core was not idle; *own*: in which the server's processes computed. Answers/s count where both were at least %.0f "+
		"%% in both lines of a comparison; else the CPU that an answer costs at a fixed rate counts. *floor*: a program that sends "+
		"each query back, padded to the size of gtm's answer; *floor bundled* hands the kernel answers to one client as one message.",
		serverCore, loadCore, o.Pairs, o.Seconds, o.window, time.Since(began).Round(time.Second), 100*full)
	if len(o.missing) > 0 {
		r.Text("**Not installed, and so not measured**: %s.", strings.Join(o.missing, ", "))
	}
	if broken != nil {
		r.Text("**The run ended early**: %v", broken)
	}
	if lane, share := restless(results); share > 0.05 {
		r.Text("**The machine was not quiet**: of the core of %s others took %s. Take the ratios with care.", lane, percent(share))
	}
	if err := pictures(r, results); err != nil {
		return err
	}
	for _, result := range results {
		result.write(r)
	}
	return r.Keep()
}

// restless finds the saturated lane in which the most of the server's core went to others, and how much that was.
func restless(results []result) (lane string, share float64) {
	for _, res := range results {
		for _, l := range res.runs[0].lanes {
			others := res.runs[0].rounds.Median(l.name, core) - res.runs[0].rounds.Median(l.name, own)
			if others > share {
				lane, share = l.name+" under load "+res.name, others
			}
		}
	}
	return lane, share
}

// write adds a load's section.
func (res result) write(r *figures.Report) {
	r.Section(res.name)
	r.Text("%s\n\n%s", res.about, res.agreed)
	var rows [][]string
	for _, lane := range res.runs[0].lanes {
		memory := ""
		if mb, known := res.memory[lane.name]; known {
			memory = fmt.Sprintf("%.0f", mb)
		}
		m := func(figure func(sample) float64) float64 { return res.runs[0].rounds.Median(lane.name, figure) }
		rows = append(rows, []string{lane.name, figures.Summarize(res.runs[0].rounds.Column(lane.name, qps)).String(), percent(m(core)),
			percent(m(own)), fmt.Sprintf("%.3f %%", 100*m(lost)), fmt.Sprintf("%.2f", m(cpu)), fmt.Sprintf("%.0f", m(size)),
			fmt.Sprintf("%.0f", m(p50)), fmt.Sprintf("%.0f", m(p99)), memory})
	}
	r.Table([]string{"saturated", "answers/s", "core busy", "own", "lost", "CPU us/answer", "bytes", "p50 us", "p99 us", "memory MB"}, rows)
	if len(res.runs) > 1 {
		res.writePaced(r)
	}
	r.Ratios(res.ratios())
}

// writePaced adds the table of the runs at fixed rates.
func (res result) writePaced(r *figures.Report) {
	var rows [][]string
	for _, run := range res.runs[1:] {
		for _, lane := range run.lanes {
			m := func(figure func(sample) float64) float64 { return run.rounds.Median(lane.name, figure) }
			rows = append(rows, []string{fmt.Sprintf("%s, %.0f/s", lane.name, run.rate), fmt.Sprintf("%.0f", m(qps)),
				fmt.Sprintf("%.3f %%", 100*m(lost)), percent(m(core)),
				figures.Summarize(run.rounds.Column(lane.name, cpu)).String(), fmt.Sprintf("%.1f", m(p50)), fmt.Sprintf("%.1f", m(p99)),
				fmt.Sprintf("%.1f", m(p999))})
		}
	}
	r.Table([]string{fmt.Sprintf("at a fixed rate, bursts of %d", burst), "answers/s", "lost", "core busy", "CPU us/answer", "p50 us",
		"p99 us", "p999 us"}, rows)
}

// ratios gives each comparison at saturation and, where it was measured, at fixed rates. The mark stands at the line
// that counts: at the highest of the rates, where the cores were not full at saturation.
func (res result) ratios() []figures.Ratio {
	var all []figures.Ratio
	for _, c := range res.compare {
		saturated := res.runs[0]
		counts := c.full(saturated)
		ratio := figures.Ratio{Of: c.of, Over: c.title(), Figure: "answers/s", Ratios: c.ratios(saturated, qps)}
		if counts || len(res.runs) == 1 {
			ratio.Mark = c.mark
		}
		if !counts {
			ratio.Figure += ", a core not full"
		}
		all = append(all, ratio)
		for i, run := range res.runs[1:] {
			if !run.has(c.of) || !run.has(c.over) {
				continue
			}
			ratio := figures.Ratio{Of: c.of, Over: c.title(), Figure: fmt.Sprintf("answers per CPU second at %.0f/s", run.rate),
				Ratios: c.ratios(run, perCPU)}
			if !counts && i == len(res.runs)-2 {
				ratio.Mark = c.mark
			}
			all = append(all, ratio)
		}
	}
	return all
}

// full reports whether the core was busy enough with the server, on both sides, for answers a second to count.
func (c comparison) full(r run) bool {
	for _, name := range []string{c.of, c.over} {
		if r.rounds.Median(name, core) < full || r.rounds.Median(name, own) < full {
			return false
		}
	}
	return true
}

func (c comparison) title() string {
	if c.aside[0] != "" {
		return c.over + ", bytes aside"
	}
	return c.over
}

// ratios divides round by round, both sides by their floors first where that is asked for.
func (c comparison) ratios(r run, figure func(sample) float64) []float64 {
	of, over := r.rounds.Column(c.of, figure), r.rounds.Column(c.over, figure)
	if c.aside[0] != "" {
		of, over = figures.Ratios(of, r.rounds.Column(c.aside[0], figure)), figures.Ratios(over, r.rounds.Column(c.aside[1], figure))
	}
	return figures.Ratios(of, over)
}

func percent(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }
