package lawful

import (
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/spec"
)

const policyWorld = `
kind: Zone
tenant: platform
name: gtm.example.
spec:
  content: |
    @ SOA ns1 hostmaster 0 7200 1800 1209600 60
    @ NS ns1
    ns1 A 192.0.2.53
  grants: {shop: [shop.gtm.example.]}
---
{kind: Site, tenant: platform, name: fra, spec: {location: {lat: 50, lon: 8}, region: EU-DE}}
---
{kind: Site, tenant: platform, name: iad, spec: {location: {lat: 39, lon: -77}, region: NA-US}}
---
{kind: Pool, tenant: shop, name: eu, spec: {site: fra, endpoints: [{name: a, addresses: [192.0.2.1]}]}}
---
{kind: Pool, tenant: shop, name: us, spec: {site: iad, endpoints: [{name: a, addresses: [192.0.2.2]}]}}
---
{kind: Pool, tenant: shop, name: nowhere, spec: {endpoints: [{name: a, addresses: [192.0.2.3]}]}}
---
`

// TestPoliciesThatCanNeverAnswer: what no client would get anything from is told before it is applied.
func TestPoliciesThatCanNeverAnswer(t *testing.T) {
	service := func(rules string) string {
		return "{kind: Service, tenant: shop, name: web, spec: {host: web.shop.gtm.example., " + rules + "}}\n---\n"
	}
	near := func(rules string) string {
		return "{kind: Policy, tenant: platform, name: near, spec: {grants: [shop], rules: " + rules + "}}\n---\n"
	}
	for _, tc := range []struct{ yaml, err, warning string }{
		{service("rules: [{fence: [EU], pools: [{nearest: [eu, us]}]}]"), "", ""},
		{service("rules: [{fence: [AS], pools: [{nearest: [eu, us]}]}]"), "spec.rules[0]: rule 1 can never answer: no pool that " +
			"it names lies inside of the fence AS", ""},
		{service("fence: [EU], rules: [{pools: [eu]}], lastResort: [us]"), "spec.lastResort: lastResort can never answer", ""},
		{service("rules: [{fence: [EU], pools: [eu]}], lastResort: [us]"), "",
			"all of lastResort lies outside of the fence EU: where the rule's pools are down, they answer as if they were up"},
		{service("rules: [{fence: [EU], pools: [eu]}], lastResort: [us, eu]"), "", ""},
		{service("rules: [{fence: [EU], pools: [eu, us]}]"), "", "pool us never answers here: it lies outside of the fence EU"},
		{service("fence: [EU], rules: [{fence: [NA], pools: [{nearest: [eu, us]}]}]"), "can never answer: no pool that it names " +
			"lies inside of the fence EU + NA", ""},
		{service("rules: [{pools: [{nearest: [eu, nowhere]}]}]"), "", "come behind all others: nowhere"},
		{service("rules: [{pools: [{policy: near}]}]"), "spec.rules[0].pools[0].policy: shop/Policy/near does not exist", ""},
		{service("pools: [eu], rules: [{pools: [{policy: near}]}]") + near("[{pools: [{site: iad}]}]"), "rule 1 of policy near can never " +
			"answer: no pool of the service has a role, or stands at a site, that it names", ""},
		{service("pools: [eu, us], rules: [{when: {geo: [EU]}, pools: [{policy: near}]}, {pools: [us]}]") +
			near("[{when: {geo: [AS]}, pools: [us]}, {pools: [eu]}]"), "", "rule 1 of policy near is never reached: the rule " +
			"that uses the policy takes only EU"},
		{near("[{when: {geo: [EU]}, pools: [a]}, {name: late, when: {geo: [EU-DE]}, pools: [b]}]"), "",
			"spec.rules[1]: is never reached: rule 1 before it takes all of its clients"},
		{near("[{pools: [{policy: near}]}]"), "policies use each other in a circle: platform/Policy/near uses platform/Policy/near", ""},
		{near("[{pools: [{policy: far}]}]") + "{kind: Policy, tenant: platform, name: far, spec: {rules: [{pools: [{policy: near}]}]}}\n",
			"policies use each other in a circle", ""},
		{service("pools: [eu], rules: [{pools: [{policy: near}]}]") + strings.ReplaceAll(near("[{pools: [{nearest: sites}]}]"), "[shop]",
			"[other]"), "policy near of the tenant platform is not granted to shop", ""},
	} {
		warnings, err := Declared(declared.Resources(t, policyWorld+tc.yaml))
		if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("%s: error %v, want %q", tc.yaml, err, tc.err)
		}
		if got := warnings.Error(); tc.warning == "" && len(warnings) > 0 || !strings.Contains(got, tc.warning) {
			t.Errorf("%s: warnings %s, want %q", tc.yaml, got, tc.warning)
		}
	}
}

// TestASiteThatLeavesAFence: a site's region is what fences go by, two steps from the service.
func TestASiteThatLeavesAFence(t *testing.T) {
	all := declared.Resources(t, policyWorld+"{kind: Service, tenant: shop, name: web, spec: {host: web.shop.gtm.example., "+
		"rules: [{fence: [EU], pools: [{nearest: [eu, us]}]}]}}\n")
	set := All{spec.Set{}}
	for _, r := range all {
		set.Set[r.Key] = r
	}
	moved := declared.Resources(t, "{kind: Site, tenant: platform, name: fra, spec: {location: {lat: 50, lon: 8}, region: AS-SG}}")[0]
	set.Set[moved.Key] = moved
	c := &Change{After: set, Before: spec.Set{}, Known: func(string) bool { return true }, Changed: []*spec.Resource{moved}}
	if _, err := c.Check(); err == nil || !strings.Contains(err.Error(), "shop/Service/web: spec.rules[0]: rule 1 can never answer") {
		t.Errorf("error %v", err)
	}
}
