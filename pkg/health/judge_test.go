package health

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/gtmtest"
)

var pool = PoolID{"shop", "eu"}

// scene writes a case of one endpoint "a" as votes: 'u' up, 'd' down, 't' down for another reason, 'h' up at half score, '?' unknown,
// ' ' no observation; upper case: the vantage is silent; 'b' blind after up, 'c' blind after down. Vantages are v0, v1...
func scene(votes string, quorum int, previous State) Case {
	c := Case{Pool: pool, Endpoints: []string{"a"}, Quorum: quorum, Now: at(100),
		Observations: map[string]Observation{}, Alive: map[string]bool{}}
	if previous != "" {
		score := 1.0
		if previous == Down {
			score = 0
		}
		c.Previous = Verdict{Pool: pool, Endpoints: map[string]Finding{
			"a": {State: previous, Score: score, Since: at(1), Reason: "as before"}}}
	}
	for i, r := range votes {
		v := fmt.Sprint("v", i)
		c.Vantages = append(c.Vantages, v)
		c.Alive[v] = r >= 'a' || r == '?' || r == ' '
		var s Sight
		switch r | 0x20 {
		case 'u':
			s = Sight{State: Up, Score: 1}
		case 'h':
			s = Sight{State: Up, Score: 0.5, Reason: "flaps"}
		case 'd':
			s = Sight{State: Down, Reason: "refused"}
		case 't':
			s = Sight{State: Down, Reason: "timeout"}
		case 'b':
			s = Sight{State: Up, Score: 1, Blind: true, Reason: "not checked"}
		case 'c':
			s = Sight{State: Down, Blind: true, Reason: "not checked"}
		case '?':
			s = Sight{State: Unknown, Score: 1}
		default:
			continue
		}
		c.Observations[v] = Observation{Vantage: v, Pool: pool, Endpoints: map[string]Sight{"a": s}}
	}
	return c
}

func TestJudge(t *testing.T) {
	for _, tc := range []struct {
		rule, votes string
		quorum      int
		previous    State
		state       State
		score       float64
		moved       bool
		reason      string
	}{
		{"R1 no evidence: Unknown, and answers", " ", 0, "", Unknown, 1, true, ""},
		{"R1 unknown sights are no evidence", "???", 0, "", Unknown, 1, true, ""},
		{"R4 a lone vantage decides", "d", 0, Up, Down, 0, true, "refused"},
		{"R5 a lone vantage decides", "u", 0, Down, Up, 1, true, ""},
		{"R4 a majority says down", "ddu", 0, Up, Down, 0, true, "2 of 3 vantages: refused"},
		{"R4 the commonest reason is told", "dtt", 0, Up, Down, 0, true, "3 of 3 vantages: timeout"},
		{"R4 of reasons that are as common, the first", "tdu", 0, Up, Down, 0, true, "2 of 3 vantages: timeout"},
		{"R6 a minority says down", "duu", 0, Up, Up, 1, false, "held: 2 must say down, and 1 of 3 vantages: refused"},
		{"R6 a minority says up", "udd", 0, Down, Down, 0, false, "2 of 3 vantages: refused"},
		{"R6 up is not enough yet", "u??", 0, Down, Down, 0, false, "1 of 3 vantages see it up, 2 must"},
		{"R2 a majority of the configured, not of those that report", "d  ", 0, Up, Up, 1, false,
			"held: 2 must say down, and 1 of 3 vantages: refused"},
		{"R2 half is no majority", "dduu", 0, Up, Up, 1, false, "held: 3 must say down, and 2 of 4 vantages: refused"},
		{"R2 the quorum is as configured", "duuu", 1, Up, Up, 1, false, "held: 1 must say down, and 1 of 4 vantages: refused"},
		{"R4 quorum 1 without contradiction", "d???", 1, Up, Down, 0, true, "1 of 4 vantages: refused"},
		{"R6 quorum 1 contradicted holds Down too", "du", 1, Down, Down, 0, false, "1 of 2 vantages: refused"},
		{"R2 a quorum beyond the vantages is never reached", "dd", 3, Up, Up, 1, false,
			"held: 3 must say down, and 2 of 2 vantages: refused"},
		{"R3 a silent vantage takes nobody down", "DdU", 0, Up, Up, 1, false,
			"held: 2 must say down, and 1 of 3 vantages: refused; v0, v2 are silent"},
		{"R3 a silent lone vantage: held", "D", 0, Up, Up, 1, false, "as before"},
		{"R3 a silent vantage brings nobody up", "Uu?", 0, Down, Down, 0, false, "1 of 3 vantages see it up, 2 must; v0 is silent"},
		{"R3 quorum 1: a silent vantage does not object", "Ud", 1, Up, Down, 0, true, "1 of 2 vantages: refused"},
		{"R3 quorum 1: nor does it object to up", "Du", 1, Down, Up, 1, true, ""},
		{"R3 quorum 1: nor a blind one", "bd", 1, Up, Down, 0, true, "1 of 2 vantages: refused"},
		{"R3 all silent: held", "UUU", 0, Down, Down, 0, false, "as before"},
		{"R3 one of two that saw it up is silent: held", "Uu ", 0, Up, Up, 1, false, ""},
		{"R3 the living outvote the silent", "ddU", 0, Up, Down, 0, true, "2 of 3 vantages: refused"},
		{"R3 a blind vantage does not vote", "b", 0, Down, Down, 0, false, "as before"},
		{"R3 a blind vantage does not vote down", "c", 0, Up, Up, 1, false, "not checked"},
		{"R7 the median of those that agree", "hhu", 0, Up, Up, 0.5, false, "flaps"},
		{"R7 the median of an even number", "hu", 0, Up, Up, 0.75, false, "flaps"},
		{"R7 one bad view of three weighs nothing", "huu", 0, Up, Up, 1, false, ""},
		{"R7 a silent vantage has no part in it", "Huu", 0, Up, Up, 1, false, ""},
		{"R7 those that say down have no part in it", "uudhh", 0, Up, Up, 0.75, false,
			"held: 3 must say down, and 1 of 5 vantages: refused"},
	} {
		t.Run(tc.rule, func(t *testing.T) {
			f := Judge(scene(tc.votes, tc.quorum, tc.previous)).Endpoints["a"]
			since := at(1)
			if tc.moved {
				since = at(100)
			}
			want := Finding{State: tc.state, Score: tc.score, Since: since, Reason: tc.reason}
			if d := cmp.Diff(want, f); d != "" {
				t.Errorf("%q from %q: -want +got\n%s", tc.votes, tc.previous, d)
			}
		})
	}
}

// TestDownAndUnseen: a down that nobody can confirm any more is told from one that somebody sees, and in as many words at each look.
func TestDownAndUnseen(t *testing.T) {
	c := scene("d", 0, Up)
	look := func(s Sight, alive bool) string {
		c.Previous = Judge(c)
		c.Alive["v0"], c.Observations["v0"] = alive, Observation{Endpoints: map[string]Sight{"a": s}}
		v := Judge(c)
		c.Previous = v
		if again := Judge(c); !again.Equal(v) {
			t.Errorf("%q, then %q", v.Endpoints["a"].Reason, again.Endpoints["a"].Reason)
		}
		return v.Endpoints["a"].Reason
	}
	unseen := Sight{State: Down, Blind: true, Reason: "agent (critical): not checked: no signal since 9"}
	for i, step := range []struct {
		sight Sight
		alive bool
		want  string
	}{
		{unseen, true, "refused; now agent (critical): not checked: no signal since 9"},
		{Sight{State: Down, Blind: true, Reason: "not checked: no route"}, true, "refused; now not checked: no route"},
		{unseen, false, "refused; now not checked: no route"},
		{Sight{State: Down, Blind: true, Reason: "says nothing"}, true, "refused; now not checked: no route"},
		{Sight{State: Down, Reason: "gone"}, true, "gone"},
	} {
		if got := look(step.sight, step.alive); got != step.want {
			t.Errorf("step %d: %q, want %q", i+1, got, step.want)
		}
	}
}

// R1: endpoints that left the pool leave the verdict, new ones are Unknown, whatever the observations still name.
func TestJudgeFollowsThePool(t *testing.T) {
	c := scene("d", 0, Up)
	c.Endpoints = []string{"b"}
	want := map[string]Finding{"b": {State: Unknown, Score: 1, Since: at(100)}}
	if d := cmp.Diff(want, Judge(c).Endpoints); d != "" {
		t.Error(d)
	}
}

// R2: without configured vantages, those that live or have reported count.
func TestJudgeOpenElectorate(t *testing.T) {
	c := scene("dd", 0, Up)
	c.Vantages = nil
	if got := Judge(c).Endpoints["a"].State; got != Down {
		t.Errorf("both say down: %s", got)
	}
	c.Alive["v2"], c.Alive["v3"] = true, true
	if got := Judge(c).Endpoints["a"].State; got != Up {
		t.Errorf("two of four that live: %s", got)
	}
	c.Alive["v2"], c.Alive["v3"] = false, false
	c.Alive["v0"] = false
	if got := Judge(c).Endpoints["a"].State; got != Up {
		t.Errorf("one of two is silent: %s", got)
	}
	c = scene("dduu", 0, Up)
	c.Vantages = []string{"v0", "v1"} // the others have no say
	if got := Judge(c).Endpoints["a"].State; got != Down {
		t.Errorf("observations of vantages that are not asked: %s", got)
	}
}

const ballots = "udhUDH? bc"

func randomScene(rng *rand.Rand) Case {
	votes := make([]byte, 1+rng.IntN(6))
	for i := range votes {
		votes[i] = ballots[rng.IntN(len(ballots))]
	}
	c := scene(string(votes), rng.IntN(len(votes)+2), []State{"", Unknown, Up, Down}[rng.IntN(4)])
	if rng.IntN(3) == 0 {
		c.Vantages = nil
	}
	return c
}

var rank = map[State]int{Down: 0, Unknown: 1, Up: 2}

// More evidence for up never makes an endpoint go down, nor the other way round.
func TestJudgeIsMonotonic(t *testing.T) {
	rng := gtmtest.Random(t)
	moved := 0
	for range 50_000 {
		c := randomScene(rng)
		if c.Vantages == nil {
			continue // a new reporter changes the majority there
		}
		before := Judge(c).Endpoints["a"].State
		v := c.Vantages[rng.IntN(len(c.Vantages))]
		better := c
		better.Observations = maps.Clone(c.Observations)
		better.Observations[v] = Observation{Endpoints: map[string]Sight{"a": {State: Up, Score: 1}}}
		after := Judge(better).Endpoints["a"].State
		if rank[after] < rank[before] {
			t.Fatalf("%+v\nwith %s up: from %s to %s", c, v, before, after)
		}
		if after != before {
			moved++
		}
		worse := c
		worse.Observations = maps.Clone(c.Observations)
		worse.Observations[v] = Observation{Endpoints: map[string]Sight{"a": {State: Down}}}
		if after := Judge(worse).Endpoints["a"].State; rank[after] > rank[before] {
			t.Fatalf("%+v\nwith %s down: from %s to %s", c, v, before, after)
		}
	}
	if moved == 0 {
		t.Error("no case moved: the property was not tried")
	}
}

// Silence is not failure: where the quorum is a majority, vantages that fall silent change no state; where all do, they change
// nothing at all; and judging again without news changes nothing either.
func TestSilenceChangesNothing(t *testing.T) {
	rng := gtmtest.Random(t)
	for range 50_000 {
		c := randomScene(rng)
		c.Previous = Judge(c)
		c.Now = at(200)
		if again := Judge(c); !again.Equal(c.Previous) {
			t.Fatalf("no news: %s", cmp.Diff(c.Previous, again))
		}
		c.Vantages = c.electorate() // who lived and never reported leaves an open electorate; that is another rule
		all := maps.Clone(c.Alive)
		clear(all)
		c.Alive = maps.Clone(c.Alive)
		for v := range c.Alive {
			if rng.IntN(2) == 0 {
				c.Alive[v] = false
			}
		}
		was, quiet := c.Previous.Endpoints["a"], Judge(c).Endpoints["a"]
		if majority := c.Quorum < 1 || c.Quorum > len(c.Vantages)/2; majority &&
			(quiet.State != was.State || !quiet.Since.Equal(was.Since)) {
			t.Fatalf("%+v\nsilence changed it: %s", c, cmp.Diff(was, quiet))
		}
		if c.Alive = all; !blind(c) && !Judge(c).Equal(c.Previous) {
			t.Fatalf("%+v\nsilence of all changed it: %s", c, cmp.Diff(c.Previous, Judge(c)))
		}
	}
}

// blind reports whether a vantage is: it said why, and a silent one says nothing.
func blind(c Case) bool {
	for _, o := range c.Observations {
		if o.Endpoints["a"].Blind {
			return true
		}
	}
	return false
}

// plainJudge is the slow, obvious twin for the state: R4 to R6 read literally.
func plainJudge(c Case) State {
	voters := map[string]bool{}
	for _, v := range c.Vantages {
		voters[v] = true
	}
	if len(c.Vantages) == 0 {
		for v := range c.Observations {
			voters[v] = true
		}
		for v, alive := range c.Alive {
			voters[v] = voters[v] || alive
		}
		maps.DeleteFunc(voters, func(_ string, in bool) bool { return !in })
	}
	quorum := c.Quorum
	if quorum <= 0 {
		for quorum = 0; 2*quorum <= len(voters); quorum++ {
		}
	}
	votes := map[State]int{}
	for v := range voters {
		s := c.Observations[v].Endpoints["a"]
		if c.Alive[v] && !s.Blind {
			votes[s.State]++
		}
	}
	if votes[Down] >= quorum && votes[Up] < quorum {
		return Down
	}
	if votes[Up] >= quorum && votes[Down] < quorum {
		return Up
	}
	if p := c.Previous.Endpoints["a"].State; p != "" {
		return p
	}
	return Unknown
}

func TestJudgeAgainstPlain(t *testing.T) {
	rng := gtmtest.Random(t)
	for range 50_000 {
		c := randomScene(rng)
		if got, want := Judge(c).Endpoints["a"].State, plainJudge(c); got != want {
			t.Fatalf("%+v\n%s, want %s", c, got, want)
		}
	}
}

// Damaged scores from the store must not reach a weight.
func TestJudgeForeignScores(t *testing.T) {
	for _, score := range []float64{-1, 0, 7, nan()} {
		c := scene("u", 0, Unknown)
		c.Observations["v0"].Endpoints["a"] = Sight{State: Up, Score: score}
		if f := Judge(c).Endpoints["a"]; f.Score != 1 {
			t.Errorf("score %v became %v", score, f.Score)
		}
	}
}

// TestVerdictsAreEqualInAllOrNotAtAll: what Equal passes over is not written, and no edge hears of it.
func TestVerdictsAreEqualInAllOrNotAtAll(t *testing.T) {
	verdict := func(change func(*Verdict, *Finding)) Verdict {
		v := Verdict{Pool: pool, Frozen: true, FrozenSince: at(1), Judge: "v0", Cause: "c", NeverUp: []string{"n"}, Released: []string{"r"}}
		f := Finding{State: Up, Score: 0.5, Since: at(2), Reason: "r", Of: "A"}
		v.Endpoints = map[string]Finding{"b": f}
		change(&v, &f)
		v.Endpoints["a"] = f
		return v
	}
	same := verdict(func(*Verdict, *Finding) {})
	for what, change := range map[string]func(*Verdict, *Finding){
		"pool":             func(v *Verdict, _ *Finding) { v.Pool.Pool = "us" },
		"frozen":           func(v *Verdict, _ *Finding) { v.Frozen = false },
		"frozen since":     func(v *Verdict, _ *Finding) { v.FrozenSince = at(3) },
		"cause":            func(v *Verdict, _ *Finding) { v.Cause = "" },
		"never up":         func(v *Verdict, _ *Finding) { v.NeverUp = nil },
		"released":         func(v *Verdict, _ *Finding) { v.Released = []string{"s"} },
		"another endpoint": func(v *Verdict, _ *Finding) { delete(v.Endpoints, "b"); v.Endpoints["c"] = Finding{} },
		"one more":         func(v *Verdict, _ *Finding) { v.Endpoints["c"] = Finding{} },
		"state":            func(_ *Verdict, f *Finding) { f.State = Unknown },
		"score":            func(_ *Verdict, f *Finding) { f.Score = 1 },
		"since":            func(_ *Verdict, f *Finding) { f.Since = at(4) },
		"reason":           func(_ *Verdict, f *Finding) { f.Reason = "" },
		"what is checked":  func(_ *Verdict, f *Finding) { f.Of = "B" },
	} {
		if other := verdict(change); same.Equal(other) || other.Equal(same) {
			t.Errorf("another %s counts as the same", what)
		}
	}
	if other := verdict(func(v *Verdict, f *Finding) { v.Judge, f.Since = "v1", f.Since.Local() }); !same.Equal(other) {
		t.Error("another judge, and times of another zone, count as another verdict")
	}
}

func nan() float64 { zero := 0.0; return zero / zero }
