package control

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// TestStatusTellsOfRegions: beside what is known of a pool for all; a hold writes both down, and a release is of both.
func TestStatusTellsOfRegions(t *testing.T) {
	w := newWorld(t)
	put := func(kind spec.Kind, name string, s spec.Spec) state.Version {
		return state.Version{Resource: &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: kind, Name: name}, Spec: s}, Generation: 42}
	}
	two := []spec.Endpoint{{Name: "a", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.8")}},
		{Name: "b", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.9")}}}
	id := health.PoolID{Tenant: "shop", Pool: "sg"}
	up, down := health.Finding{State: health.Up, Score: 1}, health.Finding{State: health.Down, Reason: "2 of 2 vantages of EU: timeout"}
	held := health.Finding{State: health.Up, Score: 1, Reason: "held by the brake: timeout"}
	w.store.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 42, Put: []state.Version{
		put(spec.KindPool, "sg", &spec.Pool{Monitor: "m", Regions: true, Endpoints: two}),
		put(spec.KindPool, "front", &spec.Pool{Monitor: "m", Regions: true, Endpoints: two, Depends: []spec.Dependency{{Pool: "sg"}}}),
		put(spec.KindPool, "plain", &spec.Pool{Monitor: "m", Endpoints: two}),
		put(spec.KindPool, "link", &spec.Pool{Monitor: "m", Endpoints: two, Depends: []spec.Dependency{{Pool: "sg"}}}),
		put(spec.KindPool, "last", &spec.Pool{Monitor: "m", Regions: true, Endpoints: two, Depends: []spec.Dependency{{Pool: "link"}}}),
		put(spec.KindService, "web", &spec.Service{Host: "web.example.", Rules: []spec.Rule{{Pools: []spec.Target{{Pool: "sg"}}}}}),
	}}}, Values: state.Verdicts.Put(
		health.Verdict{Pool: id, Endpoints: map[string]health.Finding{"a": up, "b": up}},
		health.Verdict{Pool: id.For("EU"), Vantages: []string{"ams", "fra"}, Endpoints: map[string]health.Finding{"a": down, "b": down}},
		health.Verdict{Pool: id.For("AS"), Vantages: []string{"nrt", "sin"}, Frozen: true, Cause: "so",
			Endpoints: map[string]health.Finding{"a": up, "b": held}},
		health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: "front@EU"}, Endpoints: map[string]health.Finding{"a": up, "b": up}},
		health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: "last@EU"}, Endpoints: map[string]health.Finding{"a": up, "b": up}},
		health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: "plain@EU"}, Endpoints: map[string]health.Finding{"a": down}})})
	var status api.Status
	w.ask(t, "GET", "/v1/status", nil, &status)
	regions := map[string][]api.PoolRegion{}
	for _, p := range status.Pools {
		if regions[p.Pool] = p.Regions; !p.Up && p.Pool != "eu" {
			t.Errorf("%s is down for all", p.Pool)
		}
	}
	if regions["plain"] != nil {
		t.Errorf("regions: %v", regions)
	}
	sg := regions["sg"]
	if len(sg) != 2 || sg[0].Region != "AS" || !sg[0].Up || !sg[0].Frozen || len(sg[0].Endpoints) != 1 || sg[0].Endpoints[0].Name != "b" ||
		sg[0].Brake != "held by the brake: so; look at the probers; if they really failed: gtmctl health release shop/sg --reason '...'" {
		t.Fatalf("%+v", sg)
	}
	if r := sg[1]; r.Region != "EU" || r.Up || r.Why != "for EU 0 of 2 endpoints healthy, 1 needed" ||
		len(r.Endpoints) != 2 || r.Endpoints[0].Out != "down for EU: 2 of 2 vantages of EU: timeout" ||
		!reflect.DeepEqual(r.Vantages, []string{"ams", "fra"}) {
		t.Errorf("%+v", r)
	}
	if r := regions["front"]; len(r) != 1 || r[0].Up {
		t.Errorf("it depends on what is down for EU: %+v", r)
	}
	if r := regions["last"]; len(r) != 1 || !r[0].Up {
		t.Errorf("it depends on a pool that goes by what is known for all: %+v", r)
	}
	w.evidence.Heard(state.Pulse{Judge: "sin", Nonce: "1", Silent: []string{"ams", "nyc"}}, w.clock)
	const silent = "for EU 0 of 2 endpoints healthy, 1 needed; 1 of 2 vantages of EU is silent, and it stays as it is, " +
		"but for what changes for all"
	if p, _ := w.pool(spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "sg"}); p.Regions[1].Why != silent ||
		!reflect.DeepEqual(p.Regions[1].Silent, []string{"ams"}) || p.Regions[0].Silent != nil {
		t.Errorf("%+v", p.Regions)
	}
	h := w.healthOf("shop")
	want := map[string]spec.Scores{"sg": {}, "sg@EU": {"a": 0, "b": 0}, "sg@AS": {}}
	if got := h.scores(h.spec(spec.KindService, "web").(*spec.Service)); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	o := &spec.Override{Service: "web", Hold: want, Reason: "move"}
	if err := spec.Validate(put(spec.KindOverride, "o", o).Resource); err != nil {
		t.Error(err)
	}
	o.Hold["sg@XX"] = spec.Scores{}
	if err := spec.Validate(put(spec.KindOverride, "o", o).Resource); err == nil {
		t.Error("there is no region XX")
	}
	delete(o.Hold, "sg@XX")
	w.store.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 43,
		Put: []state.Version{put(spec.KindOverride, "hold", o)}}},
		Values: state.Verdicts.Put(health.Verdict{Pool: id.For("EU"), Endpoints: map[string]health.Finding{"a": up, "b": up}})})
	var now api.Status
	w.ask(t, "GET", "/v1/status", nil, &now)
	if holds := now.Holds; len(holds) != 1 || len(holds[0].Apart) != 1 {
		t.Errorf("%+v", holds)
	}
	if got := w.held(store.Release{Tenant: "shop", Pool: "sg"}); len(got) != 1 || got[0].pool != id.For("AS") {
		t.Errorf("held: %v", got)
	}
}
