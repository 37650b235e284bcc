package compile

import (
	"testing"

	"github.com/gti/gtm/pkg/table/rr"
)

// TestFailedPoolLeavesItsClientsToTheNext is also the example of docs/contributing.md: declare, expect shares, let something fail.
func TestFailedPoolLeavesItsClientsToTheNext(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", "  rules: [{pools: [eu, us]}]\n"))
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.1": 0.75, "198.51.100.2": 0.25})

	h.verdict("eu", "a", "b")
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"192.0.2.1": 0.5, "192.0.2.2": 0.5})
}
