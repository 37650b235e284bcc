package compile

import (
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
