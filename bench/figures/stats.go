// Package figures turns measurements into what bench keeps: medians with intervals, tables, plots, and a report that
// names the machine, the versions and the date. All programs of bench share it.
package figures

import (
	"fmt"
	"slices"
)

// A Summary is what is told of several measurements of one thing.
type Summary struct {
	N         int     // how many measurements
	Median    float64 // the lower of the two in the middle where N is even
	Low, High float64 // the interval of Interval
}

// Summarize gives the median and the interval of at least one number.
func Summarize(numbers []float64) Summary {
	low, high := Interval(numbers)
	return Summary{N: len(numbers), Median: Median(numbers), Low: low, High: high}
}

// String is "median (low to high)", with as many digits as a table can bear.
func (s Summary) String() string {
	return fmt.Sprintf("%s (%s to %s)", Number(s.Median), Number(s.Low), Number(s.High))
}

// Median of at least one number; the lower of the two in the middle where they are even in number.
func Median(numbers []float64) float64 {
	sorted := slices.Sorted(slices.Values(numbers))
	return sorted[(len(sorted)-1)/2]
}

// Percentile gives the smallest of the numbers that at least that share (0 to 1) of them do not exceed.
func Percentile(numbers []float64, share float64) float64 {
	sorted := slices.Sorted(slices.Values(numbers))
	rank := int(share * float64(len(sorted)))
	if float64(rank) < share*float64(len(sorted)) {
		rank++
	}
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// Percentiles writes some of them, as Number does.
func Percentiles(numbers []float64, shares ...float64) (all []string) {
	for _, share := range shares {
		all = append(all, Number(Percentile(numbers, share)))
	}
	return all
}

// Interval gives the ends of an interval that holds the true median with a probability of at least 95 %, whatever
// the numbers' distribution: the k-th smallest and the k-th largest, where fewer than k of n fair coins fall on heads
// with at most 2.5 % (the sign test). It needs six numbers; of fewer it gives the smallest and the largest, which hold
// the median less often.
func Interval(numbers []float64) (low, high float64) {
	sorted := slices.Sorted(slices.Values(numbers))
	n := len(sorted)
	term := 1.0 // n over 0, divided by 2 to the n
	for range n {
		term /= 2
	}
	k, below := 0, 0.0
	for below+term <= 0.025 {
		below += term
		k++
		term *= float64(n-k+1) / float64(k)
	}
	k = max(k, 1)
	return sorted[k-1], sorted[n-k]
}

// Ratios divides two columns of equal length number by number: pairs that were measured side by side.
func Ratios(of, over []float64) []float64 {
	ratios := make([]float64, len(of))
	for i := range of {
		ratios[i] = of[i] / over[i]
	}
	return ratios
}

// Number prints a number with at least three significant digits and no needless ones.
func Number(x float64) string {
	magnitude := max(x, -x)
	switch {
	case magnitude == 0:
		return "0"
	case magnitude >= 100:
		return fmt.Sprintf("%.0f", x)
	case magnitude >= 10:
		return fmt.Sprintf("%.1f", x)
	case magnitude >= 1:
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.3g", x)
}

// Rounds are measurements of several servers, each once in each round, by their names.
type Rounds[S any] []map[string]S

// Column gives one figure of a server in each round.
func (r Rounds[S]) Column(name string, figure func(S) float64) (all []float64) {
	for _, round := range r {
		all = append(all, figure(round[name]))
	}
	return all
}

// Median is the median of a column.
func (r Rounds[S]) Median(name string, figure func(S) float64) float64 {
	return Median(r.Column(name, figure))
}

// Ratios divides a column by another, round by round.
func (r Rounds[S]) Ratios(of, over string, figure func(S) float64) []float64 {
	return Ratios(r.Column(of, figure), r.Column(over, figure))
}
