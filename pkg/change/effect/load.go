package effect

import (
	"maps"
	"reflect"
	"slices"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table/compile"
)

// loader gathers what some services are compiled from, out of one set.
type loader struct {
	set   spec.Lookup
	items map[spec.Key]*spec.Resource
}

// load gathers what services are compiled from; what a zone holds beside them is left out.
func load(set spec.Lookup, services []spec.Key) map[spec.Key]*spec.Resource {
	l := &loader{set, map[spec.Key]*spec.Resource{}}
	for _, k := range services {
		l.add(k)
	}
	for r := range set.Of(spec.KindMap) { // they correct the geography for everyone
		l.items[r.Key] = r
	}
	for r := range set.Of(spec.KindOverride) {
		o := r.Spec.(*spec.Override)
		of := spec.Key{Tenant: r.Tenant, Kind: spec.KindPool, Name: o.Pool}
		if o.Service != "" {
			of = spec.Key{Tenant: r.Tenant, Kind: spec.KindService, Name: o.Service}
		}
		if l.items[of] != nil {
			l.items[r.Key] = r
		}
	}
	return l.items
}

func (l *loader) add(k spec.Key) {
	if l.items[k] != nil {
		return
	}
	r := l.set.Get(k)
	if r == nil {
		return
	}
	l.items[k] = r
	for _, to := range spec.References(r) {
		switch to.Kind {
		case spec.KindSite, spec.KindPool, spec.KindPolicy, spec.KindService:
			l.add(to)
		}
	}
	if s, ok := r.Spec.(*spec.Service); ok {
		l.zoneOf(s)
	}
}

// zoneOf adds a zone for a service to stand in, with nothing in it.
func (l *loader) zoneOf(s *spec.Service) {
	host, err := spec.CanonicalHost(s.Host)
	if err != nil {
		return
	}
	real := spec.ZoneOf(l.set, host)
	if real == nil || l.items[real.Key] != nil {
		return
	}
	bare := &spec.Zone{Grants: real.Spec.(*spec.Zone).Grants, Content: real.Name +
		" 3600 IN SOA ns.invalid. hostmaster.invalid. 1 3600 600 86400 300\n" + real.Name + " 3600 IN NS ns.invalid.\n"}
	l.items[real.Key] = &spec.Resource{Key: real.Key, Spec: bare}
}

// everything is the state before as news for a compiler, with what is known of its pools, and of those that come.
func everything(before, after map[spec.Key]*spec.Resource, verdict func(health.PoolID) *health.Verdict) compile.Change {
	all := compile.Change{Full: true, Tenants: difference(nil, before, 1)}
	pools := map[spec.Key]*spec.Resource{}
	maps.Copy(pools, before)
	maps.Copy(pools, after)
	for k, r := range pools {
		p, ok := r.Spec.(*spec.Pool)
		if !ok || verdict == nil {
			continue
		}
		id := health.PoolID{Tenant: k.Tenant, Pool: k.Name}
		if v := verdict(id); v != nil {
			all.Verdicts = append(all.Verdicts, *v)
		}
		for _, region := range geo.Continents {
			if !p.Regions {
				break
			}
			if v := verdict(id.For(region)); v != nil {
				all.Verdicts = append(all.Verdicts, *v)
			}
		}
	}
	return all
}

// difference is what leads from one state to the other, as generation at of each tenant.
func difference(from, to map[spec.Key]*spec.Resource, at uint64) []compile.TenantChange {
	of := map[string]*compile.TenantChange{}
	tenant := func(name string) *compile.TenantChange {
		if of[name] == nil {
			of[name] = &compile.TenantChange{Tenant: name, Head: at}
		}
		return of[name]
	}
	for k, r := range to {
		if t := tenant(k.Tenant); from[k] != r && !sameZone(from[k], r) {
			t.Put = append(t.Put, compile.Item{Resource: r, Generation: at})
		}
	}
	for k := range from {
		if to[k] == nil {
			t := tenant(k.Tenant)
			t.Deleted = append(t.Deleted, k)
		}
	}
	changes := make([]compile.TenantChange, 0, len(of))
	for _, name := range slices.Sorted(maps.Keys(of)) {
		changes = append(changes, *of[name])
	}
	return changes
}

// sameZone reports whether two are zones as zoneOf makes them, and alike.
func sameZone(a, b *spec.Resource) bool {
	if a == nil {
		return false
	}
	z, ok := a.Spec.(*spec.Zone)
	return ok && reflect.DeepEqual(z.Grants, b.Spec.(*spec.Zone).Grants)
}
