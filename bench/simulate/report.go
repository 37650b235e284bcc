package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/gti/gtm/bench/figures"
	"github.com/gti/gtm/bench/simulate/sim"
)

// print tells what came of a scenario, and gives how many marks were missed.
func (o *outcome) print(out io.Writer, s scenario) (missed int) {
	r := o.run
	all := r.Between(0, r.Length)
	fmt.Fprintf(out, "%s: %s\n", s.name, s.about)
	fmt.Fprintf(out, "  %s from %s; %d sessions began, and gtm answered %d queries\n\n", r.Length,
		r.Start.Format("2006-01-02 15:04 UTC"), all.Starts, all.Answers)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range o.facts {
		fmt.Fprintf(w, "  %s\t%s\n", f.what, f.is)
	}
	for _, g := range o.groups {
		least, most := o.bounds(g)
		fmt.Fprintf(w, "  load of %s, least and most\t%.0f, %.0f sessions\n", g.name, least, most)
	}
	w.Flush()
	fmt.Fprintln(out)
	w = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "  mark\tmeasured\tlimit\tmet\n")
	for _, m := range o.marks {
		word, met := "at most", "yes"
		if m.least {
			word = "at least"
		}
		if !m.met() {
			missed++
			met = "NO"
		}
		fmt.Fprintf(w, "  %s\t%.4g %s\t%s %.4g\t%s\n", m.what, m.measured, m.unit, word, m.limit, met)
	}
	w.Flush()
	fmt.Fprintln(out)
	return missed
}

// bounds gives the least and the most load of a group.
func (o *outcome) bounds(g group) (least, most float64) {
	for at := sim.Step; at <= o.run.Length; at += sim.Step {
		load := o.run.Load(g.endpoints, at)
		if most = max(most, load); at == sim.Step || load < least {
			least = load
		}
	}
	return least, most
}

// points is how many points a line has at most.
const points = 240

// draw draws the load of the groups, and what went wrong.
func (o *outcome) draw(folder string, s scenario) error {
	if folder == "" {
		return nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	r := o.run
	every := sim.Step
	for r.Length/every > points {
		every += sim.Step
	}
	unit, name := time.Minute, "minutes"
	if r.Length > 3*time.Hour {
		unit, name = time.Hour, "hours"
	}
	line := func(name string, value func(from, to time.Duration) float64) figures.Series {
		series := figures.Series{Name: name}
		for at := every; at <= r.Length; at += every {
			series.X = append(series.X, float64(at)/float64(unit))
			series.Y = append(series.Y, value(at-every, at))
		}
		return series
	}
	load := figures.Chart{Title: s.name + ": load", X: name, Y: "sessions"}
	begun := figures.Chart{Title: s.name + ": new sessions", X: name, Y: "part, in %"}
	for _, g := range o.groups {
		load.Series = append(load.Series, line(g.name, func(_, to time.Duration) float64 { return r.Load(g.endpoints, to) }))
		begun.Series = append(begun.Series, line(g.name, func(from, to time.Duration) float64 {
			return 100 * r.Share(g.endpoints, from, to)
		}))
	}
	charts := []figures.Chart{load, begun}
	if r.LastWrong >= 0 {
		charts = append(charts, figures.Chart{Title: s.name + ": sent to a dead endpoint", X: name, Y: "part of new sessions, in %",
			Series: []figures.Series{line("new sessions", func(from, to time.Duration) float64 {
				b := r.Between(from, to)
				return 100 * float64(b.Wrong) / max(1, float64(b.Starts))
			})}})
	}
	return figures.SaveLines(filepath.Join(folder, s.name+".svg"), charts...)
}
