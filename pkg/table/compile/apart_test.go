package compile

import (
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/table/rr"
)

var apartPools = strings.Replace(testPools, "  minHealthy: 50%\n", "  apart: true\n", 1)

// TestAnEndpointIsUpInOneFamily: where families are apart, what fails in one goes on in the other, and clients of the first go elsewhere.
func TestAnEndpointIsUpInOneFamily(t *testing.T) {
	h := newHarness(t, testZone, apartPools, service("web", "  rules: [{pools: [eu, us]}]\n"))
	const web = "web.shop.gtm.example."
	both := func(four, six map[string]float64) {
		t.Helper()
		h.expect(web, berlin, rr.IPv4, four)
		h.expect(web, berlin, rr.IPv6, six)
	}
	four := map[string]float64{"198.51.100.1": 0.75, "198.51.100.2": 0.25}
	both(four, map[string]float64{"2001:db8:1::1": 0.75, "2001:db8:1::2": 0.25})
	h.verdict("eu", "a/ipv6")
	both(four, map[string]float64{"2001:db8:1::2": 1})
	h.verdict("eu", "a/ipv6", "b/ipv6")
	both(four, map[string]float64{"2001:db8:2::1": 1})
	h.verdict("eu", "a/ipv4")
	both(map[string]float64{"198.51.100.2": 1}, map[string]float64{"2001:db8:1::1": 0.75, "2001:db8:1::2": 0.25})
	h.verdict("eu", "a/ipv4", "b/ipv4", "a/ipv6", "b/ipv6")
	both(map[string]float64{"192.0.2.1": 0.5, "192.0.2.2": 0.5}, map[string]float64{"2001:db8:2::1": 1})
}

// TestOverridesAreOfBothFamilies: people name endpoints as they were declared.
func TestOverridesAreOfBothFamilies(t *testing.T) {
	h := newHarness(t, testZone, apartPools, service("web", "  rules: [{pools: [eu]}]\n"),
		"\n---\nkind: Override\ntenant: shop\nname: o\nspec: {pool: eu, endpoint: a, state: drain, reason: disk}\n")
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.2": 1})
	h.expect("web.shop.gtm.example.", berlin, rr.IPv6, map[string]float64{"2001:db8:1::2": 1})
}

// TestStickyFamiliesGoTogether: a client has the same endpoint in both families, as where they are not apart.
func TestStickyFamiliesGoTogether(t *testing.T) {
	rules := service("web", "  pick: sticky\n  rules: [{pools: [eu]}]\n")
	whole, apart := newHarness(t, testZone, testPools, rules), newHarness(t, testZone, apartPools, rules)
	score := func(h *harness, names ...string) {
		v := health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: "eu"}, Endpoints: map[string]health.Finding{}}
		for _, name := range names {
			v.Endpoints[name] = health.Finding{State: health.Up, Score: 0.5}
		}
		h.apply(Change{Verdicts: []health.Verdict{v}})
	}
	stickyAlike(t, whole, apart)
	score(whole, "a") // what is drawn from then is other than what is declared
	score(apart, "a/ipv4", "a/ipv6")
	stickyAlike(t, whole, apart)
}

func stickyAlike(t *testing.T, whole, apart *harness) {
	t.Helper()
	const web = "web.shop.gtm.example."
	seen := map[string]bool{}
	for _, subnet := range []string{"81.2.69.0/24", "81.2.70.0/24", "81.2.71.0/24", "81.2.72.0/24", "81.2.73.0/24", "81.2.74.0/24",
		"81.2.75.0/24", "81.2.76.0/24", "81.2.77.0/24", "81.2.78.0/24", "81.2.79.0/24", "81.2.80.0/24"} {
		for _, f := range []rr.Family{rr.IPv4, rr.IPv6} {
			want, _ := whole.ask(web, subnet, f)
			apart.expect(web, subnet, f, want)
			for address := range want {
				seen[address] = true
			}
		}
	}
	if len(seen) != 4 {
		t.Errorf("only %v were answered", seen)
	}
}
