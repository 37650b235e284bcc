package prober

import (
	"log/slog"
	"net/netip"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// What the platform lends to a tenant opens that tenant's checks and no other's, and counts as soon as it is declared.
func TestNetworksAreLentToOneTenant(t *testing.T) {
	cfg := Config{ID: "fra"}
	cfg.setDefaults()
	w := newWorld(slog.New(slog.DiscardHandler))
	a := newAgent(cfg, w, newMetrics(prometheus.NewRegistry()))
	head := state.Generation(0)
	put := func(tenant string, resources ...*spec.Resource) {
		t.Helper()
		head++
		u := state.TenantUpdate{Tenant: tenant, Head: head}
		for _, r := range resources {
			u.Put = append(u.Put, state.Version{Resource: r, Generation: head})
		}
		if err := w.applyConfig(state.Update{Tenants: []state.TenantUpdate{u}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tenant := range []string{"shop", "other"} {
		m, p := monitorRes("m", spec.Monitor{}), poolRes("eu", "m", s1)
		m.Tenant, p.Tenant = tenant, tenant
		put(tenant, m, p)
	}
	lent := func(tenant string) []netip.Prefix {
		t.Helper()
		targets := a.adopt(tenant)
		if len(targets) != 1 {
			t.Fatalf("%d targets", len(targets))
		}
		return targets[0].Check.Lent
	}
	if got := lent("shop"); len(got) > 0 {
		t.Errorf("nothing is lent, and it has %v", got)
	}
	news := w.listen(false)
	defer news.stop()
	news.take()
	nets := []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16")}
	put(spec.Platform, &spec.Resource{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindTenant, Name: spec.Platform},
		Spec: &spec.Tenant{Limits: &spec.Limits{Probe: map[string][]netip.Prefix{"shop": nets}}}})
	if got := news.take(); !slices.Contains(got, "shop") {
		t.Errorf("news of %v alone", got)
	}
	if got := lent("shop"); !slices.Equal(got, nets) {
		t.Errorf("it has %v", got)
	}
	if got := lent("other"); len(got) > 0 {
		t.Errorf("another one has %v", got)
	}
}
