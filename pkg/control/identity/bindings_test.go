package identity

import (
	"testing"
	"time"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// granted is a mirror in which a tenant has one Access.
func granted(tenant string, a *spec.Access) *state.Mirror {
	m := state.NewMirror()
	m.Apply(state.Update{Full: true, Tenants: []state.TenantUpdate{{Tenant: tenant, Head: 1, Put: []state.Version{{Generation: 1,
		Resource: &spec.Resource{Key: spec.Key{Tenant: tenant, Kind: spec.KindAccess, Name: "a"}, Spec: a}}}}}})
	return m
}

// TestThePlatformAloneGivesRolesInAllTenants, whatever stands in the store.
func TestThePlatformAloneGivesRolesInAllTenants(t *testing.T) {
	for _, c := range []struct {
		tenant, tenants                   string
		inShop, inRival, inPlatformItself bool
	}{
		{spec.Platform, "", false, false, true}, {spec.Platform, spec.AllTenants, true, true, false},
		{spec.Platform, "some", false, false, false}, {"shop", "", true, false, false}, {"shop", spec.AllTenants, false, false, false},
	} {
		b := NewBook(Config{Mirror: granted(c.tenant, &spec.Access{Role: spec.RoleViewer, Subjects: []string{"user:sre"},
			Tenants: c.tenants})})
		g := b.Grants(&Who{Subjects: []string{"user:sre"}})
		if g.Sees("shop") != c.inShop || g.Sees("rival") != c.inRival || g.Sees(spec.Platform) != c.inPlatformItself {
			t.Errorf("%+v: %v", c, g)
		}
	}
}

// TestWhoHoldsARoleIsKnownByName, but for those whose groups only a login tells.
func TestWhoHoldsARoleIsKnownByName(t *testing.T) {
	b := NewBook(Config{Token: func() string { return "" }, Now: time.Now, Mirror: granted("shop", &spec.Access{Role: spec.RoleAdmin,
		Subjects: []string{"user:ann", "cert:CN=boss", "group:admins", "token:ci"}})})
	for name, want := range map[string][2]bool{AdminToken: {true, true}, "user:ann": {true, true}, "user:bob": {false, false},
		"cert:CN=boss": {true, true}, "cert:CN=other": {false, true}, "token:shop/ci": {true, true}, "token:shop/cd": {false, true}} {
		if holds, known := b.Holds(name, access.Administer, "shop"); holds != want[0] || known != want[1] {
			t.Errorf("%s: %v, known %v", name, holds, known)
		}
		if holds, _ := b.Holds(name, access.Administer, "rival"); holds != (name == AdminToken) {
			t.Errorf("%s is admin of another tenant", name)
		}
	}
}
