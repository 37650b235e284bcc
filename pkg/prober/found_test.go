package prober

import (
	"log/slog"
	"net/netip"
	"slices"
	"testing"

	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// What a source of a pool has is checked, and judged, as soon as it is heard of, and no longer.
func TestWhatIsFoundIsChecked(t *testing.T) {
	w := newWorld(slog.New(slog.DiscardHandler))
	u := state.Update{Full: true, Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 1}}}
	for _, r := range declared.Resources(t, `kind: Monitor
tenant: shop
name: ok
spec: {type: tcp, port: 80}
---
kind: Pool
tenant: shop
name: p
spec: {monitor: ok, endpoints: [{name: own, addresses: [192.0.2.9]}], discover: [{name: a, srv: _a._tcp.example}]}
`) {
		u.Tenants[0].Put = append(u.Tenants[0].Put, state.Version{Resource: r, Generation: 1})
	}
	apply := func(u state.Update) {
		t.Helper()
		if err := w.applyConfig(u); err != nil {
			t.Fatal(err)
		}
	}
	apply(u)
	l := w.listen(false)
	defer l.stop()
	l.take()
	id := health.PoolID{Tenant: "shop", Pool: "p"}
	is := func(names ...string) {
		t.Helper()
		p := w.plans["shop"].pools[id]
		if !slices.Equal(p.endpoints, names) || len(p.checks) != len(names) || len(w.plans["shop"].sets[id].Endpoints) != len(names) {
			t.Errorf("%v are checked, want %v", p.endpoints, names)
		}
	}
	is("own")
	f := spec.Found{Tenant: "shop", Pool: "p", Source: "a",
		Endpoints: []spec.FoundEndpoint{{Address: netip.MustParseAddr("192.0.2.1"), Port: 1935}}}
	apply(state.Update{Values: state.Discovered.Put(f)})
	is("own", "ip-192-0-2-1")
	if of := w.plans["shop"].pools[id].of["ip-192-0-2-1"]; of != "192.0.2.1:1935" {
		t.Errorf("what is checked of it is %s", of)
	}
	if news := l.take(); !slices.Equal(news, []string{"shop"}) {
		t.Errorf("news of %v", news)
	}
	apply(state.Update{Values: state.Discovered.Delete(state.SourceOf(f))})
	is("own")
}
