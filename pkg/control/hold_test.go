package control

import (
	"net/http"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// TestHoldWritesWhatIsKnown: of all pools of the service, by evidence and what it does by itself, without what people said.
func TestHoldWritesWhatIsKnown(t *testing.T) {
	w := newWorld(t)
	put := func(kind spec.Kind, name string, s spec.Spec) state.Version {
		return state.Version{Resource: &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: kind, Name: name}, Spec: s}, Generation: 42}
	}
	one := []spec.Endpoint{{Name: "a", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.8")}}}
	w.store.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 42, Put: []state.Version{
		put(spec.KindPool, "db", &spec.Pool{Endpoints: one}),
		put(spec.KindPool, "app", &spec.Pool{Endpoints: one, Depends: []spec.Dependency{{Pool: "db"}}}),
		put(spec.KindPool, "slow", &spec.Pool{Monitor: "m", SlowStart: spec.Duration(5 * time.Minute), Endpoints: one}),
		put(spec.KindService, "web", &spec.Service{Host: "web.example.",
			Rules:      []spec.Rule{{Pools: []spec.Target{{Pool: "eu"}, {Pool: "app"}}}},
			LastResort: []spec.Target{{Pool: "slow"}}}),
	}}}, Values: state.Verdicts.Put(
		health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: "db"}, Endpoints: map[string]health.Finding{"a": {State: health.Down}}},
		health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: "slow"}, Endpoints: map[string]health.Finding{
			"a": {State: health.Up, Score: 1, Since: now, Recovered: true}}})})
	h := w.healthOf("shop")
	got := h.scores(h.spec(spec.KindService, "web").(*spec.Service))
	want := map[string]spec.Scores{"eu": {"a": 0}, "app": {"a": 0}, "slow": {"a": 0.1}} // b of eu is drained, and well
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for body, status := range map[string]int{`{"reason": " "}`: 422, `{"reason": "x", "for": "1y"}`: 422} {
		problem(t, w.ask(t, "POST", "/v1/services/shop/web/hold", body, nil), status)
	}
	problem(t, w.ask(t, "POST", "/v1/services/shop/wib/hold", `{"reason": "x"}`, nil), http.StatusNotFound)
	w.store.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 43, Put: []state.Version{
		put(spec.KindOverride, "hold-web", &spec.Override{Service: "web", Hold: want, Reason: "move", Author: "ann"})}}},
		Values: state.Verdicts.Put(health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: "db"},
			Endpoints: map[string]health.Finding{"a": {State: health.Up, Score: 1}}})})
	var status api.Status
	w.ask(t, "GET", "/v1/status", nil, &status)
	told := api.Hold{Service: "shop/web", Override: "hold-web", Reason: "move", Author: "ann",
		Apart: []string{"pool app: as held (move): 0 of 1 endpoints healthy, 1 needed; without hold up: 1 endpoint, not monitored"}}
	if len(status.Holds) != 1 || !reflect.DeepEqual(status.Holds[0], told) {
		t.Errorf("got %+v", status.Holds)
	}
}
