package change

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// What was read, changed and applied undoes what others did meanwhile.
func TestADeclarationReplacesTheVersionThatItWasMadeFrom(t *testing.T) {
	ctx := context.Background()
	c, _ := house(t)
	state, err := c.State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	key := spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "eu"}
	made := func(site string) Input {
		p := *state.Get(key).Spec.(*spec.Pool)
		p.MinHealthy = site
		return Input{Put: []*spec.Resource{{Key: key, Spec: &p, Generation: uint64(state.Version(key)),
			Origin: spec.Origin{File: "eu.yaml", Line: 1, Fields: map[string]int{"generation": 4}}}}, Author: "alice"}
	}
	early, err := c.Plan(ctx, made("2"))
	if err != nil {
		t.Fatal(err)
	}
	mustApply(t, c, Input{Edit: Weights("shop", "eu", map[string]int{"a": 77}), Author: "bob"})
	var changed *ChangedError
	if _, err := c.Plan(ctx, made("1")); !errors.As(err, &changed) {
		t.Fatalf("%v", err)
	}
	for _, part := range []string{"eu.yaml:4: shop/Pool/eu: generation: was changed in shop@2 by bob at ",
		"since this was made from shop@1", "get it again", "remove the line generation:"} {
		if !strings.Contains(changed.Error(), part) {
			t.Errorf("%q does not say %q", changed, part)
		}
	}
	// The plan was made before, and is made anew where it is applied.
	if records, err := c.Apply(ctx, early); !errors.As(err, &changed) || len(records) > 0 {
		t.Errorf("applied later: %v, %v", records, err)
	}
	again, err := c.State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	same := *again.Get(key)
	same.Generation = 1
	if p := mustPlan(t, c, Input{Put: []*spec.Resource{&same}}); !p.Empty() {
		t.Errorf("what is there already: %s", outline(p))
	}
	without := made("2")
	without.Put[0].Generation = 0
	mustPlan(t, c, without)
	state = again
	early, err = c.Plan(ctx, made("2"))
	if err != nil {
		t.Fatal(err)
	}
	if records, err := c.Apply(ctx, early); err != nil || len(records) != 1 {
		t.Errorf("made from what is there: %v, %v", records, err)
	}
}

// TestADeclarationOfWhatIsGoneSaysWhoDeletedIt, and only if that was after it was read.
func TestADeclarationOfWhatIsGoneSaysWhoDeletedIt(t *testing.T) {
	c, _ := house(t)
	pool := "kind: Pool\ntenant: shop\nname: us\nspec: {endpoints: [{name: a, addresses: [198.51.100.%s]}]}\n"
	declared := func(last string) Input {
		return Input{Put: decode(t, strings.Replace(pool, "%s", last, 1)), Author: "eve", Message: "us"}
	}
	mustApply(t, c, declared("7"))
	mustApply(t, c, Input{Delete: []spec.Key{key("shop/Pool/us")}, Author: "bob", Message: "no us"})
	mustApply(t, c, Input{Edit: Weights("shop", "eu", map[string]int{"a": 9}), Author: "dan", Message: "more"})
	for made, want := range map[uint64]string{
		2: "was deleted in shop@3 by bob at 2026-01-02T03:04:05Z (no us), since this was made from shop@2;",
		3: "is not there any more, though this was made from shop@3;",
	} {
		in := declared("8")
		in.Put[0].Generation = made
		if _, err := c.Plan(context.Background(), in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("made from %d: got %v, want %s", made, err, want)
		}
	}
	mustApply(t, c, declared("9")) // shop@5
	mustApply(t, c, Input{Edit: Weights("shop", "eu", map[string]int{"a": 8}), Author: "dan", Message: "less"})
	for made, want := range map[uint64]string{
		2: "was changed in shop@5 by eve at 2026-01-02T03:04:05Z (us), since this was made from shop@2;",
		9: "is that of shop@5 by eve at 2026-01-02T03:04:05Z (us), older than the one that this was made from, shop@9;",
	} {
		in := declared("8")
		in.Put[0].Generation = made
		if _, err := c.Plan(context.Background(), in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("made from %d: got %v, want %s", made, err, want)
		}
	}
}

// TestWhatAChangeMatchesMustStillBeThere, also where others are quicker between plan and commit; what the change has done itself is no
// such thing.
func TestWhatAChangeMatchesMustStillBeThere(t *testing.T) {
	ctx := context.Background()
	c, m := house(t)
	eu, us := key("shop/Pool/eu"), key("shop/Pool/us")
	in := func(match map[spec.Key]state.Generation) Input {
		pools := join(poolOf("shop", "eu", "198.51.100.9"), poolOf("shop", "us", "198.51.100.8"))
		return Input{Author: "ann", Match: match, Put: decode(t, pools)}
	}
	var changed *ChangedError
	for want, match := range map[string]map[spec.Key]state.Generation{
		"shop/Pool/eu: was created in shop@1": {eu: 0},
		"older than the one":                  {eu: 7},
		"shop/Pool/us: is not there any more": {us: 1, eu: 1},
	} {
		_, err := c.Plan(ctx, in(match))
		if !errors.As(err, &changed) || len(changed.Resources) != 1 || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), "ask for this anew") {
			t.Errorf("%v: got %v, want %s", match, err, want)
		}
	}
	p := mustPlan(t, c, in(map[spec.Key]state.Generation{eu: 1, us: 0}))
	mustApply(t, c, Input{Edit: Weights("shop", "eu", map[string]int{"a": 77}), Author: "bob"})
	if records, err := c.Apply(ctx, p); !errors.As(err, &changed) || len(records) > 0 {
		t.Errorf("bob was quicker: %v, %v", records, err)
	}
	p = mustPlan(t, c, in(map[spec.Key]state.Generation{eu: 2, us: 0}))
	m.most = 1 // each resource is a generation of its own, and others come between
	other, done := New(Config{Store: m}), false
	m.before = func(ch store.Change) {
		if !done && ch.Base == 3 {
			done = true
			mustApply(t, other, Input{Put: decode(t, poolOf("shop", "ap", "198.51.100.7")), Author: "bob"})
		}
	}
	if records, err := c.Apply(ctx, p); err != nil || len(records) != 2 || !done {
		t.Errorf("it went on with what is left: %v, %v (others came: %v)", records, err, done)
	}
}
