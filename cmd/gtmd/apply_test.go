package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/change/effect"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store/state"
)

// TestApplyIsJudgedByWhatIsKnownOfHealth: a pool that is down by its verdict is no site that is up.
func TestApplyIsJudgedByWhatIsKnownOfHealth(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	start(t, dir, "--roles", "control")
	c := openStore(t, dir)
	file := filepath.Join(t.TempDir(), "config.yaml")
	apply := func(pools string) ([]state.Record, error) {
		t.Helper()
		text := twoSites + "spec: {host: web.shop.gtm.example., rules: [{pools: [" + pools + "]}]}\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := &config{apply: []string{file}, id: "one", logger: slog.New(slog.DiscardHandler)}
		s := &server{cfg: cfg, store: c, world: effect.Opener()}
		return s.applyFiles(limited(t))
	}
	if _, err := apply("eu, us"); err != nil {
		t.Fatal(err)
	}
	down := health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: "us"}, Judge: "one",
		Endpoints: map[string]health.Finding{"a": {State: health.Down}}}
	ctx, resign := context.WithCancel(limited(t))
	if err := c.Campaign(ctx, "one", func(ctx context.Context) error {
		defer resign()
		return c.PutVerdicts(ctx, []health.Verdict{down})
	}); ctx.Err() == nil {
		t.Fatal(err)
	}
	if _, err := apply("us"); err == nil || !strings.Contains(err.Error(), "pools at 0 of its sites would be up (now 1): at least 1 must") {
		t.Errorf("got %v", err)
	}
	if records, err := apply("eu"); err != nil || len(records) != 1 {
		t.Errorf("got %+v, %v", records, err)
	}
}

const twoSites = `kind: Zone
tenant: platform
name: gtm.example.
spec: {nameservers: [ns1.example.net.], contact: hostmaster.gtm.example., grants: {shop: [shop.gtm.example.]}}
---
kind: Site
tenant: platform
name: fra
spec: {region: EU-DE}
---
kind: Site
tenant: platform
name: iad
spec: {region: NA-US}
---
kind: Guard
tenant: shop
name: careful
spec: {leastSites: 1}
---
kind: Pool
tenant: shop
name: eu
spec: {site: fra, endpoints: [{name: a, addresses: [198.51.100.1]}]}
---
kind: Pool
tenant: shop
name: us
spec: {site: iad, endpoints: [{name: a, addresses: [198.51.100.2]}]}
---
kind: Service
tenant: shop
name: web
`
