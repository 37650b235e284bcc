package health

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// ruleOf makes a rule of names: critical ones end with !, watched ones with ?.
func ruleOf(need int, names ...string) *Rule {
	r := &Rule{Need: need}
	for _, name := range names {
		p := Part{Name: strings.TrimRight(name, "!?"), Limits: Limits{Rise: 2, Fall: 2, Unsure: true}}
		switch name[len(name)-1] {
		case '!':
			p.Role = Critical
		case '?':
			p.Role = Watched
		}
		r.Parts = append(r.Parts, p)
	}
	return r
}

// play gives results to an endpoint: for each part + (passed), - (failed), 0 (could not be checked) or . (nothing), so many rounds of each.
func (c *Combined) play(at *time.Time, rounds ...string) {
	for _, round := range rounds {
		for range 2 {
			*at = at.Add(time.Second)
			for i, what := range round {
				name := c.rule.Parts[i].Name
				switch what {
				case '+', '-':
					c.Add(i, what == '+', name+" failed", *at)
				case '0':
					c.Miss(i, name+" cannot", *at)
				}
			}
		}
	}
}

func TestCombined(t *testing.T) {
	all, any, two := ruleOf(3, "a", "b", "c"), ruleOf(1, "a", "b", "c"), ruleOf(2, "a", "b", "c")
	critical, watched := ruleOf(1, "a", "b", "db!"), ruleOf(1, "a", "cert?")
	for _, tc := range []struct {
		what   string
		rule   *Rule
		rounds string
		want   string
	}{
		{"nothing known", all, "...", "unknown"},
		{"not all known yet", all, "++.", "unknown"},
		{"all pass", all, "+++", "up"},
		{"one of all fails", all, "+-+", "down b: b failed"},
		{"one is enough to know", all, "-..", "down a: a failed"},
		{"two of all fail", all, "--+", "down a: a failed; and 1 more of 3 checks"},
		{"any passes", any, "--+", "up"},
		{"any is enough to know", any, "+..", "up"},
		{"none passes", any, "---", "down a: a failed; and 2 more of 3 checks"},
		{"two of three", two, "++-", "up"},
		{"one of three", two, "+--", "down b: b failed; and 1 more of 3 checks"},
		{"a critical one fails", critical, "++-", "down db (critical): db failed"},
		{"it comes first in the reason", critical, "---", "down db (critical): db failed; and 2 more of 3 checks"},
		{"others than it fail", critical, "-++", "up"},
		{"it is not known yet", critical, "++.", "unknown"},
		{"a watched one fails", watched, "+-", "up, cert: cert failed"},
		{"a watched one passes, the other fails", watched, "-+", "down a: a failed"},
		{"a watched one cannot be checked", watched, "+0", "up, cert: not checked: cert cannot"},
		{"blind, and it matters", all, "+++ 0++", "up blind a: not checked: a cannot"},
		{"blind, and it does not matter", any, "+++ 0++", "up"},
		{"blind, and others fail", all, "+++ 0-+", "down b: b failed"},
		{"it sees again", all, "+++ 0++ +++", "up"},
		{"never seen", all, "0..", "unknown blind a: not checked: a cannot"},
	} {
		at := time.Unix(1e9, 0)
		c := Combine(tc.rule, nil)
		c.play(&at, strings.Fields(tc.rounds)...)
		s := c.Sight()
		got := string(s.State)
		if s.Blind {
			got += " blind"
		}
		if s.Reason != "" {
			got += " " + s.Reason
		}
		if s.Watched != "" {
			got += ", " + s.Watched
		}
		if got != tc.want {
			t.Errorf("%s: %s, want %s", tc.what, got, tc.want)
		}
		if (s.State == Down) != (s.Score == 0) {
			t.Errorf("%s: score %v", tc.what, s.Score)
		}
	}
}

// TestDecideIsWhatCannotBeOtherwise: an endpoint is up or down if it would be, whatever the parts turn out to be that nothing is known of.
func TestDecideIsWhatCannotBeOtherwise(t *testing.T) {
	rng := rand.New(rand.NewPCG(14, 1))
	seen := map[State]int{}
	for range 20_000 {
		rule, parts, counted, acting := &Rule{}, []Sight{}, 0, 0
		for range 1 + rng.IntN(5) {
			role := Role(rng.IntN(3))
			rule.Parts = append(rule.Parts, Part{Role: role})
			parts = append(parts, Sight{State: []State{Unknown, Up, Down}[rng.IntN(3)], Blind: rng.IntN(4) == 0})
			if role == Counted {
				counted++
			}
			if role != Watched {
				acting++
			}
		}
		if counted > 0 {
			rule.Need = 1 + rng.IntN(counted)
		}
		for _, blind := range []bool{false, true} {
			known := make([]State, len(parts))
			for i, p := range parts {
				if known[i] = p.State; blind && p.Blind {
					known[i] = Unknown
				}
			}
			want := Unknown
			if up, down := outcomes(rule, known, 0); acting > 0 && up != down {
				want = map[bool]State{true: Up, false: Down}[up]
			}
			got := rule.decide(parts, blind)
			if seen[got]++; got != want {
				t.Fatalf("need %d of %+v with %v: %s, want %s", rule.Need, rule.Parts, known, got, want)
			}
		}
	}
	if seen[Up] < 1000 || seen[Down] < 1000 || seen[Unknown] < 1000 {
		t.Errorf("%v", seen)
	}
}

// outcomes reports whether the endpoint can be up, and whether it can be down.
func outcomes(r *Rule, known []State, from int) (up, down bool) {
	for i := from; i < len(known); i++ {
		if known[i] != Unknown {
			continue
		}
		for _, state := range []State{Up, Down} {
			known[i] = state
			u, d := outcomes(r, known, i+1)
			up, down = up || u, down || d
		}
		known[i] = Unknown
		return up, down
	}
	passed, whole := 0, true
	for i, state := range known {
		switch {
		case r.Parts[i].Role == Counted && state == Up:
			passed++
		case r.Parts[i].Role == Critical && state == Down:
			whole = false
		}
	}
	is := whole && passed >= r.Need
	return is, !is
}

// TestScoresOfCombined: the best that are needed count, and every critical one.
func TestScoresOfCombined(t *testing.T) {
	up := func(scores ...float64) (parts []Sight) {
		for _, s := range scores {
			parts = append(parts, Sight{State: Up, Score: s, Reason: fmt.Sprint(s)})
		}
		return parts
	}
	for _, tc := range []struct {
		rule   *Rule
		parts  []Sight
		score  float64
		reason string
	}{
		{ruleOf(3, "a", "b", "c"), up(1, 0.5, 0.75), 0.5, "b: 0.5"},
		{ruleOf(2, "a", "b", "c"), up(1, 0.5, 0.75), 0.75, "c: 0.75"},
		{ruleOf(1, "a", "b", "c"), up(1, 0.5, 0.75), 1, ""},
		{ruleOf(1, "a", "b", "c!"), up(1, 0.5, 0.75), 0.75, "c (critical): 0.75"},
		{ruleOf(1, "a", "b", "c?"), up(1, 0.5, 0.25), 1, ""},
	} {
		s := tc.rule.apply(Sight{}, tc.parts, time.Unix(1, 0))
		if s.State != Up || s.Score != tc.score || s.Reason != tc.reason {
			t.Errorf("need %d of %+v: %+v, want %v %q", tc.rule.Need, tc.rule.Parts, s, tc.score, tc.reason)
		}
	}
}

// TestWhatWasKnownHolds when checks come and go, and over a restart, until results say otherwise.
func TestWhatWasKnownHolds(t *testing.T) {
	at := time.Unix(1e9, 0)
	one := Combine(ruleOf(1, "a"), nil)
	one.play(&at, "+")
	both := Combine(ruleOf(2, "a", "b"), &one)
	if s := both.Sight(); s.State != Up {
		t.Errorf("a check more: %+v", s)
	}
	both.play(&at, ".+")
	if s := both.Sight(); s.State != Up || s.Since != time.Unix(1e9, 0).Add(2*time.Second) {
		t.Errorf("it passes: %+v", s)
	}
	both.play(&at, ".-")
	other := Combine(ruleOf(2, "b", "a"), &both)
	other.play(&at, ".+")
	if s := other.Sight(); s.State != Down {
		t.Errorf("in another order: %+v", s)
	}
	restarted := CombineFrom(ruleOf(2, "a", "b"), other.Sight())
	if s := restarted.Sight(); s != other.Sight() {
		t.Errorf("a restart: %+v", s)
	}
	restarted.play(&at, "+.")
	if s := restarted.Sight(); s.State != Down {
		t.Errorf("half is known again: %+v", s)
	}
	restarted.play(&at, ".+")
	if s := restarted.Sight(); s.State != Up {
		t.Errorf("all is known again: %+v", s)
	}
	restarted.play(&at, "-.")
	alone := Combine(ruleOf(1, "b"), &restarted)
	if s := alone.Sight(); s.State != Up {
		t.Errorf("what failed is gone: %+v", s)
	}
	renamed := Combine(ruleOf(1, "c"), &restarted)
	if s := renamed.Sight(); s.State != Down {
		t.Errorf("another check alone: %+v", s)
	}
	if renamed.play(&at, "+"); renamed.Sight().State != Up {
		t.Errorf("it passes: %+v", renamed.Sight())
	}
	if got, want := CombineFrom(ruleOf(1, "a"), Sight{State: Down, Reason: "x"}).parts[0].Sight().State, Down; got != want {
		t.Errorf("a plain one over a restart: %s", got)
	}
}

// TestDoubtsOfParts: one that acts makes the endpoint unsure, one that is watched does not; and what was said of blindness ends with it.
func TestDoubtsOfParts(t *testing.T) {
	at := time.Unix(1e9, 0)
	c := Combine(ruleOf(1, "a", "b", "cert?"), nil)
	c.play(&at, "+++")
	if c.Add(2, false, "x", at); c.Sight().Unsure {
		t.Errorf("by a watched part: %+v", c.Sight())
	}
	if c.Add(1, false, "x", at); !c.Sight().Unsure || c.Sight().State != Up {
		t.Errorf("by another: %+v", c.Sight())
	}
	c = Combine(ruleOf(2, "a", "b"), nil)
	if c.play(&at, "0."); !c.Sight().Blind {
		t.Errorf("not blind: %+v", c.Sight())
	}
	if c.Add(0, true, "", at); c.Sight().Blind || c.Sight().Reason != "" || c.Sight().State != Unknown {
		t.Errorf("it sees again: %+v", c.Sight())
	}
}

// TestWatchedIsToldByWhoIsAlive: what a vantage said before it fell silent is old.
func TestWatchedIsToldByWhoIsAlive(t *testing.T) {
	sees := func(watched string) Observation {
		return Observation{Endpoints: map[string]Sight{"a": {State: Up, Score: 1, Watched: watched}}}
	}
	c := Case{Endpoints: []string{"a"}, Alive: map[string]bool{"fra": true, "nyc": true}, Now: time.Unix(1e9, 0),
		Observations: map[string]Observation{"ams": sees("old"), "fra": sees(""), "nyc": sees("cert: it ends")}}
	v := Judge(c)
	if got := v.Endpoints["a"]; got.Watched != "cert: it ends" || got.State != Up {
		t.Errorf("%+v", got)
	}
	c.Previous, c.Observations["nyc"] = v, sees("")
	if got := Judge(c).Endpoints["a"]; got.Watched != "" {
		t.Errorf("it is well again: %+v", got)
	}
}

// TestAChangedRuleActs: where an outage is ended by another rule, what is known of the parts decides anew at the next result.
func TestAChangedRuleActs(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for _, tc := range []struct {
		what        string
		before, now *Rule
		round       string
		want        State
	}{
		{"critical becomes watched", ruleOf(1, "a", "b!"), ruleOf(1, "a", "b?"), "+-", Up},
		{"a part is removed", ruleOf(1, "a", "b!"), ruleOf(1, "a"), "+", Up},
		{"any will do", ruleOf(2, "a", "b"), ruleOf(1, "a", "b"), "+-", Up},
		{"watched becomes critical", ruleOf(1, "a", "b?"), ruleOf(1, "a", "b!"), "+-", Down},
	} {
		c, at := Combine(tc.before, nil), now
		c.play(&at, "+-", "+-")
		next := Combine(tc.now, &c)
		again := Combine(tc.now, &next) // a change of something else comes between
		again.play(&at, tc.round)
		if s := again.Sight(); s.State != tc.want || len(tc.now.Parts) == 1 && s.Watched != "" {
			t.Errorf("%s: %+v, want %s", tc.what, s, tc.want)
		}
	}
}
