package outlook

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

const pools = `kind: Pool
tenant: shop
name: eu
spec: {site: fra, endpoints: [{name: a, addresses: [198.51.100.1]}, {name: b, addresses: [198.51.100.2]}]}
---
kind: Pool
tenant: shop
name: us
spec: {site: iad, endpoints: [{name: a, addresses: [192.0.2.1]}]}
---
kind: Pool
tenant: shop
name: sg
spec: {endpoints: [{name: a, addresses: [203.0.113.1]}]}
`

// TestRules: from where a rule's answers come, what share each pool has of them, and how many of its endpoints take clients.
func TestRules(t *testing.T) {
	now := time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct{ name, rules, overrides, down, want string }{
		{"failover", "rules: [{pools: [eu, us]}]", "", "", "1: eu@fra 100% 2/2, us@iad 0% 1/1"},
		{"the first is down", "rules: [{pools: [eu, us]}]", "", "eu/a eu/b", "1: eu@fra 0% 0/2, us@iad 100% 1/1"},
		{"a split", "rules: [{name: r, pools: [{pool: eu, weight: 3}, {pool: us, weight: 1}, sg]}]", "", "",
			"r: eu@fra 3>3 75% 2/2, us@iad 1>1 25% 1/1, sg@ 0% 1/1"},
		{"one of it is down", "rules: [{pools: [{split: [{pool: eu, weight: 3}, {pool: us, weight: 1}]}, sg]}]", "", "us/a",
			"1: eu@fra 3>3 100% 2/2, us@iad 1>1 0% 0/1, sg@ 0% 1/1"},
		{"a shift of a failover", "rules: [{pools: [eu, us]}]",
			"service: web, rule: 1, pool: eu, weight: 1;service: web, rule: 1, pool: us, weight: 1", "",
			"1: eu@fra 0>1 50% 2/2, us@iad 0>1 50% 1/1"},
		{"a shift to 0", "rules: [{pools: [{pool: eu, weight: 3}, {pool: us, weight: 1}]}]",
			"service: web, rule: 1, pool: eu, weight: 0", "", "1: us@iad 1>1 100% 1/1, eu@fra 3>0 0% 2/2"},
		{"a drain", "rules: [{pools: [eu, us]}]", "pool: eu, endpoint: a, state: drain", "", "1: eu@fra 100% 1/2, us@iad 0% 1/1"},
		{"lastResort", "rules: [{pools: [eu]}], lastResort: [sg]", "pool: eu, state: down", "",
			"1 lastResort: eu@fra 0% 0/2, sg@ 100% 1/1"},
		{"all are down", "rules: [{pools: [eu, us]}]", "pool: us, state: down", "eu/a eu/b",
			"1 all are down: eu@fra 100% 0/2, us@iad 0% 0/1"},
		{"by place", "rules: [{pools: [{nearest: [eu, us]}, sg]}]", "pool: eu, state: down", "",
			"1: nearest(eu, us)@by place: nearest(eu, us) 100% 1/3, sg@ 0% 1/1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := pools + "---\nkind: Service\ntenant: shop\nname: web\nspec: {host: web.example., " + c.rules + "}\n"
			for i, o := range strings.Split(c.overrides, ";") {
				if o != "" {
					text += fmt.Sprintf("---\nkind: Override\ntenant: shop\nname: o%d\nspec: {%s, reason: x}\n", i, o)
				}
			}
			all, err := spec.Decode("s.yaml", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			set := spec.Set{}
			for _, r := range all {
				set[r.Key] = r
			}
			verdict := func(id health.PoolID) *health.Verdict {
				v := &health.Verdict{Pool: id, Endpoints: map[string]health.Finding{}}
				for word := range strings.FieldsSeq(c.down) {
					if pool, endpoint, _ := strings.Cut(word, "/"); pool == id.Pool {
						v.Endpoints[endpoint] = health.Finding{State: health.Down}
					}
				}
				return v
			}
			var got []string
			for _, r := range New(set, "shop", verdict, now).Rules("web") {
				var words []string
				for _, p := range r.Pools {
					weights := ""
					if p.Declared > 0 || p.Weight > 0 {
						weights = fmt.Sprintf("%d>%v ", p.Declared, p.Weight)
					}
					words = append(words, fmt.Sprintf("%s@%s %s%v%% %d/%d", p.Name, p.Site, weights, p.Share*100, p.Taking, p.Endpoints))
				}
				got = append(got, strings.TrimSpace(r.Name+" "+string(r.Tier))+": "+strings.Join(words, ", "))
			}
			if text := strings.Join(got, "; "); text != c.want {
				t.Errorf("%s\nwant %s", text, c.want)
			}
		})
	}
	if New(spec.Set{}, "shop", nil, now).Rules("web") != nil {
		t.Error("rules of nothing")
	}
}

// TestAFenceLeavesPoolsOut: a drain of the last pool inside would be taken for one of many, if those outside counted.
func TestAFenceLeavesPoolsOut(t *testing.T) {
	set := spec.Set{}
	for _, r := range declared.Resources(t, `
{kind: Site, tenant: platform, name: fra, spec: {region: EU-DE}}
---
{kind: Site, tenant: platform, name: iad, spec: {region: NA-US}}
---
{kind: Pool, tenant: shop, name: eu, spec: {site: fra, endpoints: [{name: a, addresses: [192.0.2.1]}, {name: b, addresses: [192.0.2.2]}]}}
---
{kind: Pool, tenant: shop, name: us, spec: {site: iad, endpoints: [{name: a, addresses: [192.0.2.3]}]}}
---
{kind: Pool, tenant: shop, name: nowhere, spec: {endpoints: [{name: a, addresses: [192.0.2.4]}]}}
---
kind: Service
tenant: shop
name: web
spec:
  host: web.shop.gtm.example.
  rules: [{fence: [EU], pools: [{nearest: [eu, us, nowhere]}]}, {pools: [{nearest: [eu, us, nowhere]}]}]
  lastResort: [us]
`) {
		set[r.Key] = r
	}
	rules := New(set, "shop", func(health.PoolID) *health.Verdict { return nil }, time.Unix(0, 0)).Rules("web")
	for i, want := range []struct{ endpoints, pools int }{{2, 1}, {4, 3}} {
		if p := rules[i].Pools[0]; p.Endpoints != want.endpoints || p.UpPools != want.pools {
			t.Errorf("rule %d: %d endpoints, %d pools up, want %+v", i+1, p.Endpoints, p.UpPools, want)
		}
	}
}
