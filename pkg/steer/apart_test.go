package steer

import (
	"net/netip"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// TestAHoldKnowsFamiliesApart: what it wrote down of one family is not said of the other.
func TestAHoldKnowsFamiliesApart(t *testing.T) {
	id := health.PoolID{Tenant: "shop", Pool: "eu"}
	p := &spec.Pool{Apart: true, Endpoints: []spec.Endpoint{{Name: "a",
		Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}}}}
	v := &health.Verdict{Pool: id, Endpoints: map[string]health.Finding{
		"a/ipv4": {State: health.Up, Score: 1}, "a/ipv6": {State: health.Down}}}
	actual := NewPool(id, p, v, nil, time.Unix(1, 0))
	scores := actual.Scores()
	if len(scores) != 1 || scores["a/ipv6"] != 0 {
		t.Fatalf("%v", scores)
	}
	well := NewPool(id, p, nil, nil, time.Unix(1, 0))
	held, apart := Held(well, p, &spec.Override{Hold: map[string]spec.Scores{"eu": scores}}, nil, time.Unix(1, 0))
	if !apart || len(held.Candidates) != 2 || held.Candidates[0].Effective != 1 || held.Candidates[1].Effective != 0 ||
		held.Candidates[0].State != health.Up {
		t.Errorf("%v %+v", apart, held.Candidates)
	}
	before := &spec.Override{Hold: map[string]spec.Scores{"eu": {"a": 0}}} // written when both were one
	held, _ = Held(well, p, before, nil, time.Unix(1, 0))
	for _, c := range held.Candidates {
		if c.State != health.Down {
			t.Errorf("held before they were apart: %+v", c)
		}
	}
}
