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
		name, _ := set.Site(r.Tenant, pool)
		return t.sites && t.keys[spec.Key{Tenant: spec.Platform, Kind: spec.KindSite, Name: name}]
	})
}

// policySet is what policies look things up in.
type policySet struct{ spec.Lookup }

// Site gives the site of a pool.
func (s policySet) Site(tenant, pool string) (name string, site *spec.Site) {
	r := s.Get(spec.Key{Tenant: tenant, Kind: spec.KindPool, Name: pool})
	if r == nil {
		return "", nil
	}
	p, _ := r.Spec.(*spec.Pool)
	if p == nil || p.Site == "" {
		return "", nil
	}
	if at := s.Get(spec.Key{Tenant: spec.Platform, Kind: spec.KindSite, Name: p.Site}); at != nil {
		site, _ = at.Spec.(*spec.Site)
	}
	return p.Site, site
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
