package health

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/gtmtest"
)

// answers names the endpoints that a client of the rule gets: those that are up of the first pool that has any, or else all of the
// first. It is the plain form of what pkg/steer and pkg/table do.
func (x *tenant) answers(rule []string) (named []string) {
	for _, pool := range rule {
		for e := range x.pools[PoolID{"shop", pool}] {
			if key := fmt.Sprint(pool, "/e", e); x.verdicts[PoolID{"shop", pool}].Endpoints[fmt.Sprint("e", e)].State != Down {
				named = append(named, key)
			}
		}
		if len(named) > 0 {
			return named
		}
	}
	for e := range x.pools[PoolID{"shop", rule[0]}] {
		named = append(named, fmt.Sprint(rule[0], "/e", e))
	}
	return named
}

func endpointsOf(pool string, n int) (names []string) {
	for e := range n {
		names = append(names, fmt.Sprint(pool, "/e", e))
	}
	return names
}

// dead tells which of the named fail while others, of all the rule's pools, do not.
func (x *tenant) dead(rule, named []string) (dead []string) {
	living := false
	for _, pool := range rule {
		for _, e := range endpointsOf(pool, x.pools[PoolID{"shop", pool}]) {
			living = living || x.evidence[e] != Down
		}
	}
	for _, e := range named {
		if living && x.evidence[e] == Down {
			dead = append(dead, e)
		}
	}
	return dead
}

// A primary that dies fails over to a backup of any size, whether all of it dies at once or one endpoint a second, and recovers.
// Before, nothing went down, or the last endpoint was held up and got every client.
func TestBrakeLetsAPrimaryFailOver(t *testing.T) {
	for _, sizes := range [][2]int{{4, 1}, {4, 2}, {4, 3}, {5, 3}, {10, 2}, {4, 4}, {40, 1}} {
		for _, atOnce := range []bool{true, false} {
			name := fmt.Sprintf("%d+%d at once %v", sizes[0], sizes[1], atOnce)
			x := newTenant(sizes[0], sizes[1])
			x.rules = [][]string{{"p0", "p1"}, {"p1", "p0"}}
			x.judge(at(1))
			step := func(now time.Time, endpoints ...string) {
				x.set(now, Down, endpoints...)
				if dead := x.dead(x.rules[0], x.answers(x.rules[0])); len(dead) > 0 || x.tally.Frozen {
					t.Errorf("%s: after %v answers name %v, frozen %v", name, endpoints, dead, x.tally.Frozen)
				}
			}
			primary := endpointsOf("p0", sizes[0])
			if atOnce {
				step(at(10), primary...)
			}
			for i, e := range primary {
				step(at(10+i), e)
			}
			if got, want := x.answers(x.rules[0]), endpointsOf("p1", sizes[1]); !slices.Equal(got, want) {
				t.Errorf("%s: answers name %v, want %v", name, got, want)
			}
			x.set(at(100), Up, primary...)
			if got := x.answers(x.rules[0]); !slices.Equal(got, primary) {
				t.Errorf("%s: recovered, answers name %v", name, got)
			}
		}
	}
}

// A pool alone that dies is answered as if all of it were up, and never its last endpoint alone.
func TestBrakeSpreadsOverThePool(t *testing.T) {
	for _, atOnce := range []bool{true, false} {
		x := newTenant(4)
		all := endpointsOf("p0", 4)
		if atOnce {
			x.set(at(10), Down, all...)
		}
		for i, e := range all {
			x.set(at(10+i), Down, e)
		}
		x.want(t, "all dead", true)
		v := x.verdicts[PoolID{"shop", "p0"}]
		for name, f := range v.Endpoints {
			if f.State != Up || f.Score != 1 || f.Held() != "held by the brake: refused" {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if want := "4 of 4 endpoints that were up failed within 1m, and rule own has no other pool; v alone says so"; v.Cause != want {
			t.Errorf("cause %q, want %q", v.Cause, want)
		}
		x.set(at(20), Up, "p0/e2")
		x.want(t, "one recovers: the others may", true)
		x.judge(at(80))
		x.want(t, "three are fewer than four", false, "p0/e0", "p0/e1", "p0/e3")
	}
}

// B1: a new pool whose monitor is wrong says nothing of how many failed: it freezes nobody, and others fail over.
func TestBrakeIsNotForWhatWasNeverUp(t *testing.T) {
	x := newTenant(2, 2)
	x.rules = [][]string{{"p0", "p1"}, {"p2"}}
	x.pools[PoolID{"shop", "p2"}] = 8
	for _, e := range endpointsOf("p2", 8) {
		x.evidence[e] = Unknown
	}
	x.judge(at(1))
	wrong := endpointsOf("p2", 8)
	x.set(at(2), Down, wrong...)
	x.want(t, "never up", false, wrong...)
	if x.tally.Total != 4 || x.tally.Failing != 0 {
		t.Errorf("they count: %+v", x.tally)
	}
	x.verdicts = viaJSON(t, x.verdicts) // a new judge knows it too
	x.set(at(3), Down, "p0/e0", "p0/e1")
	x.want(t, "another pool fails over", false, append([]string{"p0/e0", "p0/e1"}, wrong...)...)
	if x.tally.Total != 4 || x.tally.Failing != 2 {
		t.Errorf("they count afterwards: %+v", x.tally)
	}
	x.set(at(4), Up, wrong...)
	x.set(at(5), Down, wrong[:6]...)
	x.want(t, "once they were up, they count", true, "p0/e0", "p0/e1")
}

// B3: who is a refuge. p0 has four endpoints that die at 10, and p1 is its backup.
func TestBrakeRefuge(t *testing.T) {
	for _, tc := range []struct {
		what   string
		backup int
		before func(x *tenant) // at 5
		held   bool
	}{
		{"healthy", 2, func(*tenant) {}, false},
		{"one of three lost", 3, func(x *tenant) { x.evidence["p1/e0"] = Down }, false},
		{"half lost", 2, func(x *tenant) { x.evidence["p1/e0"] = Down }, false},
		{"more than half lost", 3, func(x *tenant) { x.evidence["p1/e0"], x.evidence["p1/e1"] = Down, Down }, true},
		{"unknown", 2, func(x *tenant) { delete(x.verdicts, PoolID{"shop", "p1"}); x.unknown("p1", 2) }, true},
		{"in an operator's hands: down", 2, func(x *tenant) { x.exempt["p1/e0"], x.exempt["p1/e1"] = true, true }, true},
		{"half in an operator's hands", 2, func(x *tenant) { x.exempt["p1/e0"] = true }, false},
		{"another rule has no other pool: the same answers", 2, func(x *tenant) { x.rules = append(x.rules, []string{"p0"}) }, false},
		{"another rule has no other pool, and refuses", 2, func(x *tenant) {
			x.rules, x.refuses = append(x.rules, []string{"p0"}), map[int]bool{1: true}
		}, true},
		{"another rule has another pool, which is down: the same answers", 2, func(x *tenant) {
			x.rules = append(x.rules, []string{"p0", "p2"})
			x.evidence["p2/e0"] = Down
		}, false},
		{"another rule has another pool, of which nobody knows", 2, func(x *tenant) {
			x.rules = append(x.rules, []string{"p0", "p2"})
			delete(x.verdicts, PoolID{"shop", "p2"})
			x.unknown("p2", 1)
		}, true},
		{"no rule names it", 2, func(x *tenant) { x.rules = [][]string{{"p1"}} }, false},
		{"a third pool is there", 2, func(x *tenant) { x.rules[0] = append(x.rules[0], "p2"); x.evidence["p1/e0"] = Down }, false},
	} {
		x := newTenant(4, tc.backup, 1)
		x.rules = [][]string{{"p0", "p1"}}
		x.judge(at(1))
		tc.before(x)
		x.judge(at(5))
		x.set(at(10), Down, endpointsOf("p0", 4)...)
		if frozen := x.verdicts[PoolID{"shop", "p0"}].Frozen; frozen != tc.held {
			t.Errorf("%s: frozen %v (%+v)", tc.what, frozen, x.verdicts)
		}
		if cause := x.verdicts[PoolID{"shop", "p0"}].Cause; tc.held != strings.Contains(cause, " endpoints that were up failed within 1m") {
			t.Errorf("%s: cause %q", tc.what, cause)
		}
	}
}

func (x *tenant) unknown(pool string, n int) {
	for _, e := range endpointsOf(pool, n) {
		x.evidence[e] = Unknown
	}
}

// minHealthy of the backup counts, and an operator's word is as good as votes.
func TestBrakeRefugeNeedsAndWords(t *testing.T) {
	a, b := PoolID{"shop", "a"}, PoolID{"shop", "b"}
	failing := Verdict{Pool: a, Endpoints: map[string]Finding{}}
	was := Verdict{Pool: a, Endpoints: map[string]Finding{}}
	for _, e := range []string{"1", "2", "3", "4"} {
		was.Endpoints[e], failing.Endpoints[e] = Finding{State: Up, Score: 1}, Finding{State: Down}
	}
	up := Verdict{Pool: b, Endpoints: map[string]Finding{"1": {State: Up, Score: 1}, "2": {State: Up, Score: 1},
		"3": {State: Up, Score: 1}},
		Unvoted: map[string]bool{"3": true}}
	nobody := map[string]bool{"1": true, "2": true, "3": true}
	rows := []Row{{Name: "rule 1", Pools: []PoolID{a, b}}}
	for _, tc := range []struct {
		what    string
		b       Declared
		unvoted map[string]bool
		held    bool
	}{
		{"two of three known, one needed", Declared{Size: 3}, up.Unvoted, false},
		{"one of three known, one needed", Declared{Size: 3}, map[string]bool{"2": true, "3": true}, true},
		{"all needed", Declared{Size: 3, Needs: func(n int) int { return n }}, up.Unvoted, true},
		{"all needed, but one takes no clients",
			Declared{Size: 3, Needs: func(n int) int { return n }, Stands: map[string]Stand{"3": Weightless}}, up.Unvoted, false},
		{"all needed, but one is drained", Declared{Size: 3, Needs: func(n int) int { return n }, Stands: map[string]Stand{"3": Drained}},
			up.Unvoted, false},
		{"nobody votes: a silent vantage", Declared{Size: 3}, nobody, true},
		{"an operator says up", Declared{Size: 3, Stands: map[string]Stand{"1": SaidUp, "2": SaidUp, "3": SaidUp}}, nobody, false},
		{"an operator says down", Declared{Size: 3, Stands: map[string]Stand{"1": SaidDown, "2": SaidDown, "3": SaidDown}},
			up.Unvoted, true},
		{"drained", Declared{Size: 3, Stands: map[string]Stand{"1": Drained, "2": Drained, "3": Drained}}, up.Unvoted, true},
		{"weight 0", Declared{Size: 3, Stands: map[string]Stand{"1": Weightless, "2": Weightless, "3": Weightless}}, up.Unvoted, true},
	} {
		backup := up
		backup.Unvoted = tc.unvoted
		_, tally := Brake{}.Apply(Docket{Now: at(10), Previous: map[PoolID]Verdict{a: was, b: up},
			Proposed: map[PoolID]Verdict{a: failing, b: backup}, Pools: map[PoolID]Declared{a: {Rows: rows, Size: 4}, b: tc.b}})
		if tally.Frozen != tc.held {
			t.Errorf("%s: frozen %v (%+v)", tc.what, tally.Frozen, tally)
		}
	}
	// A pool without a monitor has no verdict, and is a refuge by an operator's word alone.
	for _, word := range []bool{true, false} {
		stands := map[string]Stand{}
		if word {
			stands["1"] = SaidUp
		}
		_, tally := Brake{}.Apply(Docket{Now: at(10), Previous: map[PoolID]Verdict{a: was}, Proposed: map[PoolID]Verdict{a: failing},
			Pools: map[PoolID]Declared{a: {Rows: rows, Size: 4}, b: {Size: 1, Stands: stands}}})
		if tally.Frozen == word {
			t.Errorf("without a monitor, said up %v: frozen %v", word, tally.Frozen)
		}
	}
}

// When the backup recovers, what is held goes down at once.
func TestBrakeLetsGoWhenARefugeAppears(t *testing.T) {
	x := newTenant(4, 2)
	x.rules = [][]string{{"p0", "p1"}}
	x.set(at(10), Down, append(endpointsOf("p0", 4), endpointsOf("p1", 2)...)...)
	x.want(t, "all dead", true)
	x.set(at(500), Up, "p1/e0", "p1/e1")
	x.want(t, "the backup is back", false, endpointsOf("p0", 4)...)
}

// B5: the only vantage falls silent: what is held stays held, whatever time passes and whoever judges; before, it thawed and was
// forgotten. What it said counts on when a refuge appears.
func TestBrakeRemembersThroughSilence(t *testing.T) {
	x := newTenant(4, 2)
	x.set(at(10), Down, endpointsOf("p0", 4)...)
	x.want(t, "held", true)
	x.silent = true
	for i := range 5 {
		x.verdicts = viaJSON(t, x.verdicts)
		x.judge(at(1000 * (i + 1)))
		x.want(t, "silent", true)
		if got := x.verdicts[PoolID{"shop", "p0"}].Endpoints["e1"].Held(); got != "held by the brake: refused" {
			t.Errorf("reason %q", got)
		}
	}
	x.rules = [][]string{{"p0", "p1"}}
	x.exempt["p1/e0"], x.exempt["p1/e1"] = false, false
	x.judge(at(6000))
	x.want(t, "a backup of which nobody knows is none", true)
	x.silent = false
	x.judge(at(6001))
	x.want(t, "now it is known", false, endpointsOf("p0", 4)...)
	if f := x.verdicts[PoolID{"shop", "p0"}].Endpoints["e1"]; f.Reason != "refused" || f.Score != 0 {
		t.Errorf("%+v", f)
	}
	y := newTenant(4, 2)
	y.set(at(10), Down, endpointsOf("p0", 4)...)
	y.silent = true
	y.release = map[PoolID]bool{{"shop", "p0"}: true}
	y.judge(at(20))
	y.want(t, "released while silent", false, endpointsOf("p0", 4)...)
	if f := y.verdicts[PoolID{"shop", "p0"}].Endpoints["e1"]; f.Reason != "refused" || f.Score != 0 || !f.Since.Equal(at(20)) {
		t.Errorf("%+v", f)
	}
}

// B6: a release lets down what is held, once; it is not taken back, and later failures are the brake's again.
func TestBrakeRelease(t *testing.T) {
	x := newTenant(5, 3)
	p0, p1 := PoolID{"shop", "p0"}, PoolID{"shop", "p1"}
	x.set(at(10), Down, append(endpointsOf("p0", 4), endpointsOf("p1", 2)...)...)
	x.want(t, "held", true)
	x.release = map[PoolID]bool{p0: true}
	x.judge(at(20))
	x.want(t, "one pool is released, the other is held on", true, endpointsOf("p0", 4)...)
	if v := x.verdicts[p0]; v.Frozen || !slices.Equal(v.Released, []string{"e0", "e1", "e2", "e3"}) {
		t.Errorf("%+v", v)
	}
	x.release = nil
	x.verdicts = viaJSON(t, x.verdicts)
	x.set(at(30), Down, "p0/e4")
	x.want(t, "a later failure is held, and takes nothing back", true, endpointsOf("p0", 4)...)
	x.release = map[PoolID]bool{p0: true, p1: true}
	x.set(at(40), Down, "p1/e2")
	x.want(t, "what fails just now is not part of it", true, "p0/e0", "p0/e1", "p0/e2", "p0/e3", "p0/e4", "p1/e0", "p1/e1")
	x.release = nil
	x.set(at(50), Up, endpointsOf("p0", 5)...)
	if v := x.verdicts[p0]; len(v.Released) != 0 {
		t.Errorf("recovered, and still released: %+v", v)
	}
}

// Observe says what it would hold and holds nothing; off says nothing.
func TestBrakeModes(t *testing.T) {
	x := newTenant(4)
	x.brake.Mode = Observe
	x.set(at(10), Down, endpointsOf("p0", 4)...)
	for range 2 { // judging again says the same
		x.want(t, "observed", false, endpointsOf("p0", 4)...)
		if f := x.verdicts[PoolID{"shop", "p0"}].Endpoints["e1"]; f.Reason != "the brake would hold it: refused" || x.tally.Would != 4 {
			t.Errorf("%+v, %+v", f, x.tally)
		}
		x.judge(at(5000))
	}
	y := newTenant(4)
	y.set(at(10), Down, endpointsOf("p0", 4)...)
	y.brake.Mode = Off
	y.judge(at(11))
	y.want(t, "switched off while it holds", false, endpointsOf("p0", 4)...)
	if f := y.verdicts[PoolID{"shop", "p0"}].Endpoints["e1"]; f.Reason != "refused" {
		t.Errorf("%+v", f)
	}
}

// Ages come from outside, so that times of other clocks in the verdicts neither hold nor forget.
func TestBrakeGoesByItsOwnAges(t *testing.T) {
	for _, tc := range []struct {
		what  string
		since time.Time // of the first three
		age   time.Duration
		held  bool
	}{
		{"a judge an hour ahead wrote them long ago", at(3600), time.Hour, false},
		{"a judge an hour behind wrote them just now", at(-3600), time.Second, true},
	} {
		x := newTenant(6)
		x.set(at(1), Down, "p0/e0", "p0/e1", "p0/e2")
		id := PoolID{"shop", "p0"}
		for name, f := range x.verdicts[id].Endpoints {
			if f.State == Down {
				f.Since = tc.since
				x.verdicts[id].Endpoints[name] = f
			}
		}
		x.age = func(PoolID, string) time.Duration { return tc.age }
		x.set(at(30), Down, "p0/e3")
		if x.tally.Frozen != tc.held {
			t.Errorf("%s: frozen %v (%+v)", tc.what, x.tally.Frozen, x.tally)
		}
	}
}

// TestTheWindowGrowsByTheJudgesOwnClock while the brake holds, and only then: times of other clocks have no part in it.
func TestTheWindowGrowsByTheJudgesOwnClock(t *testing.T) {
	for _, tc := range []struct {
		what           string
		age, frozenFor time.Duration
		frozen, held   bool
	}{
		{"what went down before it took hold counts on", 530 * time.Second, 480 * time.Second, true, true},
		{"it has held for a moment, whatever the verdicts' times say", 100 * time.Second, 0, true, false},
		{"a clock that was set back does not shorten the window", 50 * time.Second, -30 * time.Second, true, true},
		{"it does not hold", 100 * time.Second, time.Hour, false, false},
	} {
		x := newTenant(4, 3)
		x.set(at(1), Down, endpointsOf("p0", 3)...)
		if tc.frozen {
			x.set(at(20), Down, "p1/e0")
			x.want(t, tc.what, true, endpointsOf("p0", 3)...)
		}
		x.age = func(PoolID, string) time.Duration { return tc.age }
		x.frozenFor = func(time.Time) time.Duration { return tc.frozenFor }
		x.verdicts[PoolID{"shop", "p1"}] = unproven(x.verdicts[PoolID{"shop", "p1"}], at(499))
		x.set(at(500), Down, "p1/e0")
		if want := map[bool]int{true: 4, false: 1}[tc.held]; x.tally.Failing != want {
			t.Errorf("%s: %d failing, want %d (%+v)", tc.what, x.tally.Failing, want, x.tally)
		}
	}
}

// TestANewAddressDoesNotFail: what was down at another address, and is not checked yet, neither counts as failing nor is held as up.
func TestANewAddressDoesNotFail(t *testing.T) {
	id := PoolID{"shop", "a"}
	was, now := Verdict{Pool: id, Endpoints: map[string]Finding{}}, Verdict{Pool: id, Endpoints: map[string]Finding{}}
	for _, e := range []string{"1", "2", "3", "4"} {
		was.Endpoints[e], now.Endpoints[e] = Finding{State: Up, Score: 1}, Finding{State: Down}
	}
	was.Endpoints["moved"], now.Endpoints["moved"] = Finding{State: Down, Of: "A"},
		Finding{State: Unknown, Score: 1, Since: at(10), Of: "B"}
	verdicts, tally := Brake{}.Apply(Docket{Now: at(10), Previous: map[PoolID]Verdict{id: was}, Proposed: map[PoolID]Verdict{id: now},
		Pools: map[PoolID]Declared{id: {Rows: []Row{{Name: "rule 1", Pools: []PoolID{id}}}, Size: 5}}})
	if want := (Tally{Total: 4, Failing: 4, Held: 4, Frozen: true, Census: Census{4, 4, 1, 1}}); tally != want ||
		verdicts[id].Endpoints["moved"] != now.Endpoints["moved"] {
		t.Errorf("%+v, want %+v; the one that moved is %+v", tally, want, verdicts[id].Endpoints["moved"])
	}
}

// With two pools that back each other up, one of which dies while the other is well, no answer ever names a dead endpoint, in whatever
// order they die and recover; and nothing is held for ever once all are well.
func TestBrakeFailoverProperties(t *testing.T) {
	rng := gtmtest.Random(t)
	for range 300 {
		n := 1 + rng.IntN(12)
		x := newTenant(n, 1+rng.IntN(4))
		x.rules = [][]string{{"p0", "p1"}, {"p1", "p0"}}
		for step := range 40 {
			for _, e := range endpointsOf("p0", n) {
				if rng.IntN(3) == 0 {
					x.evidence[e] = []State{Up, Down}[rng.IntN(2)]
				}
			}
			x.judge(at(3 * step))
			if dead := x.dead(x.rules[0], x.answers(x.rules[0])); len(dead) > 0 {
				t.Fatalf("answers name %v (%+v)", dead, x.tally)
			}
		}
		x.set(at(1000), Up, endpointsOf("p0", n)...)
		x.want(t, "all well", false)
	}
}
