package change

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/spec"
)

// TestHold: one hold for a service, by whatever name; it keeps the service from going, until it is over, and a rollback leaves it.
func TestHold(t *testing.T) {
	now := clock
	m := newMemStore()
	ch := New(Config{Store: m, Now: func() time.Time { return now }})
	mustApply(t, ch, Input{Put: decode(t, join(platform, shop))})
	web := key("shop/Service/web")
	refused := func(in Input, want string) {
		t.Helper()
		if _, err := ch.Plan(context.Background(), in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	hold := func(reason string, until time.Time) Input {
		return Input{Edit: Hold(web, map[string]spec.Scores{"eu": {"a": 0}}, Hand{Reason: reason, Author: "ann", Expires: until})}
	}
	refused(Input{Edit: Hold(key("shop/Service/wib"), nil, Hand{Reason: "x", Author: "ann"})}, "shop/Service/wib: does not exist")
	refused(Input{Edit: Unhold(web)}, "shop/web is not held")
	refused(Input{Put: decode(t, "kind: Override\ntenant: shop\nname: o\nspec: {service: web, hold: {}, reason: x}\n")},
		"spec.hold: says nothing of the pools of the service")
	refused(Input{Put: decode(t, "kind: Override\ntenant: shop\nname: o\nspec: {service: web, reason: x}\n")}, "spec.rule: is missing")
	refused(Input{Put: decode(t, "kind: Override\ntenant: shop\nname: o\nspec: {service: web, hold: {eu: {a: 2}}, pool: eu, reason: x}\n")},
		"spec.hold.eu.a: 2 is no score: it can be 0 to 1")
	mustApply(t, ch, hold("one", time.Time{}))
	if got := outline(mustPlan(t, ch, hold("two", clock.Add(time.Minute)))); got != "shop@2 update Override/hold-web\n" {
		t.Errorf("held again: %s", got)
	}
	mustApply(t, ch, hold("two", clock.Add(time.Minute)))
	refused(Input{Put: decode(t, "kind: Override\ntenant: shop\nname: o\nspec: {service: web, hold: {eu: {}}, reason: x}\n")},
		"service shop/web is already overridden by shop/Override/hold-web")
	refused(Input{Delete: []spec.Key{web}}, "cannot be deleted: shop/Override/hold-web still refers to it")
	back, err := ch.Rollback(context.Background(), "shop", 1, false)
	if err != nil {
		t.Fatal(err)
	}
	if p := mustPlan(t, ch, back); strings.Contains(outline(p), "Override") {
		t.Errorf("a rollback takes the hold: %s", outline(p))
	}
	if got := outline(mustPlan(t, ch, Input{Edit: Unhold(web)})); got != "shop@3 delete Override/hold-web\n" {
		t.Errorf("released: %s", got)
	}
	now = clock.Add(time.Minute)
	if got := outline(mustPlan(t, ch, Input{Delete: []spec.Key{web}})); !strings.Contains(got, "delete Override/hold-web") {
		t.Errorf("over: %s", got)
	}
}
