package geo

import (
	"net/netip"
	"testing"
)

// TestHitsOfAMapThatIsNotThere: to ask for one was an index out of range.
func TestHitsOfAMapThatIsNotThere(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.1")
	maps := []Map{{Name: "here", Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}}
	if h := HitsAt(maps, []string{"gone", "here"}, addr); h.Has(0) || !h.Has(1) {
		t.Errorf("in a map that is not there: %v; in one that is: %v", h.Has(0), h.Has(1))
	}
	if (Hits{}).Has(0) {
		t.Error("the zero Hits tells of a map")
	}
}
