package steer

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// TestKeptOut: what the judge keeps out is down as far as the declaration says so, and before it goes a person's word.
func TestKeptOut(t *testing.T) {
	up := []*spec.Override{{Pool: "eu", State: spec.StateUp, Reason: "fire drill"}}
	for _, tc := range []struct {
		what      string
		resume    string
		mode      string
		out       *health.Out
		overrides []*spec.Override
		up, would bool
	}{
		{"it is not out", "manual", "", nil, nil, true, false},
		{"it is", "manual", "", &health.Out{Why: "x"}, nil, false, false},
		{"in as many words", "manual", "enforce", &health.Out{Why: "x"}, nil, false, false},
		{"observed", "manual", "observe", &health.Out{Why: "x", Observed: true}, nil, true, true},
		{"observed from now on, of which the judge has not heard", "manual", "observe", &health.Out{Why: "x"}, nil, true, true},
		{"enforced from now on, likewise", "manual", "enforce", &health.Out{Why: "x", Observed: true}, nil, true, false},
		{"off", "manual", "off", &health.Out{Why: "x"}, nil, true, false},
		{"auto", "", "", &health.Out{Why: "x"}, nil, true, false},
		{"a person says that it is up", "manual", "", &health.Out{Why: "x"}, up, true, false},
	} {
		p := pool("", 1, 1)
		p.Resume, p.Modes = tc.resume, &spec.PoolModes{Resume: tc.mode}
		v := findings("a=1 b=1")
		v.Out = tc.out
		got := NewPool(id, p, v, tc.overrides, noon)
		if got.Up != tc.up || strings.Contains(got.Would(), "would be down: failed at") != tc.would {
			t.Errorf("%s: up %v (%s), would %q", tc.what, got.Up, got.Why, got.Would())
		}
	}
	p := pool("", 1, 1)
	p.Resume = spec.ResumeManual
	v := findings("a=1 b=1")
	v.Out = &health.Out{Since: noon, Why: "0 of 2 endpoints up, 1 needed"}
	const want = "failed at 2026-11-23 12:00:00Z (0 of 2 endpoints up, 1 needed) and stays out until: gtmctl pool resume shop/eu; " +
		"by itself: 2 of 2 endpoints healthy"
	if got := NewPool(id, p, v, nil, noon).Why; got != want {
		t.Errorf("%q", got)
	}
}

func TestDownBy(t *testing.T) {
	states := map[string]*Pool{"db": {Why: "0 of 1 endpoints healthy, 1 needed"}, "ok": {Up: true}}
	services := map[string][]string{"auth": {"db", "db2"}, "both": {"db", "ok"}, "mute": {"db", "unheard"}}
	states["db2"] = states["db"]
	for _, tc := range []struct {
		on   []spec.Dependency
		want string
	}{
		{nil, ""},
		{[]spec.Dependency{{Pool: "ok"}, {Pool: "unheard"}, {Service: "both"}, {Service: "gone"}, {Service: "mute"}}, ""},
		{[]spec.Dependency{{Pool: "ok"}, {Pool: "db"}}, "depends on pool db, which is down (0 of 1 endpoints healthy, 1 needed)"},
		{[]spec.Dependency{{Service: "auth"}},
			"depends on service auth, of whose rules no pool is up (db: 0 of 1 endpoints healthy, 1 needed)"},
	} {
		got := DownBy(&spec.Pool{Depends: tc.on}, func(name string) *Pool { return states[name] },
			func(name string) []string { return services[name] })
		if got != tc.want {
			t.Errorf("%v: %q", tc.on, got)
		}
	}
}

// TestSlowStart: weights by the time since recovery.
func TestSlowStart(t *testing.T) {
	p := pool("", 2, 4, 1)
	p.SlowStart = spec.Duration(6 * time.Minute) // 20 s for each step
	at := func(after time.Duration) *Pool {
		v := findings("a=1 b=0.5 c=1")
		for _, name := range []string{"a", "b"} {
			f := v.Endpoints[name]
			f.Since, f.Recovered = noon, true
			v.Endpoints[name] = f
		}
		c := v.Endpoints["c"]
		c.Since = noon // it is new, and has not recovered
		v.Endpoints["c"] = c
		return NewPool(id, p, v, nil, noon.Add(after))
	}
	for _, tc := range []struct {
		after time.Duration
		part  float64
		next  time.Duration // 0: never
	}{
		{-time.Second, 0.1, 20 * time.Second}, {0, 0.1, 20 * time.Second}, {19 * time.Second, 0.1, 20 * time.Second},
		{20 * time.Second, 0.15, 40 * time.Second}, {3 * time.Minute, 0.55, 200 * time.Second},
		{359 * time.Second, 0.95, 360 * time.Second}, {6 * time.Minute, 1, 0}, {time.Hour, 1, 0},
	} {
		got := at(tc.after)
		for i, want := range []float64{2 * tc.part, 2 * tc.part, 1} {
			if c := got.Candidates[i]; math.Abs(c.Effective-want) > 1e-9 || (c.Note != "") != (i < 2 && tc.part < 1) {
				t.Errorf("after %s: %s has weight %v, want %v; %q", tc.after, c.Endpoint.Name, c.Effective, want, c.Note)
			}
		}
		next := time.Duration(0)
		if !got.Next.IsZero() {
			next = got.Next.Sub(noon)
		}
		if next != tc.next || !got.Up {
			t.Errorf("after %s: next at %s, want %s", tc.after, next, tc.next)
		}
	}
	p.Modes = &spec.PoolModes{SlowStart: spec.ModeObserve}
	const want = "slow start would give it 10% of its weight, all at 2026-11-23 12:06:00Z"
	if c := at(0).Candidates[0]; c.Effective != 2 || c.Note != want {
		t.Errorf("observed: weight %v, %q", c.Effective, c.Note)
	}
	p.Modes.SlowStart = spec.ModeOff
	if got := at(0); got.Candidates[0].Effective != 2 || got.Candidates[0].Note != "" || !got.Next.IsZero() {
		t.Errorf("off: %+v", got.Candidates[0])
	}
	p.Modes = nil
	v := findings("a=1")
	v.Endpoints["a"] = health.Finding{State: health.Up, Score: 1, Since: noon, Recovered: true}
	said := NewPool(id, p, v, []*spec.Override{{Endpoint: "a", State: spec.StateUp, Reason: "x"}}, noon)
	if said.Candidates[0].Effective != 2 {
		t.Error("a person's word starts slowly")
	}
}

// TestSlowStartRises: for whatever length, by at most 20 steps, up to all, and each at the time that was told before.
func TestSlowStartRises(t *testing.T) {
	for _, over := range []time.Duration{10 * time.Second, 17 * time.Second, 5 * time.Minute, 24 * time.Hour} {
		steps, last := 0, 0
		for now := noon; ; steps++ {
			percent, next := slowStart(over, noon, now)
			if percent <= last || percent > 100 || steps > 20 {
				t.Fatalf("%s: %d%% behind %d%%, step %d", over, percent, last, steps)
			}
			if last = percent; percent == 100 {
				if next.IsZero() && now.Sub(noon) <= over && now.Sub(noon) > over-time.Second {
					break
				}
				t.Fatalf("%s: all after %s, next %s", over, now.Sub(noon), next)
			}
			if early, _ := slowStart(over, noon, next.Add(-1)); early != percent {
				t.Fatalf("%s: it changes before %s", over, next)
			}
			now = next
		}
	}
}

// TestDoubt: what makes a pool unsure, and until when.
func TestDoubt(t *testing.T) {
	ago := func(s health.State, d time.Duration) health.Finding {
		return health.Finding{State: s, Score: map[health.State]float64{health.Up: 1, health.Unknown: 1}[s], Since: noon.Add(-d)}
	}
	long := time.Hour
	for _, tc := range []struct {
		what   string
		b      func(f *health.Finding, v *health.Verdict)
		weight int
		o      *spec.Override
		want   string
		until  time.Duration
	}{
		{"all is as ever", nil, 1, nil, "", 0},
		{"amid its thresholds", func(f *health.Finding, _ *health.Verdict) { f.Unsure = true }, 1, nil,
			"endpoint b is amid its thresholds", 0},
		{"a score", func(f *health.Finding, _ *health.Verdict) { f.Score = 0.75 }, 1, nil, "endpoint b has score 0.75", 0},
		{"down for long", func(f *health.Finding, _ *health.Verdict) { *f = ago(health.Down, long) }, 1, nil, "", 0},
		{"down of late", func(f *health.Finding, _ *health.Verdict) { *f = ago(health.Down, 10*time.Second) }, 1, nil,
			"endpoint b is down since 2026-11-23 11:59:50Z", 50 * time.Second},
		{"up of late", func(f *health.Finding, _ *health.Verdict) { *f = ago(health.Up, 59*time.Second) }, 1, nil,
			"endpoint b is up since 2026-11-23 11:59:01Z", time.Second},
		{"a minute ago", func(f *health.Finding, _ *health.Verdict) { *f = ago(health.Up, time.Minute) }, 1, nil, "", 0},
		{"by a judge whose clock is before ours", func(f *health.Finding, _ *health.Verdict) { *f = ago(health.Up, -time.Second) }, 1, nil,
			"endpoint b is up since 2026-11-23 12:00:01Z", 61 * time.Second},
		{"by one whose clock is wrong", func(f *health.Finding, _ *health.Verdict) { *f = ago(health.Up, -time.Hour) }, 1, nil, "", 0},
		{"new, and never checked", func(f *health.Finding, _ *health.Verdict) { *f = ago(health.Unknown, 0) }, 1, nil, "", 0},
		{"held", func(f *health.Finding, v *health.Verdict) { v.Frozen, f.Reason = true, "held by the brake: status 503" }, 1, nil,
			"endpoint b is held by the brake", 0},
		{"without a weight", func(f *health.Finding, _ *health.Verdict) { f.Unsure = true }, 0, nil, "", 0},
		{"drained", func(f *health.Finding, _ *health.Verdict) { f.Unsure = true }, 1,
			&spec.Override{Endpoint: "b", State: "drain"}, "", 0},
		{"by a person's word", func(f *health.Finding, _ *health.Verdict) { f.Unsure = true }, 1,
			&spec.Override{Endpoint: "b", State: "up"}, "", 0},
	} {
		v := findings("a=1 b=1")
		f := ago(health.Up, long)
		v.Endpoints["a"] = f
		if tc.b != nil {
			tc.b(&f, v)
		}
		v.Endpoints["b"] = f
		var overrides []*spec.Override
		if tc.o != nil {
			overrides = append(overrides, tc.o)
		}
		p := NewPool(id, pool("", 1, tc.weight), v, overrides, noon)
		if p.Unsure() != "" || !p.Next.IsZero() {
			t.Errorf("%s: told, and nobody asks", tc.what)
		}
		p.Doubt(v, noon)
		until := ""
		if tc.until != 0 {
			until = fmt.Sprint(noon.Add(tc.until))
		}
		if got := p.Next; p.Unsure() != tc.want || (until == "") != got.IsZero() || until != "" && fmt.Sprint(got) != until {
			t.Errorf("%s: unsure %q until %s, want %q until %s", tc.what, p.Unsure(), got, tc.want, until)
		}
	}
}

// TestHeldPoolsTellWhatIsApart: also where nothing but what takes the pool down as a whole differs.
func TestHeldPoolsTellWhatIsApart(t *testing.T) {
	p := pool("", 2, 3)
	p.Resume = spec.ResumeManual
	v := findings("a=1 b=1")
	hold := &spec.Override{Service: "web", Hold: map[string]spec.Scores{"eu": {}}, Reason: "freeze"}
	actual := NewPool(id, p, v, nil, noon)
	if held, apart := Held(actual, p, hold, nil, noon); apart || !held.Up || held.Why != "as held (freeze): 2 of 2 endpoints healthy" {
		t.Errorf("apart %v: %s", apart, held.Why)
	}
	v.Out = &health.Out{Since: noon, Why: "x"}
	actual = NewPool(id, p, v, nil, noon)
	held, apart := Held(actual, p, hold, nil, noon)
	if !apart || !held.Up || actual.Up || !strings.Contains(held.Why, "; without hold down: failed at") {
		t.Errorf("apart %v: %s", apart, held.Why)
	}
	if got := actual.Scores(); got["a"] != 0 || len(got) != 2 {
		t.Errorf("a pool that is out has the scores %v", got)
	}
	other := NewPool(health.PoolID{Tenant: "shop", Pool: "us"}, p, v, nil, noon)
	if got, apart := Held(other, p, hold, nil, noon); got != other || apart {
		t.Error("a pool that the hold does not know is held")
	}
}
