package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/bench/figures"
)

// busyEnough is from where on a server's core counts as the limit. Below, it is the CPU for an answer that is compared.
const busyEnough = 0.97

// report writes the page, and says which marks are met.
func report(o options, tables []table) error {
	r := figures.NewReport(o.Root, "xdp", "AF_XDP on veth pairs", time.Now(), figures.Debian("gdnsd"), figures.Debian("knot"))
	r.Text("Server on core %d, load (by AF_XDP) on core %d, %d rounds of %g s, at most %d queries open, %d names. Each server has a "+
		"veth pair of its own, all made alike. Before, all servers gave the same answers (steered: addresses of the same pool) to %d "+
		"queries of each load.",
		serverCore, loadCore, o.Pairs, o.Seconds, o.window, o.names, asked)
	r.Text("Marks are of the pairs whose packets are received by a thread of the receiving interface on the core of its side "+
		"(threaded NAPI, GRO on, TSO off; it was made sure that every server's thread ran): all that a server needs is on its core, "+
		"as with a card's interrupt. *%s* is veth as it comes: the core that sent also receives, so that the load's core does work of "+
		"the server's, more of it the less the server's socket does, and may be the limit.", senderSide[2:])
	r.Text("A round is %d trials of each server, in turns. At saturation the load never sleeps: *load waited* is for how much of the "+
		"time it had nothing to take in and no room to ask more; where that is nothing, the load was the limit. At a rate, queries "+
		"come %d at a time, and the load sleeps in between. A side's CPU is what its process and its interface's thread ran for an "+
		"answer (the load's at saturation with its waiting). The machine's CPU is that of all cores, of what else ran too. Where the "+
		"server's core was less than %g busy at saturation, the mark is on its CPU at the fixed rate.", o.trials, together, busyEnough)
	var marked []figures.Ratio
	var byRate bool
	for _, t := range tables {
		what := "saturated"
		if t.rate > 0 {
			what = fmt.Sprintf("%.0f queries a second", t.rate)
		} else {
			byRate = t.own && !t.saturated()
		}
		if !t.own {
			what += senderSide
		}
		r.Section(t.title() + ", " + what)
		t.figures(r)
		ratios := t.ratios(byRate == (t.rate > 0))
		r.Ratios(ratios)
		for _, ratio := range ratios {
			if ratio.Mark > 0 {
				ratio.Figure = t.title() + ", " + ratio.Figure
				marked = append(marked, ratio)
			}
		}
	}
	r.Section("Marks")
	r.Ratios(marked)
	if o.other != "" {
		fmt.Printf("\n%s\n", r)
		return nil
	}
	err := r.Keep()
	fmt.Print(verdicts(marked))
	return err
}

// verdicts says of each mark, in a line, whether it is met.
func verdicts(marked []figures.Ratio) string {
	var lines strings.Builder
	for _, m := range marked {
		s, met := figures.Summarize(m.Ratios), "MET"
		if !m.Met() {
			met = "NOT MET"
		}
		fmt.Fprintf(&lines, "%-7s %s / %s (%s): median %.3f, lower end %.3f, mark %s\n", met, m.Of, m.Over, m.Figure, s.Median, s.Low,
			figures.Number(m.Mark))
	}
	return lines.String()
}

// loadName is what people call a load, which is the name of its file.
func loadName(load string) string { return strings.TrimSuffix(load, ".q") }

func (t table) title() string { return loadName(t.load) }

// saturated reports whether the core was the limit of each server that a mark is about.
func (t table) saturated() bool {
	for _, name := range []string{gtmXDP, "gdnsd", "knot xdp"} {
		if slices.Contains(t.names, name) && figures.Median(t.column(name, "server")) < busyEnough {
			return false
		}
	}
	return true
}

func (t table) figures(r *figures.Report) {
	var rows [][]string
	for _, name := range t.names {
		row := []string{name, figures.Summarize(t.column(name, "qps")).String(), figures.Summarize(t.column(name, "cpu")).String()}
		for _, figure := range []string{"servercpu", "loadcpu", "server", "waited", "p50us", "p99us", "lost"} {
			row = append(row, figures.Number(figures.Median(t.column(name, figure))))
		}
		rows = append(rows, row)
	}
	r.Table([]string{"server", "answers/s", "machine's CPU us/answer", "server's CPU us/answer", "load's", "server's core busy",
		"load waited", "p50 us", "p99 us", "lost"}, rows)
}

// ratios compares gtm's way with the others: of answers where they are as many as can be, and of CPU the other way round, so that
// more is better everywhere.
func (t table) ratios(marked bool) (all []figures.Ratio) {
	where := ""
	if !t.own {
		where = senderSide
	}
	for _, over := range []struct {
		name string
		mark float64
	}{{"gdnsd", 1.8}, {"knot xdp", 1}, {"gtm sockets", 0}, {gtmXDP + otherBuild, 0}} {
		if !slices.Contains(t.names, over.name+where) {
			continue
		}
		own, other, mark := gtmXDP+where, over.name+where, over.mark
		if !marked || !t.own {
			mark = 0
		}
		cpu := figures.Ratio{Of: other, Over: own, Figure: "server's CPU per answer",
			Ratios: figures.Ratios(t.column(other, "servercpu"), t.column(own, "servercpu"))}
		if t.rate == 0 {
			all = append(all, figures.Ratio{Of: own, Over: other, Figure: "answers/s", Mark: mark,
				Ratios: figures.Ratios(t.column(own, "qps"), t.column(other, "qps"))})
		} else {
			cpu.Mark = mark
		}
		if t.own { // elsewhere the load's core does part of it
			all = append(all, cpu)
		}
		all = append(all, figures.Ratio{Of: other, Over: own, Figure: "machine's CPU per answer",
			Ratios: figures.Ratios(t.column(other, "cpu"), t.column(own, "cpu"))})
	}
	return all
}
