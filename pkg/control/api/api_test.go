package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/spec"
)

// A resource of every kind survives the way over the wire, and so do the lines of its faults.
func TestResourcesOverTheWire(t *testing.T) {
	declared := everyKind(t)
	for _, want := range declared {
		wire, err := FromSpec(want)
		if err != nil {
			t.Fatal(err)
		}
		wire.Origin = &Origin{File: want.Origin.File, Line: want.Origin.Line}
		sent, err := json.Marshal(wire)
		if err != nil {
			t.Fatal(err)
		}
		var received Resource
		if err := json.Unmarshal(sent, &received); err != nil {
			t.Fatal(err)
		}
		got, err := received.ToSpec(spec.Strict)
		if err != nil {
			t.Fatalf("%s: %v", want.Key, err)
		}
		if got.Origin.File != "all.yaml" || got.Origin.Line != want.Origin.Line {
			t.Errorf("%s: origin %+v, want that of %+v", want.Key, got.Origin, want.Origin)
		}
		if before, after := encode(t, want), encode(t, got); before != after {
			t.Error(cmp.Diff(before, after))
		}
	}
}

// everyKind gives a resource of every kind.
func everyKind(t *testing.T) []*spec.Resource {
	t.Helper()
	declared, err := spec.Decode("all.yaml", []byte(`
kind: Zone
tenant: platform
name: gtm.example.
spec: {nameservers: [ns1.gtm.example.], contact: h.gtm.example., grants: {shop: [shop.gtm.example.]}, content: "a\n  b\n"}
---
kind: Site
tenant: platform
name: fra
spec: {location: {lat: 50.11, lon: 8.68}, region: EU-DE}
---
kind: Map
tenant: platform
name: offices
spec: {networks: [192.0.2.0/24, "2001:db8::/32"], place: EU-DE-BE, asn: 64500}
---
kind: Monitor
tenant: shop
name: web-ok
spec: {type: https, port: 443, path: "/healthz?a=<b>&c", interval: 5s, status: ["200-299"], headers: {X-A: b}}
---
kind: Pool
tenant: shop
name: eu
spec: {site: fra, monitor: web-ok, minHealthy: 50%, endpoints: [{name: a, addresses: [198.51.100.1, "2001:db8:1::1"], weight: 0}]}
---
kind: Policy
tenant: platform
name: near
spec: {grants: [shop], rules: [{when: {geo: [EU]}, fence: [EU], pools: [{nearest: sites, band: 10%}]}, {pools: [{pool: spare, weight: 2}]}]}
---
kind: Service
tenant: shop
name: web
spec: {host: web.shop.gtm.example., ttl: 30s, rules: [{name: r, when: {map: offices, geo: [EU]}, pools: [{pool: eu, weight: 70}, eu]}]}
---
kind: Override
tenant: shop
name: o
spec: {pool: eu, endpoint: a, state: drain, weight: 2, reason: "r", expires: "2026-05-04T03:02:01Z"}
---
kind: Tenant
tenant: shop
name: shop
spec: {brake: {share: 60%, min: 3, window: 90s, mode: observe}}
---
kind: Access
tenant: shop
name: developers
spec: {role: editor, subjects: ["group:shop-developers", "token:ci"]}
---
kind: Rollout
tenant: shop
name: shop
spec: {groups: [{name: canary, edges: [c-*], soak: 90s}, {name: rest}], gates: {servfail: 2%, probes: [web.shop.gtm.example.]}}
---
kind: Guard
tenant: shop
name: careful
spec: {leastCapacity: 60%, largestShift: {change: 30%}, freeze: [{cron: 0 18 * * 5, zone: Europe/Berlin, for: 62h}], approval: {above: 10%}}
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(declared) != len(spec.Kinds) {
		t.Fatalf("%d resources for %d kinds", len(declared), len(spec.Kinds))
	}
	return declared
}

func encode(t *testing.T, r *spec.Resource) string {
	t.Helper()
	text, err := spec.EncodeYAML([]*spec.Resource{r})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestFaultsHaveTheOriginOfTheResource(t *testing.T) {
	r := Resource{Kind: "Pool", Tenant: "shop", Name: "eu", Spec: json.RawMessage("{\n\n\"sites\": 1}"),
		Origin: &Origin{File: "a.yaml", Line: 9}}
	_, err := r.ToSpec(spec.Strict)
	if err == nil || !strings.HasPrefix(err.Error(), "a.yaml:9: shop/Pool/eu: spec.sites: ") {
		t.Errorf("strict: %v", err)
	}
	if _, err := r.ToSpec(spec.Tolerant); err != nil {
		t.Errorf("tolerant: %v", err)
	}
	r.Origin, r.Spec = nil, json.RawMessage("{")
	if _, err := r.ToSpec(spec.Tolerant); err == nil || strings.Contains(err.Error(), "line") {
		t.Errorf("malformed: %v", err)
	}
}

func TestIssueText(t *testing.T) {
	for want, issue := range map[string]Issue{
		"a.yaml:3: shop/Pool/eu: spec.site: does not exist; did you mean fra?": {File: "a.yaml", Line: 3, Resource: "shop/Pool/eu",
			Field: "spec.site", Message: "does not exist", Hint: "did you mean fra?"},
		"a.yaml: broken":                {File: "a.yaml", Message: "broken"},
		"body.weights.a: not a number":  {Location: "body.weights.a", Message: "not a number"},
		"shop/Pool/eu: cannot be there": {Resource: "shop/Pool/eu", Message: "cannot be there"},
	} {
		if got := issue.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	p := &Problem{Title: "Conflict", Detail: "d", Errors: []Issue{{Message: "m"}}}
	if got := p.Error(); got != "d\nm" {
		t.Errorf("problem %q", got)
	}
	if got := (&Problem{Title: "Conflict"}).Error(); got != "Conflict" {
		t.Errorf("problem %q", got)
	}
}

// What gtmctl get -o json printed could not be applied again.
func TestAListOfEveryKindIsADeclaration(t *testing.T) {
	declared := everyKind(t)
	list := ResourceList{Heads: map[string]uint64{"shop": 7}}
	for _, r := range declared {
		r.Generation = 7
		wire, err := FromSpec(r)
		if err != nil {
			t.Fatal(err)
		}
		list.Resources = append(list.Resources, wire)
	}
	for name, encode := range map[string]func(any) ([]byte, error){
		"one line": json.Marshal, "indented": func(v any) ([]byte, error) { return json.MarshalIndent(v, "", "  ") }} {
		text, err := encode(list)
		if err != nil {
			t.Fatal(err)
		}
		got, err := spec.Decode("list.json", text)
		if err != nil || len(got) != len(declared) {
			t.Fatalf("%s: %d resources, %v", name, len(got), err)
		}
		for i := range got {
			if d := spec.Diff(declared[i], got[i]); got[i].Key != declared[i].Key || got[i].Generation != 7 || len(d) > 0 {
				t.Errorf("%s: %s@%d: %v", name, got[i].Key, got[i].Generation, d)
			}
		}
	}
	list.Resources = []Resource{{Kind: spec.KindPool, Tenant: "shop", Name: "x", Error: "what shop@3 wrote cannot be read"}}
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := spec.Decode("list.json", text); err == nil || !strings.Contains(err.Error(), "could not be read: what shop@3 wrote") {
		t.Errorf("a resource that could not be read: %v", err)
	}
}
