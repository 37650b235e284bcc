package spec

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const service = "kind: Service\ntenant: shop\nname: web\nspec:\n"

// Every message of the decoder, with file, line and field.
func TestDecodeErrors(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"unknown field of a spec", service + "  hots: a.\n", `f.yaml:5: shop/Service/web: spec.hots: unknown field; did you mean host?`},
		{"unknown field in depth", service + "  rules:\n    - pools: [a]\n    - when: {goe: [EU]}\n",
			`f.yaml:7: shop/Service/web: spec.rules[1].when.goe: unknown field; did you mean geo?`},
		{"unknown field of the envelope", "kind: Site\ntenant: platform\nname: fra\nspce: {}\nspec: {}\n",
			`f.yaml:4: platform/Site/fra: spce: unknown field; did you mean spec?`},
		{"unknown field far from any", "kind: Site\ntenant: platform\nname: fra\nspec: {qqqqqq: 1}\n",
			`f.yaml:4: platform/Site/fra: spec.qqqqqq: unknown field; it can be location, region`},
		{"duplicate key", service + "  host: a.\n  host: b.\n", `f.yaml:6: shop/Service/web: spec.host: stands twice, first on line 5`},
		{"duplicate key of the envelope", "kind: Site\nkind: Site\ntenant: platform\nname: fra\nspec: {}\n",
			`f.yaml:2: kind: stands twice, first on line 1`},
		{"duplicate resource", "kind: Site\ntenant: platform\nname: a\nspec: {}\n---\nkind: Site\ntenant: platform\nname: a\nspec: {}\n",
			`f.yaml:6: platform/Site/a: is declared twice; first at f.yaml:1`},
		{"unknown kind", "kind: Servise\ntenant: a\nname: b\nspec: {}\n",
			`f.yaml:1: a/Servise/b: kind: unknown kind "Servise"; did you mean Service?`},
		{"no kind", "tenant: a\nname: b\nspec: {}\n",
			`f.yaml:1: kind: is missing; it can be Zone, Site, Map, Monitor, Pool, Policy, Service, Override, Tenant, Access, ` +
				`Rollout, Guard`},
		{"no tenant", "kind: Pool\nname: b\nspec: {}\n",
			`f.yaml:1: tenant: is missing; say whose it is; zones, sites and maps are the tenant platform's`},
		{"no name", "kind: Pool\ntenant: b\nspec: {}\n", `f.yaml:1: name: is missing`},
		{"no spec", "kind: Pool\ntenant: b\nname: c\n", `f.yaml:1: b/Pool/c: spec: is missing`},
		{"spec is a list", "kind: Pool\ntenant: b\nname: c\nspec: []\n", `f.yaml:4: b/Pool/c: spec: wants a mapping, not a list`},
		{"not a resource", "just words\n", `f.yaml:1: wants a resource with kind, tenant, name and spec, not a text`},
		{"text wants quotes", "kind: Pool\ntenant: b\nname: 5\nspec: {}\n",
			`f.yaml:3: name: wants text, not the number 5; put it in quotes`},
		{"text, true", service + "  host: true\n", `f.yaml:5: shop/Service/web: spec.host: wants text, not true; put it in quotes`},
		{"text, list", service + "  host: [a]\n", `f.yaml:5: shop/Service/web: spec.host: wants text, not a list`},
		{"number, text", service + "  answers: many\n",
			`f.yaml:5: shop/Service/web: spec.answers: wants a whole number, not the text "many"`},
		{"number, fraction", service + "  answers: 1.5\n",
			`f.yaml:5: shop/Service/web: spec.answers: wants a whole number, not the number 1.5`},
		{"number, octal", service + "  answers: 010\n", `f.yaml:5: shop/Service/web: spec.answers: wants a plain decimal number, not 010`},
		{"number, far too large", service + "  answers: 99999999999\n",
			`f.yaml:5: shop/Service/web: spec.answers: 99999999999 is out of range: it can be -2147483648 to 2147483647`},
		{"zero for a default", service + "  answers: 0\n",
			`f.yaml:5: shop/Service/web: spec.answers: cannot be 0; leave it out for the default`},
		{"bool", service + "  metrics: yes\n", `f.yaml:5: shop/Service/web: spec.metrics: wants true or false, not the text "yes"`},
		{"duration without unit", service + "  ttl: 30\n",
			`f.yaml:5: shop/Service/web: spec.ttl: a duration needs a unit; write 30s for seconds`},
		{"duration", service + "  ttl: " +
			"soon\n", `f.yaml:5: shop/Service/web: spec.ttl: wants a duration as in 30s, 1m30s or 1d, not the text "soon"`},
		{"duration of a rule", service + "  rules: [{ttl: 20, pools: [eu]}]\n",
			`f.yaml:5: shop/Service/web: spec.rules[0].ttl: a duration needs a unit; write 20s for seconds`},
		{"duration, negative", service + "  ttl: -5s\n", `f.yaml:5: shop/Service/web: spec.ttl: a duration cannot be negative`},
		{"pool reference", service + "  lastResort: [[a]]\n",
			`f.yaml:5: shop/Service/web: spec.lastResort[0]: wants the name of a pool, or one of {pool: NAME, weight: N}, ` +
				`{nearest: [...]}, {fastest: [...]}, {policy: NAME} and {split: [...]}, not a list`},
		{"pool reference of weight 0", service + "  lastResort: [{pool: a, weight: 0}]\n",
			`f.yaml:5: shop/Service/web: spec.lastResort[0].weight: a weight of a split is at least 1; to send nothing there, leave the ` +
				`pool out`},
		{"pool reference, unknown field", service + "  lastResort: [{pool: a, wieght: 1}]\n",
			`f.yaml:5: shop/Service/web: spec.lastResort[0].wieght: unknown field; did you mean weight?`},
		{"map reference", service + "  rules: [{when: {map: 5}}]\n",
			`f.yaml:5: shop/Service/web: spec.rules[0].when.map: wants text, not the number 5; put it in quotes`},
		{"empty item", service + "  families:\n    - \n", `f.yaml:6: shop/Service/web: spec.families[0]: is empty`},
		{"ASN", service + "  rules: [{when: {asn: [AS4134]}}]\n",
			`f.yaml:5: shop/Service/web: spec.rules[0].when.asn[0]: wants a whole number, not the text "AS4134"`},
		{"address", "kind: Pool\ntenant: b\nname: c\nspec: {endpoints: [{name: a, addresses: [1.2.3]}]}\n",
			`f.yaml:4: b/Pool/c: spec.endpoints[0].addresses[0]: wants an IP address as in 192.0.2.1 or 2001:db8::1, not the text "1.2.3"`},
		{"network", "kind: Map\ntenant: platform\nname: c\nspec: {networks: [192.0.2.1]}\n",
			`f.yaml:4: platform/Map/c: spec.networks[0]: wants a network as in 192.0.2.0/24 or 2001:db8::/32, not the text "192.0.2.1"; ` +
				`for this address alone write 192.0.2.1/32`},
		{"latitude", "kind: Site\ntenant: platform\nname: c\nspec: {location: {lat: .nan, lon: 0}}\n",
			`f.yaml:4: platform/Site/c: spec.location.lat: wants a finite decimal number, not .nan`},
		{"latitude, text", "kind: Site\ntenant: platform\nname: c\nspec: {location: {lat: north, lon: 0}}\n",
			`f.yaml:4: platform/Site/c: spec.location.lat: wants a number, not the text "north"`},
		{"port", "kind: Monitor\ntenant: b\nname: c\nspec: {port: 70000}\n",
			`f.yaml:4: b/Monitor/c: spec.port: 70000 is out of range: it can be 0 to 65535`},
		{"key with odd letters", "kind: Zone\ntenant: platform\nname: c.\nspec: {grants: {a.b: 1}}\n",
			`f.yaml:4: platform/Zone/c.: spec.grants."a.b": wants a list, not the number 1`},
		{"merge key", "kind: Site\n<<: {a: b}\n", `f.yaml:2: merge keys (<<) are not supported`},
		{"tag", "kind: !!binary aGk=\n", `f.yaml:1: the tag !!binary is not supported`},
		{"key that is a list", "? [a]\n: b\n", `f.yaml:1: a key must be a word`},
		{"syntax", "kind: Site\ntenant: [\n", `f.yaml:2: not valid YAML: did not find expected node content`},
		{"depth", "kind: " + strings.Repeat("[", 40) + strings.Repeat("]", 40), `f.yaml:1: nested deeper than 32 levels`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Decode("f.yaml", []byte(c.in))
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(c.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeTellsAllErrorsAtOnce(t *testing.T) {
	in := service + "  hots: a.\n  answers: x\n---\nkind: Nothing\n---\nkind: Site\ntenant: platform\nname: ok\nspec: {}\n---\n[\n"
	got, err := Decode("f.yaml", []byte(in))
	var errs Errors
	if !errors.As(err, &errs) || len(errs) != 6 {
		t.Fatalf("%d errors, want 6: %v", len(errs), err)
	}
	if len(got) != 2 || got[1].Name != "ok" {
		t.Errorf("what can be read is not there: %v", got)
	}
}

func TestAliasesAreBounded(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		p := string(c - 1)
		bomb += string(c) + ": &" + string(c) + " [" + strings.TrimSuffix(strings.Repeat("*"+p+",", 9), ",") + "]\n"
	}
	for _, in := range []string{bomb, "a: &a [*a]\n"} {
		if _, err := Decode("", []byte(in)); err == nil {
			t.Errorf("%q was taken", in)
		}
	}
	got, err := Decode("", []byte("kind: Service\ntenant: a\nname: b\nspec:\n  rules: [{name: x, pools: &p [eu, us]}]\n  lastResort: *p\n"))
	if err != nil || len(got[0].Spec.(*Service).LastResort) != 2 {
		t.Errorf("an honest alias: %v %v", got, err)
	}
}

const everything = `kind: Zone
tenant: platform
name: GTM.example
spec:
  nameservers: [ns1.gtm.example., ns2.gtm.example.]
  contact: hostmaster.gtm.example.
  content: |
    $ORIGIN gtm.example.
    @ A 192.0.2.1
  grants: {shop: [shop.gtm.example.]}
  debug: true
  dnssec: {algorithm: ed25519, zskLifetime: 0s, kskLifetime: 10000h, propagation: 2h, keyTTL: 30m, parentTTL: 24h}
---
kind: Site
tenant: platform
name: fra
spec: {location: {lat: 50.11, lon: 8}, region: EU-DE}
---
kind: Map
tenant: platform
name: offices
spec: {networks: [192.0.2.0/24, "2001:db8::/32"], place: EU-DE, asn: 64500, location: {lat: 52.52, lon: 13.4}}
---
kind: Monitor
tenant: shop
name: web-ok
spec: {type: https, port: 443, path: /healthz, interval: 5s, timeout: 2s, rise: 2, fall: 3, status: [200, 300-399],
  headers: {X-A: "1", B: "on"}, body: "ok", vantages: [fra-1], quorum: 1, insecure: true, host: web.example, method: GET}
---
kind: Pool
tenant: shop
name: eu
spec:
  site: fra
  monitor: web-ok
  minHealthy: 1
  endpoints:
    - {name: a, addresses: [198.51.100.1, "2001:db8:1::1"], weight: 3, probe: "192.0.2.9:80"}
    - {name: b, addresses: [198.51.100.2], weight: 0}
---
kind: Policy
tenant: platform
name: near
spec:
  grants: [shop, "*"]
  fence: [EU]
  rules:
    - {name: eu, when: {geo: [EU]}, fence: [EU-DE], ttl: 1m, pools: [{nearest: sites}, {site: fra}]}
    - pools:
        - {fastest: [main, {site: fra, weight: 2}], margin: 0s, samples: 3, maxAge: 1d, then: listed}
        - {pool: spare, trickle: 2%}
---
kind: Service
tenant: shop
name: web
spec:
  host: web.shop.gtm.example.
  ttl: 0s
  pools: [eu, {pool: us, role: spare}]
  fence: [EU, NA]
  answers: 1
  pick: weighted
  families: [ipv4]
  rules:
    - {name: europe, when: {geo: [EU, NA-GL]}, ttl: 20s, pools: [eu, us]}
    - {name: china-telecom, when: {asn: [4134]}, pools: [{pool: sg, weight: 70}, {pool: hk, weight: 30}]}
    - {name: office, when: {map: offices}, pools: [lab]}
    - {name: rest, pools: [us, eu]}
    - name: all
      pools:
        - split:
            - {nearest: [eu, {pool: us, weight: 2}], band: 5%, bias: {us: 10%}, farthest: 3000km, weight: 99}
            - {policy: near, weight: 1}
  lastResort: [us]
  allDown: servfail
  metrics: true
---
kind: Override
tenant: shop
name: drain-eu
spec: {pool: eu, endpoint: a, state: drain, weight: 0, reason: "it's: broken", author: me, expires: 2030-01-01T00:00:00Z}
---
kind: Tenant
tenant: platform
name: platform
spec:
  brake: {share: 60%, min: 3, window: 90s, mode: observe}
  limits: {brake: {share: {least: 20%, most: 80%}, min: {least: 2, most: 9}, window: {least: 10s, most: 5m}, modes: [enforce, observe]}}
---
kind: Access
tenant: shop
name: team
spec: {role: editor, subjects: ["group:shop-team", "token:ci"]}
---
kind: Rollout
tenant: shop
name: shop
spec:
  groups: [{name: canary, edges: [canary-*], soak: 5m}, {name: rest}]
  gates: {servfail: 1%, nxdomain: 5%, shift: 20%, latency: 50%, healthy: 50%, probes: [web.shop.gtm.example.]}
  updates: staged
---
kind: Guard
tenant: platform
name: careful
spec:
  tenants: [shop]
  mode: observe
  leastCapacity: 60%
  leastSites: 2
  largestShift: {change: 30%, hour: 50%}
  freeze:
    - {cron: 0 18 * * 5, zone: Europe/Berlin, for: 62h, reason: weekend}
    - {from: 2030-12-20T18:00:00+01:00, until: 2031-01-02T06:00:00+01:00}
  protect: [Zone, Service/web]
  approval: {above: 10%, for: 4h}
`

var sameButOrigin = []cmp.Option{cmpopts.IgnoreFields(Resource{}, "Origin"), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})}

func TestRoundTrips(t *testing.T) {
	all, err := Decode("all.yaml", []byte(everything))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != len(Kinds) || all[0].Name != "gtm.example." {
		t.Fatalf("got %v", all)
	}
	out, err := EncodeYAML(all)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Decode("again.yaml", out)
	if err != nil {
		t.Fatalf("%v in\n%s", err, out)
	}
	if diff := cmp.Diff(all, again, sameButOrigin...); diff != "" {
		t.Errorf("YAML: %s", diff)
	}
	for _, r := range all {
		checkJSON(t, r)
	}
	s := all[6].Spec.(*Service)
	if *s.TTL != 0 || s.Effective().TTL == nil || s.TTLSeconds() != 0 || s.Rules[1].Pools[0].String() != "sg:70" ||
		s.Rules[2].When.Map[0] != "offices" {
		t.Errorf("got %+v", s)
	}
	before, _, _ := strings.Cut(everything, "{name: office")
	if line := all[6].Origin.LineOf("spec.rules[2].when.map[0]"); line != 1+strings.Count(before, "\n") {
		t.Errorf("a field stands on line %d", line)
	}
}

func checkJSON(t *testing.T, r *Resource) {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []Mode{Strict, Tolerant} {
		back, err := DecodeJSON(data, mode)
		if err != nil {
			t.Fatalf("%v in %s", err, data)
		}
		if diff := cmp.Diff(r, back, sameButOrigin...); diff != "" {
			t.Errorf("JSON: %s", diff)
		}
		data2, _ := json.Marshal(back)
		if string(data) != string(data2) {
			t.Errorf("not the same bytes: %s %s", data, data2)
		}
	}
}

func TestDecodeJSON(t *testing.T) {
	for _, c := range []struct{ name, in, strict, tolerant string }{
		{"unknown field", `{"kind":"Site","tenant":"platform","name":"a",` + "\n" + `"spec":{"regino":"EU"}, "x": 1}`,
			"line 2: platform/Site/a: x: unknown field; it can be generation, kind, name, spec, tenant\nline 2: platform/Site/a: " +
				"spec.regino: unknown field; did you mean region?", ""},
		{"wrong type", `{"kind":"Pool","tenant":"a","name":"b","spec":{"endpoints":5}}`,
			"line 1: a/Pool/b: spec.endpoints: wants a list, not the number 5",
			"line 1: a/Pool/b: spec.endpoints: wants a list, not the number 5"},
		{"no spec", `{"kind":"Pool","tenant":"a","name":"b"}`, "line 1: a/Pool/b: spec: is missing", ""},
		{"cut", `{"kind":`, "line 1: not valid JSON: it ends too early", "line 1: not valid JSON: it ends too early"},
		{"more", `{"kind":"Pool","tenant":"a","name":"b","spec":{}} {}`, "line 1: something follows the JSON value",
			"line 1: something follows the JSON value"},
		{"twice", `{"kind":"Pool","tenant":"a","name":"b","name":"c","spec":{}}`, "line 1: name: stands twice, first on line 1",
			"line 1: name: stands twice, first on line 1"},
		{"null", `null`, "line 1: wants a resource with kind, tenant, name and spec, not nothing",
			"line 1: wants a resource with kind, tenant, name and spec, not nothing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for mode, want := range map[Mode]string{Strict: c.strict, Tolerant: c.tolerant} {
				r, err := DecodeJSON([]byte(c.in), mode)
				got := ""
				if err != nil {
					got = err.Error()
				} else if r.Spec == nil {
					t.Error("no spec")
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("mode %d: %s", mode, diff)
				}
			}
		})
	}
}

func TestErrorsLocate(t *testing.T) {
	local, err := Decode("web.yaml", []byte(service+"  host: a.\n  rules: []\n"))
	if err != nil {
		t.Fatal(err)
	}
	errs := Errors{{Resource: "shop/Service/web", Field: "spec.rules[0].pools[1]", Msg: "is bad"}, {Resource: "x/Pool/y", Msg: "unknown"}}
	errs.Locate(local)
	if errs[0].File != "web.yaml" || errs[0].Line != 6 || errs[1].File != "" {
		t.Errorf("got %v", errs)
	}
}

func TestDurationString(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", time.Hour: "1h", 90 * time.Second: "1m30s", 200 * time.Millisecond: "200ms",
		time.Minute: "1m", time.Hour + time.Second: "1h0m1s", 10 * time.Hour: "10h", 30 * time.Minute: "30m"} {
		if got := Duration(d).String(); got != want {
			t.Errorf("%d: %s, want %s", d, got, want)
		}
	}
}

// What Decode takes comes back alike from both encodings, and nothing makes it panic.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(everything))
	for doc := range strings.SplitSeq(everything, "---\n") {
		f.Add([]byte(doc))
	}
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("kind: Zone\ntenant: a\nname: b\nspec: {content: \"\\n \\t x \\n\\u00e9\\u2028\\x01\"}"))
	f.Add([]byte("kind: Zone\ntenant: a\nname: b\nspec: {content: \"  x\\r\\n- y: |\\n# z\"}"))
	f.Add([]byte("? : ? - :\n\t#"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := Decode("f", data)
		if err != nil {
			var errs Errors
			if !errors.As(err, &errs) || len(errs) == 0 {
				t.Fatalf("an odd error: %#v", err)
			}
			return
		}
		out, err := EncodeYAML(got)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode("again", out)
		if err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		if diff := cmp.Diff(got, again, append(sameButOrigin, cmpopts.EquateEmpty())...); diff != "" {
			t.Errorf("%s\n%s", diff, out)
		}
		for _, r := range got {
			_ = Validate(r)
			data, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := DecodeJSON(data, Strict); err != nil {
				t.Fatalf("%v in %s", err, data)
			}
		}
		_, _ = ValidateSet(setOf(got), got, nil)
	})
}

// FuzzDecodeJSON: a stored resource of any bytes is an error, never a panic.
func FuzzDecodeJSON(f *testing.F) {
	all, err := Decode("", []byte(everything))
	if err != nil {
		f.Fatal(err)
	}
	for _, r := range all {
		data, _ := json.Marshal(r)
		f.Add(data)
	}
	f.Add([]byte(`{"kind":"Pool","spec":[`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := DecodeJSON(data, Tolerant)
		if err != nil {
			return
		}
		_ = Validate(r)
		if out, err := json.Marshal(r); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if len(Diff(r, r)) != 0 {
			t.Error("differs from itself")
		}
	})
}

func setOf(resources []*Resource) Set {
	set := Set{}
	for _, r := range resources {
		set[r.Key] = r
	}
	return set
}
