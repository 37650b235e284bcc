package main

import (
	"fmt"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/bench/scale/rig"
)

// reportVerdicts tells of all runs of all kinds.
func reportVerdicts(o options, report *figures.Report, kinds []verdictKind, runs map[string][]verdictRun, crowd *rig.Others) error {
	report.Section("A verdict, inside one edge")
	report.Text("%d services, each with a pool of %d endpoints of its own and all with one more pool; %.0f queries a second for all "+
		"of them at random, over UDP. The edge (its role alone) has core %s, and everything else core %s: load, etcd, control, and "+
		"this program, which writes verdicts in the judge's place. Verdicts begin %s after the edge's first answer. A verdict's time "+
		"begins when a proxy between etcd and edge is about to hand its bytes to the edge's socket, and ends with the first of the "+
		"answers that all obey it, by the kernel's time stamps of a question asked every 250 us. etcd and its disk are left out; "+
		"\"from the judge\" has them in.", o.services, o.endpoints, o.rate, edgeCore,
		restCore, calm)
	var rows, marks [][]string
	quiet := p999s(runs["quiet"])
	lost := 0
	for _, r := range runs["quiet"] {
		lost += r.load.Lost
	}
	rows = append(rows, []string{"quiet", "", "", "", "", "", figures.Summarize(quiet).String(), fmt.Sprint(lost)})
	var series []figures.Series
	for _, k := range kinds {
		var latency, written []float64
		lost, beyond := 0, []float64{}
		for i, r := range runs[k.name] {
			latency, written = append(latency, millis(r.latency)...), append(written, millis(r.written)...)
			lost += r.load.Lost + r.missed
			beyond = append(beyond, (r.load.P999-quiet[i])/1000)
		}
		at := func(share float64) string { return figures.Number(figures.Percentile(latency, share)) }
		rows = append(rows, []string{k.name, fmt.Sprint(len(latency)), at(0.5), at(0.99), at(1),
			figures.Number(figures.Percentile(written, 0.99)), figures.Summarize(p999s(runs[k.name])).String(), fmt.Sprint(lost)})
		marks = append(marks,
			crowd.Mark(k.name+": p99 of the verdict's time", figures.Percentile(latency, 0.99), verdictMark, "ms"),
			crowd.Mark(k.name+": the load's p999 above the quiet run beside it, median", figures.Summarize(beyond).Median, 2, "ms"),
			crowd.Mark(k.name+": queries lost", float64(lost), 0, ""))
		series = append(series, figures.Distribution(k.name, latency))
	}
	report.Table([]string{"verdicts on", "changes", "p50 ms", "p99 ms", "most ms", "p99 from the judge, ms", "load's p999 us", "lost"},
		rows)
	crowd.Tell(report)
	report.Table(figures.MarkHead, marks)
	return report.Picture("verdict", "verdict to answer", func(file string) error {
		return figures.SaveLines(file, figures.Chart{Title: "verdict to answer", X: "share of changes, %", Y: "at most, ms",
			Mark: verdictMark, Series: series})
	})
}

func p999s(runs []verdictRun) []float64 {
	out := make([]float64, len(runs))
	for i, r := range runs {
		out[i] = r.load.P999
	}
	return out
}
