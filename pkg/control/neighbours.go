package control

import (
	"slices"

	"github.com/gti/gtm/pkg/spec"
)

// refersTo names the resources that r names, each once, in the order of its fields; a service's zone is among them only by
// its host, and is left out.
func refersTo(r *spec.Resource) []spec.Key {
	var keys []spec.Key
	add := func(tenant string, kind spec.Kind, name string) {
		key := spec.Key{Tenant: tenant, Kind: kind, Name: name}
		if name != "" && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	switch s := r.Spec.(type) {
	case *spec.Pool:
		add(spec.Platform, spec.KindSite, s.Site)
		add(r.Tenant, spec.KindMonitor, s.Monitor)
	case *spec.Service:
		for _, rule := range s.Rules {
			if rule.When != nil {
				for _, name := range rule.When.Map {
					add(spec.Platform, spec.KindMap, name)
				}
			}
			for _, p := range rule.Pools {
				add(r.Tenant, spec.KindPool, p.Pool)
			}
		}
		for _, p := range s.LastResort {
			add(r.Tenant, spec.KindPool, p.Pool)
		}
	case *spec.Override:
		add(r.Tenant, spec.KindPool, s.Pool)
	}
	return keys
}

// referredBy names the resources of all tenants that name key, sorted.
func (s *Server) referredBy(key spec.Key) []spec.Key {
	var keys []spec.Key
	for _, tenant := range s.cfg.Mirror.Tenants() {
		if tenant != key.Tenant && key.Tenant != spec.Platform {
			continue // a tenant refers to itself and to the platform only
		}
		for other, v := range s.cfg.Mirror.Tenant(tenant).Resources {
			if slices.Contains(refersTo(v.Resource), key) {
				keys = append(keys, other)
			}
		}
	}
	slices.SortFunc(keys, spec.Key.Compare)
	return keys
}
