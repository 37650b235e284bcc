package plans

import (
	"testing"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/change/guards"
	"github.com/gti/gtm/pkg/spec"
)

// TestWhoMayBreakTheGlass writes down who may pass over a guard of whom, by what the guard says.
func TestWhoMayBreakTheGlass(t *testing.T) {
	who := map[string]access.Grants{}
	for _, tenant := range []string{"shop", "cafe", spec.Platform} {
		for _, role := range spec.AccessRoles {
			g := access.Grants{}
			g.Add(tenant, role)
			who[tenant+" "+role] = g
		}
	}
	both := access.Grants{}
	both.Add("shop", spec.RoleAdmin)
	both.Add("cafe", spec.RoleEditor)
	who["shop admin, cafe editor"] = both
	for _, c := range []struct {
		owner, breaks string
		of            []string
		may           []string
	}{
		{"shop", spec.RoleAdmin, []string{"shop"}, []string{"shop admin", "shop admin, cafe editor"}},
		{"shop", spec.RoleEditor, []string{"shop"}, []string{"shop admin", "shop editor", "shop admin, cafe editor"}},
		{"shop", spec.RoleOperator, []string{"shop"}, []string{"shop admin", "shop editor", "shop operator", "shop admin, cafe editor"}},
		{"shop", spec.RoleViewer, []string{"shop"}, []string{"shop admin", "shop admin, cafe editor"}}, // which no guard says
		{"shop", "king", []string{"shop"}, []string{"shop admin", "shop admin, cafe editor"}},
		{spec.Platform, spec.RoleAdmin, []string{"shop"}, nil},
		{spec.Platform, spec.RoleEditor, []string{"shop"}, []string{"platform editor"}},
		{spec.Platform, spec.RoleOperator, []string{"shop"}, []string{"platform editor", "platform operator"}},
		{spec.Platform, spec.BreakTenantAdmin, []string{"shop"}, []string{"shop admin", "shop admin, cafe editor"}},
		{spec.Platform, spec.BreakTenantAdmin, []string{"shop", "cafe"}, nil},
		{spec.Platform, spec.BreakTenantAdmin, []string{spec.Platform}, nil},
	} {
		r := &guards.Refusal{Guard: spec.Key{Tenant: c.owner, Kind: spec.KindGuard, Name: "g"}, Breaks: c.breaks, Tenants: c.of,
			Of: spec.Key{Tenant: c.of[0], Kind: spec.KindService, Name: "web"}}
		want := map[string]bool{"platform admin": true}
		for _, name := range c.may {
			want[name] = true
		}
		for name, grants := range who {
			if got := MayBreak(grants)(r); got != want[name] {
				t.Errorf("%s over a guard of %s for %q, of %v: %v", name, c.owner, c.breaks, c.of, got)
			}
		}
	}
}
