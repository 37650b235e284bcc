package spec

import (
	"net/netip"
	"strings"
	"testing"
)

// A plan warns of a pool that stands where probers do not look by themselves, unless the platform opened that to the tenant.
func TestPlansWarnOfPrivateEndpoints(t *testing.T) {
	prefix := netip.MustParsePrefix("10.20.0.0/16")
	platform := tenantRes(Platform, &Tenant{
		Limits: &Limits{Probe: map[string][]netip.Prefix{"shop": {prefix}, "other": {netip.MustParsePrefix("10.0.0.0/8")}}}})
	monitor := one(t, KindMonitor, "shop", "m", "type: http")
	for _, tc := range []struct{ pool, says string }{
		{`{monitor: m, endpoints: [{name: a, addresses: [198.51.100.1]}]}`, ""},
		{`{endpoints: [{name: a, addresses: [10.0.0.1]}]}`, ""},
		{`{monitor: m, endpoints: [{name: a, addresses: [198.51.100.1]}, {name: b, addresses: [10.0.0.1]}, {name: c, addresses: ` +
			`[10.0.0.2]}]}`,
			"spec.endpoints[1].addresses: 10.0.0.1 is private: probers do not check it unless they may"},
		{`{monitor: m, endpoints: [{name: a, addresses: [10.0.0.1], probe: 198.51.100.1}]}`, ""},
		{`{monitor: m, endpoints: [{name: a, addresses: [198.51.100.1], probe: "169.254.169.254:80"}]}`,
			"spec.endpoints[0].probe: 169.254.169.254 is a metadata service"},
		{`{monitor: m, endpoints: [{name: a, addresses: ["2002:a00:1::1"]}]}`, "2002:a00:1::1 is private"},
		{`{monitor: m, endpoints: [{name: a, addresses: [10.20.0.1]}]}`, ""},
		{`{monitor: m, endpoints: [{name: a, addresses: [198.51.100.1], probe: "127.0.2.1:8080"}]}`, ""},
		{`{monitor: m, endpoints: [{name: a, host: a.example.}]}`, ""},
	} {
		pool := one(t, KindPool, "shop", "eu", tc.pool)
		set := Set{platform.Key: platform, monitor.Key: monitor, pool.Key: pool}
		warnings, err := ValidateSet(set, []*Resource{pool}, nil)
		if got := warnings.Error(); err != nil || tc.says == "" && got != "" || !strings.Contains(got, tc.says) ||
			strings.Contains(got, "\n") {
			t.Errorf("%s: %q, %v, want %q", tc.pool, got, err, tc.says)
		}
		if warnings, _ := ValidateSet(set, []*Resource{monitor}, nil); len(warnings) > 0 {
			t.Errorf("of a pool that does not change: %v", warnings)
		}
	}
}
