package lawful

import (
	"slices"

	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/spec"
)

// policies checks the services that go by policies and have to do with the change: what their rules come to, whatever clients do. So a
// change is refused that leaves nothing inside of a fence.
func (c *Change) policies() (errs, warnings spec.Errors) {
	t := c.touches()
	if !t.any {
		return nil, nil
	}
	set := policySet{c.After}
	for r := range c.After.Near(spec.KindService) {
		s := r.Spec.(*spec.Service)
		if errs.Full() || s.Alias != nil || policy.Simple(s) || !t.service(set, r, s) {
			continue
		}
		eff := s.Effective()
		p, err := policy.New(r.Tenant, &eff, set, 0)
		if err != nil {
			continue // what it names is not whole, which others tell
		}
		for _, f := range p.Check(s) {
			e := &spec.Error{File: r.Origin.File, Line: r.Origin.LineOf(f.Path), Resource: r.Key.String(), Field: f.Path, Msg: f.Text,
				Hint: f.Hint}
			if f.Warning {
				warnings.Add(e)
			} else {
				errs.Add(e)
			}
		}
	}
	return errs, warnings
}

// touched is what a change does to what policies go by.
type touched struct {
	any                bool
	keys               map[spec.Key]bool
	sites, policyRules bool
}

func (c *Change) touches() (t touched) {
	t.keys = map[spec.Key]bool{}
	note := func(k spec.Key) {
		switch k.Kind {
		case spec.KindSite:
			t.sites = true
		case spec.KindPolicy:
			t.policyRules = true
		case spec.KindPool, spec.KindService:
		default:
			return
		}
		t.any, t.keys[k] = true, true
	}
	for _, r := range c.Changed {
		note(r.Key)
	}
	for _, k := range c.Deleted {
		note(k)
	}
	return t
}

// service reports whether a service has to do with what is touched.
func (t *touched) service(set policySet, r *spec.Resource, s *spec.Service) bool {
	return t.keys[r.Key] || t.policyRules || slices.ContainsFunc(s.AllPools(), func(pool string) bool {
		if t.keys[spec.Key{Tenant: r.Tenant, Kind: spec.KindPool, Name: pool}] {
			return true
		}
		return t.sites && t.keys[spec.Key{Tenant: spec.Platform, Kind: spec.KindSite, Name: set.siteOf(r.Tenant, pool)}]
	})
}

// policySet is what policies look things up in.
type policySet struct{ spec.Lookup }

// siteOf names the site of a pool; empty: it has none.
func (s policySet) siteOf(tenant, pool string) string {
	r := s.Get(spec.Key{Tenant: tenant, Kind: spec.KindPool, Name: pool})
	if r == nil {
		return ""
	}
	if p, _ := r.Spec.(*spec.Pool); p != nil {
		return p.Site
	}
	return ""
}

// Pool gives a pool, with its site.
func (s policySet) Pool(tenant, name string) *policy.Pool {
	at := s.siteOf(tenant, name)
	var site *spec.Site
	if r := s.Get(spec.Key{Tenant: spec.Platform, Kind: spec.KindSite, Name: at}); at != "" && r != nil {
		site, _ = r.Spec.(*spec.Site)
	}
	return policy.PoolAt(name, at, site)
}

// Policy gives the tenant's own policy, or else the platform's.
func (s policySet) Policy(tenant, name string) (owner string, p *spec.Policy) {
	r := spec.FindPolicy(s.Lookup, tenant, name)
	if r == nil {
		return "", nil
	}
	p, _ = r.Spec.(*spec.Policy)
	return r.Tenant, p
}
