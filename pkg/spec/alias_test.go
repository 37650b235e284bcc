package spec

import (
	"slices"
	"strings"
	"testing"
)

const aliasWorld = `kind: Zone
tenant: platform
name: z.example.
spec:
  nameservers: [ns1.z.example.]
  contact: hostmaster.z.example.
  grants: {shop: [shop.z.example.], cafe: [cafe.z.example.]}
  aliases:
    - {name: "@", to: WEB.shop.z.example}
    - {name: www, to: www.cdn.example., by: continent, ttl: 1m}
    - {name: abs.z.example., to: 9.z.example.}
---
kind: Zone
tenant: platform
name: child.z.example.
spec: {nameservers: [ns1.z.example.], contact: hostmaster.z.example.}
---
kind: Pool
tenant: shop
name: eu
spec: {endpoints: [{name: a, addresses: [198.51.100.1]}]}
---
kind: Pool
tenant: shop
name: names
spec: {endpoints: [{name: a, host: a.cdn.example.}]}
---
kind: Service
tenant: shop
name: web
spec: {host: web.shop.z.example., rules: [{pools: [eu]}]}
---
kind: Service
tenant: shop
name: cdn
spec: {host: cdn.shop.z.example., rules: [{pools: [names]}]}
---
kind: Service
tenant: shop
name: short
spec: {host: s.shop.z.example., ttl: 5s, metrics: true, alias: {to: web.shop.z.example.}}
`

func TestAliasErrors(t *testing.T) {
	service := func(tenant, host, more string) string {
		return "\n---\nkind: Service\ntenant: " + tenant + "\nname: x\nspec: {host: " + host + ", " + more + "}\n"
	}
	for _, tc := range []struct{ name, old, new, more, want string }{
		{"lawful", "", "", "", ""},
		{"lawful, the platform's", "", "", service("platform", "p.z.example.", "alias: {to: web.shop.z.example.}"), ""},
		{"rules too", "", "", service("shop", "x.shop.z.example.", "alias: {to: a.example.}, rules: [{pools: [eu]}]"),
			"spec.rules: goes not with alias"},
		{"subnets too", "", "", service("shop", "x.shop.z.example.", "alias: {to: a.example.}, ecs: off"), "spec.ecs: goes not with alias"},
		{"pick too", "", "", service("shop", "x.shop.z.example.", "alias: {to: a.example.}, pick: all"), "spec.pick: goes not with alias"},
		{"last resort too", "", "", service("shop", "x.shop.z.example.", "alias: {to: a.example.}, lastResort: [eu]"),
			"spec.lastResort: goes not with alias"},
		{"https too", "", "", service("shop", "x.shop.z.example.", "alias: {to: a.example.}, https: {}"),
			"spec.https: goes not with alias"},
		{"neither", "", "", service("shop", "x.shop.z.example.", "ttl: 5s"), "spec.rules: wants 1 to 1000 rules"},
		{"nowhere", "", "", service("shop", "x.shop.z.example.", "alias: {by: country}"), "spec.alias.to: is missing"},
		{"no host", "", "", service("shop", "x.shop.z.example.", "alias: {to: a..b}"), "spec.alias.to: \"a..b\" has an empty label"},
		{"by what", "", "", service("shop", "x.shop.z.example.", "alias: {to: a.example., by: contry}"),
			"spec.alias.by: \"contry\" is not possible; did you mean country?"},
		{"itself", "", "", service("shop", "x.shop.z.example.", "alias: {to: X.shop.z.example}"),
			"spec.alias.to: x.shop.z.example. leads to itself"},
		{"chain", "", "", service("shop", "x.shop.z.example.", "alias: {to: s.shop.z.example.}"),
			"spec.alias.to: s.shop.z.example. is an alias itself: aliases do not follow one another; write web.shop.z.example. here too"},
		{"chain to a zone's", "", "", service("shop", "x.shop.z.example.", "alias: {to: z.example.}"), "z.example. is an alias itself"},
		{"by, inside", "9.z.example.", "9.z.example., by: country", "",
			"spec.aliases[2].by: 9.z.example. is in a zone of ours, and is not resolved"},
		{"another tenant's", "", "", service("cafe", "x.cafe.z.example.", "alias: {to: web.shop.z.example.}"),
			"leads to services of its own tenant"},
		{"host names", "", "", service("shop", "x.shop.z.example.", "alias: {to: cdn.shop.z.example.}"),
			"is a service of host names, which has no addresses"},
		{"not granted", "", "", service("shop", "x.cafe.z.example.", "alias: {to: a.example.}"), "x.cafe.z.example. is not granted"},
		{"twice", "name: www", "name: \"@\"", "", "spec.aliases[1].name: z.example. stands twice, first at spec.aliases[0]"},
		{"out of zone", "name: abs.z.example.", "name: abs.example.", "",
			"spec.aliases[2].name: abs.example. is not in the zone z.example."},
		{"no name", "name: www", "name: \"\"", "", "spec.aliases[1].name: is missing"},
		{"half a second", "ttl: 1m", "ttl: 1500ms", "", "spec.aliases[1].ttl: 1.5s is not a whole number of seconds"},
		{"another zone's name", "name: www", "name: a.child", "",
			"spec.aliases[1].name: a.child.z.example. belongs to the zone child.z.example."},
		{"a service's name", "name: www", "name: web.shop", "", "spec.host: web.shop.z.example. is an alias in zone z.example."},
		{"zone to host names", "9.z.example.", "cdn.shop.z.example.", "",
			"spec.aliases[2].to: cdn.shop.z.example. is a service of host names"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resources, err := Decode("a.yaml", []byte(strings.Replace(aliasWorld, tc.old, tc.new, 1)+tc.more))
			if err == nil {
				set := Set{}
				for _, r := range resources {
					set[r.Key] = r
				}
				_, err = ValidateSet(set, resources, nil)
			}
			switch {
			case err == nil && tc.want != "":
				t.Errorf("no error, want %q", tc.want)
			case err != nil && (tc.want == "" || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

// TestAliasIsLookedAtWhenItsEndChanges changes only what the alias leads to.
func TestAliasIsLookedAtWhenItsEndChanges(t *testing.T) {
	resources, err := Decode("a.yaml", []byte(strings.Replace(aliasWorld, "rules: [{pools: [eu]}]", "rules: [{pools: [names]}]", 1)))
	if err != nil {
		t.Fatal(err)
	}
	set := Set{}
	var web []*Resource
	for _, r := range resources {
		set[r.Key] = r
		if r.Name == "web" {
			web = append(web, r)
		}
	}
	if _, err := ValidateSet(set, web, nil); err == nil || strings.Count(err.Error(), "is a service of host names") != 2 {
		t.Errorf("%v", err)
	}
	if _, err := ValidateSet(set, nil, nil); err != nil {
		t.Errorf("what was so before: %v", err)
	}
}

func TestAliasServices(t *testing.T) {
	resources, err := Decode("a.yaml", []byte(aliasWorld))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range AliasServices(resources[0]) {
		s := r.Spec.(*Service).Effective()
		got = append(got, r.Key.String()+" "+s.Host+" "+s.TTL.String()+" "+s.Alias.To+" "+s.Alias.By)
	}
	want := []string{"platform/Service/z.example. z.example. 30s web.shop.z.example. ",
		"platform/Service/www.z.example. www.z.example. 1m www.cdn.example. continent",
		"platform/Service/abs.z.example. abs.z.example. 30s 9.z.example. "}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if AliasServices(resources[2]) != nil {
		t.Error("a pool has aliases")
	}
}
