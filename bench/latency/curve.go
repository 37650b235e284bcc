package main

import (
	"fmt"

	"github.com/gti/gtm/bench/figures"
)

// curve is how times grow with the number of something.
type curve struct {
	over  string   // of what
	names []string // in the order in which they came
	lines map[string]*[2]figures.Series
	rows  [][]string
}

// curveShares are the percentiles that a curve shows.
var curveShares = [2]float64{0.5, 0.99}

// add adds the times of one size, in milliseconds.
func (c *curve) add(name string, number int, times []float64) {
	if c.lines == nil {
		c.lines = map[string]*[2]figures.Series{}
	}
	l := c.lines[name]
	if l == nil {
		l = &[2]figures.Series{{Name: name + ", p50"}, {Name: name + ", p99"}}
		c.lines[name], c.names = l, append(c.names, name)
	}
	row := []string{name, fmt.Sprint(number), fmt.Sprint(len(times))}
	for i, share := range curveShares {
		l[i].X, l[i].Y = append(l[i].X, float64(number)), append(l[i].Y, figures.Percentile(times, share))
	}
	c.rows = append(c.rows, append(row, figures.Percentiles(times, 0.5, 0.99, 1)...))
}

// report writes the table, and draws the lines where there are at least two sizes.
func (c *curve) report(to *figures.Report, part, title string, mark float64) error {
	to.Table([]string{"what", c.over, "changes", "p50 ms", "p99 ms", "most ms"}, c.rows)
	chart := figures.Chart{Title: title, X: c.over, Y: "ms", LogX: true, LogY: true, Mark: mark}
	for _, name := range c.names {
		chart.Series = append(chart.Series, c.lines[name][0], c.lines[name][1])
	}
	if len(chart.Series) == 0 || len(chart.Series[0].X) < 2 {
		return nil
	}
	return to.Picture(part, title, func(file string) error { return figures.SaveLines(file, chart) })
}
