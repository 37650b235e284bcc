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

func TestRounds(t *testing.T) {
	r := Rounds[float64]{{"a": 2, "b": 1}, {"a": 9, "b": 3}, {"a": 4, "b": 1}}
	twice := func(x float64) float64 { return 2 * x }
	if got := r.Column("a", twice); !slices.Equal(got, []float64{4, 18, 8}) {
		t.Errorf("column %v", got)
	}
	if got := r.Median("a", twice); got != 8 {
		t.Errorf("median %v", got)
	}
	if got := r.Ratios("a", "b", twice); !slices.Equal(got, []float64{2, 3, 4}) {
		t.Errorf("ratios %v", got)
	}
	if got := Percentiles(r.Column("a", twice), 0.5, 1); !slices.Equal(got, []string{"8.00", "18.0"}) {
		t.Errorf("percentiles %v", got)
	}
}

func TestMarkRow(t *testing.T) {
	for _, c := range []struct {
		measured float64
		doubt    string
		met      string
	}{{5, "", "yes"}, {6, "", "no"}, {5, "unknown", "unknown"}, {6, "unknown", "no"}} {
		if got := MarkRow("p99", c.measured, 5, "ms", c.doubt); got[2] != "at most 5.00 ms" || got[3] != c.met {
			t.Errorf("%v, %q: %v", c.measured, c.doubt, got)
		}
	}
}
