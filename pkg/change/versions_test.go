package change

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/spec"
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
		return Input{Put: []*spec.Resource{{Key: key, Spec: &p, Generation: uint64(state.version(key)),
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
