package policy

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/spec"
)

// pools adds the names of what a node leads to.
func (n Node) pools(p *Policy, to map[string]bool) {
	if n.Kind == Leaf {
		to[p.Pools[n.Pool].Name] = true
	}
	for _, arm := range n.Arms {
		arm.Node.pools(p, to)
	}
}

// TestReachesHoldTheRows: wherever clients are, all that their row leads to lies in one of the reaches of their rule, and no reach has
// what the fences of a service or of its rule leave out.
func TestReachesHoldTheRows(t *testing.T) {
	rnd := gtmtest.Random(t)
	several, fenced := 0, 0
	for range 1000 {
		w := randomWorld(rnd)
		s := w.service(rnd)
		p, err := New("shop", s, w, w.today.Unix()/daySeconds)
		if err != nil {
			t.Fatal(err)
		}
		reaches, bounded := p.reaches(1<<20), p.Reaches()
		if len(reaches) > len(s.Rules)+1 {
			several++
		}
		for _, all := range [][]Reach{reaches, bounded} {
			for _, r := range all {
				fences := [][]string{s.Fence}
				if r.Rule != NoRule {
					fences = append(fences, s.Rules[r.Rule].Fence)
				}
				for _, pool := range r.Pools {
					for _, fence := range fences {
						if len(fence) > 0 && !Inside(w.Pool("", pool).Region, fence) {
							t.Fatalf("%v leaves the fence %v\n%s", r, fence, declared(s))
						}
						fenced += len(fence)
					}
				}
			}
		}
		for range 10 {
			row, rule := p.Row(p.Where(randomPlace(rnd), geo.Hits{}), nil)
			rows, named := RowsOf([]Row{row}), map[string]bool{}
			for _, n := range rows.Steps {
				n.pools(p, named)
			}
			if len(named) > 0 && !slices.ContainsFunc(reaches, func(r Reach) bool {
				for pool := range named {
					if !slices.Contains(r.Pools, pool) {
						return false
					}
				}
				return r.Rule == rule
			}) {
				t.Fatalf("rule %d leads to %v; reaches are %v\n%s", rule, named, reaches, declared(s))
			}
		}
	}
	if several < 10 || fenced < 100 {
		t.Errorf("only %d services with several reaches of a rule, and %d pools in fences", several, fenced)
	}
}

func TestReaches(t *testing.T) {
	w := &world{sites: map[string]string{"fra": "fra", "ams": "ams", "iad": "iad", "sin": "sin"}, places: map[string]*spec.Site{
		"fra": {Region: "EU-DE"}, "ams": {Region: "EU-NL"}, "iad": {Region: "NA-US"}, "sin": {Region: "AS-SG"}},
		policies: map[string]*spec.Policy{}}
	pool := func(names ...string) (all []spec.Target) {
		for _, name := range names {
			all = append(all, spec.Target{Pool: name})
		}
		return all
	}
	eu := &spec.When{Geo: []string{"EU"}}
	policy := func(name string, p spec.Policy) []spec.Target {
		w.policies[name] = &p
		return []spec.Target{{Steering: &spec.Steering{Policy: name}}}
	}
	apart := policy("apart", spec.Policy{Rules: []spec.Rule{{When: eu, Fence: []string{"EU"}, Pools: pool("fra", "ams", "iad")},
		{Fence: []string{"NA"}, Pools: pool("fra", "iad")}, {Pools: pool("sin")}}})
	seldom := policy("seldom", spec.Policy{Fence: []string{"EU"}, Rules: []spec.Rule{{When: eu, Pools: pool("fra", "iad")}}})
	nearest := []spec.Target{{Steering: &spec.Steering{Nearest: &spec.Choices{List: pool("fra", "iad", "sin")}}}}
	split := []spec.Target{{Steering: &spec.Steering{Split: []spec.Target{{Pool: "fra", Weight: 1}, {Pool: "sin", Weight: 2}}}}}
	members := []spec.Member{{Pool: "fra"}, {Pool: "ams"}, {Pool: "iad"}, {Pool: "sin"}}
	for _, tc := range []struct {
		what string
		s    spec.Service
		want []Reach
	}{
		{"pools alone", spec.Service{Rules: []spec.Rule{{When: eu, Pools: pool("fra", "iad")}}, LastResort: pool("sin")},
			[]Reach{{0, []string{"fra", "iad", "sin"}}, {NoRule, []string{"sin"}}}},
		{"nobody gets behind a rule for all", spec.Service{Rules: []spec.Rule{{Pools: pool("fra")}, {Pools: pool("iad")}}},
			[]Reach{{0, []string{"fra"}}}},
		{"a rule's fence, also for lastResort", spec.Service{Rules: []spec.Rule{{Fence: []string{"EU"}, Pools: pool("fra", "iad")}},
			LastResort: pool("ams", "sin")}, []Reach{{0, []string{"fra", "ams"}}}},
		{"a service's fence, for all", spec.Service{Fence: []string{"AS"}, Rules: []spec.Rule{{When: eu, Pools: pool("fra", "sin")}},
			LastResort: pool("iad", "sin")}, []Reach{{0, []string{"sin"}}, {NoRule, []string{"sin"}}}},
		{"both", spec.Service{Fence: []string{"EU"}, Rules: []spec.Rule{{Fence: []string{"NA"}, Pools: pool("fra", "iad")}}}, nil},
		{"nearest and splits", spec.Service{Rules: []spec.Rule{{When: eu, Fence: []string{"EU", "AS"}, Pools: nearest}, {Pools: split}}},
			[]Reach{{0, []string{"fra", "sin"}}, {1, []string{"fra", "sin"}}}},
		{"rules of a policy, each with its fence", spec.Service{Rules: []spec.Rule{{Pools: apart}}, LastResort: pool("ams", "sin")},
			[]Reach{{0, []string{"fra", "ams"}}, {0, []string{"iad"}}}},
		{"a policy's fence, for whom its rules match and for others",
			spec.Service{Rules: []spec.Rule{{Pools: slices.Concat(seldom, pool("ams", "iad"))}}},
			[]Reach{{0, []string{"fra", "ams"}}, {0, []string{"ams"}}}},
		{"two policies", spec.Service{Rules: []spec.Rule{{Pools: slices.Concat(apart, seldom, pool("sin"))}}},
			[]Reach{{0, []string{"fra", "ams"}}}},
	} {
		tc.s.Pools = members
		p, err := New("shop", &tc.s, w, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Reaches(); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.what, got, tc.want)
		}
	}
	var many []spec.Target // 2 to the power of 7 ways
	for i, pools := range [][]string{{"fra", "ams"}, {"iad"}, {"sin"}, {"ams"}, {"iad", "fra"}, {"sin", "iad"}, {"fra"}} {
		many = append(many, policy(fmt.Sprint("many", i), spec.Policy{Rules: []spec.Rule{{When: eu, Fence: []string{"EU"},
			Pools: pool(pools[0])}, {When: &spec.When{ASN: []uint32{uint32(i)}}, Pools: pool(pools[len(pools)-1])}}})...)
	}
	p, err := New("shop", &spec.Service{Pools: members, Rules: []spec.Rule{{Pools: many}}}, w, 0)
	if err != nil {
		t.Fatal(err)
	}
	if all, got := p.reaches(1<<20), p.Reaches(); len(all) < 3 || !reflect.DeepEqual(got, []Reach{{0, []string{"fra", "ams"}}}) {
		t.Errorf("beyond the bound all fences hold: %v, of %d", got, len(all))
	}
}
