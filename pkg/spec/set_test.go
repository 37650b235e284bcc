package spec

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// base is a lawful state.
const base = `kind: Zone
tenant: platform
name: gtm.example.
spec: {grants: {shop: [shop.gtm.example.], cafe: [cafe.gtm.example., shop.gtm.example.]}}
---
kind: Site
tenant: platform
name: fra
spec: {}
---
kind: Map
tenant: platform
name: offices
spec: {networks: [192.0.2.0/24]}
---
kind: Monitor
tenant: shop
name: ok
spec: {type: http}
---
kind: Pool
tenant: shop
name: eu
spec: {site: fra, monitor: ok, endpoints: [{name: a, addresses: [192.0.2.1, "2001:db8::1"]}, {name: b, addresses: [192.0.2.2]}]}
---
kind: Pool
tenant: shop
name: us
spec: {endpoints: [{name: a, addresses: [192.0.2.3, "2001:db8::3"]}]}
---
kind: Pool
tenant: shop
name: cdn
spec: {endpoints: [{name: a, host: cdn.example.}]}
---
kind: Service
tenant: shop
name: web
spec: {host: web.shop.gtm.example., rules: [{name: office, when: {map: offices}, pools: [us]}, {name: rest, pools: [eu, us]}]}
---
kind: Override
tenant: shop
name: drain-b
spec: {pool: eu, endpoint: b, state: drain, reason: disk}
`

func TestValidateSet(t *testing.T) {
	web := func(body string) string { return "kind: Service\ntenant: shop\nname: web\nspec: {" + body + "}\n" }
	for _, c := range []struct{ name, put, del, want, warn string }{
		{name: "nothing"},
		{name: "the same again", put: base},
		{name: "unknown pool", put: web("host: web.shop.gtm.example, rules: [{pools: [ue]}]"),
			want: "s.yaml:4: shop/Service/web: spec.rules[0].pools[0]: shop/Pool/ue does not exist; did you mean eu?"},
		{name: "unknown pool of the last resort", put: web("host: web.shop.gtm.example, rules: [{pools: [eu]}], lastResort: [nirvana]"),
			want: "s.yaml:4: shop/Service/web: spec.lastResort[0]: shop/Pool/nirvana does not exist; it can be cdn, eu, us"},
		{name: "unknown map", put: web("host: web.shop.gtm.example, rules: [{when: {map: [offices, office]}, pools: [eu]}, {pools: [eu]}]"),
			want: "s.yaml:4: shop/Service/web: spec.rules[0].when.map[1]: platform/Map/office does not exist; did you mean offices?"},
		{name: "monitors that are not there", put: "kind: Pool\ntenant: shop\nname: x\nspec: {checks: {of: [ok], critical: [okay], " +
			"watch: [k]}, endpoints: [{name: a, addresses: [192.0.2.9]}]}\n",
			want: "s.yaml:4: shop/Pool/x: spec.checks.critical[0]: shop/Monitor/okay does not exist; it can be ok\n" +
				"s.yaml:4: shop/Pool/x: spec.checks.watch[0]: shop/Monitor/k does not exist; did you mean ok?"},
		{name: "monitors of one pool that ask other vantages", put: "kind: Pool\ntenant: shop\nname: x\nspec: {checks: {of: [ok, " +
			"two]}, endpoints: [{name: a, addresses: [192.0.2.9]}]}\n---\nkind: Monitor\ntenant: shop\nname: two\n" +
			"spec: {type: tcp, port: 1, vantages: [fra]}\n",
			want: "s.yaml:4: shop/Pool/x: spec.checks: monitors ok and two do not ask the same vantages, which combine what they see " +
				"of an endpoint; give both the same vantages, quorum and agree"},
		{name: "a monitor that is checks of a pool, deleted", put: "kind: Pool\ntenant: shop\nname: eu\nspec: {site: fra, " +
			"checks: {watch: [ok]}, endpoints: [{name: a, addresses: [192.0.2.1]}, {name: b, addresses: [192.0.2.2]}]}\n",
			del: "shop/Monitor/ok", want: "s.yaml:4: shop/Pool/eu: spec.checks.watch[0]: shop/Monitor/ok is deleted by the same change"},
		{name: "unknown site and monitor", put: "kind: Pool\ntenant: cafe\nname: x\nspec: {site: frx, monitor: ok, endpoints: [{name: a, " +
			"addresses: [192.0.2.9]}]}\n",
			want: "s.yaml:4: cafe/Pool/x: spec.site: platform/Site/frx does not exist; did you mean fra?\ns.yaml:4: cafe/Pool/x: " +
				"spec.monitor: cafe/Monitor/ok does not exist"},
		{name: "unknown pool and endpoint of overrides",
			put: "kind: Override\ntenant: shop\nname: x\nspec: {pool: xx, state: up, reason: x}\n---\nkind: Override\ntenant: shop\n" +
				"name: y\nspec: {pool: eu, endpoint: bb, state: up, reason: x}\n",
			want: "s.yaml:4: shop/Override/x: spec.pool: shop/Pool/xx does not exist; it can be cdn, eu, us\ns.yaml:9: shop/Override/y: " +
				"spec.endpoint: pool eu has no endpoint bb; did you mean b?"},
		{name: "no zone", put: web("host: web.example, rules: [{pools: [eu]}]"),
			want: "s.yaml:4: shop/Service/web: spec.host: web.example. is in no zone; there are gtm.example."},
		{name: "not granted", put: web("host: gtm.example, rules: [{pools: [eu]}]"),
			want: "s.yaml:4: shop/Service/web: spec.host: gtm.example. is not granted: zone gtm.example. grants shop only " +
				"shop.gtm.example.; have the tenant platform add it to the zone's spec.grants.shop"},
		{name: "granted nothing", put: "kind: Pool\ntenant: zoo\nname: p\nspec: {endpoints: [{name: a, addresses: [192.0.2.9]}]}\n---\n" +
			"kind: Service\ntenant: zoo\nname: s\nspec: {host: s.gtm.example, rules: [{pools: [p]}]}\n",
			want: "s.yaml:9: zoo/Service/s: spec.host: s.gtm.example. is not granted: zone gtm.example. grants zoo nothing; have the " +
				"tenant platform add it to the zone's spec.grants.zoo"},
		{name: "a wildcard is granted like any other name, and labels meet by one rule", put: web(`host: "*.shop.gtm.example", pick: ` +
			"sticky, sticky: {by: label}, rules: [{when: {geo: [EU]}, pools: [eu]}, {pools: [us]}]"),
			warn: "s.yaml:4: shop/Service/web: spec.rules: clients of one label may get different endpoints, since their place decides " +
				"too; for them to meet whatever their place, have one rule without when, and pools by their names"},
		{name: "labels of the nearest", put: web(`host: "*.shop.gtm.example", pick: sticky, sticky: {by: label}, rules: [{pools: ` +
			"[{nearest: [eu, us]}]}]"),
			warn: "s.yaml:4: shop/Service/web: spec.rules: clients of one label may get different endpoints, since their place decides " +
				"too; for them to meet whatever their place, have one rule without when, and pools by their names"},
		{name: "labels of the nearest, where nothing else is up", put: web(`host: "*.shop.gtm.example", pick: sticky, ` +
			"sticky: {by: label}, rules: [{pools: [eu]}], lastResort: [{nearest: [eu, us]}]"),
			warn: "s.yaml:4: shop/Service/web: spec.rules: clients of one label may get different endpoints, since their place decides " +
				"too; for them to meet whatever their place, have one rule without when, and pools by their names"},
		{name: "labels whose clients meet", put: web(`host: "*.shop.gtm.example", pick: sticky, sticky: {by: label}, rules: [{pools: ` +
			"[{split: [{pool: eu, weight: 1}, {pool: us, weight: 2}]}]}], lastResort: [us]")},
		{name: "a wildcard that is not granted", put: web(`host: "*.gtm.example", rules: [{pools: [eu]}]`),
			want: "s.yaml:4: shop/Service/web: spec.host: *.gtm.example. is not granted: zone gtm.example. grants shop only " +
				"shop.gtm.example.; have the tenant platform add it to the zone's spec.grants.shop"},
		{name: "two services at one wildcard", put: web(`host: "*.SHOP.gtm.example.", rules: [{pools: [eu]}]`) +
			"---\nkind: Service\ntenant: shop\nname: two\nspec: {host: \"*.shop.gtm.example\", rules: [{pools: [eu]}]}\n",
			want: "s.yaml:4: shop/Service/web: spec.host: *.shop.gtm.example. is already steered by shop/Service/two; a host belongs to " +
				"one service\ns.yaml:9: shop/Service/two: spec.host: *.shop.gtm.example. is already steered by shop/Service/web; a host " +
				"belongs to one service"},
		{name: "granted, at the edge", put: web("host: SHOP.gtm.example, rules: [{pools: [eu]}]")},
		{name: "a zone inside takes the name over", put: "kind: Zone\ntenant: platform\nname: shop.gtm.example.\nspec: {}\n",
			want: "shop/Service/web: spec.host: web.shop.gtm.example. is not granted: zone shop.gtm.example. grants shop nothing; have " +
				"the tenant platform add it to the zone's spec.grants.shop"},
		{name: "grants that shrink", put: "kind: Zone\ntenant: platform\nname: gtm.example.\nspec: {}\n",
			want: "shop/Service/web: spec.host: web.shop.gtm.example. is not granted: zone gtm.example. grants shop nothing; have the " +
				"tenant platform add it to the zone's spec.grants.shop"},
		{name: "one host, two tenants", put: "kind: Pool\ntenant: cafe\nname: p\nspec: {endpoints: [{name: a, addresses: [192.0.2.9]}]}\n" +
			"---\nkind: Service\ntenant: cafe\nname: s\nspec: {host: WEB.shop.gtm.example, rules: [{pools: [p]}]}\n",
			want: "s.yaml:9: cafe/Service/s: spec.host: web.shop.gtm.example. is already steered by shop/Service/web; a host belongs to " +
				"one service"},
		{name: "host names at an apex", put: "kind: Service\ntenant: platform\nname: top\nspec: {host: gtm.example, answers: 2, pick: " +
			"all, families: [ipv4], rules: [{pools: [c]}]}\n---\nkind: Pool\ntenant: platform\nname: c\nspec: {endpoints: [{name: a, " +
			"host: x.}]}\n",
			want: "s.yaml:4: platform/Service/top: spec.families: a service of host names answers CNAME to every type; remove it\n" +
				"s.yaml:4: platform/Service/top: spec.host: a service of host names cannot stand at the apex of zone gtm.example.: a " +
				"CNAME allows nothing beside it; use pools with addresses there\n" +
				"s.yaml:4: platform/Service/top: spec.answers: a service of host names answers one CNAME; leave it out\n" +
				"s.yaml:4: platform/Service/top: spec.pick: a service of host names answers one CNAME; use weighted or sticky"},
		{name: "mixed pools", put: web("host: web.shop.gtm.example, rules: [{pools: [eu, cdn]}]"),
			want: "s.yaml:4: shop/Service/web: spec.rules: pool cdn has host names and pool eu has addresses; use pools of one sort"},
		{name: "a pool turns to host names", put: "kind: Pool\ntenant: shop\nname: us\nspec: {endpoints: [{name: a, host: x.}]}\n",
			want: "shop/Service/web: spec.rules: pool us has host names and pool eu has addresses; use pools of one sort"},
		{name: "a pool loses IPv6", put: "kind: Pool\ntenant: shop\nname: us\nspec: {endpoints: [{name: a, addresses: [192.0.2.3]}]}\n",
			warn: "shop/Service/web: spec.rules: AAAA is not served: rule office has no pool with IPv6 addresses"},
		{name: "no family", put: "kind: Pool\ntenant: shop\nname: us\nspec: {endpoints: [{name: a, addresses: [192.0.2.3]}]}\n---\n" +
			web("host: web.shop.gtm.example, families: [ipv6], rules: [{name: r, pools: [us]}]"),
			want: "s.yaml:9: shop/Service/web: spec.rules: no family is served by every rule; give every rule a pool with IPv4, or every " +
				"rule one with IPv6 addresses"},
		{name: "rules behind a catch-all", put: web("host: web.shop.gtm.example, rules: [{name: a, pools: [eu]}, {name: b, pools: [us]}]"),
			warn: "s.yaml:4: shop/Service/web: spec.rules[1]: is never reached: rule a before it takes every client; put it before rule a"},
		{name: "deletion of what is used", del: "platform/Site/fra platform/Map/offices shop/Monitor/ok shop/Pool/us",
			want: "platform/Site/fra: cannot be deleted: shop/Pool/eu still refers to it (spec.site); change or delete that first, or in " +
				"the same change\n" +
				"shop/Monitor/ok: cannot be deleted: shop/Pool/eu still refers to it (spec.monitor); change or delete that first, or in " +
				"the same change\n" +
				"platform/Map/offices: cannot be deleted: shop/Service/web still refers to it (spec.rules[0].when.map[0]); change or " +
				"delete that first, or in the same change\n" +
				"shop/Pool/us: cannot be deleted: shop/Service/web still refers to it (spec.rules[0].pools[0]); change or delete that " +
				"first, or in the same change\n" +
				"shop/Pool/us: cannot be deleted: shop/Service/web still refers to it (spec.rules[1].pools[1]); change or delete that " +
				"first, or in the same change"},
		{name: "deletion beside a new reference", del: "shop/Pool/us", put: web("host: web.shop.gtm.example, rules: [{pools: [us]}]"),
			want: "s.yaml:4: shop/Service/web: spec.rules[0].pools[0]: shop/Pool/us is deleted by the same change"},
		{name: "deletion of a zone in use", del: "platform/Zone/gtm.example.",
			want: "platform/Zone/gtm.example.: cannot be deleted: shop/Service/web stands in it (web.shop.gtm.example.); delete that " +
				"first, or " +
				"in the same change"},
		{name: "deletion of an endpoint in use",
			put: "kind: Pool\ntenant: shop\nname: eu\nspec: {endpoints: [{name: a, addresses: [192.0.2.1, \"2001:db8::1\"]}]}\n",
			want: "s.yaml:4: shop/Pool/eu: spec.endpoints: endpoint b is gone, but shop/Override/drain-b still refers to it; delete the " +
				"override too"},
		{name: "deletion of users and used", del: "shop/Pool/us shop/Service/web"},
		{name: "two overrides of one thing",
			put:  "kind: Override\ntenant: shop\nname: x\nspec: {pool: eu, endpoint: b, weight: 5, reason: x}\n",
			want: "s.yaml:4: shop/Override/x: spec: shop/eu/b is already overridden by shop/Override/drain-b; change or delete that one"},
		{name: "a fault of one resource", put: "kind: Site\ntenant: shop\nname: x\nspec: {}\n",
			want: "s.yaml:2: shop/Site/x: tenant: a Site belongs to the tenant platform; declare it there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			warnings, err := validateAfter(t, c.put, c.del)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.warn, warnings.Error()); diff != "" {
				t.Errorf("warnings: %s", diff)
			}
		})
	}
}

// validateAfter lays put and del over base.
func validateAfter(t *testing.T, put, del string) (Errors, error) {
	t.Helper()
	before, err := Decode("", []byte(base))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range before {
		r.Origin = Origin{} // as the store gives them
	}
	changed, err := Decode("s.yaml", []byte(put))
	if err != nil {
		t.Fatal(err)
	}
	set := setOf(before)
	var deleted []Key
	for s := range strings.FieldsSeq(del) {
		p := strings.SplitN(s, "/", 3)
		k := Key{p[0], Kind(p[1]), p[2]}
		if set[k] == nil {
			t.Fatalf("%s is not there", k)
		}
		delete(set, k)
		deleted = append(deleted, k)
	}
	for _, r := range changed {
		set[r.Key] = r
	}
	return ValidateSet(set, changed, deleted)
}

func TestBaseIsLawful(t *testing.T) {
	all, err := Decode("", []byte(base))
	if err != nil {
		t.Fatal(err)
	}
	if warnings, err := ValidateSet(setOf(all), all, nil); err != nil || len(warnings) > 0 {
		t.Errorf("%v %v", warnings, err)
	}
	if _, err := ValidateSet(setOf(all), append(all, all[0]), nil); err == nil {
		t.Error("a resource that stands twice was taken")
	}
}

func TestServedFamilies(t *testing.T) {
	pools := map[string]*Pool{
		"both": one(t, KindPool, "a", "p", `endpoints: [{name: a, addresses: [192.0.2.1, "2001:db8::1"]}]`).Spec.(*Pool),
		"four": one(t, KindPool, "a", "p", `endpoints: [{name: a, addresses: [192.0.2.1], weight: 0}]`).Spec.(*Pool),
		"six":  one(t, KindPool, "a", "p", `endpoints: [{name: a, addresses: ["2001:db8::1"]}]`).Spec.(*Pool),
		"host": one(t, KindPool, "a", "p", `endpoints: [{name: a, host: x.}]`).Spec.(*Pool),
	}
	for _, c := range []struct {
		spec, want string
		warnings   []string
	}{
		{"rules: [{pools: [both]}]", "46", nil},
		{"rules: [{pools: [four, six]}, {pools: [both]}]", "46", nil},
		{"rules: [{pools: [both]}, {pools: [four]}, {name: x, pools: [four]}]", "4",
			[]string{"AAAA is not served: rule 2, rule x have no pool with IPv6 addresses"}},
		{"rules: [{pools: [four]}, {pools: [six]}]", "", []string{"A is not served: rule 2 has no pool with IPv4 addresses",
			"AAAA is not served: rule 1 has no pool with IPv6 addresses"}},
		{"rules: [{pools: [both]}], families: [ipv6]", "6", nil},
		{"rules: [{pools: [both]}], lastResort: [four]", "46",
			[]string{"lastResort has no pool with IPv6 addresses: AAAA is then answered as if all were up"}},
		{"rules: [{when: {geo: [EU]}, pools: [both]}], lastResort: [four]", "4",
			[]string{"AAAA is not served: lastResort has no pool with IPv6 addresses"}},
		{"rules: [{pools: [host]}]", "c", nil},
		{"rules: [{pools: [gone]}]", "", nil},
	} {
		s := one(t, KindService, "a", "s", c.spec).Spec.(*Service)
		v4, v6, cname, warnings := ServedFamilies(s, func(name string) *Pool { return pools[name] })
		got := ""
		for s, is := range map[string]bool{"4": v4, "c": cname} {
			if is {
				got += s
			}
		}
		if v6 {
			got += "6"
		}
		x4, x6, xc := Served(s, func(name string) (f Families) {
			if p := pools[name]; p != nil {
				f = p.Families()
			}
			return f
		})
		if x4 != v4 || x6 != v6 || xc != cname {
			t.Errorf("%s: Served gives %v %v %v", c.spec, x4, x6, xc)
		}
		if got != c.want || !cmp.Equal(warnings, c.warnings) {
			t.Errorf("%s: got %q %q, want %q %q", c.spec, got, warnings, c.want, c.warnings)
		}
	}
}

func TestDiff(t *testing.T) {
	pool := func(body string) *Resource { return one(t, KindPool, "shop", "eu", body) }
	zone := func(content string) *Resource {
		return &Resource{Key: Key{Platform, KindZone, "x."}, Spec: &Zone{Content: content}}
	}
	for _, c := range []struct {
		name     string
		old, new *Resource
		want     string
	}{
		{"equal", pool(`endpoints: [{name: a, host: x.}]`), pool(`endpoints: [{name: a, host: x.}]`), ""},
		{"weight", pool(`endpoints: [{name: a, host: x., weight: 3}, {name: b, host: y.}]`),
			pool(`endpoints: [{name: a, host: x., weight: 5}, {name: b, host: y., weight: 0}]`),
			"spec.endpoints[a].weight 3 5\nspec.endpoints[b].weight  0\n"},
		{"come, go, order", pool(`endpoints: [{name: a, host: x.}, {name: b, host: y.}, {name: c, host: z.}]`),
			pool(`endpoints: [{name: c, host: z.}, {name: d, host: y.}, {name: a, host: x.}]`),
			`spec.endpoints.order ["a","b","c"] ["c","d","a"]` + "\n" + `spec.endpoints[b] {"host":"y.","name":"b"} ` + "\n" +
				`spec.endpoints[d]  {"host":"y.","name":"d"}` + "\n"},
		{"new", nil, pool(`site: fra, endpoints: []`), `spec.site  "fra"` + "\n"},
		{"gone", one(t, KindSite, Platform, "fra", "region: EU"), nil, `spec.region "EU" ` + "\n"},
		{"lines", zone("a\nb\nc\n"), zone("a\nc\nd\n"), `spec.content "b" ` + "\n" + `spec.content  "d"` + "\n"},
		{"order of lines", zone("a\nb\n"), zone("b\na\n"), `spec.content "a\nb\n" "b\na\n"` + "\n"},
	} {
		got := ""
		for _, ch := range Diff(c.old, c.new) {
			got += ch.Path + " " + string(ch.Old) + " " + string(ch.New) + "\n"
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestDiffSets(t *testing.T) {
	all, err := Decode("", []byte(base))
	if err != nil {
		t.Fatal(err)
	}
	old, now := setOf(all), setOf(all)
	if got := DiffSets(old, now); got != nil {
		t.Errorf("equal sets differ: %v", got)
	}
	delete(old, Key{"shop", KindService, "web"})
	delete(now, Key{Platform, KindSite, "fra"})
	now[Key{"shop", KindMonitor, "ok"}] = one(t, KindMonitor, "shop", "ok", "type: https")
	got := DiffSets(old, now)
	var keys []string
	for _, d := range got {
		keys = append(keys, d.Key.String())
	}
	if want := []string{"platform/Site/fra", "shop/Monitor/ok", "shop/Service/web"}; !cmp.Equal(keys, want) {
		t.Errorf("got %v, want %v", keys, want)
	}
	if got[0].New != nil || got[2].Old != nil || len(got[1].Changes) != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestResolveFiles(t *testing.T) {
	in, err := Decode("zones/demo/all.yaml",
		[]byte("kind: Zone\ntenant: platform\nname: a.\nspec: {file: a.zone}\n---\nkind: Zone\ntenant: platform\nname: b.\nspec: {file: "+
			"/b, content: x}\n---\nkind: Zone\ntenant: platform\nname: c.\nspec: {file: ../c}\n"))
	if err != nil {
		t.Fatal(err)
	}
	var read []string
	out, err := ResolveFiles(in, func(folder, name string) ([]byte, error) {
		read = append(read, folder+" "+name)
		if name == "../c" {
			return nil, nil
		}
		return []byte("content of " + name), nil
	})
	want := "zones/demo/all.yaml:9: platform/Zone/b.: spec.file: stands beside spec.content; remove one of them\n" +
		"zones/demo/all.yaml:14: platform/Zone/c.: spec.file: ../c is empty"
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	if !cmp.Equal(read, []string{"zones/demo a.zone", "zones/demo ../c"}) || out[0].Spec.(*Zone).Content != "content of a.zone" ||
		in[0].Spec.(*Zone).Content != "" {
		t.Errorf("read %q", read)
	}
}

func TestClosest(t *testing.T) {
	words := []string{"weighted", "sticky", "all"}
	for in, want := range map[string]string{"stiky": "sticky", "STICKY": "sticky", "al": "all", "wieghted": "weighted", "zebra": "", "": "",
		strings.Repeat("a", 1000): ""} {
		if got := Closest(in, words); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// A service needs its pool before it: kinds stand in the order of their references.
func TestKeysAreOrdered(t *testing.T) {
	all, err := Decode("", []byte(base))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		for _, ref := range references(r) {
			if ref.to.Kind.rank() >= r.Kind.rank() {
				t.Errorf("%s refers to %s", r.Kind, ref.to.Kind)
			}
		}
	}
	a, b := Key{"a", KindService, "x"}, Key{"a", KindPool, "y"}
	if a.Compare(b) <= 0 || b.Compare(a) >= 0 || a.Compare(a) != 0 || a.Compare(Key{"b", KindZone, "a"}) >= 0 {
		t.Error("keys are not in the order of tenant, kind, name")
	}
}
