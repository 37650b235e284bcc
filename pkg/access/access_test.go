package access

import (
	"testing"

	"github.com/gti/gtm/pkg/spec"
)

// TestRolesContainEachOther writes the whole table down: what each role may do in its tenant, and elsewhere.
func TestRolesContainEachOther(t *testing.T) {
	all := []Action{Read, Operate, Edit, Administer}
	for n, role := range spec.AccessRoles {
		for _, tenant := range []string{"shop", spec.Platform} {
			g := Grants{}
			g.Add(tenant, role)
			if g.Role(tenant) != role {
				t.Errorf("%s is %s", role, g.Role(tenant))
			}
			for i, a := range all {
				if got := g.Allow(a, tenant); got != (i <= n) {
					t.Errorf("a %s of %s may %s it: %v", role, tenant, a, got)
				}
				everywhere := tenant == spec.Platform && role == spec.RoleAdmin
				for _, other := range []string{"rival", ""} {
					if got := g.Allow(a, other); got != everywhere {
						t.Errorf("a %s of %s may %s %q: %v", role, tenant, a, other, got)
					}
				}
				if g.SeesAll() != everywhere {
					t.Errorf("a %s of %s sees all", role, tenant)
				}
			}
		}
	}
	g := Grants{}
	g.Add("shop", "king")
	if len(g) != 0 || g.Allow(Read, "shop") || g.Allow(0, "shop") {
		t.Error("a role that is not known gives something")
	}
	g.Add(All, spec.RoleOperator)
	for tenant, role := range map[string]string{"shop": spec.RoleOperator, spec.Platform: "", "": ""} {
		if g.Role(tenant) != role && tenant != "" || g.Allow(Operate, tenant) != (role != "") || g.Allow(Edit, tenant) || g.SeesAll() {
			t.Errorf("an operator of all is %q in %q", g.Role(tenant), tenant)
		}
	}
	g.Add("shop", spec.RoleEditor)
	g.Add("shop", spec.RoleViewer)
	if !g.Allow(Edit, "shop") {
		t.Error("a lesser role took something away")
	}
}

func TestWhatThePlatformShares(t *testing.T) {
	some, none, every := Grants{}, Grants{}, Grants{}
	some.Add("shop", spec.RoleViewer)
	every.Add(All, spec.RoleViewer)
	for _, c := range []struct {
		tenant string
		spec   spec.Spec
		sees   bool
	}{
		{"shop", &spec.Pool{}, true}, {"rival", &spec.Pool{}, false}, {"rival", &spec.Site{}, false},
		{spec.Platform, &spec.Site{}, true}, {spec.Platform, &spec.Map{}, true}, {spec.Platform, &spec.Zone{}, false},
		{spec.Platform, &spec.Tenant{}, false}, {spec.Platform, &spec.Access{}, false}, {spec.Platform, &spec.Pool{}, false},
		{spec.Platform, &spec.Policy{Grants: []string{"shop"}}, true}, {spec.Platform, &spec.Policy{Grants: []string{"*"}}, true},
		{spec.Platform, &spec.Policy{Grants: []string{"rival"}}, false}, {"rival", &spec.Policy{Grants: []string{"*"}}, false},
	} {
		r := &spec.Resource{Key: spec.Key{Tenant: c.tenant, Name: "x"}, Spec: c.spec}
		if got := some.SeesResource(r); got != c.sees {
			t.Errorf("%s %T: %v", c.tenant, c.spec, got)
		}
		policy, is := c.spec.(*spec.Policy)
		if all := c.tenant != spec.Platform || c.sees || is && len(policy.Grants) > 0; every.SeesResource(r) != all {
			t.Errorf("%s %T: a viewer of all sees it: %v", c.tenant, c.spec, !all)
		}
		if none.SeesResource(r) {
			t.Errorf("%s %T is seen without any role", c.tenant, c.spec)
		}
	}
	for kind, want := range map[spec.Kind]Action{spec.KindAccess: Administer, spec.KindOverride: Operate, spec.KindPool: Edit,
		"Unknown": Edit} {
		if got := Changing(kind); got != want {
			t.Errorf("%s: %v", kind, got)
		}
	}
}
