package identity

import (
	"maps"
	"sync"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// bindings are the Access of all tenants, by subject. What a tenant has is read anew when its resources have changed.
type bindings struct {
	mu      sync.Mutex
	changed <-chan struct{} // of the mirror, as of when it was looked at
	tenants map[string]tenantBindings
	index   map[string][]grant // by subject
}

type grant struct{ tenant, role string }

type tenantBindings struct {
	read     state.Resources
	subjects map[string][]grant
}

// grants gives what somebody brings, and what the Access of tenants adds.
func (b *bindings) grants(mirror *state.Mirror, w *Who) access.Grants {
	all := access.Grants{}
	maps.Copy(all, w.own)
	if len(w.Subjects) == 0 {
		return all
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refresh(mirror)
	for _, subject := range w.Subjects {
		for _, g := range b.index[subject] {
			all.Add(g.tenant, g.role)
		}
	}
	return all
}

// refresh brings the index up to date; b.mu is held.
func (b *bindings) refresh(mirror *state.Mirror) {
	select {
	case <-b.changed: // or nil, at first: then default
	default:
		if b.changed != nil {
			return
		}
	}
	b.changed = mirror.Changed() // before it is read
	tenants, fresh := map[string]tenantBindings{}, b.index == nil
	for _, tenant := range mirror.Tenants() {
		now := mirror.Tenant(tenant).Resources
		was, known := b.tenants[tenant]
		if known && sameResources(now, was.read) {
			was.read = now
			tenants[tenant] = was
			continue
		}
		tenants[tenant], fresh = tenantBindings{now, subjectsOf(tenant, now)}, true
	}
	fresh = fresh || len(tenants) != len(b.tenants)
	b.tenants = tenants
	if !fresh {
		return
	}
	b.index = map[string][]grant{}
	for _, t := range tenants {
		for subject, grants := range t.subjects {
			b.index[subject] = append(b.index[subject], grants...)
		}
	}
}

// sameResources reports whether nothing has changed.
func sameResources(now, was state.Resources) bool {
	if now.Len() != was.Len() {
		return false
	}
	for range now.Unlike(was) {
		return false
	}
	return true
}

func subjectsOf(tenant string, all state.Resources) map[string][]grant {
	subjects := map[string][]grant{}
	for _, v := range all.All() {
		a, ok := v.Resource.Spec.(*spec.Access)
		if !ok {
			continue
		}
		in := tenant
		if a.Tenants != "" {
			if tenant != spec.Platform || a.Tenants != spec.AllTenants { // not lawful, or of a newer gtm: it gives nothing
				continue
			}
			in = access.All
		}
		for _, s := range a.Subjects {
			s = spec.SubjectIn(tenant, s)
			subjects[s] = append(subjects[s], grant{in, a.Role})
		}
	}
	return subjects
}
