package health

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/gtmtest"
)

// tenant plays one tenant's life under the brake: evidence in, verdicts out, the previous verdicts fed back as a judge does.
type tenant struct {
	brake    Brake
	pools    map[PoolID]int // endpoints each
	evidence map[string]State
	exempt   map[string]bool
	needs    int          // of each pool's endpoints; 0: one
	refuses  map[int]bool // rules whose service does
	rules    [][]string   // of pools; nil: each pool has a rule of its own
	silent   bool         // the only vantage is
	release  map[PoolID]bool
	age      func(PoolID, string) time.Duration

	frozenFor func(since time.Time) time.Duration

	verdicts map[PoolID]Verdict
	tally    Tally
}

func endpointKey(id PoolID, name string) string { return id.Pool + "/" + name }

func newTenant(pools ...int) *tenant {
	x := &tenant{pools: map[PoolID]int{}, evidence: map[string]State{}, exempt: map[string]bool{}, verdicts: map[PoolID]Verdict{}}
	for i, n := range pools {
		id := PoolID{"shop", fmt.Sprint("p", i)}
		x.pools[id] = n
		for e := range n {
			x.evidence[endpointKey(id, fmt.Sprint("e", e))] = Up
		}
	}
	x.judge(at(0))
	return x
}

func (x *tenant) judge(now time.Time) {
	proposed := map[PoolID]Verdict{}
	for id, n := range x.pools {
		c := Case{Pool: id, Previous: x.verdicts[id], Vantages: []string{"v"}, Alive: map[string]bool{"v": !x.silent}, Now: now}
		sights := map[string]Sight{}
		for e := range n {
			name := fmt.Sprint("e", e)
			c.Endpoints = append(c.Endpoints, name)
			sights[name] = Sight{State: x.evidence[endpointKey(id, name)], Score: 1, Reason: "refused"}
		}
		c.Observations = map[string]Observation{"v": {Endpoints: sights}}
		proposed[id] = Judge(c)
	}
	release := func(id PoolID) bool { return x.release[id] }
	x.verdicts, x.tally = x.brake.Apply(Docket{Previous: x.verdicts, Proposed: proposed, Pools: x.declared(), Release: release,
		Age: x.age, FrozenFor: x.frozenFor, Now: now})
}

func (x *tenant) declared() map[PoolID]Declared {
	all := map[PoolID]Declared{}
	for id, n := range x.pools {
		d := Declared{Size: n, Stands: map[string]Stand{}, Needs: func(int) int { return x.needs }}
		for e := range n {
			if name := fmt.Sprint("e", e); x.exempt[endpointKey(id, name)] {
				d.Stands[name] = SaidDown
			}
		}
		if x.rules == nil {
			d.Rows = []Row{{Name: "rule own", Pools: []PoolID{id}}}
		}
		for i, rule := range x.rules {
			if slices.Contains(rule, id.Pool) {
				d.Rows = append(d.Rows, Row{Name: fmt.Sprint("rule ", i), Refuses: x.refuses[i]})
				for _, pool := range rule {
					last := &d.Rows[len(d.Rows)-1]
					last.Pools = append(last.Pools, PoolID{"shop", pool})
				}
			}
		}
		all[id] = d
	}
	return all
}

// set gives evidence for endpoints such as "p0/e1" and judges.
func (x *tenant) set(now time.Time, s State, endpoints ...string) {
	for _, e := range endpoints {
		x.evidence[e] = s
	}
	x.judge(now)
}

func (x *tenant) down() (down []string) {
	for id, v := range x.verdicts {
		for name, f := range v.Endpoints {
			if f.State == Down {
				down = append(down, endpointKey(id, name))
			}
		}
	}
	slices.Sort(down)
	return down
}

func (x *tenant) want(t *testing.T, what string, frozen bool, down ...string) {
	t.Helper()
	if got := x.down(); !slices.Equal(got, down) || x.tally.Frozen != frozen {
		t.Errorf("%s: down %v, frozen %v; want %v, %v (%+v)", what, got, x.tally.Frozen, down, frozen, x.tally)
	}
}

// The demo: six endpoints in three pools of one tenant.
func TestBrakeLetsAPoolFail(t *testing.T) {
	x := newTenant(2, 2, 2)
	x.set(at(1), Down, "p0/e0", "p0/e1")
	x.want(t, "a whole pool of two", false, "p0/e0", "p0/e1")
	x.set(at(2), Down, "p1/e0")
	x.want(t, "half is not more than half", false, "p0/e0", "p0/e1", "p1/e0")
	x.set(at(3), Down, "p1/e1")
	x.want(t, "the fourth of six within the window: its pool as if all were up, and the one of which nothing is left", true)
}

func TestBrakeLeavesSmallTenantsAlone(t *testing.T) {
	x := newTenant(3)
	x.set(at(1), Down, "p0/e0", "p0/e1", "p0/e2")
	x.want(t, "fewer than four", false, "p0/e0", "p0/e1", "p0/e2")
}

func TestBrakeFreezesAndThaws(t *testing.T) {
	x := newTenant(4, 2)
	all := []string{"p0/e0", "p0/e1", "p0/e2", "p0/e3", "p1/e0", "p1/e1"}
	x.set(at(10), Down, all...)
	x.want(t, "everything fails at once", true)
	v := x.verdicts[PoolID{"shop", "p0"}]
	if f := v.Endpoints["e0"]; !v.Frozen || !v.FrozenSince.Equal(at(10)) || f.State != Up || f.Score != 1 ||
		!f.Since.Equal(at(0)) || f.Reason != "held by the brake: refused" {
		t.Errorf("frozen verdict: %+v", v)
	}
	x.judge(at(10_000))
	x.want(t, "waiting does not release it", true)
	if v := x.verdicts[PoolID{"shop", "p0"}]; !v.FrozenSince.Equal(at(10)) {
		t.Errorf("since %v", v.FrozenSince)
	}
	x.set(at(10_001), Up, "p1/e0", "p1/e1", "p0/e0")
	x.want(t, "half failing, but three are fewer than four: the others may recover, too", true)
	x.judge(at(10_061))
	x.want(t, "they did not", false, "p0/e1", "p0/e2", "p0/e3")
	x.set(at(10_062), Up, all...)
	x.want(t, "all well", false)
	for id, v := range x.verdicts {
		if v.Frozen || !v.FrozenSince.IsZero() || v.Endpoints["e0"].Reason != "" {
			t.Errorf("%s keeps a trace: %+v", id, v)
		}
	}
}

// TestHeldFindingsSaySo: what Apply writes is what Held reads.
func TestHeldFindingsSaySo(t *testing.T) {
	id := PoolID{"shop", "eu"}
	d := Docket{Now: time.Unix(9, 0), Previous: map[PoolID]Verdict{id: {Pool: id, Endpoints: map[string]Finding{}}},
		Proposed: map[PoolID]Verdict{id: {Pool: id, Endpoints: map[string]Finding{}}},
		Pools:    map[PoolID]Declared{id: {Rows: []Row{{Name: "rule 1", Pools: []PoolID{id}}}}}}
	for _, name := range []string{"a", "b", "c", "d"} {
		d.Previous[id].Endpoints[name] = Finding{State: Up, Score: 1}
		d.Proposed[id].Endpoints[name] = Finding{State: Down, Reason: "status 503"}
	}
	d.Proposed[id].Endpoints["e"] = Finding{State: Up, Score: 1}
	verdicts, tally := Brake{}.Apply(d)
	if !tally.Frozen {
		t.Fatalf("the brake lets all that pass: %+v", tally)
	}
	if got := verdicts[id].Endpoints["a"].Held(); got != "held by the brake: status 503" {
		t.Errorf("a is held: %q", got)
	}
	if got := verdicts[id].Endpoints["e"].Held(); got != "" {
		t.Errorf("e is held: %q", got)
	}
}

func TestBrakeThawsOnlyBelowTheShare(t *testing.T) {
	x := newTenant(10)
	var names []string
	for i := range 10 {
		names = append(names, fmt.Sprint("p0/e", i))
	}
	x.set(at(1), Down, names[:6]...)
	x.want(t, "six of ten", true)
	x.set(at(2), Up, names[0])
	x.want(t, "five of ten: still held", true)
	x.set(at(3), Up, names[1])
	x.want(t, "four of ten: the others may recover, too", true)
	x.judge(at(62))
	x.want(t, "not for a window", true)
	x.judge(at(63))
	x.want(t, "let go", false, names[2:6]...)
	z := newTenant(10)
	z.set(at(1), Down, names[:6]...)
	z.set(at(2), Up, names[:3]...)
	z.set(at(3), Down, names[9])
	z.want(t, "held on is what was held: one that fails after the brake let go does", true, names[9])
	y := newTenant(8)
	y.set(at(1), Down, names[:4]...)
	y.want(t, "four of eight: it does not take hold", false, names[:4]...)
}

// B8: the rest of the pool proves what is held once it has stood for a window, if it is enough, is seen, and loses nothing just then.
func TestTheRestStands(t *testing.T) {
	names := endpointsOf("p0", 10)
	x := newTenant(10)
	x.set(at(1), Down, names[:6]...)
	x.judge(at(60))
	x.want(t, "not yet for a window", true)
	x.set(at(62), Down, names[6])
	x.want(t, "one fails just then", true)
	x.judge(at(100))
	x.want(t, "it begins anew with that", true)
	x.judge(at(122))
	x.want(t, "it stood", false, names[:7]...)
	if f := x.verdicts[PoolID{"shop", "p0"}].Endpoints["e0"]; !f.Proven {
		t.Errorf("%+v is not proven", f)
	}
	x.set(at(123), Down, names[7])
	x.want(t, "what is proven neither counts nor is taken back", false, names[:8]...)
	for _, what := range []string{"enough", "too few", "silent"} {
		y := newTenant(10)
		y.needs = map[string]int{"too few": 5, "enough": 4}[what]
		y.set(at(1), Down, names[:6]...)
		y.silent = what == "silent"
		y.judge(at(70))
		if y.tally.Frozen != (what != "enough") {
			t.Errorf("%s: frozen %v, down %v", what, y.tally.Frozen, y.down())
		}
	}
}

// B4: what is proven does not speak against a refuge: it is known what it lost, and what it has.
func TestARefugeMayHaveLostWhatIsProven(t *testing.T) {
	for _, proven := range []bool{true, false} {
		x := newTenant(6, 4)
		x.rules = [][]string{{"p0", "p1"}}
		x.set(at(5), Down, endpointsOf("p1", 3)...)
		v := x.verdicts[PoolID{"shop", "p1"}]
		for _, e := range []string{"e0", "e1", "e2"} {
			f := v.Endpoints[e]
			f.Proven = proven
			v.Endpoints[e] = f
		}
		x.set(at(10), Down, endpointsOf("p0", 6)...)
		if frozen := x.verdicts[PoolID{"shop", "p0"}].Frozen; frozen == proven {
			t.Errorf("proven %v: frozen %v", proven, frozen)
		}
	}
}

func TestBrakeLetsRecoveriesThrough(t *testing.T) {
	x := newTenant(8)
	x.set(at(1), Down, "p0/e0")
	x.set(at(100), Down, "p0/e1", "p0/e2", "p0/e3", "p0/e4", "p0/e5")
	x.want(t, "frozen; what went down long before stays down", true, "p0/e0")
	x.set(at(103), Up, "p0/e0")
	x.want(t, "a recovery passes", true)
}

func TestBrakeWindow(t *testing.T) {
	x := newTenant(6)
	x.set(at(1), Down, "p0/e0", "p0/e1", "p0/e2")
	x.set(at(61), Down, "p0/e3")
	x.want(t, "the first three are older than the window", false, "p0/e0", "p0/e1", "p0/e2", "p0/e3")
	// Once it holds, the window's beginning stands still.
	y := newTenant(6)
	y.set(at(1), Down, "p0/e0", "p0/e1", "p0/e2")
	y.set(at(30), Down, "p0/e3")
	y.verdicts[PoolID{"shop", "p0"}] = unproven(y.verdicts[PoolID{"shop", "p0"}], at(499))
	y.judge(at(500))
	y.want(t, "does not age while held", true)
	z := newTenant(4, 3)
	z.set(at(1), Down, "p0/e0", "p0/e1", "p0/e2")
	z.set(at(20), Down, "p1/e0")
	z.verdicts[PoolID{"shop", "p1"}] = unproven(z.verdicts[PoolID{"shop", "p1"}], at(499))
	z.judge(at(500))
	z.want(t, "nor does what went down in another pool", true, "p0/e0", "p0/e1", "p0/e2")
}

// unproven gives a verdict of which something failed just now, so that its rest has not stood for long. (B8)
func unproven(v Verdict, failed time.Time) Verdict {
	v.HeldSince = failed
	return v
}

// An operator acts: endpoints under an override neither count nor are held.
func TestBrakeExempt(t *testing.T) {
	x := newTenant(6)
	x.set(at(1), Down, "p0/e0", "p0/e1", "p0/e2", "p0/e3", "p0/e4")
	x.want(t, "frozen", true)
	x.exempt["p0/e0"], x.exempt["p0/e1"] = true, true
	x.judge(at(2))
	x.want(t, "three of four others, held on", true, "p0/e0", "p0/e1")
	x.judge(at(62))
	x.want(t, "three of four others", false, "p0/e0", "p0/e1", "p0/e2", "p0/e3", "p0/e4")
}

// A new judge that knows only the stored verdicts, through their JSON, does what the old one would have done.
func TestBrakeContinuesFromStore(t *testing.T) {
	rng := gtmtest.Random(t)
	froze := 0
	for range 300 {
		x := newTenant(1+rng.IntN(5), 1+rng.IntN(5), 1+rng.IntN(5))
		y := &tenant{pools: x.pools, evidence: x.evidence, verdicts: maps.Clone(x.verdicts)}
		for step := range 30 {
			now := at(10 * step)
			for k := range x.evidence {
				if rng.IntN(6) == 0 {
					x.evidence[k] = []State{Up, Down}[rng.IntN(2)]
				}
			}
			y.verdicts = viaJSON(t, y.verdicts)
			x.judge(now)
			y.judge(now)
			for id, v := range x.verdicts {
				if !v.Equal(y.verdicts[id]) {
					t.Fatalf("step %d: %+v and %+v", step, v, y.verdicts[id])
				}
			}
			if x.tally.Frozen {
				froze++
			}
		}
	}
	if froze == 0 {
		t.Error("it never froze: nothing was tried")
	}
}

func viaJSON(t *testing.T, in map[PoolID]Verdict) map[PoolID]Verdict {
	out := make(map[PoolID]Verdict, len(in))
	for id, v := range in {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var back Verdict
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		out[id] = back
	}
	return out
}

// Whatever happens: no step takes down more than the budget, nothing held is lost, recoveries always pass.
func TestBrakeProperties(t *testing.T) {
	rng := gtmtest.Random(t)
	for range 500 {
		n := 1 + rng.IntN(20)
		x := newTenant(n)
		for step := range 40 {
			for k := range x.evidence {
				if rng.IntN(5) == 0 {
					x.evidence[k] = []State{Up, Down}[rng.IntN(2)]
				}
			}
			before := len(x.down())
			x.judge(at(7 * step))
			down, proven := x.down(), 0
			for _, f := range x.verdicts[PoolID{"shop", "p0"}].Endpoints {
				if f.Proven {
					proven++
				}
			}
			if fresh := len(down) - before - proven; fresh >= 4 && 2*fresh > n {
				t.Fatalf("%d of %d went down in one step", fresh, n)
			}
			for _, e := range down {
				if x.evidence[e] != Down {
					t.Fatalf("%s is down although it recovered", e)
				}
			}
			failing := 0
			for _, s := range x.evidence {
				if s == Down {
					failing++
				}
			}
			if !x.tally.Frozen && len(down) != failing {
				t.Fatalf("not frozen, and %d of %d failing are down", len(down), failing)
			}
		}
	}
}
