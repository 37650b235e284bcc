package table

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table/chunks"
	"github.com/gti/gtm/pkg/table/draws"
	"github.com/gti/gtm/pkg/table/rr"
)

// TestTheLeastTTLCounts: of the service and of the nodes on the way to the answer.
func TestTheLeastTTLCounts(t *testing.T) {
	end := spec.Endpoint{Name: "a", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}
	pool := steer.NewPool(health.PoolID{Tenant: "shop", Pool: "eu"}, &spec.Pool{Endpoints: []spec.Endpoint{end}}, nil, nil, time.Time{})
	draw, err := draws.New(pool, draws.Form{Answers: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, ttl := range [][3]uint32{{30, 20, 10}, {30, 10, 20}, {10, 20, 30}, {30, AnyTTL, AnyTTL}, {30, AnyTTL, 0}, {30, 0, AnyTTL}} {
		var w chunks.Writer[Node]
		leaf := LeafOf(draw, ttl[2], draws.ByNetwork)
		arms := []Arm{{Node: w.Add(leaf), Weight: 1, Live: leaf.Live, All: leaf.All}}
		top := w.Add(Node{Kind: FirstNode, Arms: &arms, TTL: ttl[1], Depth: 1, Live: leaf.Live, All: leaf.All})
		v := &View{Nodes: w.Freeze()}
		s := &Service{ServiceInfo: &ServiceInfo{}, starts: [fewRows]uint8{0, 1, 1}, rules: 1, Steps: []Step{{top, ttl[0]}}}
		var d Decision
		v.Decide(&d, s, rr.IPv4, new(Client), Class{}, 1)
		told := uint32(AnyTTL)
		for _, ttl := range v.leaves(top, s.Steps[0].TTL) {
			told = ttl
		}
		if want := min(ttl[0], ttl[1], ttl[2]); d.TTL != want || told != want {
			t.Errorf("%v: clients get %d, secondaries %d, want %d", ttl, d.TTL, told, want)
		}
	}
}

// TestSharesOfArms: of those that give, the first has everything, or each its part of the weight.
func TestSharesOfArms(t *testing.T) {
	arms := []Arm{{Weight: 5}, {Weight: 3, Live: 1 << rr.IPv4}, {Weight: 1, Live: 1<<rr.IPv4 | 1<<rr.IPv6}}
	for kind, want := range map[Kind][]float64{FirstNode: {0, 1, 0}, WeightedNode: {0, .75, .25}, HashedNode: {0, .75, .25}} {
		n := Node{Kind: kind, Arms: &arms}
		if got := n.shares(nil, 1<<rr.IPv4, false); !slices.Equal(got, want) {
			t.Errorf("kind %d: %v, want %v", kind, got, want)
		}
	}
}

// Scopes of sticky answers to short client subnets covered those of longer ones, with other answers (RFC 7871, 7.2.1).
func TestStickyHashHasOneLength(t *testing.T) {
	leaf := LeafOf(new(draws.Draw), 0, draws.ByNetwork)
	for _, tc := range []struct {
		net  string
		bits uint8
	}{{"91.198.160.0/20", 24}, {"91.198.160.0/24", 24}, {"91.198.160.77/32", 24}, {"2a02:ec80::/32", 48}, {"2a02:ec80::/56", 48}} {
		p := netip.MustParsePrefix(tc.net)
		n := NetOf(p.Addr(), uint8(p.Bits()))
		first := NetOf(p.Addr(), tc.bits)
		k, want := leaf.hash(&Client{Subnet: n}, false), leaf.hash(&Client{Subnet: first}, false)
		if k.bits != tc.bits || k.hash != want.hash {
			t.Errorf("%s hashes %d bits, as its first network does: %v", tc.net, k.bits, k.hash == want.hash)
		}
	}
}
