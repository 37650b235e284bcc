package health

import (
	"fmt"
	"strings"
	"testing"
)

// pollOf judges one endpoint that was up. Vantages are written as in "down/AS1/EU-DE/5": what each says, its network, its region, and how
// many endpoints it sees up.
func pollOf(t *testing.T, quorum int, agree map[string]int, vantages ...string) Verdict {
	t.Helper()
	c := Case{Pool: PoolID{"shop", "p"}, Endpoints: []string{"e"}, Quorum: quorum, Agree: agree, Alive: map[string]bool{},
		About:        map[string]Vantage{},
		Observations: map[string]Observation{}, Now: at(10),
		Previous: Verdict{Endpoints: map[string]Finding{"e": {State: Up, Score: 1, Since: at(0)}}}}
	for i, text := range vantages {
		words := strings.Split(text, "/")
		v := Vantage{Network: words[1], Region: words[2]}
		if _, err := fmt.Sscan(words[3], &v.Sees); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprint("v", i)
		c.Vantages, c.Alive[name], c.About[name] = append(c.Vantages, name), true, v
		c.Observations[name] = Observation{Endpoints: map[string]Sight{"e": {State: State(words[0]), Score: 1, Reason: "timeout"}}}
	}
	return Judge(c)
}

// R10: who proves a failure, and what is said where nobody does.
func TestProof(t *testing.T) {
	for _, tc := range []struct {
		what     string
		quorum   int
		vantages []string
		doubt    string
	}{
		{"two networks", 0, []string{"down/a//1", "down/b//1"}, ""},
		{"two networks, and one objects", 0, []string{"down/a//1", "down/b//1", "up/c//1"}, ""},
		{"one alone", 1, []string{"down/a//1"}, "v0 alone says so"},
		{"one alone of three, which is enough", 1, []string{"down/a//1", "unknown/b//1", "unknown/c//1"}, "v0 alone says so"},
		{"one network", 0, []string{"down/a//1", "down/a//1"}, "no two who say so are known to be of different networks"},
		{"one is not known", 0, []string{"down/a//1", "down///1"}, "no two who say so are known to be of different networks"},
		{"none is known", 0, []string{"down///1", "down///1"}, "nobody knows the networks of those who say so"},
		{"one sees nothing, and two are left", 0, []string{"down/a//1", "down/b//1", "down/c//0"}, ""},
		{"one sees nothing, and no quorum is left", 0, []string{"down/a//1", "down/b//0"}, "1 of those who say so see anything up"},
		{"three must agree, and one sees nothing", 3, []string{"down/a//1", "down/b//1", "down/c//0"},
			"2 of those who say so see anything up"},
		{"the other network sees nothing", 0, []string{"down/a//1", "down/a//1", "down/b//0"},
			"no two who say so are known to be of different networks"},
	} {
		v := pollOf(t, tc.quorum, nil, tc.vantages...)
		f := v.Endpoints["e"]
		if f.State != Down || f.Proven != (tc.doubt == "") || v.Doubts["e"] != tc.doubt {
			t.Errorf("%s: %s, proven %v, doubt %q, want %q", tc.what, f.State, f.Proven, v.Doubts["e"], tc.doubt)
		}
	}
	c := Case{Pool: PoolID{"shop", "p"}, Endpoints: []string{"e"}, Vantages: []string{"v"}, Now: at(10)}
	c.Previous.Endpoints = map[string]Finding{"e": {State: Down, Proven: true}}
	if f := Judge(c).Endpoints["e"]; !f.Proven {
		t.Errorf("silence took the proof away: %+v", f)
	}
}

// R9: of each region so many must be among those who agree, for down and for up.
func TestRegionsAgree(t *testing.T) {
	for _, tc := range []struct {
		agree    map[string]int
		vantages []string
		want     State
	}{
		{map[string]int{"AS": 1}, []string{"down//EU-DE/1", "down//EU-NL/1", "up//AS-JP/1"}, Up},
		{map[string]int{"AS": 1}, []string{"down//EU-DE/1", "down//AS-JP/1", "up//EU-NL/1"}, Down},
		{map[string]int{"AS-JP": 1}, []string{"down//EU-DE/1", "down//AS-JP/1", "up//EU-NL/1"}, Down},
		{map[string]int{"AS-J": 1}, []string{"down//EU-DE/1", "down//AS-JP/1", "up//EU-NL/1"}, Up},
		{map[string]int{"EU": 2}, []string{"down//EU-DE/1", "down//AS-JP/1", "up//EU-NL/1"}, Up},
		{map[string]int{"EU": 2, "AS": 1}, []string{"down//EU-DE/1", "down//AS-JP/1", "down//EU-NL/1"}, Down},
		{map[string]int{"EU": 1}, []string{"down///1", "down///1", "up//EU-NL/1"}, Up},
	} {
		if got := pollOf(t, 0, tc.agree, tc.vantages...).Endpoints["e"].State; got != tc.want {
			t.Errorf("%v of %v: %s, want %s", tc.agree, tc.vantages, got, tc.want)
		}
	}
	// With a quorum of one, those of Europe say down, and Asia, which has no say in it, does not keep it up.
	if got := pollOf(t, 1, map[string]int{"EU": 1}, "down//EU-DE/1", "up//AS-JP/1").Endpoints["e"].State; got != Down {
		t.Errorf("Asia objects, though it may not: %s", got)
	}
}

// B2, B3: when nearly everything fails, and whether that is most tenants' matter.
func TestNearlyAll(t *testing.T) {
	for _, tc := range []struct {
		census       Census
		nearly, most bool
	}{
		{Census{}, false, false},
		{Census{10, 9, 1, 1}, false, false},
		{Census{10, 10, 1, 1}, true, false},
		{Census{3, 3, 3, 3}, false, false},
		{Census{100, 91, 10, 9}, true, true},
		{Census{100, 91, 10, 5}, true, false},
		{Census{1000, 999, 2, 1}, true, false},
		{Census{1000, 1000, 2, 2}, true, true},
	} {
		if nearly, most := (Brake{}).NearlyAll(tc.census); nearly != tc.nearly || most != tc.most {
			t.Errorf("%+v: %v, %v; want %v, %v", tc.census, nearly, most, tc.nearly, tc.most)
		}
	}
	if nearly, _ := (Brake{Everywhere: 0.7}).NearlyAll(Census{10, 8, 1, 1}); !nearly {
		t.Error("80 % are more than 70 %")
	}
}
