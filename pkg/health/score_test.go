package health

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/gtmtest"
)

// TestScoreOfLatency: results are x (failed), or the tens of milliseconds that a pass took, of which 100 ms is the target.
func TestScoreOfLatency(t *testing.T) {
	graded := Limits{Rise: 1, Fall: 20, Latency: 100 * time.Millisecond}
	for _, tc := range []struct {
		rule, results string
		l             Limits
		score         float64
		reason        string
	}{
		{"what is in time is good", strings.Repeat("a", 40), graded, 1, ""},
		{"one that takes twice as long is worth half", strings.Repeat("t", 40), graded, 0.5,
			"14 of the last 16 checks took longer than 100ms, the last one 200ms"},
		{"a single one that is slow costs nothing", strings.Repeat("a", 16) + "z" + strings.Repeat("a", 15), graded, 1, ""},
		{"so slow that nothing is left: a quarter, as ever", strings.Repeat("Z", 40), graded, 0.25,
			"12 of the last 16 checks took longer than 100ms, the last one 1h0m0s"},
		{"it comes back", strings.Repeat("t", 40) + strings.Repeat("a", 16), graded, 1, ""},
		{"between, it stays where it was", strings.Repeat("t", 40) + strings.Repeat("n", 16), graded, 0.75, ""},
		{"without a target all that pass are good", strings.Repeat("Z", 40), Limits{Rise: 1, Fall: 20}, 1, ""},
		{"failures and slow ones together", strings.Repeat("a", 16) + "xtxt", graded, 0.75,
			"2 of the last 16 checks failed; 2 of the last 16 checks took longer than 100ms, the last one 200ms"},
		{"plain is up or down", "xtxtxtxtZZZZZZZZ", Limits{Rise: 1, Fall: 20, Latency: graded.Latency, Plain: true}, 1, ""},
	} {
		var th Threshold
		for i, r := range tc.results {
			took := time.Duration(strings.IndexRune("abcdefghijklmnopqrstuvwxyz", r)+1) * 10 * time.Millisecond
			if r == 'Z' {
				took = time.Hour
			}
			th.AddTimed(r != 'x', took, map[bool]string{true: "refused"}[r == 'x'], at(i), tc.l)
		}
		if s := th.Sight(); s.Score != tc.score || tc.reason != "" && s.Reason != tc.reason || tc.score == 1 && s.Reason != "" {
			t.Errorf("%s: %q gives %v, %q; want %v, %q", tc.rule, tc.results, s.Score, s.Reason, tc.score, tc.reason)
		}
	}
}

// TestPlainEndsAScore that a monitor gave which was graded.
func TestPlainEndsAScore(t *testing.T) {
	th := Resume(Sight{State: Up, Score: 0.5, Reason: "flapping"})
	if !th.Add(true, "", at(1), Limits{Rise: 1, Fall: 3, Plain: true}) || th.Sight().Score != 1 || th.Sight().Reason != "" {
		t.Errorf("%+v", th.Sight())
	}
}

// TestScoreFollowsTheMean: whatever comes, an endpoint that is up scores within 3/16 of the mean of what its last 16 results are worth; and
// it moves only where it was farther away.
func TestScoreFollowsTheMean(t *testing.T) {
	rng := gtmtest.Random(t)
	l := Limits{Rise: 1, Fall: 100, Latency: 100 * time.Millisecond}
	for range 200 {
		var th Threshold
		var worth []float64
		for i := range 200 {
			took, passed := time.Duration(rng.IntN(1+rng.IntN(1000)))*time.Millisecond, i == 0 || rng.IntN(4) > 0
			before := th.Sight().Score
			moved := th.AddTimed(passed, took, "r", at(i), l)
			switch {
			case i == 0: // turning up starts anew
				worth = append(worth, 1)
			case !passed:
				worth = append(worth, 0)
			default:
				worth = append(worth, min(1, float64(l.Latency)/float64(max(1, took))))
			}
			if i < memory {
				continue
			}
			mean := 0.0
			for _, w := range worth[len(worth)-memory:] {
				mean += w / memory
			}
			s := th.Sight().Score
			const rounding = 1.0 / full // of what each is worth
			if d := math.Abs(mean - s); d > 3.0/memory+rounding && (s != 0.25 || mean > s) {
				t.Fatalf("the mean is %.3f, the score %v", mean, s)
			}
			if d := math.Abs(mean - before); moved && d < 3.0/memory-rounding {
				t.Fatalf("the mean is %.3f, and %v became %v", mean, before, s)
			}
		}
	}
}
