package steer

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

var (
	noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	id   = health.PoolID{Tenant: "shop", Pool: "eu"}
)

func weight(w int) *int { return &w }

func pool(minHealthy string, weights ...int) *spec.Pool {
	p := &spec.Pool{MinHealthy: minHealthy}
	for i, w := range weights {
		p.Endpoints = append(p.Endpoints, spec.Endpoint{Name: string(rune('a' + i)), Weight: weight(w),
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})}})
	}
	return p
}

// findings reads "a=0.5 b=0": scores by endpoint; "?" is unknown.
func findings(text string) *health.Verdict {
	if text == "" {
		return nil
	}
	v := &health.Verdict{Pool: id, Endpoints: map[string]health.Finding{}}
	for _, f := range strings.Fields(text) {
		name, score, _ := strings.Cut(f, "=")
		switch score {
		case "?":
			v.Endpoints[name] = health.Finding{State: health.Unknown}
		case "0":
			v.Endpoints[name] = health.Finding{State: health.Down, Reason: "status 503"}
		default:
			var s float64
			fmt.Sscan(score, &s)
			v.Endpoints[name] = health.Finding{State: health.Up, Score: s}
		}
	}
	return v
}

func TestPool(t *testing.T) {
	for _, tc := range []struct {
		name       string
		minHealthy string
		weights    []int
		verdict    string
		up         bool
		effective  []float64
		out        string // of endpoint a
	}{
		{"no verdict answers", "", []int{3, 1}, "", true, []float64{3, 1}, ""},
		{"unknown answers", "50%", []int{3, 1}, "a=? b=?", true, []float64{3, 1}, ""},
		{"score multiplies", "", []int{4, 1}, "a=0.5 b=1", true, []float64{2, 1}, ""},
		{"one down", "", []int{3, 1}, "a=0 b=1", true, []float64{0, 1}, "down: status 503"},
		{"all down", "", []int{3, 1}, "a=0 b=0", false, []float64{0, 0}, "down: status 503"},
		{"half is enough for 50%", "50%", []int{3, 1}, "a=0 b=1", true, []float64{0, 1}, "down: status 503"},
		{"one of three is below 50%", "50%", []int{1, 1, 1}, "a=0 b=0 c=1", false, []float64{0, 0, 1}, "down: status 503"},
		{"a share is rounded up", "34%", []int{1, 1, 1}, "a=0 b=0 c=1", false, []float64{0, 0, 1}, "down: status 503"},
		{"a number", "2", []int{1, 1, 1}, "a=0 b=1 c=1", true, []float64{0, 1, 1}, "down: status 503"},
		{"weight 0 does not count", "100%", []int{0, 1}, "a=0 b=1", true, []float64{0, 1}, "weight 0"},
		{"only weight 0", "", []int{0}, "a=1", false, []float64{0}, "weight 0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := NewPool(id, pool(tc.minHealthy, tc.weights...), findings(tc.verdict), nil, noon)
			if p.Up != tc.up {
				t.Errorf("up %v, want %v (%s)", p.Up, tc.up, p.Why)
			}
			for i, want := range tc.effective {
				if got := p.Candidates[i].Effective; got != want {
					t.Errorf("endpoint %d: effective %v, want %v", i, got, want)
				}
			}
			if got := p.Candidates[0].Out; got != tc.out {
				t.Errorf("out %q, want %q", got, tc.out)
			}
		})
	}
}

func TestDrainedEndpointsDoNotCountAsUnhealthy(t *testing.T) {
	o := &spec.Override{Pool: "eu", Endpoint: "a", State: "drain", Reason: "deploy", Expires: spec.TimeOf("2026-11-23T13:00:00Z")}
	p := NewPool(id, pool("100%", 3, 1), findings("a=1 b=1"), []*spec.Override{o}, noon)
	if !p.Up || p.Candidates[0].Effective != 0 || p.Candidates[0].Out != "drained: deploy" {
		t.Errorf("%+v", p)
	}
	if want := noon.Add(time.Hour); !p.Next.Equal(want) {
		t.Errorf("next change %v, want %v", p.Next, want)
	}
	if p := NewPool(id, pool("100%", 3, 1), nil, []*spec.Override{o}, noon.Add(time.Hour)); p.Candidates[0].Effective != 3 ||
		!p.Next.IsZero() {
		t.Errorf("an override that has ended still holds: %+v", p)
	}
}

// TestDrainedEndpointsCountNeitherWay: a dead one that is drained does not take the pool down, and one that is well does not keep it up.
func TestDrainedEndpointsCountNeitherWay(t *testing.T) {
	drained := []*spec.Override{{Pool: "eu", Endpoint: "a", State: "drain", Reason: "deploy"}}
	for _, tc := range []struct {
		verdict, min string
		up           bool
		why          string
	}{
		{"a=0 b=1", "100%", true, "1 of 1 endpoints healthy"},
		{"a=1 b=0", "1", false, "0 of 1 endpoints healthy, 1 needed"},
		{"a=? b=0", "", false, "0 of 1 endpoints healthy, 1 needed"},
	} {
		if p := NewPool(id, pool(tc.min, 3, 1), findings(tc.verdict), drained, noon); p.Up != tc.up || p.Why != tc.why {
			t.Errorf("%s: up %v, %q; want %v, %q", tc.verdict, p.Up, p.Why, tc.up, tc.why)
		}
	}
}

func TestOverridesKeepTheMeasuredStateApart(t *testing.T) {
	up := []*spec.Override{{Pool: "eu", Endpoint: "a", State: "up", Reason: "probe is wrong"}}
	if p := NewPool(id, pool("", 3, 1), findings("a=0 b=0"), up, noon); !p.Up || p.Candidates[0].Effective != 3 ||
		p.Candidates[1].Effective != 0 {
		t.Errorf("forced up: %+v", p)
	}
	down := []*spec.Override{{Pool: "eu", State: "down", Reason: "site is closed"}}
	if p := NewPool(id, pool("", 3, 1), findings("a=1 b=1"), down, noon); p.Up || p.Candidates[1].Out != "down: override: site is closed" {
		t.Errorf("forced down: %+v", p)
	}
}

// TestWhyAnEndpointThatIsUpIsNotAsItShouldBe: its score has a cause, and silence is told; a person's word needs neither.
func TestWhyAnEndpointThatIsUpIsNotAsItShouldBe(t *testing.T) {
	v := findings("a=0.85 b=0")
	v.Endpoints["a"] = health.Finding{State: health.Up, Score: 0.85, Reason: "not checked: no signal since 9"}
	p := NewPool(id, pool("", 3, 1), v, nil, noon)
	if p.Candidates[0].Note != "not checked: no signal since 9" || p.Candidates[1].Note != "" {
		t.Errorf("%+v", p.Candidates)
	}
	up := []*spec.Override{{Pool: "eu", Endpoint: "a", State: "up", Reason: "seen"}}
	if p := NewPool(id, pool("", 3, 1), v, up, noon); p.Candidates[0].Note != "" {
		t.Errorf("by hand: %+v", p.Candidates[0])
	}
}

// TestTheEndpointsOverrideWins over its pool's, in whatever order they come.
func TestTheEndpointsOverrideWins(t *testing.T) {
	whole := &spec.Override{Pool: "eu", State: "down", Weight: &spec.Ramp{To: 7}, Reason: "closed"}
	one := &spec.Override{Pool: "eu", Endpoint: "b", State: "up", Weight: &spec.Ramp{To: 2}, Reason: "but b"}
	for _, order := range [][]*spec.Override{{whole, one}, {one, whole}} {
		p := NewPool(id, pool("", 3, 1), findings("a=1 b=1"), order, noon)
		if a, b := p.Candidates[0], p.Candidates[1]; a.Out != "down: override: closed" || b.Out != "" || b.Effective != 2 {
			t.Errorf("first %q: %+v", order[0].Reason, p.Candidates)
		}
	}
}

// TestADrainOfThePoolHolds beside an endpoint's own override, and keeps its reason.
func TestADrainOfThePoolHolds(t *testing.T) {
	both := []*spec.Override{{Pool: "eu", Endpoint: "a", State: "up", Reason: "probe is wrong"},
		{Pool: "eu", State: "drain", Reason: "move"}}
	if c := NewPool(id, pool("", 3, 1), nil, both, noon).Candidates[0]; !c.Drained || c.Out != "drained: move" {
		t.Errorf("%+v", c)
	}
}

// TestWhatTheBrakeHoldsIsTold, and only while the brake holds it.
func TestWhatTheBrakeHoldsIsTold(t *testing.T) {
	const reason = "held by the brake: status 503"
	for _, tc := range []struct {
		name      string
		frozen    bool
		state     health.State
		overrides []*spec.Override
		want      string
	}{
		{"held up", true, health.Up, nil, reason},
		{"held unknown", true, health.Unknown, nil, reason},
		{"let go", false, health.Up, nil, ""},
		{"in an operator's hands", true, health.Up, []*spec.Override{{Pool: "eu", Endpoint: "a", State: "down", Reason: "r"}}, ""},
		{"another weight", true, health.Up, []*spec.Override{{Pool: "eu", Endpoint: "a", Weight: &spec.Ramp{To: 1}, Reason: "r"}}, reason},
	} {
		v := &health.Verdict{Pool: id, Frozen: tc.frozen,
			Endpoints: map[string]health.Finding{"a": {State: tc.state, Score: 1, Reason: reason}}}
		if got := NewPool(id, pool("", 3, 1), v, tc.overrides, noon).Candidates[0].Held; got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func itemsOf(weights ...float64) []Item {
	var items []Item
	for i, w := range weights {
		items = append(items, Item{ID: NameID(fmt.Sprintf("endpoint-%d", i)), Index: i, Weight: w})
	}
	return items
}

// shares gives how often each item is named per answer, by the choice's own weights.
func shares(c Choice, n int) []float64 {
	out, total := make([]float64, n), 0.0
	if c.Table != nil {
		return c.Table.Shares()
	}
	for _, w := range c.Weights {
		total += w
	}
	for s, set := range c.Sets {
		for _, i := range set {
			out[i] += c.Weights[s] / total
		}
	}
	return out
}

func TestWeightedSharesFollowTheWeights(t *testing.T) {
	for _, weights := range [][]float64{{3, 1}, {1, 1, 1}, {5, 3, 2, 1, 1}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, {0.25, 3, 1.5}} {
		for n := 1; n <= len(weights); n++ {
			c := Weighted(itemsOf(weights...), n)
			if len(c.Sets) > MaxSets {
				t.Errorf("%v n=%d: %d sets", weights, n, len(c.Sets))
			}
			for _, set := range c.Sets {
				sorted := slices.Sorted(slices.Values(set))
				if len(set) != n || len(slices.Compact(sorted)) != n {
					t.Fatalf("%v n=%d: set %v", weights, n, set)
				}
			}
			want := inclusion(itemsOf(weights...), n)
			for i, got := range shares(c, len(weights)) {
				if math.Abs(got-want[i]) > 1e-6 {
					t.Errorf("%v n=%d: item %d is in %.4f of the answers, want %.4f", weights, n, i, got, want[i])
				}
			}
		}
	}
}

// TestWeightedComeFirstByWeight: the order of a set was left to chance, and where an answer named all there was one, in which the last
// never came first.
func TestWeightedComeFirstByWeight(t *testing.T) {
	for _, weights := range [][]float64{{1, 1}, {3, 1}, {1, 1, 1, 1}, {10, 1, 1, 1}, {5, 3, 2, 1, 1},
		{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, slices.Repeat([]float64{1}, 80)} {
		total := 0.0
		for _, w := range weights {
			total += w
		}
		items := itemsOf(weights...)
		choices := map[string]Choice{"rotated": Rotated(items[:min(len(items), MaxSets)])}
		for _, n := range []int{2, 3, 4, 5, 10, 12} {
			choices[fmt.Sprint(n)] = Weighted(items, n)
		}
		if len(items) > MaxSets {
			delete(choices, "rotated")
		}
		for name, c := range choices {
			first, sum := make([]float64, len(weights)), 0.0
			for s, set := range c.Sets {
				first[set[0]] += c.Weights[s]
				sum += c.Weights[s]
			}
			slack := 1 / float64(max(MaxSets, len(weights)))
			if len(c.Sets[0]) == len(weights) {
				slack = 1e-9
			}
			for i, w := range weights {
				if got, want := first[i]/sum, w/total; math.Abs(got-want) > slack {
					t.Errorf("%s of %v: item %d comes first with share %.4f, want %.4f", name, weights, i, got, want)
				}
			}
		}
	}
	if c := Rotated(crowd(MaxSets)); len(c.Sets) != MaxSets {
		t.Errorf("%d sets of %d items", len(c.Sets), MaxSets)
	}
	if c := Rotated(crowd(MaxSets + 1)); len(c.Sets) != 1 || len(c.Sets[0]) != MaxSets+1 {
		t.Errorf("%d sets of what no datagram holds", len(c.Sets))
	}
}

// TestManyEndpointsAreAllNamed: with 64 sets of two, 72 of 200 endpoints were never named.
func TestManyEndpointsAreAllNamed(t *testing.T) {
	weights := make([]float64, 200)
	for i := range weights {
		weights[i] = float64(1 + i%5)
	}
	c := Weighted(itemsOf(weights...), 2)
	if len(c.Sets) > len(weights)+1 {
		t.Errorf("%d sets", len(c.Sets))
	}
	want := inclusion(itemsOf(weights...), 2)
	for i, got := range shares(c, len(weights)) {
		if math.Abs(got-want[i]) > 1e-6 {
			t.Errorf("item %d: %.5f, want %.5f", i, got, want[i])
		}
	}
}

func TestStickySharesAreWithinOnePoint(t *testing.T) {
	for _, weights := range [][]float64{{3, 1}, {1, 1}, {5, 3, 2, 1, 1}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}} {
		total := 0.0
		for _, w := range weights {
			total += w
		}
		for i, got := range shares(Sticky(itemsOf(weights...), 1), len(weights)) {
			if math.Abs(got-weights[i]/total) > 0.01 {
				t.Errorf("%v: item %d has %.4f, want %.4f", weights, i, got, weights[i]/total)
			}
		}
	}
}

// TestStickyMovesOnlyTheShareOfWhatChanged removes, adds and weighs an endpoint and looks at each bucket.
func TestStickyMovesOnlyTheShareOfWhatChanged(t *testing.T) {
	items := itemsOf(3, 1, 2, 2)
	before := Sticky(items, 1)
	owner := func(c Choice, b int) int { return c.Sets[c.Table.Set(uint64(b))][0] }
	without := Sticky(slices.Delete(slices.Clone(items), 2, 3), 1)
	for b := range Buckets {
		if was := owner(before, b); was != 2 && owner(without, b) != was {
			t.Fatalf("bucket %d moved from %d to %d, though endpoint 2 left", b, was, owner(without, b))
		}
	}
	heavier := slices.Clone(items)
	heavier[1].Weight = 2
	more := Sticky(heavier, 1)
	for b := range Buckets {
		if was, is := owner(before, b), owner(more, b); was != is && is != 1 {
			t.Fatalf("bucket %d moved from %d to %d, though only endpoint 1 gained weight", b, was, is)
		}
	}
}

// TestWordsCountWhatWasSeen: endpoints that nobody has checked, and those that the brake holds, counted as healthy in words.
func TestWordsCountWhatWasSeen(t *testing.T) {
	held := findings("a=1 b=0 c=?")
	held.Frozen = true
	held.Endpoints["a"] = health.Finding{State: health.Up, Score: 1, Reason: "held by the brake: status 503"}
	byHand := []*spec.Override{{Pool: "eu", Endpoint: "a", State: "up", Reason: "seen by eye"}}
	for _, tc := range []struct {
		what, min string
		verdict   *health.Verdict
		overrides []*spec.Override
		monitor   string
		up        bool
		why       string
	}{
		{"all seen", "", findings("a=1 b=1 c=0.5 d=0"), nil, "m", true, "3 of 4 endpoints healthy"},
		{"none checked yet", "", nil, nil, "m", true, "0 of 4 endpoints healthy, 4 never checked"},
		{"some never checked", "", findings("a=1 b=0 c=?"), nil, "m", true, "1 of 4 endpoints healthy, 2 never checked"},
		{"some held", "", held, nil, "m", true, "0 of 4 endpoints healthy, 2 never checked, 1 held by the brake"},
		{"held and unchecked ones answer, so that they are enough", "3", held, nil, "m", true,
			"0 of 4 endpoints healthy, 2 never checked, 1 held by the brake"},
		{"too few, even so", "100%", findings("a=1 b=0 c=?"), nil, "m", false, "1 of 4 endpoints healthy, 2 never checked, 4 needed"},
		{"all down", "", findings("a=0 b=0 c=0 d=0"), nil, "m", false, "0 of 4 endpoints healthy, 1 needed"},
		{"by an operator", "", nil, byHand, "m", true, "1 of 4 endpoints healthy, 3 never checked"},
		{"no monitor", "", nil, nil, "", true, "4 endpoints, not monitored"},
		{"no monitor, but an operator", "", nil, byHand, "", true, "1 of 4 endpoints healthy, 3 not monitored"},
	} {
		declared := pool(tc.min, 1, 1, 1, 1)
		declared.Monitor = tc.monitor
		if p := NewPool(id, declared, tc.verdict, tc.overrides, noon); p.Why != tc.why || p.Up != tc.up {
			t.Errorf("%s: up %v, %q; want %v, %q", tc.what, p.Up, p.Why, tc.up, tc.why)
		}
	}
}

// TestFindingsFollowAddresses: an edge that hears of swapped addresses before the judge's word on them, or after it, names no dead one.
func TestFindingsFollowAddresses(t *testing.T) {
	const dead, well = "192.0.2.1", "192.0.2.2"
	declared, swapped := pool("", 1, 1), pool("", 1, 1)
	swapped.Endpoints[0].Addresses, swapped.Endpoints[1].Addresses = declared.Endpoints[1].Addresses, declared.Endpoints[0].Addresses
	verdict := func(deadAt, wellAt string) *health.Verdict {
		return &health.Verdict{Pool: id, Endpoints: map[string]health.Finding{
			deadAt: {State: health.Down, Of: dead}, wellAt: {State: health.Up, Score: 1, Of: well}}}
	}
	for _, tc := range []struct {
		what string
		p    *spec.Pool
		v    *health.Verdict
		a, b health.State
	}{
		{"before", declared, verdict("a", "b"), health.Down, health.Up},
		{"the configuration first", swapped, verdict("a", "b"), health.Up, health.Down},
		{"the verdict first", declared, verdict("b", "a"), health.Down, health.Up},
		{"after", swapped, verdict("b", "a"), health.Up, health.Down},
		{"renamed", swapped, verdict("x", "y"), health.Up, health.Down},
	} {
		c := NewPool(id, tc.p, tc.v, nil, noon).Candidates
		if c[0].State != tc.a || c[1].State != tc.b || Known(tc.v, &tc.p.Endpoints[0]).State != tc.a {
			t.Errorf("%s: a %s, b %s; want %s and %s", tc.what, c[0].State, c[1].State, tc.a, tc.b)
		}
	}
	moved := pool("", 1, 1)
	moved.Endpoints[0].Addresses = []netip.Addr{netip.MustParseAddr("203.0.113.9")}
	if c := NewPool(id, moved, verdict("a", "b"), nil, noon).Candidates; c[0].State != health.Unknown || c[0].Effective != 1 {
		t.Errorf("an address that nobody has checked: %+v", c[0])
	}
	older := findings("a=0 b=1")
	if c := NewPool(id, moved, older, nil, noon).Candidates; c[0].State != health.Down {
		t.Errorf("a verdict of an older judge goes by name: %+v", c[0])
	}
}

// A pool without endpoints says why: what was found may have gone, or not be meant to count.
func TestNoneFound(t *testing.T) {
	for mode, want := range map[string]string{
		"":               "none of its sources has an endpoint",
		spec.ModeObserve: "its sources are only observed, and it declares no endpoint",
		spec.ModeOff:     "its sources are off, and it declares no endpoint",
	} {
		p := &spec.Pool{Discover: []spec.Source{{Name: "fleet", Pushed: true}}, Modes: &spec.PoolModes{Discover: mode}}
		if got := NewPool(id, p, nil, nil, noon); got.Up || got.Why != want {
			t.Errorf("%q: up %v: %s", mode, got.Up, got.Why)
		}
	}
}
