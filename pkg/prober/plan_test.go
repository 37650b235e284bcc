package prober

import (
	"slices"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
)

func planOf(resources ...*spec.Resource) *plan {
	var all []store.Version
	for _, r := range resources {
		all = append(all, store.Version{Resource: r})
	}
	return makePlan(store.NewResources(all...), nil)
}

// An override of the state takes its endpoints into an operator's hands until it expires; one of the weight does not.
func TestHands(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		what string
		o    spec.Override
		a, b bool
	}{
		{"one endpoint", spec.Override{Pool: "eu", Endpoint: "a", State: "down"}, true, false},
		{"the whole pool", spec.Override{Pool: "eu", State: "drain"}, true, true},
		{"another pool", spec.Override{Pool: "us", State: "down"}, false, false},
		{"until later", spec.Override{Pool: "eu", State: "up", Expires: "2026-01-01T13:00:01+01:00"}, true, true},
		{"until now", spec.Override{Pool: "eu", State: "up", Expires: "2026-01-01T12:00:00Z"}, false, false},
		{"a date that cannot be read", spec.Override{Pool: "eu", State: "up", Expires: "tomorrow"}, false, false},
		{"only a weight", spec.Override{Pool: "eu", Weight: new(int)}, false, false},
	} {
		p := planOf(overrideRes("o", tc.o))
		id := health.PoolID{Tenant: "shop", Pool: "eu"}
		if a, b := p.inHands(id, "a", now), p.inHands(id, "b", now); a != tc.a || b != tc.b {
			t.Errorf("%s: %v %v, want %v %v", tc.what, a, b, tc.a, tc.b)
		}
	}
}

// What cannot be checked is said, and costs nothing else its check.
func TestFaults(t *testing.T) {
	mixed := poolRes("eu", "m", s1)
	p := mixed.Spec.(*spec.Pool)
	p.Endpoints = append(p.Endpoints, spec.Endpoint{Name: "x"})
	got := planOf(monitorRes("m", spec.Monitor{}), mixed, poolRes("us", "nowhere", s2))
	want := []string{
		`shop/Pool/eu: endpoint "x" is not checked: it has no address, host or probe`,
		`shop/Pool/us: monitor "nowhere" is missing or cannot be read; the last verdict holds`,
	}
	if !slices.Equal(got.faults, want) {
		t.Errorf("%q", got.faults)
	}
	eu := got.pools[health.PoolID{Tenant: "shop", Pool: "eu"}]
	if len(eu.checks) != 1 || !slices.Equal(eu.endpoints, []string{"a", "x"}) {
		t.Errorf("%+v", eu)
	}
}
