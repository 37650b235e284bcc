package change

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
)

// world draws whole configurations from a small world, so that changes between two of them meet every kind of
// creation, update, deletion and reference. Most are lawful, some are not.
type world struct{ rnd *rand.Rand }

func (w world) one(list ...string) string { return list[w.rnd.IntN(len(list))] }
func (w world) maybe() bool               { return w.rnd.IntN(3) > 0 }

func (w world) draw() spec.Set {
	set := spec.Set{}
	add := func(tenant string, kind spec.Kind, name string, s spec.Spec) {
		k := spec.Key{Tenant: tenant, Kind: kind, Name: name}
		set[k] = &spec.Resource{Key: k, Spec: s}
	}
	grants := map[string][]string{}
	for _, t := range []string{"shop", "cafe", "bar"} {
		if w.maybe() {
			grants[t] = []string{w.one("a.x.example.", "x.example.")}
		}
	}
	add(spec.Platform, spec.KindZone, "x.example.", &spec.Zone{Nameservers: []string{"ns.y."}, Contact: "h.y.", Grants: grants,
		Content: w.one("www A 192.0.2.1\n", "www A 192.0.2.1\nmail MX 1 www\n", "d.a NS ns.y.\n")})
	for _, site := range []string{"fra", "sin"} {
		if w.maybe() {
			add(spec.Platform, spec.KindSite, site, &spec.Site{Region: w.one("EU", "AS")})
		}
	}
	for _, t := range []string{"shop", "cafe", "bar"} {
		if !w.maybe() {
			continue
		}
		for _, p := range []string{"p1", "p2"} {
			weight := w.rnd.IntN(5)
			ends := []spec.Endpoint{{Name: "a", Host: w.one("h1.", "h2."), Weight: &weight}, {Name: "b", Host: "h3."}}
			add(t, spec.KindPool, p, &spec.Pool{Site: w.one("", "fra", "sin"), Endpoints: ends[:1+w.rnd.IntN(2)]})
		}
		for _, s := range []string{"s1", "s2"} {
			if w.maybe() {
				add(t, spec.KindService, s, &spec.Service{Host: s + "." + t + "." + w.one("a.x.example.", "x.example."),
					Rules: []spec.Rule{{Pools: []spec.Target{{Pool: w.one("p1", "p2")}}}}})
			}
		}
		if w.maybe() {
			add(t, spec.KindOverride, "o", &spec.Override{Pool: "p1", Endpoint: w.one("a", "a", "b"), State: "down", Reason: "r"})
		}
	}
	return set
}

// inputFor asks for exactly this set.
func inputFor(want spec.Set, now *State) Input {
	in := Input{Author: "x"}
	for _, r := range want {
		in.Put = append(in.Put, r)
	}
	for _, t := range now.Tenants() {
		for _, r := range now.Tenant(t) {
			if want[r.Key] == nil {
				in.Delete = append(in.Delete, r.Key)
			}
		}
	}
	return in
}

// Whatever is wanted: either it is refused, with the state as it was, or the state becomes what is wanted. And
// the state is lawful after every single generation.
func TestRandomChanges(t *testing.T) {
	ctx := context.Background()
	w := world{rand.New(rand.NewPCG(1, 2))}
	m := newMemStore()
	c := New(Config{Store: m})
	m.before = func(store.Change) { checkLawful(t, m) }
	made, refused, parts := 0, 0, 0
	for i := range 1500 {
		m.most = w.rnd.IntN(2) * 1000
		want := w.draw()
		state, err := c.State(ctx)
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.Plan(ctx, inputFor(want, state))
		if err != nil {
			var errs spec.Errors
			if !errors.As(err, &errs) || len(errs) == 0 {
				t.Fatalf("%d: refused with %v", i, err)
			}
			refused++
			continue
		}
		recs, err := c.Apply(ctx, p)
		if err != nil || len(recs) != len(p.Parts) {
			t.Fatalf("%d: %v %v", i, recs, err)
		}
		made++
		parts = max(parts, len(p.Parts))
		checkIs(t, c, want)
		again, err := c.Plan(ctx, inputFor(want, mustState(t, c)))
		if err != nil || !again.Empty() {
			t.Fatalf("%d: the same again is not nothing: %v %v", i, again, err)
		}
		if t.Failed() {
			t.Fatalf("%d: from %d parts: %s", i, len(p.Parts), outline(p))
		}
	}
	if made < 100 || refused < 100 || parts < 4 {
		t.Errorf("%d made, %d refused, at most %d parts: the world is too narrow", made, refused, parts)
	}
}

func mustState(t *testing.T, c *Changer) *State {
	t.Helper()
	s, err := c.State(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func checkIs(t *testing.T, c *Changer, want spec.Set) {
	t.Helper()
	got := map[spec.Key]*spec.Resource{}
	s := mustState(t, c)
	for _, tenant := range s.Tenants() {
		for _, r := range s.Tenant(tenant) {
			got[r.Key] = r
		}
	}
	for _, d := range spec.DiffSets(got, want) {
		if z, ok := specOf(d.New).(*spec.Zone); ok && z.Content != "" && len(d.Changes) > 0 {
			if !slices.ContainsFunc(d.Changes, func(ch spec.FieldChange) bool { return ch.Path != "spec.content" }) {
				continue // it is stored in canonical form
			}
		}
		t.Errorf("%s is not as wanted: %v", d.Key, d.Changes)
	}
}

// Large changes stay quick: a thousand resources are planned and applied in well under a second of work.
func BenchmarkThousandResources(b *testing.B) {
	_, m := house(b)
	state, err := ReadState(context.Background(), m)
	if err != nil {
		b.Fatal(err)
	}
	var put []*spec.Resource
	for i := range 500 {
		name := fmt.Sprint("n", i)
		put = append(put, &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: name},
			Spec: &spec.Pool{Endpoints: []spec.Endpoint{{Name: "a", Host: "h."}}}},
			&spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindService, Name: name},
				Spec: &spec.Service{Host: name + ".shop.gtm.example.", Rules: []spec.Rule{{Pools: []spec.Target{{Pool: name}}}}}})
	}
	for b.Loop() {
		if _, err := Make(state, Input{Put: put}); err != nil {
			b.Fatal(err)
		}
	}
}
