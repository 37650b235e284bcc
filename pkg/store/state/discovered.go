package state

import (
	"cmp"
	"maps"
	"reflect"
	"slices"

	"github.com/gti/gtm/pkg/spec"
)

// SourceID names a source of endpoints.
type SourceID struct {
	Tenant string `json:"tenant"`
	Pool   string `json:"pool"`
	Source string `json:"source"`
}

// SourceOf gives the source whose endpoints were found.
func SourceOf(f spec.Found) SourceID { return SourceID{f.Tenant, f.Pool, f.Source} }

func compareSources(a, b SourceID) int {
	return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Source, b.Source))
}

// Discovered are the endpoints that sources of pools have, by source; written by control.
var Discovered = Register(Kind[SourceID, spec.Found]{
	Prefix: []string{"config", "discovered"}, Frame: 'F', Gone: "discoveredDeleted", Most: 256 << 10,
	Name:    SourceOf,
	Compare: compareSources,
	Parse: func(parts []string) (id SourceID, ok bool) {
		if len(parts) != 3 {
			return id, false
		}
		return SourceID{parts[0], parts[1], parts[2]}, true
	},
	Same: func(a, b spec.Found) bool { return reflect.DeepEqual(a, b) },
	What: "source", Misread: "what a source of endpoints had is not understood; what it had before holds",
})

// Joined gives a tenant's state with pools as they are with what their sources found. All else is that of Tenant.
func (m *Mirror) Joined(name string) TenantState {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.tenants[name]
	if joined, ok := m.joined[name]; ok {
		t.Resources = joined
		return t
	}
	found, _ := m.tables[Discovered].(*table[SourceID, spec.Found])
	if found == nil {
		return t
	}
	if m.sources == nil {
		m.sources = map[string]map[string]bool{}
		for id := range found.values {
			if m.sources[id.Tenant] == nil {
				m.sources[id.Tenant] = map[string]bool{}
			}
			m.sources[id.Tenant][id.Pool] = true
		}
	}
	var pools []Version
	for pool := range m.sources[name] {
		key := spec.Key{Tenant: name, Kind: spec.KindPool, Name: pool}
		v, ok := t.Resources.Get(key)
		if !ok {
			continue
		}
		p, known := m.pools[key]
		if !known || p.declared != v {
			p = joinedPool{v, joinPool(v, func(id SourceID) (f spec.Found, ok bool) { f, ok = found.values[id]; return f, ok })}
			m.pools[key] = p
		}
		if p.joined != v {
			pools = append(pools, p.joined)
		}
	}
	t.Resources = t.Resources.With(pools, nil)
	m.joined[name] = t.Resources
	return t
}

// joinedPool is a pool as it is declared, and with what its sources found.
type joinedPool struct{ declared, joined Version }

// Join gives a pool with what its sources found; any other resource, and nil, as it is.
func (m *Mirror) Join(r *spec.Resource) *spec.Resource { return m.JoinWith(r, nil) }

// JoinWith gives a pool as Join does, with some lists in place of what their sources have.
func (m *Mirror) JoinWith(r *spec.Resource, news []spec.Found) *spec.Resource {
	if r == nil {
		return nil
	}
	return joinPool(Version{Resource: r}, func(id SourceID) (spec.Found, bool) {
		for i := range news {
			if SourceOf(news[i]) == id {
				return news[i], true
			}
		}
		return Discovered.Get(m, id)
	}).Resource
}

// forgetJoined drops what an update makes stale, with m.mu held.
func (m *Mirror) forgetJoined(u *Update) {
	c := Discovered.In(*u)
	if u.Full {
		clear(m.joined)
		clear(m.pools)
	}
	news := func(id SourceID) {
		delete(m.joined, id.Tenant)
		delete(m.pools, spec.Key{Tenant: id.Tenant, Kind: spec.KindPool, Name: id.Pool})
	}
	for i := range u.Tenants {
		delete(m.joined, u.Tenants[i].Tenant)
	}
	for i := range c.Put {
		news(SourceOf(c.Put[i]))
	}
	for _, id := range c.Deleted {
		news(id)
	}
	if u.Full || len(c.Put)+len(c.Deleted) > 0 {
		m.sources = nil
	}
}

// Rejoined gives the tenants whose pools get or lose endpoints by what an update says of sources, sorted. Ask before Apply.
func (m *Mirror) Rejoined(u *Update) (tenants []string) {
	c := Discovered.In(*u)
	for i := range c.Put {
		if has, _ := Discovered.Get(m, SourceOf(c.Put[i])); !slices.EqualFunc(has.Endpoints, c.Put[i].Endpoints, spec.FoundEndpoint.Equal) {
			tenants = append(tenants, c.Put[i].Tenant)
		}
	}
	for _, id := range c.Deleted {
		tenants = append(tenants, id.Tenant)
	}
	slices.Sort(tenants)
	return slices.Compact(tenants)
}

// joinPool gives the version of a pool with what its sources found; the same one where that changes nothing.
func joinPool(v Version, found func(SourceID) (spec.Found, bool)) Version {
	p, ok := v.Resource.Spec.(*spec.Pool)
	if !ok {
		return v
	}
	with := p.With(func(source string) *spec.Found {
		f, ok := found(SourceID{v.Resource.Tenant, v.Resource.Name, source})
		if !ok {
			return nil
		}
		return &f
	})
	if with != p {
		v.Resource = v.Resource.With(with)
	}
	return v
}

// Joiner joins what sources found to the pools of updates, for a consumer that takes one after the other. The zero value is ready; it is
// for one goroutine. It keeps no more than the pools that have sources, and what was found.
type Joiner struct {
	pools map[spec.Key]Version // as declared
	found map[SourceID]spec.Found
	heads map[string]TenantUpdate // without resources
}

// Join gives an update whose pools have what was found; those of which only that has changed are put, too. The one that was given stays
// as it is.
func (j *Joiner) Join(u Update) Update {
	if u.Full || j.pools == nil {
		j.begin(&u)
	}
	again := j.takeFound(&u)
	out := u
	out.Tenants = slices.Clone(u.Tenants)
	at := map[string]int{}
	for i := range out.Tenants {
		at[out.Tenants[i].Tenant] = i
		j.takeTenant(&out.Tenants[i], again)
	}
	for _, key := range slices.SortedFunc(maps.Keys(again), spec.Key.Compare) {
		declared, ok := j.pools[key]
		if !ok {
			continue
		}
		i, there := at[key.Tenant]
		if !there {
			i, at[key.Tenant] = len(out.Tenants), len(out.Tenants)
			out.Tenants = append(out.Tenants, j.heads[key.Tenant])
		}
		out.Tenants[i].Put = append(slices.Clip(out.Tenants[i].Put), joinPool(declared, j.get))
	}
	slices.SortFunc(out.Tenants, func(a, b TenantUpdate) int { return cmp.Compare(a.Tenant, b.Tenant) })
	return out
}

func (j *Joiner) get(id SourceID) (f spec.Found, ok bool) {
	f, ok = j.found[id]
	return f, ok
}

// begin forgets all but what a Full update leaves in its earlier form.
func (j *Joiner) begin(u *Update) {
	pools, found := map[spec.Key]Version{}, map[SourceID]spec.Found{}
	for i := range u.Tenants {
		for _, b := range u.Tenants[i].Broken {
			if v, ok := j.pools[b.Key]; ok {
				pools[b.Key] = v
			}
		}
	}
	for _, id := range Discovered.In(*u).Broken {
		if f, ok := j.found[id]; ok {
			found[id] = f
		}
	}
	j.pools, j.found, j.heads = pools, found, map[string]TenantUpdate{}
}

// takeFound takes what was found, and gives the pools to which that is news.
func (j *Joiner) takeFound(u *Update) map[spec.Key]bool {
	again := map[spec.Key]bool{}
	news := func(id SourceID) { again[spec.Key{Tenant: id.Tenant, Kind: spec.KindPool, Name: id.Pool}] = true }
	c := Discovered.In(*u)
	for i := range c.Put {
		id := SourceOf(c.Put[i])
		if !slices.EqualFunc(j.found[id].Endpoints, c.Put[i].Endpoints, spec.FoundEndpoint.Equal) {
			news(id)
		}
		j.found[id] = c.Put[i]
	}
	for _, id := range c.Deleted {
		if _, had := j.found[id]; had {
			news(id)
		}
		delete(j.found, id)
	}
	return again
}

// takeTenant takes pools that have sources, and puts what was found in their places; those are not to come again.
func (j *Joiner) takeTenant(t *TenantUpdate, again map[spec.Key]bool) {
	j.heads[t.Tenant] = TenantUpdate{Tenant: t.Tenant, Head: t.Head, ID: t.ID}
	for _, key := range t.Deleted {
		delete(j.pools, key)
	}
	own := false
	for i, v := range t.Put {
		p, ok := v.Resource.Spec.(*spec.Pool)
		if !ok {
			continue
		}
		delete(again, v.Resource.Key)
		if len(p.Discover) == 0 {
			delete(j.pools, v.Resource.Key)
			continue
		}
		if !own {
			t.Put, own = slices.Clone(t.Put), true
		}
		j.pools[v.Resource.Key], t.Put[i] = v, joinPool(v, j.get)
	}
}
