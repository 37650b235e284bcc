package health

import (
	"math"
	"testing"
	"time"
)

func TestWord(t *testing.T) {
	up := func(s Signal) Signal { s.State = Up; return s }
	for name, tc := range map[string]struct {
		said Signal
		want Word
	}{
		"up":              {Signal{State: Up, By: "x", Reason: "y"}, Word{Up: true, Score: 1}},
		"down":            {Signal{State: Down, By: "agent-7", Reason: "draining"}, Word{Reason: "signal: down by agent-7: draining"}},
		"a score":         {up(Signal{Score: 0.33}), Word{Up: true, Score: 0.35, Reason: "signal: score 0.33"}},
		"hardly any":      {up(Signal{Score: 0.001}), Word{Up: true, Score: 0.05, Reason: "signal: score 0.001"}},
		"nearly all":      {up(Signal{Score: 0.99}), Word{Up: true, Score: 1}},
		"a damaged score": {up(Signal{Score: 7}), Word{Up: true, Score: 1}},
		"no number":       {up(Signal{Score: math.NaN()}), Word{Up: true, Score: 1}},
		"idle":            {up(Signal{Load: Load{0, 100, 0}}), Word{Up: true, Score: 1, Gradual: true}},
		"at its target":   {up(Signal{Load: Load{100, 100, 100}}), Word{Up: true, Score: 1, Gradual: true}},
		"twice its target": {up(Signal{Load: Load{200, 100, 0}}),
			Word{Up: true, Score: 0.5, Gradual: true, Reason: "signal: load 200 of 100"}},
		"below capacity": {up(Signal{Load: Load{149, 100, 150}}),
			Word{Up: true, Score: 0.65, Gradual: true, Reason: "signal: load 149 of 100"}},
		"at its capacity": {up(Signal{Load: Load{150, 100, 150}}),
			Word{Up: true, Score: 0.05, Gradual: true, Reason: "signal: load 150 of 100"}},
		"far above": {up(Signal{Load: Load{99999, 100, 0}}),
			Word{Up: true, Score: 0.05, Gradual: true, Reason: "signal: load 99999 of 100"}},
		"down with a score": {Signal{State: Down, Score: 0.5}, Word{Reason: "signal: down"}},
	} {
		if got := tc.said.Word(); got != tc.want {
			t.Errorf("%s: %+v\nwant %+v", name, got, tc.want)
		}
	}
}

// TestALoadThatJumpsIsDoubted: units change by accident, and counters overflow.
func TestALoadThatJumpsIsDoubted(t *testing.T) {
	for name, tc := range map[string]struct {
		last, now Load
		doubted   bool
	}{
		"the first":                      {Load{}, Load{99_000, 100, 0}, false},
		"the first, absurd":              {Load{}, Load{101_000, 100, 0}, true},
		"from nothing to twice":          {Load{0, 100, 0}, Load{200, 100, 0}, false},
		"a busy minute":                  {Load{1, 100, 0}, Load{5000, 100, 0}, false},
		"a thousand times the last":      {Load{80, 50, 0}, Load{80_000, 50, 0}, false},
		"more than that":                 {Load{80, 50, 0}, Load{80_001, 50, 0}, true},
		"all in another unit":            {Load{80, 100, 0}, Load{80_000 * 8, 100_000 * 8, 0}, true},
		"a target of hardly anything":    {Load{80, 100, 0}, Load{0.01, 0.01, 0}, true},
		"a capacity of hardly anything":  {Load{80, 100, 200}, Load{80, 100, 0.1}, true},
		"no capacity any more":           {Load{80, 100, 200}, Load{80, 100, 0}, false},
		"nothing is said of load":        {Load{80, 100, 200}, Load{}, false},
		"what fell by a thousand passes": {Load{80_000, 100, 0}, Load{1, 100, 0}, false},
	} {
		if why := tc.now.Doubt(tc.last); (why != "") != tc.doubted {
			t.Errorf("%s: %q", name, why)
		}
	}
	if why := (Load{101_000, 100, 0}).Doubt(Load{}); why != "a load of 101000 is more than 1000 times its target (100)" {
		t.Errorf("the first: %q", why) // it has no last one
	}
}

// TestAWordIsAWord: it counts as it is said, whatever came before; but it has to be said as often as the monitor wants.
func TestAWordIsAWord(t *testing.T) {
	down, up := Word{Reason: "signal: down"}, Word{Up: true, Score: 1}
	half, third := Word{Up: true, Score: 0.5, Reason: "half"}, Word{Up: true, Score: 0.3, Reason: "a third"}
	gradual, other := Word{Up: true, Score: 1, Gradual: true}, Word{Reason: "signal: down by b"}
	type step struct {
		word  Word
		state State
		score float64
		why   string
	}
	for name, tc := range map[string]struct {
		limits Limits
		steps  []step
	}{
		"at once": {Limits{Rise: 1, Fall: 1}, []step{{half, Up, 0.5, "half"}, {third, Up, 0.3, "a third"}, {down, Down, 0, "signal: down"},
			{up, Up, 1, ""}, {half, Up, 0.5, "half"}, {up, Up, 1, ""}}},
		"gradually": {Limits{Rise: 1, Fall: 1}, []step{{half, Up, 0.5, "half"}, {gradual, Up, 0.55, ""}, {gradual, Up, 0.6, ""},
			{half, Up, 0.5, "half"}, {down, Down, 0, "signal: down"}, {gradual, Up, 1, ""}}},
		"several times": {Limits{Rise: 2, Fall: 2}, []step{{half, Unknown, 1, ""}, {half, Up, 0.5, "half"}, {down, Up, 0.5, "half"},
			{half, Up, 0.5, "half"}, {down, Up, 0.5, "half"}, {down, Down, 0, "signal: down"}}},
		"another reason": {Limits{Rise: 1, Fall: 1}, []step{{down, Down, 0, "signal: down"}, {other, Down, 0, "signal: down by b"},
			{other, Down, 0, "signal: down by b"}, {up, Up, 1, ""}}},
		"before it counts": {Limits{Rise: 2, Fall: 1}, []step{{down, Down, 0, "signal: down"}, {up, Down, 0, "signal: down"},
			{other, Down, 0, "signal: down by b"}}},
		"unstable": {Limits{Rise: 1, Fall: 1}, []step{{down, Down, 0, "signal: down"}, {up, Up, 1, ""}, {down, Down, 0, "signal: down"},
			{up, Up, 1, ""}, {down, Down, 0, "signal: down"}, {up, Up, 1, ""},
			{down, Down, 0, "signal: down; unstable: down 4 times in 10m, 2 good checks in a row needed"},
			{down, Down, 0, "signal: down; unstable: down 4 times in 10m, 2 good checks in a row needed"},
			{other, Down, 0, "signal: down by b; unstable: down 4 times in 10m, 2 good checks in a row needed"}}},
		"plain": {Limits{Rise: 1, Fall: 1, Plain: true}, []step{{half, Up, 1, ""}, {third, Up, 1, ""}, {down, Down, 0, "signal: down"}}},
	} {
		var h Threshold
		for i, s := range tc.steps {
			before := h.Sight()
			changed := h.AddWord(s.word, time.Unix(int64(i), 0), tc.limits)
			got := h.Sight()
			if got.State != s.state || got.Score != s.score || got.Reason != s.why {
				t.Errorf("%s, step %d: %+v, want %+v", name, i+1, got, s)
			}
			if before.Since = got.Since; changed != (before != got) {
				t.Errorf("%s, step %d: changed %v", name, i+1, changed)
			}
		}
	}
}

// TestScoresCanBeLeftOut: also of what has one already.
func TestScoresCanBeLeftOut(t *testing.T) {
	var h Threshold
	half := Word{Up: true, Score: 0.5, Reason: "half"}
	h.AddWord(half, time.Unix(1, 0), Limits{})
	if h.AddWord(half, time.Unix(2, 0), Limits{Plain: true}); h.Sight().Score != 1 || h.Sight().Reason != "" {
		t.Errorf("%+v", h.Sight())
	}
}

// TestWhoSaysSo: a state that would not be so by what was seen alone is said.
func TestWhoSaysSo(t *testing.T) {
	web, agent := Part{Name: "web"}, Part{Name: "agent", Said: true}
	critical := Part{Name: "agent", Said: true, Role: Critical}
	watched := Part{Name: "agent", Said: true, Role: Watched}
	for name, tc := range map[string]struct {
		rule Rule
		up   []bool
		want State
		said bool
	}{
		"alone, up":                  {Rule{Parts: []Part{agent}, Need: 1}, []bool{true}, Up, true},
		"alone, down":                {Rule{Parts: []Part{agent}, Need: 1}, []bool{false}, Down, true},
		"another check alone":        {Rule{Parts: []Part{web}, Need: 1}, []bool{false}, Down, false},
		"critical, down":             {Rule{Parts: []Part{web, critical}, Need: 1}, []bool{true, false}, Down, true},
		"critical, and seen up":      {Rule{Parts: []Part{web, critical}, Need: 1}, []bool{true, true}, Up, false},
		"critical, and seen down":    {Rule{Parts: []Part{web, critical}, Need: 1}, []bool{false, true}, Down, false},
		"both down":                  {Rule{Parts: []Part{web, critical}, Need: 1}, []bool{false, false}, Down, false},
		"any, up by the signal":      {Rule{Parts: []Part{web, agent}, Need: 1}, []bool{false, true}, Up, true},
		"any, both down":             {Rule{Parts: []Part{web, agent}, Need: 1}, []bool{false, false}, Down, true},
		"all, seen down":             {Rule{Parts: []Part{web, agent}, Need: 2}, []bool{false, true}, Down, false},
		"watched, which has no say":  {Rule{Parts: []Part{web, watched}, Need: 1}, []bool{true, false}, Up, false},
		"watched, and seen down":     {Rule{Parts: []Part{web, watched}, Need: 1}, []bool{false, true}, Down, false},
		"of two signals one is down": {Rule{Parts: []Part{agent, {Name: "other", Said: true}}, Need: 2}, []bool{true, false}, Down, true},
	} {
		c := Combine(&tc.rule, nil)
		for i, up := range tc.up {
			if tc.rule.Parts[i].Said {
				c.AddWord(i, Word{Up: up, Score: 1}, time.Unix(int64(i), 0))
			} else {
				c.Add(i, up, "", time.Unix(int64(i), 0))
			}
		}
		if s := c.Sight(); s.State != tc.want || s.Said != tc.said {
			t.Errorf("%s: %s, said %v", name, s.State, s.Said)
		}
	}
}

// TestASignalIsNoWitness: as many vantages of as many networks as one likes repeat what one owner says.
func TestASignalIsNoWitness(t *testing.T) {
	sights := func(said ...bool) Case {
		c := Case{Pool: PoolID{"shop", "eu"}, Endpoints: []string{"a"}, Observations: map[string]Observation{}, Alive: map[string]bool{},
			About: map[string]Vantage{}, Now: time.Unix(9, 0),
			Previous: Verdict{Endpoints: map[string]Finding{"a": {State: Up, Score: 1}}}}
		for i, s := range said {
			v := string(rune('p' + i))
			c.Alive[v] = true
			c.About[v] = Vantage{Network: "AS" + v, Sees: 5}
			c.Observations[v] = Observation{Endpoints: map[string]Sight{"a": {State: Down, Said: s}}}
		}
		return c
	}
	for name, tc := range map[string]struct {
		said   []bool
		proven bool
		doubt  string
	}{
		"all saw it":   {[]bool{false, false, false}, true, ""},
		"a quorum did": {[]bool{false, true, false}, true, ""},
		"one did":      {[]bool{true, true, false}, false, "1 of those who say so see anything up"},
		"nobody did":   {[]bool{true, true, true}, false, "a signal alone says so"},
		"a lone one":   {[]bool{true}, false, "a signal alone says so"},
	} {
		v := Judge(sights(tc.said...))
		if f := v.Endpoints["a"]; f.State != Down || f.Proven != tc.proven || v.Doubts["a"] != tc.doubt {
			t.Errorf("%s: %+v, %q", name, f, v.Doubts["a"])
		}
	}
}
