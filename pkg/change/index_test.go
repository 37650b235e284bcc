package change

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// plainly is check, with everything looked at.
func plainly(after *overlay, before *State, steps []Step) spec.Errors {
	_, err := changeOf(near{overlay: after, all: true}, before, steps).Check()
	errs, _ := err.(spec.Errors)
	return errs
}

func faultsOf(errs spec.Errors) []string {
	var out []string
	for _, e := range errs {
		out = append(out, e.Error())
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// drawMore is draw with aliases, of services and of the zone.
func (w world) drawMore() spec.Set {
	set := w.draw()
	for _, t := range []string{"shop", "cafe"} {
		if w.maybe() {
			k := spec.Key{Tenant: t, Kind: spec.KindService, Name: "al"}
			to := w.one("s1", "s2", "al", "www") + "." + w.one(t+".a", t, "a") + ".x.example."
			set[k] = &spec.Resource{Key: k, Spec: &spec.Service{Host: w.one("al", "s1") + "." + t + ".a.x.example.",
				Alias: &spec.Alias{To: to}}}
		}
	}
	z := set[spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: "x.example."}]
	if w.maybe() {
		z.Spec.(*spec.Zone).Aliases = []spec.ZoneAlias{{Name: "front", To: w.one("s1", "al") + ".shop.a.x.example."}}
	}
	return set
}

// A change that is checked against what the index finds has the same faults as one that is checked against everything, after
// whatever changes the index has followed.
func TestNearFindsTheSame(t *testing.T) {
	ctx := context.Background()
	w := world{rand.New(rand.NewPCG(3, 4))}
	m := newMemStore()
	x := newIndex()
	c := New(Config{Store: m, State: func(ctx context.Context) (*State, error) {
		s, err := ReadState(ctx, m)
		if err != nil {
			return nil, err
		}
		return newState(s.tenants, x), nil
	}})
	faulty, made := 0, 0
	for i := range 3000 {
		state, err := c.State(ctx)
		if err != nil {
			t.Fatal(err)
		}
		in := inputFor(w.drawMore(), state)
		if w.rnd.IntN(4) > 0 { // only a little of it
			shuffle(w.rnd, in.Put)
			shuffle(w.rnd, in.Delete)
			in.Put, in.Delete = in.Put[:min(len(in.Put), 1+w.rnd.IntN(2))], in.Delete[:min(len(in.Delete), w.rnd.IntN(2))]
		}
		mk := &maker{state: state}
		steps := mk.steps(nil, in.Put, in.Delete)
		if len(mk.errs) > 0 {
			continue
		}
		after := newOverlay(state).with(steps)
		_, err = check(after, state, steps)
		errs, _ := err.(spec.Errors)
		if got, want := faultsOf(errs), faultsOf(plainly(after, state, steps)); !slices.Equal(got, want) {
			t.Fatalf("%d: %v\nnear: %q\nall:  %q", i, outlineSteps(steps), got, want)
		}
		if len(errs) > 0 {
			faulty++
			continue
		}
		p, err := c.Plan(ctx, in)
		if err != nil {
			continue // it needs two steps
		}
		if _, err := c.Apply(ctx, p); err != nil {
			t.Fatal(err)
		}
		made++
	}
	if faulty < 300 || made < 300 {
		t.Errorf("%d faulty changes, %d made: the world is too narrow", faulty, made)
	}
}

func shuffle[T any](rnd *rand.Rand, list []T) {
	rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
}

func outlineSteps(steps []Step) (out []string) {
	for _, st := range steps {
		out = append(out, fmt.Sprint(st.Action, " ", st.Key))
	}
	return out
}

// An index that has seen many changes is one made from scratch, but for what is stale, and that stays within bounds.
func TestIndexForgets(t *testing.T) {
	pool := func(i int) *spec.Resource {
		return &spec.Resource{Key: key("shop/Service/s"), Spec: &spec.Service{Host: fmt.Sprintf("h%d.x.example.", i)}}
	}
	x := newIndex()
	for i := range 1000 {
		r := pool(i)
		x.follow(map[string]state.TenantState{"shop": {Head: state.Generation(i + 1),
			Resources: state.NewResources(state.Version{Resource: r, Generation: state.Generation(i + 1)})}})
		if len(x.hosts) > 3 {
			t.Fatalf("after %d changes of one service the index knows %d hosts", i+1, len(x.hosts))
		}
	}
	if got := x.hosts["h999.x.example."]; !slices.Contains(got, key("shop/Service/s")) {
		t.Errorf("the last host has %v", got)
	}
	x.follow(map[string]state.TenantState{})
	if len(x.hosts) != 0 {
		t.Errorf("without tenants the index still has %v", slices.Collect(maps.Keys(x.hosts)))
	}
}

// largeState is one tenant with so many services, each with a pool of its own, and one pool for all.
func largeState(services int) map[string]state.TenantState {
	var shop, platform []state.Version
	add := func(to *[]state.Version, k spec.Key, s spec.Spec) {
		*to = append(*to, state.Version{Resource: &spec.Resource{Key: k, Spec: s}, Generation: 1})
	}
	add(&platform, spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: "x.example."},
		&spec.Zone{Grants: map[string][]string{"shop": {"x.example."}},
			Content: "x.example.\t60\tIN\tSOA\tns1.x.example. h.x.example. 1 2 3 4 5\n"})
	ends := []spec.Endpoint{{Name: "a", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}}
	add(&shop, key("shop/Pool/all"), &spec.Pool{Endpoints: ends})
	for i := range services {
		own := fmt.Sprint("p", i)
		add(&shop, key("shop/Pool/"+own), &spec.Pool{Endpoints: ends})
		add(&shop, key(fmt.Sprint("shop/Service/s", i)), &spec.Service{Host: fmt.Sprintf("s%d.x.example.", i),
			Rules: []spec.Rule{{Pools: []spec.Target{{Pool: own}, {Pool: "all"}}}}})
	}
	return map[string]state.TenantState{spec.Platform: {Head: 1, Resources: state.NewResources(platform...)},
		"shop": {Head: 1, Resources: state.NewResources(shop...)}}
}

// BenchmarkOneWeight plans the change of one weight among so many services: of a pool of one, and of the pool of all.
func BenchmarkOneWeight(b *testing.B) {
	for _, services := range []int{1000, 100_000} {
		tenants := largeState(services)
		x := newIndex()
		newState(tenants, x)
		for _, pool := range []string{"p7", "all"} {
			b.Run(fmt.Sprintf("%d/%s", services, pool), func(b *testing.B) {
				weight := 3
				ends := []spec.Endpoint{{Name: "a", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Weight: &weight}}
				put := []*spec.Resource{{Key: key("shop/Pool/" + pool), Spec: &spec.Pool{Endpoints: ends}}}
				if _, err := Make(newState(tenants, x), Input{Put: put}); err != nil { // the tenant is counted once
					b.Fatal(err)
				}
				for head := state.Generation(2); b.Loop(); head++ {
					shop := state.TenantState{Head: head, Resources: tenants["shop"].Resources}
					state := newState(map[string]state.TenantState{spec.Platform: tenants[spec.Platform], "shop": shop}, x)
					if _, err := Make(state, Input{Put: put}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// TestIndexAfterAnotherHistory: a store went back and was accepted, and then others changed it further than it was before. What came
// meanwhile has generations that the index has seen, of other resources; a look at a few resources did not tell, and they were missed.
func TestIndexAfterAnotherHistory(t *testing.T) {
	service := func(name string, at state.Generation) state.Version {
		return state.Version{Generation: at,
			Resource: &spec.Resource{Key: key("shop/Service/" + name), Spec: &spec.Service{Host: name + ".x.example."}}}
	}
	x := newIndex()
	x.follow(map[string]state.TenantState{"shop": {Head: 5, Resources: state.NewResources(service("a", 5))}})
	x.follow(map[string]state.TenantState{"shop": {Head: 6, Resources: state.NewResources(service("a", 6), service("b", 5))}})
	if got := x.hosts["b.x.example."]; !slices.Contains(got, key("shop/Service/b")) {
		t.Errorf("the host of the other history has %v", got)
	}
}
