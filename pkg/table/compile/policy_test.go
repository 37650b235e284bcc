package compile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table/draws"
	"github.com/gti/gtm/pkg/table/rr"
)

// sites stand in Frankfurt, Ashburn and Singapore; the pools of testPools stand there.
const testSites = `
---
kind: Site
tenant: platform
name: fra
spec: {location: {lat: 50.11, lon: 8.68}, region: EU-DE}
---
kind: Site
tenant: platform
name: iad
spec: {location: {lat: 38.95, lon: -77.45}, region: NA-US-VA}
---
kind: Site
tenant: platform
name: sin
spec: {location: {lat: 1.35, lon: 103.82}, region: AS-SG}
---
kind: Pool
tenant: shop
name: eu
spec: {site: fra, endpoints: [{name: a, addresses: [198.51.100.1]}]}
---
kind: Pool
tenant: shop
name: us
spec: {site: iad, endpoints: [{name: a, addresses: [192.0.2.1]}]}
---
kind: Pool
tenant: shop
name: sg
spec: {site: sin, endpoints: [{name: a, addresses: [203.0.113.1]}]}
`

const (
	atEU = "198.51.100.1"
	atUS = "192.0.2.1"
	atSG = "203.0.113.1"
)

func TestNearest(t *testing.T) {
	h := newHarness(t, testZone, testSites, service("web", "  rules: [{pools: [{nearest: [us, sg, eu]}]}]\n"))
	host := "web.shop.gtm.example."
	h.expect(host, berlin, rr.IPv4, map[string]float64{atEU: 1})
	h.verdict("eu", "a", "b")
	h.expect(host, berlin, rr.IPv4, map[string]float64{atUS: 1})
	h.verdict("us", "a", "b")
	h.expect(host, berlin, rr.IPv4, map[string]float64{atSG: 1})
	h.verdict("eu")
	h.verdict("us")
	h.put("\n---\nkind: Site\ntenant: platform\nname: fra\nspec: {location: {lat: -33.9, lon: 18.4}, region: AF-ZA}\n")
	h.expect(host, berlin, rr.IPv4, map[string]float64{atUS: 1}) // Frankfurt has moved to Cape Town
}

// TestNearestByCoordinates: what is known of a place itself counts, not the middle of its country.
func TestNearestByCoordinates(t *testing.T) {
	const guam = "---\nkind: Map\ntenant: platform\nname: guam\nspec: {networks: [8.8.8.0/24], place: NA-US"
	h := newHarness(t, testZone, testSites, guam+"}\n", service("web", "  rules: [{pools: [{nearest: [us, sg, eu]}]}]\n"))
	h.expect("web.shop.gtm.example.", kansas, rr.IPv4, map[string]float64{atUS: 1})
	h.put(guam + ", location: {lat: 13.4, lon: 144.8}}\n")
	h.expect("web.shop.gtm.example.", kansas, rr.IPv4, map[string]float64{atSG: 1})
}

// TestARuleByMapAlone: clients of whom nothing is known were put to the policy without saying which maps hold them, and a condition of
// nothing but a map had the service answer nothing: index out of range.
func TestARuleByMapAlone(t *testing.T) {
	h := newHarness(t, testZone, testSites, "---\nkind: Map\ntenant: platform\nname: office\nspec: {networks: [8.8.8.0/24]}\n",
		service("web", "  rules: [{when: {map: office}, pools: [{nearest: [sg]}]}, {pools: [{nearest: [us, sg, eu]}]}]\n"))
	host := "web.shop.gtm.example."
	h.expect(host, kansas, rr.IPv4, map[string]float64{atSG: 1})
	h.expect(host, berlin, rr.IPv4, map[string]float64{atEU: 1})
}

func TestFenceIsNeverLeft(t *testing.T) {
	h := newHarness(t, testZone, testSites, service("web",
		"  rules: [{when: {geo: [EU]}, fence: [EU], pools: [{nearest: [us, sg, eu]}]}, {pools: [us]}]\n  lastResort: [sg]\n"))
	host := "web.shop.gtm.example."
	h.expect(host, berlin, rr.IPv4, map[string]float64{atEU: 1})
	h.verdict("eu", "a", "b")
	h.expect(host, berlin, rr.IPv4, map[string]float64{atEU: 1})
}

func TestPolicies(t *testing.T) {
	h := newHarness(t, testZone, testSites,
		service("web", "  pools: [eu, {pool: us, role: spare}]\n  rules: [{pools: [{policy: near}]}]\n"), `
---
kind: Policy
tenant: platform
name: near
spec: {grants: ["*"], rules: [{when: {geo: [EU]}, ttl: 7s, pools: [{nearest: sites}]}, {pools: [spare]}]}
`)
	host := "web.shop.gtm.example."
	h.expect(host, berlin, rr.IPv4, map[string]float64{atEU: 1})
	h.put(`
---
kind: Policy
tenant: platform
name: near
spec: {grants: ["*"], rules: [{pools: [{split: [{pool: spare, weight: 3}, {site: fra, weight: 1}]}]}]}
`)
	h.expect(host, berlin, rr.IPv4, map[string]float64{atEU: 0.25, atUS: 0.75})
	h.delete(spec.Key{Tenant: spec.Platform, Kind: spec.KindPolicy, Name: "near"})
	if len(h.last) != 1 {
		t.Errorf("broken: %v", h.last)
	}
	h.expect(host, berlin, rr.IPv4, map[string]float64{atEU: 0.25, atUS: 0.75})
}

// TestAGroupOfOneIsNotHashed: as long as the client's network has nothing to decide, it does not lengthen the scope.
func TestAGroupOfOneIsNotHashed(t *testing.T) {
	h := newHarness(t, testZone, testSites,
		service("web", "  coherent: true\n  rules: [{pools: [{nearest: [eu, us], band: 900%}]}]\n"))
	host := "web.shop.gtm.example."
	if d := h.expect(host, kansas, rr.IPv4, map[string]float64{atEU: 1}); d.Scope != draws.ByNetwork.Bits4 {
		t.Errorf("scope %d where the network decides", d.Scope)
	}
	h.verdict("eu", "a", "b")
	if d := h.expect(host, kansas, rr.IPv4, map[string]float64{atUS: 1}); d.Scope >= draws.ByNetwork.Bits4 {
		t.Errorf("scope %d where one pool is left", d.Scope)
	}
}

// TestManyPoliciesWithAShift: what is compiled ahead of many services did not know of the overrides of their rules, so that a start forgot
// them.
func TestManyPoliciesWithAShift(t *testing.T) {
	var yaml strings.Builder
	for i := range aheadLeast + 8 {
		yaml.WriteString(service(fmt.Sprint("w", i), "  rules: [{pools: [{split: [{pool: eu, weight: 1}, {pool: us, weight: 1}]}]}]\n"))
	}
	h := newHarness(t, testZone, testSites, yaml.String(), `
---
kind: Override
tenant: shop
name: shift
spec: {service: w3, rule: "1", pool: us, weight: 3, reason: x}
`)
	h.expect("w2.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{atEU: .5, atUS: .5})
	h.expect("w3.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{atEU: .25, atUS: .75})
}

// TestManyPoliciesOfOneTenant: of partitions of one policy alone a tenant has so many; what comes later shares one where it can.
func TestManyPoliciesOfOneTenant(t *testing.T) {
	for _, atOnce := range []bool{true, false} { // whether they are compiled ahead
		h := newHarness(t, testZone, testSites)
		var all []string
		for i := range maxTenantParts + 2 {
			all = append(all,
				service(fmt.Sprint("n", i), fmt.Sprintf("  rules: [{pools: [{nearest: [us, sg, eu], bias: {us: %dkm}}]}]\n", 10*i+1)),
				service(fmt.Sprint("f", i), fmt.Sprintf("  rules: [{pools: [{fastest: [us, sg, eu], margin: %dms}]}]\n", 10+i)))
		}
		if atOnce {
			h.put(strings.Join(all, ""))
		} else {
			for _, s := range all {
				h.put(s)
			}
		}
		for _, timed := range []bool{false, true} {
			if n := h.c.owned[owner{"shop", timed}]; n != maxTenantParts || h.c.owned[owner{timed: timed}] != n {
				t.Errorf("at once %v, timed %v: %d of the tenant, %d of all", atOnce, timed, n, h.c.owned[owner{timed: timed}])
			}
		}
		own := h.expect("n0.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{atEU: 1})
		shared := h.expect(fmt.Sprintf("n%d.shop.gtm.example.", maxTenantParts), berlin, rr.IPv4, map[string]float64{atEU: 1})
		if shared.Scope < own.Scope {
			t.Errorf("scope %d of a shared partition, %d of one of its own", shared.Scope, own.Scope)
		}
		if len(h.last) != 2 || !strings.Contains(fmt.Sprint(h.last[0].Err), "more different ways than an edge has room for") {
			t.Errorf("at once %v: broken %v", atOnce, h.last)
		}
		for i := range maxTenantParts + 2 {
			h.delete(spec.Key{Tenant: "shop", Kind: spec.KindService, Name: fmt.Sprint("n", i)},
				spec.Key{Tenant: "shop", Kind: spec.KindService, Name: fmt.Sprint("f", i)})
		}
		if len(h.c.owned) != 0 {
			t.Errorf("at once %v: %v are counted of what is no more", atOnce, h.c.owned)
		}
	}
}
