package compile

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table/rr"
)

// TestThePlatformNeedsNoGrant: pkg/spec lets a service of the platform pass, so the compiler must too.
func TestThePlatformNeedsNoGrant(t *testing.T) {
	const own = `
---
kind: Pool
tenant: platform
name: own
spec: {endpoints: [{name: a, addresses: [192.0.2.80]}]}
---
kind: Service
tenant: platform
name: portal
spec: {host: portal.gtm.example., rules: [{pools: [own]}]}
`
	resources, err := spec.Decode("test.yaml", []byte(testZone+own))
	if err != nil {
		t.Fatal(err)
	}
	set := spec.Set{}
	for _, r := range resources {
		set[r.Key] = r
	}
	if _, err := spec.ValidateSet(set, resources, nil); err != nil {
		t.Fatalf("spec refuses it: %v", err)
	}
	h := newHarness(t, testZone, own)
	if len(h.last) != 0 {
		t.Fatalf("the compiler refuses it: %v", h.last)
	}
	h.expect("portal.gtm.example.", berlin, rr.IPv4, map[string]float64{"192.0.2.80": 1})
}

// TestBrokenTellsWhatIsServed looks at each way in which a resource is not served as declared.
func TestBrokenTellsWhatIsServed(t *testing.T) {
	key := func(tenant string, kind spec.Kind, name string) spec.Key {
		return spec.Key{Tenant: tenant, Kind: kind, Name: name}
	}
	unread := func(k spec.Key) func(*harness) {
		return func(h *harness) {
			h.apply(Change{Tenants: []TenantChange{{Tenant: k.Tenant, Head: 9, Broken: []Broken{{Key: k, Err: errors.New("unread")}}}}})
		}
	}
	put := func(yaml string) func(*harness) { return func(h *harness) { h.put(yaml) } }
	const offices = "kind: Map\ntenant: platform\nname: offices\nspec: {networks: [192.0.2.0/24]}\n"
	web, zone := key("shop", spec.KindService, "web"), key("platform", spec.KindZone, "gtm.example.")
	for _, tc := range []struct {
		name    string
		breakIt func(*harness)
		key     spec.Key
		want    Form
	}{
		{"a service that was good", put(service("web", "  rules: [{pools: [nowhere]}]\n")[5:]), web, LastGood},
		{"a service that was never good", put(service("new", "  rules: [{pools: [nowhere]}]\n")[5:]),
			key("shop", spec.KindService, "new"), Nothing},
		{"a service that wants another's host",
			put("kind: Service\ntenant: shop\nname: two\nspec: {host: web.shop.gtm.example., rules: [{pools: [eu]}]}\n"),
			key("shop", spec.KindService, "two"), Nothing},
		{"a service that was good and cannot move",
			put("kind: Service\ntenant: shop\nname: web\nspec: {host: web.elsewhere.example., rules: [{pools: [eu]}]}\n"), web, LastGood},
		{"an unread service", unread(web), web, LastGood},
		{"an unread service that is new", unread(key("shop", spec.KindService, "new")), key("shop", spec.KindService, "new"), Nothing},
		{"an unread zone", unread(zone), zone, LastGood},
		{"an unread zone that is new", unread(key("platform", spec.KindZone, "new.example.")),
			key("platform", spec.KindZone, "new.example."), Nothing},
		{"a static set at a service's name",
			put(testZone[:len(testZone)-1] + "\n  content: \"web.shop.gtm.example. 60 IN CNAME x.example.\\n\"\n"), zone, TheRest},
		{"an unread pool", unread(key("shop", spec.KindPool, "eu")), key("shop", spec.KindPool, "eu"), LastGood},
		{"an unread pool that is new", unread(key("shop", spec.KindPool, "new")), key("shop", spec.KindPool, "new"), Nothing},
		{"an unread map", unread(key("platform", spec.KindMap, "offices")), key("platform", spec.KindMap, "offices"), LastGood},
		{"an unread override", unread(key("shop", spec.KindOverride, "new")), key("shop", spec.KindOverride, "new"), Nothing},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t, testZone, testPools, service("web", webRules), "\n---\n", offices)
			tc.breakIt(h)
			if len(h.last) != 1 || h.last[0].Key != tc.key || h.last[0].Serves != tc.want {
				t.Errorf("broken: %+v, want %s, which serves %s", h.last, tc.key, tc.want)
			}
		})
	}
}

// TestABrokenPoolIsToldWhileItIs: one with an address that is none is told, as long as it is there and until it is mended.
func TestABrokenPoolIsToldWhileItIs(t *testing.T) {
	k := spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "bad"}
	generation := uint64(100)
	pool := func(a netip.Addr) Change {
		generation++
		r := &spec.Resource{Key: k, Spec: &spec.Pool{Endpoints: []spec.Endpoint{{Name: "a", Addresses: []netip.Addr{a}}}}}
		return Change{Tenants: []TenantChange{{Tenant: "shop", Head: generation, Put: []Item{{r, generation}}}}}
	}
	gone := Change{Tenants: []TenantChange{{Tenant: "shop", Head: 200, Deleted: []spec.Key{k}}}}
	good := pool(netip.MustParseAddr("192.0.2.1"))
	for what, end := range map[string]Change{"mended": good, "deleted": gone} {
		h := newHarness(t, testZone, testPools, service("web", webRules))
		h.apply(pool(netip.Addr{}))
		if len(h.last) != 1 || h.last[0].Key != k || h.last[0].Serves != Nothing {
			t.Fatalf("broken: %+v", h.last)
		}
		if h.apply(Change{Verdicts: []health.Verdict{{Pool: health.PoolID{Tenant: "shop", Pool: "eu"}}}}); len(h.last) != 1 {
			t.Errorf("after a verdict on another pool: %+v", h.last)
		}
		if h.apply(end); len(h.last) != 0 {
			t.Errorf("%s: still %+v", what, h.last)
		}
	}
}

// TestAPoolThatNobodyUsesAnyMoreIsMended: a broken pool is told until it is mended, also when the service that named it is gone by then.
func TestAPoolThatNobodyUsesAnyMoreIsMended(t *testing.T) {
	k := spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "bad"}
	pool := func(generation uint64, a netip.Addr) Change {
		r := &spec.Resource{Key: k, Spec: &spec.Pool{Endpoints: []spec.Endpoint{{Name: "a", Addresses: []netip.Addr{a}}}}}
		return Change{Tenants: []TenantChange{{Tenant: "shop", Head: generation, Put: []Item{{r, generation}}}}}
	}
	h := newHarness(t, testZone, testPools)
	h.apply(pool(100, netip.Addr{}))
	h.put(service("user", "  rules: [{pools: [bad]}]\n")[5:])
	h.delete(spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "user"})
	if len(h.last) != 1 || h.last[0].Key != k {
		t.Fatalf("broken: %+v", h.last)
	}
	if h.apply(pool(200, netip.MustParseAddr("192.0.2.1"))); len(h.last) != 0 {
		t.Errorf("mended: still %+v", h.last)
	}
}

// TestWhatNoServiceNamesAnyMoreIsForgotten: neither draws, nor pools that are not declared, stay behind what came and went.
func TestWhatNoServiceNamesAnyMoreIsForgotten(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", webRules))
	draws := func() (n int) {
		for _, p := range h.c.pools {
			n += len(p.draws)
		}
		return n
	}
	before, pools := draws(), len(h.c.pools)
	for _, rules := range []string{
		"  pick: sticky\n  rules: [{pools: [eu]}]\n",
		"  answers: 2\n  rules: [{pools: [eu, us]}]\n",
		"  pick: all\n  rules: [{pools: [us, missing]}]\n", // it is not compiled, and stays as it was
		"  pick: all\n  rules: [{pools: [us, absent]}]\n",
		"  pick: all\n  rules: [{pools: [us]}]\n",
	} {
		h.put(service("other", rules)[5:])
		if strings.Contains(rules, "missing") && len(h.last) != 1 {
			t.Errorf("%s is served: %v", rules, h.last)
		}
	}
	if h.delete(spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "other"}); len(h.last) != 0 {
		t.Errorf("broken: %v", h.last)
	}
	if draws() != before || len(h.c.pools) != pools {
		t.Errorf("%d draws and %d pools stay, of %d and %d: %v", draws(), len(h.c.pools), before, pools, h.c.pools)
	}
}

// TestAnEndpointsOverrideWinsOverItsPools whatever their names are.
func TestAnEndpointsOverrideWinsOverItsPools(t *testing.T) {
	for _, names := range [][2]string{{"a", "b"}, {"b", "a"}} {
		h := newHarness(t, testZone, testPools, service("web", webRules))
		h.put("kind: Override\ntenant: shop\nname: "+names[0]+"\nspec: {pool: eu, state: down, reason: closed}\n",
			"---\nkind: Override\ntenant: shop\nname: "+names[1]+"\nspec: {pool: eu, endpoint: b, state: up, reason: but this one}\n")
		h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.2": 1})
		if p := h.c.pools[health.PoolID{Tenant: "shop", Pool: "eu"}]; p.state.Candidates[0].Out != "down: override: closed" {
			t.Errorf("the others: %+v", p.state.Candidates[0])
		}
	}
}
