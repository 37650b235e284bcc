package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

const (
	zone      = "gtm.example."
	endpoints = 10 // of each pool
)

func tenant(t int) string     { return fmt.Sprint("t", t) }
func host(t, s int) string    { return fmt.Sprintf("s%d.%s.%s", s, tenant(t), zone) }
func poolName(s int) string   { return fmt.Sprint("p", s) }
func siteName(s int) string   { return []string{"fra", "iad"}[s%2] }
func address(s, e int) string { return fmt.Sprintf("198.18.%d.%d", s%250, e+1) }

func resource(kind spec.Kind, tenant, name, body string) api.Resource {
	return api.Resource{Kind: kind, Tenant: tenant, Name: name, Spec: json.RawMessage(body)}
}

// platform is what the tenants share: a zone, two sites, a policy that half of the services go by, and quotas that let a tenant change
// things a thousand times within minutes. bias is the policy's.
func (o options) platform() []api.Resource {
	var grants []string
	for t := range o.tenants {
		grants = append(grants, fmt.Sprintf(`"%s": ["%s.%s"]`, tenant(t), tenant(t), zone))
	}
	return []api.Resource{
		resource(spec.KindZone, spec.Platform, zone, fmt.Sprintf(
			`{"nameservers": ["ns.example.net."], "contact": "hostmaster.gtm.example.", "grants": {%s}}`, strings.Join(grants, ", "))),
		resource(spec.KindSite, spec.Platform, "fra", `{"region": "EU-DE", "location": {"lat": 50.1, "lon": 8.7}}`),
		resource(spec.KindSite, spec.Platform, "iad", `{"region": "NA-US", "location": {"lat": 38.9, "lon": -77.4}}`),
		o.policy(0),
		resource(spec.KindTenant, spec.Platform, spec.Platform, `{"limits": {"quota": {"all": {"changes": 1000000, "requests": 100000}}}}`),
	}
}

// policy sends clients to what is near, with a bias in percent.
func (o options) policy(bias int) api.Resource {
	var grants []string
	for t := range o.tenants {
		grants = append(grants, fmt.Sprintf("%q", tenant(t)))
	}
	return resource(spec.KindPolicy, spec.Platform, "near", fmt.Sprintf(
		`{"grants": [%s], "rules": [{"pools": [{"nearest": "sites", "bias": {"iad": "%d%%"}}]}]}`, strings.Join(grants, ", "), bias))
}

// of is what a tenant has: half of the services have rules by geography and weights, half go by the platform's policy.
func (o options) of(t int) (all []api.Resource) {
	for s := range o.services {
		all = append(all, pool(t, s, 1), o.service(t, s, s))
	}
	return all
}

// pool is one pool, whose first endpoint has a weight.
func pool(t, s, weight int) api.Resource {
	var list []string
	for e := range endpoints {
		w := 1
		if e == 0 {
			w = weight
		}
		list = append(list, fmt.Sprintf(`{"name": "e%d", "addresses": [%q], "weight": %d}`, e, address(s, e), w))
	}
	body := fmt.Sprintf(`{"site": %q, "endpoints": [%s]}`, siteName(s), strings.Join(list, ", "))
	return resource(spec.KindPool, tenant(t), poolName(s), body)
}

// service goes to the pool first, and to the next of its tenant.
func (o options) service(t, s, first int) api.Resource {
	a, b := poolName(first%o.services), poolName((first+1)%o.services)
	body := fmt.Sprintf(`"rules": [{"name": "eu", "when": {"geo": ["EU"]}, "pools": ["%[1]s", "%[2]s"]}, `+
		`{"pools": [{"pool": "%[1]s", "weight": 70}, {"pool": "%[2]s", "weight": 30}]}]`, a, b)
	if s%2 == 0 {
		body = fmt.Sprintf(`"pools": ["%s", "%s"], "rules": [{"pools": [{"policy": "near"}]}]`, a, b)
	}
	return resource(spec.KindService, tenant(t), fmt.Sprint("s", s), fmt.Sprintf(`{"host": "%s", %s}`, host(t, s), body))
}
