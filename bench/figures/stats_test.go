package figures

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		numbers []float64
		want    float64
	}{
		{[]float64{3}, 3},
		{[]float64{3, 1, 2}, 2},
		{[]float64{4, 3, 1, 2}, 2},
	} {
		if got := Median(c.numbers); got != c.want {
			t.Errorf("Median(%v) = %v, want %v", c.numbers, got, c.want)
		}
	}
}

func TestPercentile(t *testing.T) {
	var hundred []float64
	for i := range 100 {
		hundred = append(hundred, float64(100-i))
	}
	for _, c := range []struct{ share, want float64 }{{0, 1}, {0.5, 50}, {0.99, 99}, {0.999, 100}, {1, 100}} {
		if got := Percentile(hundred, c.share); got != c.want {
			t.Errorf("Percentile of 1 to 100 at %v = %v, want %v", c.share, got, c.want)
		}
	}
}

// The ranks are those of the tables of the sign test.
func TestIntervalRanks(t *testing.T) {
	for _, c := range []struct{ n, low int }{{1, 1}, {6, 1}, {8, 1}, {9, 2}, {11, 2}, {12, 3}, {15, 4}, {17, 5}, {20, 6}, {25, 8}} {
		var numbers []float64
		for i := range c.n {
			numbers = append(numbers, float64(i+1))
		}
		low, high := Interval(numbers)
		if int(low) != c.low || int(high) != c.n+1-c.low {
			t.Errorf("of %d numbers: from the %v. to the %v., want the %d. to the %d.", c.n, low, high, c.low, c.n+1-c.low)
		}
	}
}

// Of many intervals at least 95 in 100 hold the true median. The seed is fixed, so this is no matter of luck.
func TestIntervalCovers(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	held := 0
	const trials = 2000
	for range trials {
		numbers := make([]float64, 11)
		for i := range numbers {
			numbers[i] = random.ExpFloat64() - 0.6931471805599453 // of median 0
		}
		if low, high := Interval(numbers); low <= 0 && 0 <= high {
			held++
		}
	}
	if held < trials*95/100 {
		t.Errorf("%d of %d intervals hold the median", held, trials)
	}
}

func TestRatios(t *testing.T) {
	if got := Ratios([]float64{200, 300}, []float64{100, 100}); !slices.Equal(got, []float64{2, 3}) {
		t.Errorf("ratios %v", got)
	}
}

func TestNumber(t *testing.T) {
	for _, c := range []struct {
		x    float64
		want string
	}{{0, "0"}, {0.01234, "0.0123"}, {1.234, "1.23"}, {12.34, "12.3"}, {123456.7, "123457"}, {-3, "-3.00"}} {
		if got := Number(c.x); got != c.want {
			t.Errorf("Number(%v) = %q, want %q", c.x, got, c.want)
		}
	}
}
