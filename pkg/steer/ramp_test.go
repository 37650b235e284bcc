package steer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// sharesOf gives the part of the answers that each endpoint has.
func sharesOf(p *Pool) []float64 {
	all := make([]float64, len(p.Candidates))
	total := 0.0
	for i := range p.Candidates {
		total += p.Candidates[i].Effective
	}
	for i := range all {
		if total > 0 {
			all[i] = p.Candidates[i].Effective / total
		}
	}
	return all
}

func starting(after time.Duration, o spec.Override) *spec.Override {
	o.Pool, o.Reason, o.Starts = "eu", "test", spec.TimeAt(noon.Add(after))
	return &o
}

func to(weight int, over time.Duration) *spec.Ramp {
	return &spec.Ramp{To: weight, Over: spec.Duration(over)}
}

// follow compiles a pool whenever it says that it changes, until it does no more, and gives what it was at each of these times.
func follow(t *testing.T, compile func(now time.Time) (shares []float64, next time.Time)) (times []time.Time, all [][]float64) {
	t.Helper()
	now := noon
	for {
		shares, next := compile(now)
		times, all = append(times, now), append(all, shares)
		if next.IsZero() {
			return times, all
		}
		if !next.After(now) {
			t.Fatalf("at %v the next change is at %v", now, next)
		}
		if now = next; len(all) > 1000 {
			t.Fatal("it never ends")
		}
	}
}

func furthest(a, b []float64) (most float64) {
	for i := range a {
		most = max(most, math.Abs(a[i]-b[i]))
	}
	return most
}

// TestRamp: a share goes in equal steps, each of at most one of a hundred answers, to where the weight has it; so do those of the
// others, in
// proportion. At the end of the override it is as declared.
func TestRamp(t *testing.T) {
	const over = 20 * time.Minute
	for _, c := range []struct {
		name        string
		weights     []int
		findings    string
		overrides   []*spec.Override
		first, last []float64
		steps       int
	}{
		{"up", []int{10, 90}, "", []*spec.Override{starting(0, spec.Override{Endpoint: "a", Weight: to(30, over)})},
			[]float64{.1, .9}, []float64{.25, .75}, 15},
		{"down to nothing", []int{1, 2, 1}, "", []*spec.Override{starting(0, spec.Override{Endpoint: "b", Weight: to(0, over)})},
			[]float64{.25, .5, .25}, []float64{.5, 0, .5}, 50},
		{"from nothing", []int{0, 3}, "", []*spec.Override{starting(0, spec.Override{Endpoint: "a", Weight: to(3, over)})},
			[]float64{0, 1}, []float64{.5, .5}, 50},
		{"at most a hundred steps", []int{1, 0}, "", []*spec.Override{starting(0, spec.Override{Endpoint: "a", Weight: to(0, over)}),
			starting(0, spec.Override{Endpoint: "b", Weight: to(1, over)})}, []float64{1, 0}, []float64{0, 1}, 100},
		{"hardly at all", []int{1000, 1000}, "", []*spec.Override{starting(0, spec.Override{Endpoint: "a", Weight: to(1001, over)})},
			[]float64{.5, .5}, []float64{1001. / 2001, 1000. / 2001}, 1},
		{"one by itself, until the end", []int{1}, "", []*spec.Override{starting(0, spec.Override{Endpoint: "a", Weight: to(0, over)})},
			[]float64{1}, []float64{0}, 1},
		{"among those that are up", []int{10, 45, 45}, "a=1 b=1 c=0", []*spec.Override{
			starting(0, spec.Override{Endpoint: "a", Weight: to(45, over)})}, []float64{10. / 55, 45. / 55, 0}, []float64{.5, .5, 0}, 32},
		{"among those that are not drained", []int{1, 98, 1}, "", []*spec.Override{
			starting(0, spec.Override{Endpoint: "b", State: "drain"}), starting(0, spec.Override{Endpoint: "a", Weight: to(3, over)})},
			[]float64{.5, 0, .5}, []float64{.75, 0, .25}, 25},
		{"then drained", []int{1, 1}, "", []*spec.Override{starting(0, spec.Override{Endpoint: "a", State: "drain", Weight: to(0, over)})},
			[]float64{.5, .5}, []float64{0, 1}, 50},
		{"from where another one had it", []int{10, 90}, "", []*spec.Override{starting(0, spec.Override{Endpoint: "a",
			Weight: &spec.Ramp{To: 90, Over: spec.Duration(over), From: new(30.)}})}, []float64{.25, .75}, []float64{.5, .5}, 25},
		{"where nobody is, at once", []int{0}, "", []*spec.Override{starting(0, spec.Override{Endpoint: "a", Weight: to(5, over)})},
			[]float64{1}, []float64{1}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			declared := pool("", c.weights...)
			var v *health.Verdict
			if c.findings != "" {
				v = findings(c.findings)
			}
			times, all := follow(t, func(now time.Time) ([]float64, time.Time) {
				p := NewPool(id, declared, v, c.overrides, now)
				return sharesOf(p), p.Next
			})
			if furthest(all[0], c.first) > 1e-9 || furthest(all[len(all)-1], c.last) > 1e-9 {
				t.Errorf("from %v to %v, want %v to %v", all[0], all[len(all)-1], c.first, c.last)
			}
			changes := 0
			for i := 1; i < len(all); i++ {
				most := furthest(all[i-1], all[i])
				if most > 1e-12 {
					changes++
				}
				if most > step+1e-9 && c.steps > 1 {
					t.Errorf("a step of %v at %v", most, times[i])
				}
				part := times[i].Sub(noon).Seconds() / over.Seconds()
				for e, share := range all[i] { // beside the line between both by less than a step
					if want := c.first[e] + (c.last[e]-c.first[e])*part; c.steps > 1 && math.Abs(share-want) >= step {
						t.Errorf("at %v endpoint %d has %v, want %v", times[i], e, share, want)
					}
				}
			}
			if changes != c.steps {
				t.Errorf("%d steps, want %d", changes, c.steps)
			}
			if last := times[len(times)-1]; last.Sub(noon) != over {
				t.Errorf("the last change at %v, want %v", last, noon.Add(over))
			}
		})
	}
}

// TestARampBeginsAndEnds: before it starts and after it has expired, weights are those declared.
func TestARampBeginsAndEnds(t *testing.T) {
	o := starting(time.Hour, spec.Override{Endpoint: "a", Weight: to(3, 10*time.Minute), Expires: spec.TimeAt(noon.Add(2 * time.Hour))})
	for _, c := range []struct {
		after  time.Duration
		share  float64
		weight int
		next   time.Duration // 0: none
	}{
		{0, .5, 1, time.Hour},
		{time.Hour, .5, 1, time.Hour + 24*time.Second},
		{time.Hour + 24*time.Second, .51, 1, time.Hour + 48*time.Second},
		{time.Hour + 5*time.Minute, .62, 2, time.Hour + 312*time.Second}, // the twelfth of 25 steps
		{time.Hour + 10*time.Minute, .75, 3, 2 * time.Hour},
		{2 * time.Hour, .5, 1, 0},
	} {
		p := NewPool(id, pool("", 1, 1), nil, []*spec.Override{o}, noon.Add(c.after))
		next := time.Time{}
		if c.next != 0 {
			next = noon.Add(c.next)
		}
		if share := sharesOf(p)[0]; math.Abs(share-c.share) > 1e-9 || p.Candidates[0].Weight != c.weight || !p.Next.Equal(next) {
			t.Errorf("after %v: share %v, weight %d, next %v; want %v, %d, %v", c.after, share, p.Candidates[0].Weight, p.Next, c.share,
				c.weight, next)
		}
	}
}

// TestADrainWaitsForItsRamp: until the weight has come to 0, the endpoint is no drained one.
func TestADrainWaitsForItsRamp(t *testing.T) {
	o := starting(0, spec.Override{Endpoint: "a", State: "drain", Weight: to(0, 10*time.Minute)})
	for after, out := range map[time.Duration]string{0: "", 599 * time.Second: "", 10 * time.Minute: "drained: test"} {
		if c := NewPool(id, pool("", 1, 1), findings("a=1 b=1"), []*spec.Override{o}, noon.Add(after)).Candidates[0]; c.Out != out ||
			c.Drained != (out != "") || (c.Weight > 0) != (out == "") {
			t.Errorf("after %v: %+v %+v", after, c, c.Standing)
		}
	}
}

// TestAnEndpointOnItsWayFromNothing says why it takes no part as long as it takes none.
func TestAnEndpointOnItsWayFromNothing(t *testing.T) {
	o := starting(0, spec.Override{Endpoint: "a", Weight: to(1, 10*time.Minute)})
	for _, c := range []struct {
		findings string
		after    time.Duration
		out      string
	}{{"a=1 b=1", 0, "weight 0"}, {"a=1 b=1", time.Minute, ""}, {"a=0 b=1", time.Minute, "down"}} {
		if got := NewPool(id, pool("", 0, 1), findings(c.findings), []*spec.Override{o},
			noon.Add(c.after)).Candidates[0].Out; got != c.out {
			t.Errorf("%s after %v: %q, want %q", c.findings, c.after, got, c.out)
		}
	}
}

// ruleText writes pools as in "eu:90 us:10 | ap": steps of failover.
func ruleText(pools []spec.Target) string {
	var b strings.Builder
	for i, p := range pools {
		switch {
		case i == 0:
		case p.Weight > 0 && pools[i-1].Weight > 0:
			b.WriteString(" ")
		default:
			b.WriteString(" | ")
		}
		b.WriteString(p.String())
	}
	return b.String()
}

// refs reads targets as in "eu:90 us:10 ap", and "[eu:90 us:10] ap" where a split has the first.
func refs(text string) (out []spec.Target) {
	var split *spec.Target
	for word := range strings.FieldsSeq(text) {
		begins, ends := strings.HasPrefix(word, "["), strings.HasSuffix(word, "]")
		name, weight, _ := strings.Cut(strings.Trim(word, "[]"), ":")
		ref := spec.Target{Pool: name}
		fmt.Sscan(weight, &ref.Weight)
		if begins {
			out = append(out, spec.Target{Steering: &spec.Steering{}})
			split = &out[len(out)-1]
		}
		if split != nil {
			split.Split = append(split.Split, ref)
		} else {
			out = append(out, ref)
		}
		if ends {
			split = nil
		}
	}
	return out
}

func TestRule(t *testing.T) {
	const over = 10 * time.Minute
	at := func(pool string, weight *spec.Ramp) *spec.Override {
		return &spec.Override{Service: "web", Rule: "1", Pool: pool, Weight: weight, Reason: "test", Starts: spec.TimeAt(noon)}
	}
	for _, c := range []struct {
		name, pools string
		overrides   []*spec.Override
		after       time.Duration
		want        string
		next        time.Duration // 0: none
	}{
		{"nothing", "eu:90 us:10 ap", nil, 0, "eu:90 us:10 | ap", 0},
		{"a weight", "eu:90 us:10 ap", []*spec.Override{at("us", to(30, 0))}, 0, "eu:90 us:30 | ap", 0},
		{"later", "eu:90 us:10", []*spec.Override{at("us", to(30, 0))}, -time.Minute, "eu:90 us:10", time.Nanosecond},
		{"0 stands behind", "eu:90 us:10 ap", []*spec.Override{at("eu", to(0, 0))}, 0, "us:10 | eu | ap", 0},
		{"all 0 are a failover", "eu:90 us:10", []*spec.Override{at("eu", to(0, 0)), at("us", to(0, 0))}, 0, "eu | us", 0},
		{"of a failover: the first by itself", "eu us", []*spec.Override{at("eu", to(9, 0))}, 0, "eu:9 | us", 0},
		{"of a failover: both", "eu us ap", []*spec.Override{at("eu", to(90, 0)), at("us", to(10, 0))}, 0, "eu:90 us:10 | ap", 0},
		{"of a failover: the others", "eu us ap", []*spec.Override{at("ap", to(90, 0)), at("us", to(10, 0))}, 0, "eu | us:10 ap:90", 0},
		{"beside a split", "eu us:70 ap:30", []*spec.Override{at("eu", to(100, 0))}, 0, "eu:100 us:70 ap:30", 0},
		{"its first step", "eu:90 us:10", []*spec.Override{at("us", to(60, over))}, 0, "eu:45000 us:5000", over / 30},
		{"half way", "eu:90 us:10", []*spec.Override{at("us", to(60, over))}, over / 2, "eu:37500 us:12500", over * 16 / 30},
		{"its end", "eu:90 us:10", []*spec.Override{at("us", to(60, over))}, over, "eu:90 us:60", 0},
		{"of a failover, at its beginning", "eu us", []*spec.Override{at("eu", to(90, over)), at("us", to(10, over))}, 0, "eu:50000 | us",
			over / 10},
		{"of a failover, on its way", "eu us", []*spec.Override{at("eu", to(90, over)), at("us", to(10, over))}, over / 2,
			"eu:47500 us:2500", over * 6 / 10},
		{"to 0", "eu:50 us:50", []*spec.Override{at("eu", to(0, over))}, over / 2, "eu:12500 us:37500", over * 26 / 50},
		{"in a split", "ap [eu:90 us:10]", []*spec.Override{at("us", to(30, 0))}, 0, "ap | split(eu:90, us:30)", 0},
		{"0 in a split", "[eu:90 us:10 sg:5] ap", []*spec.Override{at("us", to(0, 0))}, 0, "split(eu:90, sg:5) | us | ap", 0},
		{"all but one 0 in a split", "[eu:90 us:10] ap", []*spec.Override{at("us", to(0, 0))}, 0, "eu | us | ap", 0},
		{"in a split, on its way", "[eu:90 us:10]", []*spec.Override{at("us", to(60, over))}, over / 2, "split(eu:37500, us:12500)",
			over * 16 / 30},
		{"beside a split, on its way", "eu us:70 ap:30", []*spec.Override{at("eu", to(100, over))}, over / 2,
			"eu:37500 us:8750 ap:3750", over * 26 / 50},
	} {
		t.Run(c.name, func(t *testing.T) {
			declared := refs(c.pools)
			before := ruleText(declared)
			got, next := Rule(declared, c.overrides, noon.Add(c.after))
			if text := ruleText(got); text != c.want {
				t.Errorf("%s, want %s", text, c.want)
			}
			want := time.Time{}
			if c.next == time.Nanosecond {
				want = noon
			} else if c.next != 0 {
				want = noon.Add(c.next)
			}
			if d := next.Sub(want); d < 0 || d > time.Microsecond {
				t.Errorf("next at %v, want %v", next, want)
			}
			if ruleText(declared) != before {
				t.Error("what was declared is another now")
			}
		})
	}
}

// TestRulesLoseNoPool, whatever overrides there are and whenever it is; weights that are on their way move by at most one of a hundred
// answers at a time, and what is compiled when it changes is what is compiled at any time in between.
func TestRulesLoseNoPool(t *testing.T) {
	rnd := gtmtest.Random(t)
	for range 40 {
		var declared []spec.Target
		pools := 1 + rnd.IntN(5)
		for i := range pools {
			declared = append(declared, spec.Target{Pool: string(rune('a' + i)), Weight: rnd.IntN(3) * rnd.IntN(100)})
		}
		all := slices.Clone(declared)
		if rnd.IntN(2) == 0 && pools > 2 { // some of them are a split
			split := spec.Target{Steering: &spec.Steering{Split: slices.Clone(declared[:2])}}
			for i := range split.Split {
				split.Split[i].Weight = 1 + rnd.IntN(100)
			}
			declared = append([]spec.Target{split}, declared[2:]...)
		}
		ramp := to(0, time.Duration(1+rnd.IntN(100))*time.Minute)
		var overrides []*spec.Override
		for _, p := range all {
			if o := randomOverride(rnd, ramp.Over); rnd.IntN(2) == 0 {
				o.Service, o.Rule, o.Pool = "web", "1", p.Pool
				overrides = append(overrides, o)
			}
		}
		times, _ := follow(t, func(now time.Time) ([]float64, time.Time) {
			got, next := Rule(declared, overrides, now)
			names := map[string]int{}
			n := 0
			for _, p := range got {
				for _, e := range append(slices.Clone(p.More().Split), p) {
					if e.Pool != "" {
						names[e.Pool]++
						n++
					}
				}
			}
			if len(names) != pools || n != pools {
				t.Fatalf("%v of %v", got, declared)
			}
			return nil, bounded(next)
		})
		for i := range len(times) - 1 {
			between := times[i].Add(time.Duration(rnd.Int64N(int64(times[i+1].Sub(times[i])))))
			a, _ := Rule(declared, overrides, times[i])
			if b, next := Rule(declared, overrides, between); ruleText(a) != ruleText(b) || !next.Equal(times[i+1]) {
				t.Fatalf("%v at %v, %v at %v, the next at %v", a, times[i], b, between, next)
			}
		}
	}
}

// bounded leaves out what comes later than in a day, as recurrences do.
func bounded(next time.Time) time.Time {
	if next.Sub(noon) > 24*time.Hour {
		return time.Time{}
	}
	return next
}

func randomOverride(rnd *rand.Rand, over spec.Duration) *spec.Override {
	o := &spec.Override{Pool: "eu", Reason: "test", Weight: &spec.Ramp{To: rnd.IntN(3) * rnd.IntN(1000)}}
	if rnd.IntN(2) == 0 {
		o.Weight.Over = over
	}
	if rnd.IntN(4) == 0 {
		from := rnd.Float64() * 100
		o.Weight.From = &from
	}
	switch rnd.IntN(3) {
	case 0:
		o.Starts = spec.TimeAt(noon.Add(time.Duration(rnd.IntN(100)) * time.Minute))
	case 1:
		o.Schedule = &spec.Schedule{Cron: fmt.Sprintf("%d */3 * * *", rnd.IntN(60)), For: spec.Duration(2 * time.Hour)}
	}
	if rnd.IntN(2) == 0 {
		o.Expires = spec.TimeAt(noon.Add(2 * time.Hour))
	}
	return o
}

// TestRandomRamps: what a pool gives when it says that it changes is what it gives until it does so again, and no share is negative, more
// than all, or no number.
func TestRandomRamps(t *testing.T) {
	rnd := gtmtest.Random(t)
	for range 40 {
		weights := make([]int, 1+rnd.IntN(5))
		for i := range weights {
			weights[i] = rnd.IntN(3) * rnd.IntN(100)
		}
		declared := pool("", weights...)
		var overrides []*spec.Override
		for i := range weights {
			if o := randomOverride(rnd, spec.Duration(time.Duration(1+rnd.IntN(100))*time.Minute)); rnd.IntN(2) == 0 {
				o.Endpoint = string(rune('a' + i))
				if rnd.IntN(4) == 0 {
					o.State, o.Weight.To = "drain", 0
				}
				overrides = append(overrides, o)
			}
		}
		times, all := follow(t, func(now time.Time) ([]float64, time.Time) {
			p := NewPool(id, declared, nil, overrides, now)
			return sharesOf(p), bounded(p.Next)
		})
		for i, shares := range all {
			for e, share := range shares {
				if !(share >= 0 && share <= 1+1e-9) {
					t.Fatalf("endpoint %d has %v at %v: %v %v", e, share, times[i], weights, overrides)
				}
			}
			if i+1 == len(all) {
				continue
			}
			between := times[i].Add(time.Duration(rnd.Int64N(int64(times[i+1].Sub(times[i])))))
			if again := sharesOf(NewPool(id, declared, nil, overrides, between)); furthest(shares, again) > 0 {
				t.Fatalf("%v at %v, %v at %v", shares, times[i], again, between)
			}
		}
	}
}
