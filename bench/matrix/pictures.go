package main

import (
	"fmt"

	"github.com/gti/gtm/bench/figures"
)

// pictures adds the report's pictures: answers a second, CPU for each answer, and latency at a fixed rate.
func pictures(r *figures.Report, results []result) error {
	var answers, costs []figures.Panel
	var latencies []figures.Chart
	for _, res := range results {
		answers = append(answers, bars(res.name+", saturated", "answers/s", res.runs[0], qps))
		last := res.runs[len(res.runs)-1]
		if last.rate == 0 {
			continue
		}
		at := fmt.Sprintf("%s, %s queries/s", res.name, figures.Number(last.rate))
		costs = append(costs, bars(at, "CPU us/answer", last, cpu))
		latencies = append(latencies, latency(at, last))
	}
	err := r.Picture("answers", "Answers a second", func(file string) error { return figures.SaveBars(file, answers...) })
	if err != nil || len(costs) == 0 {
		return err
	}
	if err := r.Picture("cpu", "CPU for each answer at a fixed rate",
		func(file string) error { return figures.SaveBars(file, costs...) }); err != nil {
		return err
	}
	return r.Picture("latency", "Latency at a fixed rate", func(file string) error { return figures.SaveLines(file, latencies...) })
}

func bars(title, unit string, run run, figure func(sample) float64) figures.Panel {
	panel := figures.Panel{Title: title, Unit: unit}
	for _, lane := range run.lanes {
		panel.Bars = append(panel.Bars, figures.Bar{Name: lane.name, Value: figures.Summarize(run.rounds.Column(lane.name, figure))})
	}
	return panel
}

// latency draws percentiles: what one answer in two, in a hundred and in a thousand exceeds.
func latency(title string, run run) figures.Chart {
	chart := figures.Chart{Title: title, X: "percentile", Y: "us", LogX: true, LogY: true,
		Ticks: []figures.Tick{{At: 2, Name: "50"}, {At: 100, Name: "99"}, {At: 1000, Name: "99.9"}}}
	for _, lane := range run.lanes {
		series := figures.Series{Name: lane.name, X: []float64{2, 100, 1000}}
		for _, figure := range []func(sample) float64{p50, p99, p999} {
			series.Y = append(series.Y, run.rounds.Median(lane.name, figure))
		}
		chart.Series = append(chart.Series, series)
	}
	return chart
}
