package canned_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/edge/canned"
	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/gtmtest/views"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/compile"
)

const zoneYAML = `
kind: Zone
tenant: platform
name: gtm.example.
spec:
  content: |
    @ 3600 IN SOA ns1 hostmaster 0 7200 1800 1209600 60
    @ 3600 IN NS ns1
    ns1 3600 IN A 192.0.2.53
  grants: {shop: [shop.gtm.example.]}
---
kind: Map
tenant: platform
name: ripe
spec: {networks: [193.0.0.0/24]}
`

const shopYAML = `
kind: Pool
tenant: shop
name: eu
spec: {endpoints: [{name: a, addresses: [198.51.100.1, "2001:db8::1"]}]}
---
kind: Pool
tenant: shop
name: us
spec: {endpoints: [{name: a, addresses: [198.51.100.2, "2001:db8::2"]}]}
---
kind: Service
tenant: shop
name: web
spec: {host: web.shop.gtm.example., metrics: true, rules: [{pools: [eu, us]}]}
---
kind: Service
tenant: shop
name: any
spec: {host: "*.any.shop.gtm.example.", rules: [{pools: [us]}]}
`

// two compiles one state after another, and gives both views.
func two(t *testing.T, c *compile.Compiler, change compile.TenantChange) (was, is *table.View) {
	t.Helper()
	all := compile.Change{Full: true, Tenants: []compile.TenantChange{{Tenant: "platform", Head: 1, Put: items(t, 1, zoneYAML)},
		{Tenant: "shop", Head: 1, Put: items(t, 1, shopYAML)}}}
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	c.Apply(all)
	was, broken, _ := c.Compile(now)
	if len(broken) > 0 {
		t.Fatal(broken)
	}
	c.Apply(compile.Change{Tenants: []compile.TenantChange{change}})
	is, _, _ = c.Compile(now)
	return was, is
}

func items(t *testing.T, gen uint64, yaml string) (list []compile.Item) {
	t.Helper()
	for _, r := range declared.Resources(t, yaml) {
		list = append(list, compile.Item{Resource: r, Generation: gen})
	}
	return list
}

func newCompiler(t testing.TB) *compile.Compiler {
	return compile.New(compile.Config{Seed: 1, Workers: 1}, views.Atlas(t))
}

func TestWhatIsAFault(t *testing.T) {
	service := func(text string) string { return "kind: Service\ntenant: shop\nname: web\nspec: {" + text + "}\n" }
	gone := func(kind spec.Kind, names ...string) (keys []spec.Key) {
		for _, name := range names {
			keys = append(keys, spec.Key{Tenant: "shop", Kind: kind, Name: name})
		}
		return keys
	}
	for _, c := range []struct {
		name   string
		change compile.TenantChange
		want   string // in the faults; empty: there are none
	}{
		{"nothing of effect", compile.TenantChange{Tenant: "shop", Put: items(t, 2, strings.ReplaceAll(shopYAML, "100.1", "100.9"))}, ""},
		{"one pool of two is empty", compile.TenantChange{Tenant: "shop",
			Put: items(t, 2, "kind: Pool\ntenant: shop\nname: eu\nspec: {endpoints: []}\n")}, ""},
		{"both are", compile.TenantChange{Tenant: "shop", Put: items(t, 2, "kind: Pool\ntenant: shop\nname: eu\nspec: {endpoints: []}\n"+
			"---\nkind: Pool\ntenant: shop\nname: us\nspec: {endpoints: []}\n")}, "web.shop.gtm.example."},
		{"at a wildcard, too", compile.TenantChange{Tenant: "shop", Put: items(t, 2, "kind: Pool\ntenant: shop\nname: eu\nspec: "+
			"{endpoints: []}\n---\nkind: Pool\ntenant: shop\nname: us\nspec: {endpoints: []}\n")}, "canned.any.shop.gtm.example."},
		{"IPv6 is given up", compile.TenantChange{Tenant: "shop", Put: items(t, 2, strings.NewReplacer(`, "2001:db8::1"`, "",
			`, "2001:db8::2"`, "").Replace(shopYAML))}, ""},
		{"the service is deleted", compile.TenantChange{Tenant: "shop", Deleted: gone(spec.KindService, "web", "any")}, ""},
		{"it becomes an alias that is not resolved yet", compile.TenantChange{Tenant: "shop",
			Put: items(t, 2, service("host: web.shop.gtm.example., alias: {to: www.example.net}"))}, ""},
		{"it becomes one of MX records", compile.TenantChange{Tenant: "shop", Put: items(t, 2, "kind: Pool\ntenant: shop\nname: mail\n"+
			"spec: {endpoints: [{name: a, host: mx.example.net}]}\n---\n"+service("host: web.shop.gtm.example., mx: {preference: 10}, "+
			"rules: [{pools: [mail]}]"))}, ""},
		{"a fence leaves some out, as declared", compile.TenantChange{Tenant: "shop",
			Put: items(t, 2, service("host: web.shop.gtm.example., rules: [{when: {map: [ripe]}, fence: [AF], pools: [eu]}, "+
				"{pools: [us]}]"))}, ""},
		{"the service moves", compile.TenantChange{Tenant: "shop",
			Put: items(t, 2, service("host: www.shop.gtm.example., rules: [{pools: [eu]}]"))}, ""},
		{"the grant is gone", compile.TenantChange{Tenant: "platform",
			Put: items(t, 2, strings.ReplaceAll(zoneYAML, "{shop: [shop.gtm.example.]}", "{}"))}, ""}, // its last good form is served
		{"the zone is gone", compile.TenantChange{Tenant: "platform", Deleted: []spec.Key{{Tenant: "platform", Kind: spec.KindZone,
			Name: "gtm.example."}}}, "REFUSED, and NOERROR before"},
	} {
		comp := newCompiler(t)
		c.change.Head = 2
		was, is := two(t, comp, c.change)
		var got []string
		for _, f := range canned.Compare(was, is, comp.Touched()) {
			got = append(got, f.Key.String()+" "+f.Text)
		}
		if text := strings.Join(got, "\n"); (text == "") != (c.want == "") || !strings.Contains(text, c.want) {
			t.Errorf("%s: %q, want %q", c.name, text, c.want)
		}
	}
}

// TestWhatIsNoFault: what was bad before, what another tenant has there, and SERVFAIL that is declared.
func TestWhatIsNoFault(t *testing.T) {
	comp := newCompiler(t)
	emptied := "kind: Pool\ntenant: shop\nname: eu\nspec: {endpoints: []}\n---\nkind: Pool\ntenant: shop\nname: us\nspec: {endpoints: []}\n"
	was, is := two(t, comp, compile.TenantChange{Tenant: "shop", Head: 2, Put: items(t, 2, emptied)})
	web := compile.Name{Key: spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "web"}, Host: "web.shop.gtm.example."}
	if faults := canned.Compare(was, is, []compile.Name{web}); len(faults) != 1 {
		t.Fatalf("faults: %v", faults)
	}
	if faults := canned.Compare(is, is, []compile.Name{web}); len(faults) > 0 {
		t.Errorf("it was so before, and %v", faults)
	}
	may := web
	may.MayFail = true
	if faults := canned.Compare(was, is, []compile.Name{may}); len(faults) > 0 {
		t.Errorf("it may fail, and %v", faults)
	}
	web.Key.Tenant = "other"
	if faults := canned.Compare(was, is, []compile.Name{web}); len(faults) > 0 {
		t.Errorf("the name is another tenant's, and %v", faults)
	}
}

// TestANameWithoutRecordsIsEmpty: though it exists, and answers NOERROR.
func TestANameWithoutRecordsIsEmpty(t *testing.T) {
	comp := newCompiler(t)
	was, _ := two(t, comp, compile.TenantChange{Tenant: "shop", Head: 2, Deleted: []spec.Key{{Tenant: "shop", Kind: spec.KindService,
		Name: "web"}}})
	comp.Apply(compile.Change{Tenants: []compile.TenantChange{{Tenant: "platform", Head: 2, Put: items(t, 2, strings.ReplaceAll(zoneYAML,
		"    ns1 3600", "    web.shop 300 IN TXT \"x\"\n    ns1 3600"))}}})
	is, _, _ := comp.Compile(time.Unix(0, 0))
	web := compile.Name{Key: spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "web"}, Host: "web.shop.gtm.example."}
	faults := canned.Compare(was, is, []compile.Name{web})
	if len(faults) != 1 || !strings.Contains(faults[0].Text, "would be empty") {
		t.Errorf("faults: %v", faults)
	}
}

// TestNothingIsCounted: what an edge asks itself is no traffic.
func TestNothingIsCounted(t *testing.T) {
	comp := newCompiler(t)
	was, is := two(t, comp, compile.TenantChange{Tenant: "shop", Head: 2, Put: items(t, 2, strings.ReplaceAll(shopYAML, "100.1", "100.9"))})
	if len(comp.Touched()) == 0 {
		t.Fatal("nothing is asked")
	}
	canned.Compare(was, is, comp.Touched())
	for _, z := range is.Zones() {
		for i := range z.Counts.Rows {
			for rcode := range z.Counts.Rows[i] {
				if n := z.Counts.Rows[i][rcode].Load(); n > 0 {
					t.Errorf("zone %s counts %d", z.Name, n)
				}
			}
		}
	}
	for _, c := range is.ServiceCounts() {
		for i := range c.Pools {
			if n := c.Answers[i].Load(); n > 0 {
				t.Errorf("pool %s counts %d", c.Pools[i], n)
			}
		}
	}
}

func BenchmarkCompare(b *testing.B) {
	var yaml strings.Builder
	yaml.WriteString(strings.Split(shopYAML, "---\nkind: Service")[0])
	for i := range 1000 {
		fmt.Fprintf(&yaml, "---\nkind: Service\ntenant: shop\nname: s%d\nspec: {host: s%d.shop.gtm.example., rules: [{pools: [eu]}]}\n",
			i, i)
	}
	comp := newCompiler(b)
	resources, err := spec.Decode("", []byte(yaml.String()))
	if err != nil {
		b.Fatal(err)
	}
	all := compile.TenantChange{Tenant: "shop", Head: 1}
	for _, r := range resources {
		all.Put = append(all.Put, compile.Item{Resource: r, Generation: 1})
	}
	zone := compile.TenantChange{Tenant: "platform", Head: 1}
	for _, r := range declared.Resources(b, zoneYAML) {
		zone.Put = append(zone.Put, compile.Item{Resource: r, Generation: 1})
	}
	comp.Apply(compile.Change{Full: true, Tenants: []compile.TenantChange{zone, all}})
	v, _, _ := comp.Compile(time.Unix(0, 0))
	for b.Loop() {
		if faults := canned.Compare(v, v, comp.Touched()); len(faults) > 0 {
			b.Fatal(faults)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/name")
}

// TestSpeed: of names of the tenant, of which there are some.
func TestSpeed(t *testing.T) {
	_, v := two(t, newCompiler(t), compile.TenantChange{Tenant: "shop", Head: 2})
	for tenant, some := range map[string]bool{"shop": true, spec.Platform: true, "other": false} {
		if took := canned.Speed(v, tenant); took > 0 != some {
			t.Errorf("of %s an answer takes %s", tenant, took)
		}
	}
}
