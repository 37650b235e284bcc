package health

import (
	"strings"
	"testing"
	"time"
)

// states writes a verdict on endpoints a, b and c: 'u' up, 'd' down, 'n' down and never up, '?' unknown.
func states(text string) Verdict {
	v := Verdict{Pool: pool, Endpoints: map[string]Finding{}}
	for i, r := range text {
		name := string(rune('a' + i))
		switch r {
		case 'u':
			v.Endpoints[name] = Finding{State: Up, Score: 1}
		case 'n':
			v.NeverUp = append(v.NeverUp, name)
			fallthrough
		case 'd':
			v.Endpoints[name] = Finding{State: Down}
		default:
			v.Endpoints[name] = Finding{State: Unknown, Score: 1}
		}
	}
	return v
}

// TestStayOut plays verdicts, words and modes one after the other: "ud" is a verdict, "resume" a person's word with the verdict before,
// and a mode is the one from then on. What stays is told behind each: '-' in, 'O' out, 'o' observed to be out.
func TestStayOut(t *testing.T) {
	for _, tc := range []struct {
		rule, play, told string
		stands           map[string]Stand
		needs            int
	}{
		{"what is auto never goes out", "off uu dd", "---", nil, 1},
		{"S1 with one up it does not fail", "uu ud du", "---", nil, 1},
		{"S1 fewer than it needs", "uu ud uu", "-OO", nil, 2},
		{"S1 what was never checked answers", "?? ?d", "--", nil, 1},
		{"S1 what was never up has not failed", "nn nn uu", "---", nil, 1},
		{"S1 with one that was up it has", "un dn", "-O", nil, 1},
		{"S1 a person's word is no failure", "uu uu", "--", map[string]Stand{"a": SaidDown, "b": SaidDown}, 1},
		{"S1 nor is a drain", "uu dd", "--", map[string]Stand{"a": Drained, "b": Weightless}, 1},
		{"S1 a drained one does not help", "uu ud", "-O", map[string]Stand{"a": Drained}, 1},
		{"S1 one that is said to be up does", "uu dd", "--", map[string]Stand{"a": SaidUp}, 1},
		{"S2 it stays out", "uu dd uu uu", "-OOO", nil, 1},
		{"S2 until it is resumed", "uu dd uu resume uu dd", "-OO--O", nil, 1},
		{"S2 which does nothing while it is down", "uu dd resume uu", "-OOO", nil, 1},
		{"it comes back with auto", "dd uu off", "OO-", nil, 1},
		{"observed", "observe uu dd uu", "--oo", nil, 1},
		{"S3 observed and up: it does not go out", "observe dd uu enforce", "-oo-", nil, 1},
		{"S3 observed and down: it does", "observe dd enforce uu", "-oOO", nil, 1},
		{"what was out is observed from then on", "dd uu observe enforce", "OOo-", nil, 1},
	} {
		d := Declared{Resume: Enforce, Stands: tc.stands, Needs: func(int) int { return tc.needs }}
		v, told := states("uu"), ""
		since := map[string]time.Time{}
		for i, step := range strings.Fields(tc.play) {
			now, was := v, v
			switch step {
			case "off", "observe", "enforce":
				d.Resume = Mode(step)
			case "resume":
			default:
				now = states(step)
			}
			v = d.StayOut(was, now, step == "resume", at(i))
			switch {
			case v.Out == nil:
				told += "-"
				clear(since)
				continue
			case v.Out.Observed:
				told += "o"
			default:
				told += "O"
			}
			if first, is := since[""]; is && !v.Out.Since.Equal(first) {
				t.Errorf("%s: it forgets since when", tc.rule)
			}
			since[""] = v.Out.Since
		}
		if told != tc.told {
			t.Errorf("%s: %s told %s, want %s", tc.rule, tc.play, told, tc.told)
		}
	}
	d := Declared{Resume: Enforce, Stands: map[string]Stand{"c": Drained}}
	if v := d.StayOut(states("uuu"), states("ddd"), false, at(7)); v.Out.Why != "0 of 2 endpoints up, 1 needed" || v.Out.Since != at(7) {
		t.Errorf("%+v", v.Out)
	}
}

// TestWhatIsKeptOutIsNoRefuge: the brake lets no pool fail because clients could go to one that takes none.
func TestWhatIsKeptOutIsNoRefuge(t *testing.T) {
	for _, out := range []bool{false, true} {
		a, b := PoolID{"shop", "a"}, PoolID{"shop", "b"}
		row := []Row{{Name: "rule", Pools: []PoolID{a, b}}}
		d := Docket{Now: at(1), Previous: map[PoolID]Verdict{a: states("uuuu"), b: states("uuu")},
			Proposed: map[PoolID]Verdict{a: states("dddd"), b: states("uuu")},
			Pools:    map[PoolID]Declared{a: {Rows: row, Size: 4}, b: {Rows: row, Size: 3, Out: out}}}
		verdicts, tally := Brake{}.Apply(d)
		if tally.Frozen != out || verdicts[a].Frozen != out {
			t.Errorf("out %v: %+v", out, tally)
		}
	}
}

// TestUnsure: R8, by votes as in scene, where w is up and unsure, and e down and unsure.
func TestUnsure(t *testing.T) {
	for _, tc := range []struct {
		votes    string
		quorum   int
		previous State
		unsure   bool
	}{
		{"u", 0, Up, false}, {"w", 0, Up, true}, {"e", 0, Down, true}, {"d", 0, Up, false}, // it went down, and all say so
		{"uud", 0, Up, true}, {"uuw", 0, Up, true}, {"uuu", 0, Up, false}, {"uuuud", 0, Up, false}, {"uuuwd", 0, Up, true},
		{"uuu?", 0, Up, false}, {"Wuu", 0, Up, false}, {"ddu", 0, Down, true}, {"ddd", 0, Down, false}, {"?", 0, Unknown, false},
		{"wuuuu", 1, Up, true},
	} {
		c := scene(strings.Map(func(r rune) rune {
			switch r {
			case 'w':
				return 'u'
			case 'W':
				return 'U'
			case 'e':
				return 'd'
			}
			return r
		}, tc.votes), tc.quorum, tc.previous)
		for i, r := range tc.votes {
			if strings.ContainsRune("wWe", r) {
				o := c.Observations["v"+string(rune('0'+i))].Endpoints
				s := o["a"]
				s.Unsure = true
				o["a"] = s
			}
		}
		if f := Judge(c).Endpoints["a"]; f.Unsure {
			t.Errorf("%q: unsure, and nobody asks", tc.votes)
		}
		c.Unsure = true
		if f := Judge(c).Endpoints["a"]; f.Unsure != tc.unsure {
			t.Errorf("%q quorum %d, %s before: unsure %v", tc.votes, tc.quorum, tc.previous, f.Unsure)
		}
	}
}

// TestRecovered: what was down before it came up says so, as long as it is up.
func TestRecovered(t *testing.T) {
	for _, tc := range []struct {
		previous State
		before   bool
		votes    string
		want     bool
	}{
		{"", false, "u", false}, {Unknown, false, "u", false}, {Up, false, "u", false}, {Down, false, "u", true}, {Up, true, "u", true},
		{Up, true, "d", false}, {Up, true, "?", true},
	} {
		c := scene(tc.votes, 0, tc.previous)
		if f, is := c.Previous.Endpoints["a"]; is {
			f.Recovered = tc.before
			c.Previous.Endpoints["a"] = f
		}
		if f := Judge(c).Endpoints["a"]; f.Recovered {
			t.Errorf("%s, then %s: told, and nobody asks", tc.previous, tc.votes)
		}
		c.Recovery = true
		if f := Judge(c).Endpoints["a"]; f.Recovered != tc.want {
			t.Errorf("%s %v, then %s: recovered %v", tc.previous, tc.before, tc.votes, f.Recovered)
		}
	}
}
