package change

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/spec"
)

func TestWeightsErrors(t *testing.T) {
	c, _ := house(t)
	for _, w := range []struct {
		edit Edit
		want string
	}{
		{Weights("shop", "ue", nil), "shop/Pool/ue: does not exist; did you mean eu?"},
		{Weights("shop", "eu", map[string]int{"a": 1, "x": 1, "z": 2}),
			"shop/Pool/eu: spec.endpoints: there is no endpoint x; did you mean a?\nshop/Pool/eu: spec.endpoints: there is no endpoint " +
				"z; did you mean a?"},
		{Weights("shop", "eu", map[string]int{"a": -1}),
			"shop/Pool/eu: spec.endpoints[0].weight: -1 is out of range: it can be 0 to 65535"},
		{Drain(Target{"shop", "eu", "c"}, Hand{Reason: "x", Author: "ann", Expires: later}),
			"shop/Pool/eu: spec.endpoints: there is no endpoint c; did you mean a?"},
		{Drain(Target{"shop", "eu", "a"}, Hand{Reason: "", Author: "ann", Expires: later}),
			"shop/Override/drain-eu-a: spec.reason: is missing; say why, for those who find it later"},
		{Undrain(Target{"shop", "eu", "a"}), "shop/Pool/eu: shop/eu/a is not drained"},
		{Undrain(Target{"shop", "us", ""}), "shop/Pool/us: does not exist"},
	} {
		_, err := c.Plan(context.Background(), Input{Edit: w.edit})
		if err == nil || err.Error() != w.want {
			t.Errorf("got %v, want %s", err, w.want)
		}
	}
}

// TestAnEndpointOfNone: a pool whose endpoints are all found has no declared ones to name.
func TestAnEndpointOfNone(t *testing.T) {
	r := &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "found"}, Spec: &spec.Pool{}}
	const want = "shop/Pool/found: spec.endpoints: there is no endpoint a; " +
		"none is declared; gtmctl describe pool lists those that are found"
	if err := hasEndpoint(r, "a"); err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}

func TestWeightsThatAreSoAlready(t *testing.T) {
	c, _ := house(t)
	if p := mustPlan(t, c, Input{Edit: Weights("shop", "eu", map[string]int{"a": 3, "b": 1})}); !p.Empty() {
		t.Errorf("got %s", outline(p))
	}
}

func TestDrainAndUndrain(t *testing.T) {
	c, m := house(t)
	override := func(name string) *spec.Override {
		r := at(m.states["shop"][m.head("shop")-1], spec.Key{Tenant: "shop", Kind: spec.KindOverride, Name: name})
		o, _ := specOf(r).(*spec.Override)
		return o
	}
	target, pool := Target{"shop", "eu", "a"}, Target{Tenant: "shop", Pool: "eu"}
	mustApply(t, c, Input{Edit: Drain(target, Hand{Reason: "disk", Author: "ann", Expires: later})})
	want := &spec.Override{Pool: "eu", Endpoint: "a", State: "drain", Reason: "disk", Author: "ann",
		Expires: spec.TimeOf("2026-01-02T04:04:05Z")}
	if diff := cmp.Diff(want, override("drain-eu-a")); diff != "" {
		t.Error(diff)
	}
	mustApply(t, c, Input{Edit: Drain(target, Hand{Reason: "still the disk", Author: "bob", Expires: clock.AddDate(1, 0, 0)})})
	if o := override("drain-eu-a"); o.Reason != "still the disk" || o.Author != "bob" || !strings.HasPrefix(o.Expires.String(), "2027") {
		t.Errorf("got %+v", o)
	}
	mustApply(t, c, Input{Edit: Drain(pool, Hand{Reason: "move", Author: "ann", Expires: later})})
	if override("drain-eu") == nil {
		t.Error("the pool is not drained")
	}
	_, err := c.Plan(context.Background(), Input{Edit: Undrain(Target{"shop", "eu", "b"})})
	if err == nil || err.Error() != "shop/Pool/eu: shop/eu/b is not drained; drained are shop/eu, shop/eu/a" {
		t.Errorf("got %v", err)
	}
	mustApply(t, c, Input{Edit: Undrain(target)})
	mustApply(t, c, Input{Edit: Undrain(pool)})
	if override("drain-eu-a") != nil || override("drain-eu") != nil {
		t.Error("still drained")
	}
}

// An override that holds a weight too keeps it through a drain.
func TestDrainBesideAWeight(t *testing.T) {
	c, m := house(t)
	mustApply(t, c, Input{Put: decode(t, "kind: Override\ntenant: shop\nname: half\nspec: {pool: eu, endpoint: a, weight: 2, reason: "+
		"slow}\n")})
	target := Target{"shop", "eu", "a"}
	mustApply(t, c, Input{Edit: Drain(target, Hand{Reason: "disk", Author: "ann", Expires: later})})
	mustApply(t, c, Input{Edit: Undrain(target)})
	o := at(m.states["shop"][m.head("shop")-1], key("shop/Override/half")).Spec.(*spec.Override)
	if o.State != "" || o.Weight == nil || o.Weight.To != 2 {
		t.Errorf("got %+v", o)
	}
}

func TestDrainNames(t *testing.T) {
	c, m := house(t)
	long := strings.Repeat("p", 60)
	mustApply(t, c, Input{Put: decode(t, join(poolOf("shop", long, "198.51.100.9"), poolOf("shop", "eu-a", "198.51.100.8")))})
	for _, target := range []Target{{"shop", "eu", "a"}, {Tenant: "shop", Pool: "eu-a"}, {"shop", long, "a"},
		{Tenant: "shop", Pool: long}} {
		mustApply(t, c, Input{Edit: Drain(target, Hand{Reason: "x", Author: "ann", Expires: later})})
	}
	n := 0
	for k := range m.states["shop"][m.head("shop")-1].Resources.All() {
		if k.Kind == spec.KindOverride {
			n++
		}
	}
	if n != 4 {
		t.Errorf("%d overrides, want 4", n)
	}
}
