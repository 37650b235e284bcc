package spec

import (
	"maps"
	"slices"
)

// Quotas bound what tenants declare. The platform itself is not bounded.
type Quotas struct {
	// All is for every tenant.
	All *Quota `json:"all,omitempty" yaml:"all,omitempty"`
	// Tenants are for some by name. What is absent there is as in All.
	Tenants map[string]Quota `json:"tenants,omitempty" yaml:"tenants,omitempty"`
}

// Quota is how much of each a tenant may have, or has. What is absent of a limit is the default.
type Quota struct {
	// Resources are all but overrides: a tenant that has all it may have can still drain.
	Resources int `json:"resources,omitempty" yaml:"resources,omitempty" zero:"absent"`
	Services  int `json:"services,omitempty" yaml:"services,omitempty" zero:"absent"`
	// Endpoints of all its pools.
	Endpoints int `json:"endpoints,omitempty" yaml:"endpoints,omitempty" zero:"absent"`
	Overrides int `json:"overrides,omitempty" yaml:"overrides,omitempty" zero:"absent"`
	// Checks a second at each prober: every address that is checked counts once an interval.
	Checks int `json:"checks,omitempty" yaml:"checks,omitempty" zero:"absent"`
	// Megabytes (of 1,000,000) that the specs of its resources take as JSON.
	Megabytes int `json:"megabytes,omitempty" yaml:"megabytes,omitempty" zero:"absent"`
	// Sources of endpoints of all its pools.
	Sources int `json:"sources,omitempty" yaml:"sources,omitempty" zero:"absent"`
	// ZoneBytes of the content of zones that are granted to it from their apex on.
	ZoneBytes int `json:"zoneBytes,omitempty" yaml:"zoneBytes,omitempty" zero:"absent"`
	// Changes an hour. It bounds what is done, not what there is.
	Changes int `json:"changes,omitempty" yaml:"changes,omitempty" zero:"absent"`
	// Requests a second at each control, signals and lists of endpoints apart, which have shares of their own. Likewise.
	Requests int `json:"requests,omitempty" yaml:"requests,omitempty" zero:"absent"`
}

var defaultQuota = Quota{Resources: 50_000, Services: 20_000, Endpoints: 100_000, Overrides: 10_000, Checks: 20_000, Megabytes: 64,
	Sources: 256, ZoneBytes: 1_000_000_000, Changes: 3600, Requests: 500}

// What a quota can be set to at all.
const (
	maxQuota        = 1_000_000_000
	maxQuotaTenants = 10_000
)

// quotaField is one of the numbers of a Quota.
type quotaField struct {
	name, means string
	n           *int
}

func (q *Quota) fields() []quotaField {
	return []quotaField{
		{"resources", "resources (overrides apart)", &q.Resources},
		{"services", "services", &q.Services},
		{"endpoints", "endpoints", &q.Endpoints},
		{"overrides", "overrides", &q.Overrides},
		{"checks", "checks a second", &q.Checks},
		{"megabytes", "MB of resources", &q.Megabytes},
		{"sources", "sources of endpoints", &q.Sources},
		{"zoneBytes", "bytes of zone content", &q.ZoneBytes},
		{"changes", "changes an hour", &q.Changes},
		{"requests", "requests a second", &q.Requests},
	}
}

// Numbers gives the numbers by the names of their fields.
func (q Quota) Numbers() map[string]int {
	all := map[string]int{}
	for _, f := range q.fields() {
		all[f.name] = *f.n
	}
	return all
}

// EffectiveQuota gives what a tenant may have: what the platform's Tenant sets for it, else for all, else the defaults. platform may be
// nil.
func EffectiveQuota(platform *Tenant, tenant string) Quota {
	limit := defaultQuota
	if platform == nil || platform.Limits == nil || platform.Limits.Quota == nil {
		return limit
	}
	set := platform.Limits.Quota
	if set.All != nil {
		limit = set.All.over(limit)
	}
	return set.Tenants[tenant].over(limit)
}

// AskToRaise tells whom to ask for more of a field of a tenant's quota; empty: of all's.
func AskToRaise(platform *Tenant, tenant, field string) string {
	whom := "who runs the platform"
	if platform != nil && platform.Contact != "" {
		whom = platform.Contact
	}
	of := "all"
	if tenant != "" {
		of = "tenants." + tenant
	}
	return "ask " + whom + " to raise spec.limits.quota." + of + "." + field + " of " +
		Key{Platform, KindTenant, Platform}.String()
}

// over gives q, with what is absent as in the other one.
func (q Quota) over(other Quota) Quota {
	theirs := other.fields()
	for i, f := range q.fields() {
		if *f.n <= 0 {
			*f.n = *theirs[i].n
		}
	}
	return q
}

// Excess is one number of a Quota that is above its limit.
type Excess struct {
	Field      string // as in spec.limits.quota
	Means      string // as people say it, as in "checks a second"
	Was, Would int
	Limit      int
}

// Beyond gives what a tenant that has had q would have above a limit.
func (q Quota) Beyond(would, limit Quota) (out []Excess) {
	after, most := would.fields(), limit.fields()
	for i, f := range q.fields() {
		if *after[i].n > *most[i].n {
			out = append(out, Excess{f.name, f.means, *f.n, *after[i].n, *most[i].n})
		}
	}
	return out
}

// quotas checks what a platform sets.
func (c *checker) quotas(q *Quotas) {
	const path = "spec.limits.quota"
	if q == nil {
		return
	}
	if q.All != nil {
		c.quota(path+".all", *q.All)
	}
	if n := len(q.Tenants); n > maxQuotaTenants {
		c.fail(path+".tenants", "raise what all may have", "names %d tenants: it can name at most %d", n, maxQuotaTenants)
		return
	}
	for _, tenant := range slices.Sorted(maps.Keys(q.Tenants)) {
		path := joinPath(path+".tenants", tenant)
		if err := checkLabel(tenant, ""); err != nil {
			c.fail(path, "", "the tenant %q %v", shorten(tenant), err)
		}
		if tenant == Platform {
			c.fail(path, "leave it out", "the tenant %s is not bounded", Platform)
		}
		c.quota(path, q.Tenants[tenant])
	}
}

func (c *checker) quota(path string, q Quota) {
	for _, f := range q.fields() {
		if *f.n < 0 || *f.n > maxQuota {
			c.fail(path+"."+f.name, "", "%d is out of range: it can be 1 to %d", *f.n, maxQuota)
		}
	}
}
