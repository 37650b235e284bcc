package health

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// regionsOf plays a pool of two endpoints, a and b, beside a backup, judged for all and for regions, from one word of each vantage to the
// next: as in "ams:EU ab, fra:EU -b, sin:AS .., nrt:AS !" (a is up and b too; a is down; it knows nothing; it is silent).
type regionsOf struct {
	t       *testing.T
	now     int
	all     Verdict
	regions map[string]Verdict
	said    map[string]Observation
	about   map[string]Vantage
}

func newRegions(t *testing.T) *regionsOf {
	return &regionsOf{t: t, regions: map[string]Verdict{}, said: map[string]Observation{}, about: map[string]Vantage{}}
}

var webPool = PoolID{"shop", "web"}

func (r *regionsOf) say(words string, endpoints ...string) {
	r.t.Helper()
	r.now += 120
	if endpoints == nil {
		endpoints = []string{"a", "b"}
	}
	c := Case{Pool: webPool, Endpoints: endpoints, Previous: r.all, Observations: r.said, Alive: map[string]bool{},
		About: map[string]Vantage{}, Now: at(r.now)}
	for _, word := range strings.Split(words, ", ") {
		who, what, _ := strings.Cut(word, " ")
		name, region, _ := strings.Cut(who, ":")
		c.Vantages = append(c.Vantages, name)
		if what == "!" {
			continue
		}
		o := Observation{Endpoints: map[string]Sight{}}
		for i, e := range endpoints {
			switch what[i] {
			case '.':
			case '-':
				o.Endpoints[e] = Sight{State: Down, Reason: "timeout"}
			case '?':
				o.Endpoints[e] = Sight{State: Up, Blind: true, Reason: "no route"}
			default:
				o.Endpoints[e] = Sight{State: Up, Score: 1}
			}
		}
		c.Alive[name], r.said[name] = true, o
		c.About[name] = Vantage{Region: region, Network: name, Sees: 1}
	}
	all := Judge(c)
	cases := c.Regions(r.regions)
	r.regions = map[string]Verdict{}
	d := Docket{Previous: map[PoolID]Verdict{}, Proposed: map[PoolID]Verdict{webPool: all}}
	r.all = all
	for region, of := range cases {
		r.regions[region] = d.ForRegion(map[PoolID]Case{webPool: of}, d.Proposed).Proposed[webPool]
	}
}

// is compares what is known with as in "a up, b up; EU: a down, b up".
func (r *regionsOf) is(want string) {
	r.t.Helper()
	text := func(v Verdict) string {
		var words []string
		for _, name := range slices.Sorted(maps.Keys(v.Endpoints)) {
			words = append(words, fmt.Sprint(name, " ", v.Endpoints[name].State))
		}
		return strings.Join(words, ", ")
	}
	got := text(r.all)
	for _, region := range slices.Sorted(maps.Keys(r.regions)) {
		got += "; " + region + ": " + text(r.regions[region])
	}
	if got != want {
		r.t.Fatalf("at %d: %s\nwant %s", r.now, got, want)
	}
}

// TestR11: two vantages on a continent make a judgment for its clients, a majority of them; one does not.
func TestR11(t *testing.T) {
	r := newRegions(t)
	r.say("ams:EU-NL ab, fra:EU-DE ab, sin:AS-SG ab, nobody: ab, odd:XX ab")
	r.is("a up, b up; EU: a up, b up")
	r.say("ams:EU-NL -b, fra:EU-DE -b, sin:AS-SG ab, nobody: ab, odd:XX ab")
	r.is("a up, b up; EU: a down, b up")
	if got := r.regions["EU"].Endpoints["a"].Reason; got != "2 of 2 vantages of EU: timeout" {
		t.Errorf("reason %q", got)
	}
	if v := r.regions["EU"]; v.Pool != webPool.For("EU") || !slices.Equal(v.Vantages, []string{"ams", "fra"}) {
		t.Errorf("%v", v)
	}
	r.say("ams:EU ab, fra:EU -b, sin:AS ab, nobody: ab, odd:XX ab") // one of two is no majority
	r.is("a up, b up; EU: a down, b up")
	r.say("ams:EU ab, fra:EU ab, sin:AS -b, nrt:AS -b, hkg:AS ab")
	r.is("a up, b up; AS: a down, b up; EU: a up, b up")
}

// TestR11Moves: who is silent stands where it stood; who says that it is elsewhere is; who is not asked any more is nowhere.
func TestR11Moves(t *testing.T) {
	r := newRegions(t)
	r.say("ams:EU -b, fra:EU -b, sin:AS ab, nrt:AS ab, hkg:AS ab")
	r.is("a up, b up; AS: a up, b up; EU: a down, b up")
	r.say("ams:EU !, fra:EU !, sin:AS ab, nrt:AS ab, hkg:AS ab")
	r.is("a up, b up; AS: a up, b up; EU: a down, b up")
	r.say("ams:EU !, fra:AS ab, sin:AS ab, nrt:AS ab, hkg:AS ab")
	r.is("a up, b up; AS: a up, b up")
	r = newRegions(t)
	r.say("ams:EU -b, fra:EU -b, sin:AS ab, nrt:AS ab, hkg:AS ab")
	r.say("ams:EU !, sin:AS ab, nrt:AS ab, hkg:AS ab")
	r.is("a up, b up; AS: a up, b up")
}

// TestR12: where nobody of a region sees, its last word holds, until what is found for all changes.
func TestR12(t *testing.T) {
	r := newRegions(t)
	r.say("ams:EU ab, fra:EU ab, sin:AS ab, nrt:AS ab, hkg:AS ab")
	r.say("ams:EU -b, fra:EU -b, sin:AS ab, nrt:AS ab, hkg:AS ab")
	for range 3 {
		r.say("ams:EU !, fra:EU !, sin:AS ab, nrt:AS ab, hkg:AS ab")
		r.is("a up, b up; AS: a up, b up; EU: a down, b up") // silence moves nothing
	}
	r.say("ams:EU !, fra:EU !, sin:AS a-, nrt:AS a-, hkg:AS a-")
	r.is("a up, b down; AS: a up, b down; EU: a down, b down")
	if f := r.regions["EU"].Endpoints["b"]; f.Reason != "as for all: 3 of 5 vantages: timeout" || !f.Proven || f.All != Down {
		t.Errorf("%+v", f)
	}
	r.say("ams:EU !, fra:EU !, sin:AS -a, nrt:AS -a, hkg:AS -a")
	r.is("a down, b up; AS: a down, b up; EU: a down, b up")
	r.say("ams:EU !, fra:EU !, sin:AS ab, nrt:AS ab, hkg:AS ab")
	r.is("a up, b up; AS: a up, b up; EU: a up, b up") // it is another story than the one that they saw
	r.say("ams:EU ??, fra:EU ab, sin:AS -b, nrt:AS -b, hkg:AS -b")
	r.is("a down, b up; AS: a down, b up; EU: a down, b up") // one that sees is no quorum
	r.say("ams:EU ab, fra:EU ab, sin:AS -b, nrt:AS -b, hkg:AS -b")
	r.is("a down, b up; AS: a down, b up; EU: a up, b up")
	r.say("ams:EU ab, fra:EU -b, sin:AS -b, nrt:AS -b, hkg:AS -b")
	r.is("a down, b up; AS: a down, b up; EU: a up, b up") // they see, and do not agree: it holds
}

// TestR12BeforeAnythingWasSeen: what a region's vantages never could check is as it is for all.
func TestR12BeforeAnythingWasSeen(t *testing.T) {
	r := newRegions(t)
	r.say("ams:EU .b, fra:EU ?b, sin:AS ab, nrt:AS ab, hkg:AS ab")
	r.is("a up, b up; AS: a up, b up; EU: a up, b up")
	r.say("ams:EU .b, fra:EU ?b, sin:AS -b, nrt:AS -b, hkg:AS -b")
	r.is("a down, b up; AS: a down, b up; EU: a down, b up")
	r = newRegions(t)
	r.say("ams:EU .b, fra:EU ?b, sin:AS -b, nrt:AS -b, hkg:AS -b")
	r.is("a down, b up; AS: a down, b up; EU: a down, b up")
	if !slices.Equal(r.regions["EU"].NeverUp, []string{"a"}) { // as for all
		t.Errorf("never up: %v", r.regions["EU"].NeverUp)
	}
	r = newRegions(t)
	r.say("ams:EU ab, sin:AS ab, nrt:AS ab, hkg:AS ab")
	r.say("ams:EU -b, sin:AS -b, nrt:AS -b, hkg:AS -b")
	r.say("ams:EU ?b, fra:EU ?b, sin:AS -b, nrt:AS -b, hkg:AS -b")
	if r.is("a down, b up; AS: a down, b up; EU: a down, b up"); r.regions["EU"].NeverUp != nil {
		t.Errorf("it was up for all: %v", r.regions["EU"].NeverUp)
	}
}

// TestB10: where more than half fails for a region, what has a refuge there goes, and what has none is held there, and nowhere else.
func TestB10(t *testing.T) {
	names := []string{"a", "b", "c", "d"}
	backup := PoolID{"shop", "us"}
	verdict := func(id PoolID, state State, since int) Verdict {
		v := Verdict{Pool: id, Endpoints: map[string]Finding{}}
		of := names
		if id != webPool && id != webPool.For("EU") {
			of = names[:2]
		}
		for _, name := range of {
			v.Endpoints[name] = Finding{State: state, Score: 1, Since: at(since), All: Up}
		}
		return v
	}
	play := func(rows []Row, backupFor map[PoolID]Case) Verdict {
		all := map[PoolID]Verdict{webPool: verdict(webPool, Up, 0), backup: verdict(backup, Up, 0)}
		d := Docket{Previous: all, Proposed: all, Now: at(100),
			Pools: map[PoolID]Declared{webPool: {Size: 4, Rows: rows}, backup: {Size: 2, Rows: rows}}}
		down := Observation{Endpoints: map[string]Sight{}}
		for _, name := range names {
			down.Endpoints[name] = Sight{State: Down, Reason: "timeout"}
		}
		about := map[string]Vantage{"ams": {Region: "EU", Network: "x", Sees: 4}, "fra": {Region: "EU", Network: "x", Sees: 4}}
		c := Case{Pool: webPool, Endpoints: names, Vantages: []string{"ams", "fra"}, About: about, Now: at(100),
			Alive: map[string]bool{"ams": true, "fra": true}, Observations: map[string]Observation{"ams": down, "fra": down}}
		cases := map[PoolID]Case{webPool: c.Regions(map[string]Verdict{"EU": verdict(webPool.For("EU"), Up, 0)})["EU"]}
		if backupFor == nil {
			c.Pool, c.Endpoints = backup, names[:2]
			cases[backup] = c.Regions(map[string]Verdict{"EU": verdict(backup.For("EU"), Up, 0)})["EU"]
		}
		verdicts, _ := Brake{Min: 1}.Apply(d.ForRegion(cases, all))
		if all[webPool].Endpoints["a"].State != Up {
			t.Fatal("the verdict for all changed")
		}
		return verdicts[webPool]
	}
	rows := []Row{{Name: "rule", Pools: []PoolID{webPool, backup}}}
	if v := play(rows, map[PoolID]Case{}); v.Frozen || v.Endpoints["a"].State != Down {
		t.Errorf("with a backup that is up for all: %+v", v)
	}
	if v := play(rows, nil); !v.Frozen || v.Endpoints["a"].State != Up || !strings.HasPrefix(v.Cause, "6 of 6 endpoints that were up") {
		t.Errorf("with a backup that Europe does not see either: %+v", v)
	}
	if v := play(nil, map[PoolID]Case{}); v.Frozen {
		t.Errorf("of no rule: %+v", v)
	}
	if v := play([]Row{{Name: "rule", Pools: []PoolID{webPool}}}, map[PoolID]Case{}); !v.Frozen || v.Pool != webPool.For("EU") {
		t.Errorf("without a backup: %+v", v)
	}
}

// TestAnswersAs: what is the same to edges needs no draw of its own.
func TestAnswersAs(t *testing.T) {
	up := Finding{State: Up, Score: 1, Since: at(1), Of: "x"}
	with := func(change func(f *Finding)) Verdict {
		f := up
		change(&f)
		return Verdict{Endpoints: map[string]Finding{"a": f}}
	}
	all := with(func(*Finding) {})
	for name, tc := range map[string]struct {
		v    Verdict
		same bool
	}{
		"same":          {with(func(f *Finding) { f.Since, f.All, f.Reason = at(2), Up, "x" }), true},
		"down":          {with(func(f *Finding) { f.State = Down }), false},
		"score":         {with(func(f *Finding) { f.Score = 0.5 }), false},
		"unsure":        {with(func(f *Finding) { f.Unsure = true }), false},
		"recovered":     {with(func(f *Finding) { f.Recovered = true }), false},
		"another":       {with(func(f *Finding) { f.Of = "y" }), false},
		"held":          {Verdict{Endpoints: all.Endpoints, Frozen: true}, false},
		"out":           {Verdict{Endpoints: all.Endpoints, Out: &Out{}}, false},
		"one more":      {Verdict{Endpoints: map[string]Finding{"a": up, "b": up}}, false},
		"another still": {Verdict{Endpoints: map[string]Finding{"b": up}}, false},
	} {
		if got := tc.v.AnswersAs(&all); got != tc.same {
			t.Errorf("%s: %v", name, got)
		}
	}
	if all.AnswersAs(nil) {
		t.Error("nothing is known for all")
	}
	down := with(func(f *Finding) { f.State, f.Score = Down, 0 })
	if down.AnswersAs(&down) { // its words name the region
		t.Error("down")
	}
}

// TestPoolsForRegions: names say which pool and which region, and no resource has such a name.
func TestPoolsForRegions(t *testing.T) {
	if id, region := webPool.For("EU").Declared(); id != webPool || region != "EU" || webPool.For("EU").String() != "shop/web@EU" {
		t.Errorf("%v %q", id, region)
	}
	if id, region := webPool.For("").Declared(); id != webPool || region != "" {
		t.Errorf("%v %q", id, region)
	}
}

// TestTheBrakeHoldsForALongTimeInARegion: what failed for a region counts as long as the brake holds what is judged for all only, since
// whenever that was.
func TestTheBrakeHoldsForALongTimeInARegion(t *testing.T) {
	here, lone, other := PoolID{"shop", "here"}, PoolID{"shop", "lone"}, PoolID{"shop", "other"}
	play := func(frozenFor time.Duration) (since time.Time, v Verdict) {
		d := Docket{Previous: map[PoolID]Verdict{}, Proposed: map[PoolID]Verdict{}, Pools: map[PoolID]Declared{}, Now: at(1000)}
		d.FrozenFor = func(at time.Time) time.Duration {
			since = at
			return frozenFor
		}
		add := func(id PoolID, row Row, n, lost int, state State) {
			was, is := map[string]Finding{}, map[string]Finding{}
			for i := range n {
				name := fmt.Sprint("e", i)
				was[name], is[name] = Finding{State: Up, Score: 1}, Finding{State: Up, Score: 1}
				if i < lost {
					was[name], is[name] = Finding{State: state, Since: at(980)}, Finding{State: Down, Since: at(980), Reason: "timeout"}
				}
			}
			d.Previous[id], d.Proposed[id] = Verdict{Pool: id, Endpoints: was}, Verdict{Pool: id, Endpoints: is}
			d.Pools[id] = Declared{Size: n, Rows: []Row{row}}
		}
		row := Row{Name: "web", Pools: []PoolID{here, other}}
		add(lone, Row{Name: "own", Pools: []PoolID{lone}}, 4, 4, Up)
		add(other, row, 5, 3, Down)
		add(here, row, 4, 4, Up)
		held := d.Previous[lone]
		held.Frozen, held.FrozenSince, held.HeldSince = true, at(990), at(990)
		for name, f := range held.Endpoints {
			f.Reason = heldReason + "timeout"
			held.Endpoints[name] = f
		}
		d.Previous[lone] = held
		verdicts, _ := Brake{}.Apply(d)
		return since, verdicts[here]
	}
	for _, frozenFor := range []time.Duration{10 * time.Second, 100 * 365 * 24 * time.Hour, math.MaxInt64} {
		since, v := play(frozenFor)
		if !since.Equal(at(990)) {
			t.Errorf("asked how long it holds since %v", since)
		}
		if !v.Frozen || !strings.HasPrefix(v.Cause, "11 of 13 endpoints") {
			t.Errorf("it holds for %v: frozen %v, %s", frozenFor, v.Frozen, v.Cause)
		}
	}
}

// TestR12KeepsWhatTheRegionKnows: when it goes along with what is found for all, an endpoint is back where it was back, which B8 goes by.
func TestR12KeepsWhatTheRegionKnows(t *testing.T) {
	for name, back := range map[string]time.Time{"never held there": {}, "back there before": at(50)} {
		all := Verdict{Endpoints: map[string]Finding{"a": {State: Up, Score: 1, Since: at(100), Back: at(90)}}}
		before := Verdict{Endpoints: map[string]Finding{"a": {State: Down, All: Down, Since: at(20), Back: back}}}
		v := Judge(Case{Pool: webPool.For("EU"), Region: "EU", Endpoints: []string{"a"}, Vantages: []string{"ams", "fra"}, All: &all,
			Now: at(100), Previous: before})
		if f := v.Endpoints["a"]; f.State != Up || f.All != Up || !f.Back.Equal(back) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}
