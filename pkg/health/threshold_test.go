package health

import (
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/gtmtest"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// at is s seconds after the epoch of these tests.
func at(s int) time.Time { return epoch.Add(time.Duration(s) * time.Second) }

// feed plays results: '.' passed, 'x' failed, '-' could not be made. It returns the sights that were told, as in "up@1".
func feed(t *Threshold, results string, l Limits) []string {
	var told []string
	for i, r := range results {
		changed := false
		switch r {
		case '.':
			changed = t.Add(true, "", at(i), l)
		case 'x':
			changed = t.Add(false, "refused", at(i), l)
		case '-':
			changed = t.Miss("no route", at(i), l)
		}
		if s := t.Sight(); changed && s.Blind {
			told = append(told, "blind")
		} else if changed {
			told = append(told, string(s.State))
		}
	}
	return told
}

func TestThreshold(t *testing.T) {
	for _, tc := range []struct {
		rule, results string
		rise, fall    int
		told          string
		state         State
		score         float64
	}{
		{"no result is Unknown, which answers", "", 2, 3, "", Unknown, 1},
		{"one result decides nothing", "x", 2, 3, "", Unknown, 1},
		{"rise passes make it Up", "..", 2, 3, "up", Up, 1},
		{"fall failures make it Down", "xxx", 2, 3, "down", Down, 0},
		{"Unknown needs them in a row", "xx.xx.", 2, 3, "", Unknown, 1},
		{"a failure among passes keeps it Up", "..x.x..", 2, 3, "up", Up, 1},
		{"Up, then fall failures", "..xxx", 2, 3, "up down", Down, 0},
		{"a pass among failures keeps it Down", "xxx.x.x.x", 2, 3, "down", Down, 0},
		{"Down, then rise passes: score 1 at once", "xxxxxxxx..", 2, 3, "down up", Up, 1},
		{"limits below 1 count as 1", "x.x", 0, -1, "down up down", Down, 0},
		{"a flapping endpoint loses score by steps", ".x.x.x.x.x.x.x.", 1, 3, "up up up", Up, 0.5},
		{"the score never reaches 0 while Up", "." + strings.Repeat("xxxxx.", 6), 1, 9, "up up up up", Up, 0.25},
		{"at ¼ there is nothing left to tell", "." + strings.Repeat("x", 17), 1, 20, "up up up up", Up, 0.25},
		{"two failures of the last 16 keep ¾: it does not flutter", ".x.x.x" + strings.Repeat(".", 13), 1, 3, "up up", Up, 0.75},
		{"with one it is well again", ".x.x.x" + strings.Repeat(".", 14), 1, 3, "up up up", Up, 1},
		{"and comes back", ".x.x.x.x.x................", 1, 3, "up up up", Up, 1},
		{"checks that cannot be made are no evidence", "..--", 2, 3, "up", Up, 1},
		{"fall of them make it blind, state kept", "..-----", 2, 3, "up blind", Up, 1},
		{"one result ends blindness", "..---.", 2, 3, "up blind up", Up, 1},
		{"blind from the start is still Unknown", "---", 2, 3, "blind", Unknown, 1},
		{"blindness neither breaks nor makes a run", "xx-x", 2, 3, "down", Down, 0},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			var th Threshold
			told := strings.Join(feed(&th, tc.results, Limits{Rise: tc.rise, Fall: tc.fall}), " ")
			s := th.Sight()
			if told != tc.told || s.State != tc.state || s.Score != tc.score {
				t.Errorf("%q: told %q, %s %v; want %q, %s %v", tc.results, told, s.State, s.Score, tc.told, tc.state, tc.score)
			}
		})
	}
}

func TestThresholdTellsWhenAndWhy(t *testing.T) {
	var th Threshold
	feed(&th, "..xxxx", Limits{Rise: 2, Fall: 3})
	if s := th.Sight(); s.Reason != "refused" || !s.Since.Equal(at(4)) {
		t.Errorf("down: %+v", s)
	}
	feed(&th, "---", Limits{Rise: 2, Fall: 3})
	if s := th.Sight(); s.Reason != "not checked: no route" || !s.Blind || s.State != Down || !s.Since.Equal(at(4)) {
		t.Errorf("blind: %+v", s)
	}
	th.Add(false, "status 503", at(9), Limits{Rise: 2, Fall: 3})
	if s := th.Sight(); s.Reason != "refused" || s.Blind {
		t.Errorf("seeing again: %+v", s)
	}
	th = Threshold{}
	feed(&th, ".x.x.x", Limits{Rise: 1, Fall: 3})
	if s := th.Sight(); s.Reason != "3 of the last 16 checks failed, the last one: refused" {
		t.Errorf("flapping: %+v", s)
	}
}

// A restart neither forgets nor invents: what comes back is what was stored, and it needs the same evidence to move.
func TestResume(t *testing.T) {
	for _, s := range []Sight{
		{State: Unknown, Score: 1},
		{State: Up, Score: 1, Since: at(1)},
		{State: Up, Score: 0.5, Since: at(1), Reason: "flapping"},
		{State: Up, Score: 0.25, Since: at(1)},
		{State: Down, Since: at(1), Reason: "refused"},
		{State: Down, Since: at(1), Reason: "not checked: no route", Blind: true},
	} {
		th := Resume(s)
		if th.Sight() != s {
			t.Errorf("resumed %+v as %+v", s, th.Sight())
		}
		if s.Blind {
			continue
		}
		if th.Add(s.State != Down, "again", at(2), Limits{Rise: 3, Fall: 3}) || th.Sight() != s {
			t.Errorf("one result moved %+v to %+v", s, th.Sight())
		}
	}
}

// plainState is the slow, obvious twin: it looks for the last run that was long enough, and counts anew how often it was down.
func plainState(results []bool, l Limits) State {
	state := Unknown
	var downs []int
	for end := 1; end <= len(results); end++ {
		run := 1
		for run < end && results[end-1-run] == results[end-1] {
			run++
		}
		need, late := l.Rise, 0
		for _, at := range downs {
			if end-at < 600 {
				late++
			}
		}
		for extra := 3; extra < min(late, 8); extra++ {
			need *= 2
		}
		if results[end-1] && run >= need {
			state = Up
		}
		if !results[end-1] && run >= l.Fall && state != Down {
			state = Down
			downs = append(downs, end)
		}
	}
	return state
}

func TestThresholdAgainstPlain(t *testing.T) {
	rng := gtmtest.Random(t)
	for range 2000 {
		l := Limits{Rise: 1 + rng.IntN(4), Fall: 1 + rng.IntN(4)}
		var th Threshold
		var results []bool
		for i := range 40 {
			before := th.Sight()
			results = append(results, rng.IntN(3) > 0)
			changed := th.Add(results[i], "r", at(i), l)
			s := th.Sight()
			if want := plainState(results, l); s.State != want {
				t.Fatalf("%v %v: %s, want %s", l, results, s.State, want)
			}
			if changed != (s != before) {
				t.Fatalf("%v %v: changed=%v, from %+v to %+v", l, results, changed, before, s)
			}
			if (s.State == Down) != (s.Score == 0) || s.Score < 0 || s.Score > 1 {
				t.Fatalf("score of %+v", s)
			}
		}
	}
}
