// Package access decides who may do what: from the roles that somebody has in tenants to yes or no.
package access

import (
	"fmt"
	"maps"
	"slices"

	"github.com/gti/gtm/pkg/spec"
)

// Action is what somebody wants to do in a tenant. Each role may do one more than the role below it.
type Action int

// The actions.
const (
	Read       Action = iota + 1 // see the tenant's resources, health, history, events
	Operate                      // weights, shifts, drains, overrides, signals, releases of the brake
	Edit                         // any resource but Access
	Administer                   // Access and tokens
)

// String names the action, as in "may not edit".
func (a Action) String() string {
	switch a {
	case Read:
		return "see"
	case Operate:
		return "operate"
	case Edit:
		return "edit"
	case Administer:
		return "administer"
	}
	return fmt.Sprintf("Action(%d)", int(a))
}

// Role names the least role that may do it.
func (a Action) Role() string { return spec.AccessRoles[a-1] }

// most gives the most that a role may do; 0: nothing, of a role that is not known.
func most(role string) Action { return Action(slices.Index(spec.AccessRoles, role) + 1) }

// All stands for every tenant but the platform.
const All = "*"

// Grants are the roles that somebody has, by tenant, or in All.
type Grants map[string]Action

// Add gives a role in a tenant; a lesser one than there is changes nothing.
func (g Grants) Add(tenant, role string) {
	if m := most(role); m > g[tenant] {
		g[tenant] = m
	}
}

// Allow reports whether an action is allowed in a tenant. The platform's admins are admins everywhere.
func (g Grants) Allow(a Action, tenant string) bool {
	return a >= Read && (g.most(tenant) >= a || g[spec.Platform] >= Administer)
}

// most gives the most that may be done in a tenant.
func (g Grants) most(tenant string) Action {
	if tenant == spec.Platform || tenant == "" {
		return g[tenant]
	}
	return max(g[tenant], g[All])
}

// Sees reports whether anything of a tenant may be known, even that it is there.
func (g Grants) Sees(tenant string) bool { return g.Allow(Read, tenant) }

// SeesAll reports whether every tenant is seen.
func (g Grants) SeesAll() bool { return g[spec.Platform] >= Administer }

// Tenants lists those in which anything is granted, sorted; All where that is so of each.
func (g Grants) Tenants() []string { return slices.Sorted(maps.Keys(g)) }

// Role names the role in a tenant; empty: none.
func (g Grants) Role(tenant string) string {
	if m := g.most(tenant); m > 0 {
		return m.Role()
	}
	return ""
}

// SeesResource reports whether a resource may be known: one of a tenant that is seen, or one that the platform shares.
func (g Grants) SeesResource(r *spec.Resource) bool {
	return g.Sees(r.Tenant) || r.Tenant == spec.Platform && g.shared(r)
}

// shared reports whether the platform shares a resource: sites and maps with everybody who has a role anywhere, policies with those to
// whom they are granted.
func (g Grants) shared(r *spec.Resource) bool {
	switch s := r.Spec.(type) {
	case *spec.Site, *spec.Map:
		return len(g) > 0
	case *spec.Policy:
		if g[All] > 0 && len(s.Grants) > 0 {
			return true
		}
		return slices.ContainsFunc(g.Tenants(), func(tenant string) bool { return s.Granted(r.Tenant, tenant) })
	}
	return false
}

// Changing gives what a change of a resource of a kind asks for.
func Changing(kind spec.Kind) Action {
	switch kind {
	case spec.KindAccess:
		return Administer
	case spec.KindOverride:
		return Operate
	}
	return Edit
}
