package plans

import (
	"slices"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/change/guards"
	"github.com/gti/gtm/pkg/spec"
)

// MayBreak tells over which refusals somebody may pass by breaking the glass: as their guards say. The platform's admins may over all.
func MayBreak(grants access.Grants) func(*guards.Refusal) bool {
	return func(r *guards.Refusal) bool {
		least := access.Administer
		switch r.Breaks {
		case spec.RoleOperator:
			least = access.Operate
		case spec.RoleEditor:
			least = access.Edit
		case spec.BreakTenantAdmin:
			if !slices.ContainsFunc(r.Tenants, func(t string) bool { return !grants.Allow(access.Administer, t) }) {
				return true
			}
		}
		return grants.Allow(least, r.Guard.Tenant)
	}
}
