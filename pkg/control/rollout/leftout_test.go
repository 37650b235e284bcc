package rollout

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/change/effect"
	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// effectOf works out what a change does to services of the shop that are named before.
func effectOf(t *testing.T, before, after string, names ...string) *effect.Effect {
	t.Helper()
	setOf := func(yaml string) spec.Set {
		set := spec.Set{}
		for _, r := range declared.Resources(t, yaml) {
			set[r.Key] = r
		}
		return set
	}
	world, err := effect.Opener()()
	if err != nil {
		t.Fatal(err)
	}
	in := effect.Input{Before: setOf(before), After: setOf(after), World: world, At: began, Moments: []time.Time{began}}
	for _, name := range names {
		in.Services = append(in.Services, spec.Key{Tenant: "shop", Kind: spec.KindService, Name: name})
	}
	return effect.Of(in)
}

// manyPools declares pools by two names each, and gives rules with all of one name.
func manyPools(n int) (yaml string, rules func(name string) string) {
	for i := range 2 * n {
		yaml += fmt.Sprintf("---\nkind: Pool\ntenant: shop\nname: %c%d\nspec: {endpoints: [{name: a, addresses: [198.51.100.%d]}]}\n",
			"ab"[i/n], i%n, i+1)
	}
	return yaml, func(name string) string {
		var targets []string
		for i := range n {
			targets = append(targets, fmt.Sprintf("{pool: %s%d, weight: 1}", name, i))
		}
		return "rules: [{pools: [" + strings.Join(targets, ", ") + "]}]"
	}
}

// TestShiftsOfManyPoolsArePlanned: all of them, and not those alone that people are shown.
func TestShiftsOfManyPoolsArePlanned(t *testing.T) {
	const pools = 20
	yaml, rules := manyPools(pools)
	e := effectOf(t, zoneYAML+yaml+service("web", rules("a")), zoneYAML+yaml+service("web", rules("b")), "web")
	flows, leftOut := keep(e.All(), false)
	p, is := &state.Progress{Planned: flows, LeftOut: leftOut, Pools: map[string]uint64{}}, map[string]uint64{}
	for i := range pools {
		p.Pools[fmt.Sprint("web/a", i)], is[fmt.Sprint("web/b", i)] = 100, 100
	}
	if why, cannot := shifted("20%", p, is, ""); why != "" || cannot != "" || len(leftOut) > 0 {
		t.Errorf("what was planned counts as unplanned: %q, %q", why, cannot)
	}
}

// TestAServiceIsPlannedWholeOrNotAtAll: what does not fit into an aim is not judged, and what does is.
func TestAServiceIsPlannedWholeOrNotAtAll(t *testing.T) {
	yaml, rules := manyPools(24) // 576 flows each
	e := effectOf(t, zoneYAML+yaml+service("one", rules("a"))+service("two", rules("a")),
		zoneYAML+yaml+service("one", rules("b"))+service("two", rules("b")), "one", "two")
	flows, leftOut := keep(e.All(), false)
	if len(flows) != 576 || !slices.Equal(leftOut, []string{"two"}) {
		t.Fatalf("%d flows, left out: %q", len(flows), leftOut)
	}
	p := &state.Progress{Planned: flows, LeftOut: leftOut, Pools: map[string]uint64{"one/a0": 100, "two/a0": 100, "same/a0": 100}}
	for _, service := range []string{"one", "two", "same"} {
		for _, rest := range []bool{false, true} {
			if p.LeftOut = leftOut; rest {
				p.LeftOut = []string{leftOutRest}
			}
			why, cannot := shifted("20%", p, map[string]uint64{service + "/b0": 20, service + "/a1": 80}, "")
			told := service == "two" || rest && service == "same"
			if told != (cannot != "") || !told && !strings.Contains(why, " of the answers of service "+service) {
				t.Errorf("%s, all that is not planned %v: %q, %q", service, rest, why, cannot)
			}
		}
	}
	if _, leftOut := keep(nil, true); !slices.Equal(leftOut, []string{leftOutRest}) {
		t.Errorf("services that nobody looked at: %q", leftOut)
	}
}

// TestClientsThatHadNoAnswerArePlanned, too: those that get one come to a pool, and are counted there.
func TestClientsThatHadNoAnswerArePlanned(t *testing.T) {
	is, none := zoneYAML+"---\n"+poolsYAML+service("web", "allDown: servfail, rules: [{when: {geo: [EU]}, pools: [eu]}, {pools: [us]}]"),
		"---\nkind: Override\ntenant: shop\nname: o\nspec: {pool: us, state: down, reason: test, author: test}\n"
	e := effectOf(t, is+none, is, "web")
	all := e.All()
	if len(all) != 1 || len(all[0].Pools) != 2 || all[0].Pools[0].Before <= 0 {
		t.Fatalf("%d services: %+v", len(all), e)
	}
	eu, us := all[0].Pools[0].After, all[0].Pools[1].After
	flows, _ := keep(all, false)
	if len(flows) != 1 || flows[0].From != "" || flows[0].To != "us" || math.Abs(flows[0].Part-us/eu) > 1e-6 {
		t.Fatalf("planned: %+v; of all, eu has %v and us %v", flows, eu, us)
	}
	p := &state.Progress{Planned: flows, Pools: map[string]uint64{"web/eu": 1000}}
	now := map[string]uint64{"web/eu": uint64(100_000 * eu), "web/us": uint64(100_000 * us)}
	if why, _ := shifted("1%", p, now, ""); why != "" {
		t.Errorf("as planned: %s", why)
	}
}
