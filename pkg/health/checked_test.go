package health

import "testing"

// TestJudgeFollowsWhatIsChecked, not names: what speaks of another address is neither evidence nor what was known before.
func TestJudgeFollowsWhatIsChecked(t *testing.T) {
	up, down := Sight{State: Up, Score: 1}, Sight{State: Down, Reason: "refused"}
	at4 := func(s Sight, of string) Sight { s.Of = of; return s }
	sights := func(a, b Sight) map[string]Observation {
		return map[string]Observation{"v": {Vantage: "v", Pool: pool, Endpoints: map[string]Sight{"a": a, "b": b}}}
	}
	previous := Verdict{Pool: pool, Endpoints: map[string]Finding{
		"a": {State: Down, Since: at(1), Reason: "refused", Of: "A"}, "b": {State: Up, Score: 1, Since: at(2), Of: "B"}}}
	for _, tc := range []struct {
		what         string
		ofA, ofB     string
		observations map[string]Observation
		a, b         State
	}{
		{"as it was", "A", "B", sights(at4(down, "A"), at4(up, "B")), Down, Up},
		{"swapped, and no vantage has heard of it", "B", "A", sights(at4(down, "A"), at4(up, "B")), Up, Down},
		{"swapped, and nobody sees anything", "B", "A", nil, Up, Down},
		{"swapped, and looked at again", "B", "A", sights(at4(up, "B"), at4(down, "A")), Up, Down},
		{"new addresses", "C", "D", sights(at4(down, "A"), at4(up, "B")), Unknown, Unknown},
		{"one new address, seen to be down", "A", "C", sights(at4(down, "A"), at4(down, "C")), Down, Down},
		{"sights of an older prober go by name", "A", "B", sights(up, down), Up, Down},
		{"a pool of which nothing is told", "", "", sights(at4(up, "X"), at4(down, "Y")), Up, Down},
	} {
		of := map[string]string{"a": tc.ofA, "b": tc.ofB}
		if tc.ofA == "" {
			of = nil
		}
		v := Judge(Case{Pool: pool, Endpoints: []string{"a", "b"}, Of: of, Previous: previous, Vantages: []string{"v"},
			Observations: tc.observations, Alive: map[string]bool{"v": true}, Now: at(100)})
		if a, b := v.Endpoints["a"], v.Endpoints["b"]; a.State != tc.a || b.State != tc.b || a.Of != tc.ofA || b.Of != tc.ofB {
			t.Errorf("%s: a %+v, b %+v; want %s and %s", tc.what, a, b, tc.a, tc.b)
		}
	}
	older := Verdict{Pool: pool, Endpoints: map[string]Finding{"a": {State: Down, Since: at(1)}}}
	if f := Judge(Case{Pool: pool, Endpoints: []string{"a"}, Of: map[string]string{"a": "A"}, Previous: older,
		Now: at(100)}).Endpoints["a"]; f.State != Down || f.Of != "A" {
		t.Errorf("the verdict of an older judge was forgotten: %+v", f)
	}
}
