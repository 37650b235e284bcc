package change

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// memStore is a Store in memory, with the same rules as the real one.
type memStore struct {
	mu      sync.Mutex
	states  map[string][]state.TenantState // by generation, from 1
	records map[string][]state.Record
	most    int                // resources that one commit takes; 0: any number
	before  func(store.Change) // called before a commit, without the lock
	fail    error              // the next commit's
	reads   []map[string]state.Generation
}

func newMemStore() *memStore {
	return &memStore{states: map[string][]state.TenantState{}, records: map[string][]state.Record{}}
}

func (m *memStore) head(tenant string) state.Generation {
	return state.Generation(len(m.states[tenant]))
}

func (m *memStore) Commit(ctx context.Context, c store.Change) (state.Record, error) {
	if m.before != nil {
		m.before(c)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		err := m.fail
		m.fail = nil
		return state.Record{}, err
	}
	if n := len(c.Put) + len(c.Delete); n == 0 {
		return state.Record{}, fmt.Errorf("an empty change")
	} else if m.most > 0 && n > m.most {
		return state.Record{}, &store.TooLargeError{Ops: n, MaxOps: m.most}
	}
	want := maps.Clone(c.Reads)
	want[c.Tenant] = c.Base
	for _, t := range slices.Sorted(maps.Keys(want)) {
		if have := m.head(t); have != want[t] {
			e := &store.ConflictError{Tenant: t, Want: want[t], Have: have}
			if have > 0 {
				e.Last = m.records[t][have-1]
			}
			return state.Record{}, e
		}
	}
	next := state.TenantState{Head: c.Base + 1}
	var put []state.Version
	if c.Base > 0 {
		next.Resources = m.states[c.Tenant][c.Base-1].Resources
	}
	rec := state.Record{Tenant: c.Tenant, Generation: next.Head, Time: c.Time, Author: c.Author, Message: c.Message, Deleted: c.Delete,
		BreakGlass: c.BreakGlass, Approved: c.Approved}
	for _, r := range c.Put {
		if r.Tenant != c.Tenant {
			return state.Record{}, fmt.Errorf("%s in a change of %s", r.Key, c.Tenant)
		}
		stored := &spec.Resource{Key: r.Key, Spec: r.Spec} // an Origin is not stored
		put = append(put, state.Version{Resource: stored, Generation: next.Head})
		rec.Put = append(rec.Put, r.Key)
	}
	next.Resources = next.Resources.With(put, c.Delete)
	m.states[c.Tenant] = append(m.states[c.Tenant], next)
	m.records[c.Tenant] = append(m.records[c.Tenant], rec)
	m.reads = append(m.reads, c.Reads)
	return rec, nil
}

func (m *memStore) Read(ctx context.Context, tenant string, at state.Generation) (state.TenantState, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at == 0 {
		at = m.head(tenant)
	}
	if at == 0 || at > m.head(tenant) {
		return state.TenantState{}, fmt.Errorf("%s@%d: %w", tenant, at, store.ErrNotFound)
	}
	return m.states[tenant][at-1], nil
}

func (m *memStore) Heads(ctx context.Context) (map[string]state.Generation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	heads := map[string]state.Generation{}
	for t := range m.states {
		heads[t] = m.head(t)
	}
	return heads, nil
}

func (m *memStore) MadeAt(_ context.Context, tenant string, g state.Generation) (time.Time, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.records[tenant][g-1].Time, nil
}

func (m *memStore) History(ctx context.Context, tenant string, limit int) ([]state.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := slices.Clone(m.records[tenant])
	slices.Reverse(out)
	if limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	return out, nil
}
