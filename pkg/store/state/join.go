package state

import (
	"maps"
	"slices"

	"github.com/gti/gtm/pkg/spec"
)

// Joined gives one update that leads where us lead one after the other: of what changed in several, the last. us are in order, at
// least one, and none is Full. What was found broken stays what it was, and is not told.
func Joined(us []Update) Update {
	last := us[len(us)-1]
	out := Update{Cursor: last.Cursor, Cluster: last.Cluster, Epoch: last.Epoch}
	tenants := map[string]*joinedTenant{}
	for _, u := range us {
		for _, tu := range u.Tenants {
			t := tenants[tu.Tenant]
			if t == nil {
				t = &joinedTenant{latest: newLatest[spec.Key, Version]()}
				tenants[tu.Tenant] = t
			}
			t.add(tu)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(tenants)) {
		tu := TenantUpdate{Tenant: name, Head: tenants[name].head, ID: tenants[name].id}
		tu.Put, tu.Deleted = tenants[name].lists(CompareKeys)
		tu.Sort()
		out.Tenants = append(out.Tenants, tu)
	}
	for _, kind := range Kinds() {
		kind.join(us, &out)
	}
	return out
}

// joinedTenant is what several updates come to for one tenant.
type joinedTenant struct {
	head Generation
	id   string
	latest[spec.Key, Version]
}

func (t *joinedTenant) add(tu TenantUpdate) {
	t.head, t.id = tu.Head, tu.ID
	for _, v := range tu.Put {
		t.set(v.Resource.Key, v)
	}
	t.drop(tu.Deleted)
}

// latest is what was last heard of each key.
type latest[K comparable, V any] struct {
	put  map[K]V
	gone map[K]bool
}

func newLatest[K comparable, V any]() latest[K, V] {
	return latest[K, V]{map[K]V{}, map[K]bool{}}
}

func (l latest[K, V]) set(k K, v V) {
	l.put[k] = v
	delete(l.gone, k)
}

func (l latest[K, V]) drop(keys []K) {
	for _, k := range keys {
		l.gone[k] = true
		delete(l.put, k)
	}
}

// lists gives what is there and the keys of what is gone, both in the keys' order.
func (l latest[K, V]) lists(compare func(a, b K) int) (put []V, gone []K) {
	for _, k := range slices.SortedFunc(maps.Keys(l.put), compare) {
		put = append(put, l.put[k])
	}
	return put, slices.SortedFunc(maps.Keys(l.gone), compare)
}
