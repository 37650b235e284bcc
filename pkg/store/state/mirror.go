package state

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/gti/gtm/pkg/spec"
)

// Mirror is the followed state. It is safe for concurrent use. What it hands out never changes: of maps (of verdicts, of keysets)
// the first update after that copies the one it touches, so that one that nobody looks at costs nothing.
type Mirror struct {
	mu      sync.RWMutex
	tenants map[string]TenantState
	tables  map[Followed]any        // of the values of each kind
	joined  map[string]Resources    // of tenants that have sources, as far as somebody asked: see Joined
	pools   map[spec.Key]joinedPool // of those tenants
	// sources are the pools for which something was found, by tenant; nil: not looked for yet
	sources  map[string]map[string]bool
	changed  chan struct{}
	position Cursor
	replaced int // how often another state of the store was accepted
}

// NewMirror makes an empty mirror.
func NewMirror() *Mirror {
	return &Mirror{tenants: map[string]TenantState{}, tables: map[Followed]any{}, joined: map[string]Resources{},
		pools: map[spec.Key]joinedPool{}, changed: make(chan struct{})}
}

// Apply takes in an update. What is broken in it keeps the form that it had.
func (m *Mirror) Apply(u Update) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if u.Full && u.Epoch != m.position.Epoch && len(m.tenants) > 0 {
		m.replaced++
	}
	m.position = Cursor{Cluster: u.Cluster, Revision: u.Cursor, Epoch: u.Epoch}
	if u.Full {
		m.replace(u)
	} else {
		m.merge(u)
	}
	for _, kind := range Kinds() {
		m.tables[kind] = kind.apply(m.tables[kind], &u)
	}
	m.forgetJoined(&u)
	close(m.changed)
	m.changed = make(chan struct{})
}

func (m *Mirror) replace(u Update) {
	tenants := make(map[string]TenantState, len(u.Tenants))
	for _, tu := range u.Tenants {
		var kept []Version
		for _, b := range tu.Broken {
			if v, ok := m.tenants[tu.Tenant].Resources.Get(b.Key); ok {
				kept = append(kept, v)
			}
		}
		tenants[tu.Tenant] = TenantState{Head: tu.Head, ID: tu.ID, Resources: NewResources(tu.Put...).With(kept, nil),
			Broken: brokenAfter(nil, tu)}
	}
	m.tenants = tenants
}

// brokenAfter gives what cannot be decoded after an update.
func brokenAfter(was map[spec.Key]BrokenResource, tu TenantUpdate) map[spec.Key]BrokenResource {
	if len(was)+len(tu.Broken) == 0 {
		return nil
	}
	now := make(map[spec.Key]BrokenResource, len(was)+len(tu.Broken))
	maps.Copy(now, was)
	for _, v := range tu.Put {
		delete(now, v.Resource.Key)
	}
	for _, k := range tu.Deleted {
		delete(now, k)
	}
	for _, b := range tu.Broken {
		now[b.Key] = b
	}
	return now
}

func (m *Mirror) merge(u Update) {
	for _, tu := range u.Tenants {
		was := m.tenants[tu.Tenant]
		m.tenants[tu.Tenant] = TenantState{Head: tu.Head, ID: tu.ID, Resources: was.Resources.With(tu.Put, tu.Deleted),
			Broken: brokenAfter(was.Broken, tu)}
	}
}

// Tenant gives a tenant's state; the zero TenantState for one that is not known.
func (m *Mirror) Tenant(name string) TenantState {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.tenants[name]
}

// Tenants lists the known tenants, sorted.
func (m *Mirror) Tenants() []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Sorted(maps.Keys(m.tenants))
}

// Revision is etcd's revision up to which the mirror has seen what was told.
func (m *Mirror) Revision() int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.position.Revision
}

// Epoch is how often a store that went back was accepted, as of what was told.
func (m *Mirror) Epoch() int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.position.Epoch
}

// Changed is closed at the next update. Take it before looking, so that none is missed.
func (m *Mirror) Changed() <-chan struct{} {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.changed
}

// ErrReplaced: the store went back and that was accepted, so that what was waited for may never come.
var ErrReplaced = errors.New("another state of the store was accepted meanwhile; look at what there is now")

// WaitGeneration waits until a tenant's head is gen or later. ErrReplaced: numbers no longer mean what they meant when it began.
func (m *Mirror) WaitGeneration(ctx context.Context, tenant string, gen Generation) error {
	m.mu.RLock()
	began := m.replaced
	m.mu.RUnlock()
	for {
		changed := m.Changed()
		m.mu.RLock()
		t, known := m.tenants[tenant]
		there := known && t.Head >= gen
		replaced := m.replaced != began
		m.mu.RUnlock()
		if there {
			return nil
		}
		if replaced {
			return ErrReplaced
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Full gives the mirrored state as a Full update.
func (m *Mirror) Full() Update {
	m.mu.RLock()
	defer m.mu.RUnlock()
	u := Update{Full: true, Cursor: m.position.Revision, Cluster: m.position.Cluster, Epoch: m.position.Epoch}
	for _, name := range slices.Sorted(maps.Keys(m.tenants)) {
		t := m.tenants[name]
		tu := TenantUpdate{Tenant: name, Head: t.Head, ID: t.ID, Put: make([]Version, 0, t.Resources.Len())}
		for _, v := range t.Resources.All() {
			tu.Put = append(tu.Put, v)
		}
		tu.Sort()
		u.Tenants = append(u.Tenants, tu)
	}
	for _, kind := range Kinds() {
		kind.tell(m.tables[kind], &u)
	}
	return u
}
