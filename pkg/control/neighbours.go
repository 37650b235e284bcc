package control

import (
	"iter"
	"slices"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// refersTo names the resources that r refers to, each once: those that it names, in the order of its fields, and the zone in
// which a service stands.
func (s *Server) refersTo(r *spec.Resource) []spec.Key {
	var keys []spec.Key
	for _, key := range spec.References(r) {
		// A policy may be the tenant's or the platform's: that it is which exists.
		if !slices.Contains(keys, key) && (key.Kind != spec.KindPolicy || (lookup{s.cfg.Mirror}).Get(key) != nil) {
			keys = append(keys, key)
		}
	}
	if service, ok := r.Spec.(*spec.Service); ok {
		if host, err := spec.CanonicalHost(service.Host); err == nil {
			if zone := spec.ZoneOf(lookup{s.cfg.Mirror}, host); zone != nil {
				keys = append(keys, zone.Key)
			}
		}
	}
	return keys
}

// lookup is the mirror as a spec.Lookup.
type lookup struct{ *state.Mirror }

func (l lookup) Get(k spec.Key) *spec.Resource {
	v, _ := l.Tenant(k.Tenant).Resources.Get(k)
	return v.Resource
}

func (l lookup) Of(kind spec.Kind) iter.Seq[*spec.Resource] {
	return func(yield func(*spec.Resource) bool) {
		for _, tenant := range l.Tenants() {
			for key, v := range l.Tenant(tenant).Resources.All() {
				if key.Kind == kind && !yield(v.Resource) {
					return
				}
			}
		}
	}
}

// referredBy names the resources of all tenants that refer to key, sorted.
func (s *Server) referredBy(key spec.Key) []spec.Key {
	var keys []spec.Key
	for _, tenant := range s.cfg.Mirror.Tenants() {
		if tenant != key.Tenant && key.Tenant != spec.Platform {
			continue // a tenant refers to itself and to the platform only
		}
		for other, v := range s.cfg.Mirror.Tenant(tenant).Resources.All() {
			if slices.Contains(s.refersTo(v.Resource), key) {
				keys = append(keys, other)
			}
		}
	}
	slices.SortFunc(keys, spec.Key.Compare)
	return keys
}
