package compile

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/rr"
)

// BenchmarkDecide is what a choice takes, by the form of the policy.
func BenchmarkDecide(b *testing.B) {
	eight, shares := "", ""
	for i := range 8 {
		eight += poolOf(fmt.Sprint("p", i), fmt.Sprint("192.0.2.", i), fmt.Sprint("192.0.2.", 100+i))
		shares += fmt.Sprintf("{pool: p%d, weight: %d}, ", i, i+1)
	}
	const two = "{pool: eu, weight: 7}, {pool: us, weight: 3}"
	for _, bench := range []struct{ name, rules, down string }{
		{"pool", "  rules: [{pools: [eu, us]}]\n", ""},
		{"failover", "  rules: [{pools: [eu, us]}]\n", "eu"},
		{"lastResort", "  rules: [{pools: [eu]}]\n  lastResort: [us]\n", "eu"},
		{"split", "  rules: [{pools: [" + two + "]}]\n", ""},
		{"split8", "  rules: [{pools: [" + strings.TrimSuffix(shares, ", ") + "]}]\n", ""},
		{"sticky", "  pick: sticky\n  rules: [{pools: [eu]}]\n", ""},
		{"nearest", "  rules: [{pools: [{nearest: [eu, us, sg]}]}]\n", ""},
		{"nearestBand", "  rules: [{pools: [{nearest: [eu, us, sg], band: 900%}]}]\n", ""},
		{"nestedPolicy", nestedPolicy, ""},
		{"stickySplit", "  pick: sticky\n  rules: [{pools: [" + two + "]}]\n", ""},
	} {
		b.Run(bench.name, func(b *testing.B) {
			c := New(Config{Seed: 1, Workers: 1}, world)
			gen, pools := uint64(0), testPools
			if strings.Contains(bench.rules, "nearest") {
				pools = testSites
			}
			var ch Change
			for tenant, list := range decode(b, 1, testZone+pools+eight+service("web", bench.rules)) {
				gen++
				ch.Tenants = append(ch.Tenants, TenantChange{Tenant: tenant, Head: gen, Put: list})
			}
			if bench.down != "" {
				ch.Verdicts = append(ch.Verdicts, health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: bench.down},
					Endpoints: map[string]health.Finding{"a": {State: health.Down}, "b": {State: health.Down}}})
			}
			c.Apply(ch)
			v, broken, _ := c.Compile(noon)
			if len(broken) > 0 {
				b.Fatal(broken)
			}
			v.FillTables(b.Context(), nil)
			s, client, r := v.FindService("web.shop.gtm.example."), clientAt(berlin), uint64(0)
			class := v.Classify(s, client)
			var d table.Decision
			for b.Loop() {
				r += 0x9e3779b97f4a7c15
				v.Decide(&d, s, rr.IPv4, client, class, r)
			}
		})
	}
}

// poolOf is a pool of shop with an endpoint for each address.
func poolOf(name string, addresses ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n---\nkind: Pool\ntenant: shop\nname: %s\nspec:\n  endpoints:\n", name)
	for i, a := range addresses {
		fmt.Fprintf(&b, "    - {name: e%d, addresses: [%q]}\n", i, a)
	}
	return b.String()
}
