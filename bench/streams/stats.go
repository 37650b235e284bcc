package main

import "slices"

// median of some numbers; the lower of the two in the middle where they are even in number.
func median(numbers []float64) float64 {
	sorted := slices.Sorted(slices.Values(numbers))
	return sorted[(len(sorted)-1)/2]
}

// interval gives the ends of an interval that holds the true median with a probability of at least 95 %, whatever
// the numbers' distribution: the k-th smallest and the k-th largest, where fewer than k of n fair coins fall on heads
// with at most 2.5 % (the sign test). It needs six numbers.
func interval(numbers []float64) (low, high float64) {
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
