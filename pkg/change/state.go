// Package change is the only way by which configuration changes: it plans a change against the state of
// all tenants, shows the plan as data, applies it as new generations, tells history and rolls back.
//
// A plan is made from one immutable State; what it relied on is compared again by the store when it is
// applied, so that two lawful changes cannot add up to an unlawful state.
package change

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// Store is what change needs of *store.Client.
type Store interface {
	Commit(ctx context.Context, c store.Change) (state.Record, error)
	Read(ctx context.Context, tenant string, at state.Generation) (state.TenantState, error)
	Heads(ctx context.Context) (map[string]state.Generation, error)
	History(ctx context.Context, tenant string, limit int) ([]state.Record, error)
	// MadeAt tells when a generation was made; zero: that is not known any more.
	MadeAt(ctx context.Context, tenant string, g state.Generation) (time.Time, error)
}

// State is what all tenants declare, each at its head. It is immutable and a spec.Lookup.
type State struct {
	tenants map[string]state.TenantState
	index   *index    // of this state, or of a later one
	now     time.Time // by which overrides have ended; zero: none has
	// join gives a pool with what its sources found, or with other lists in place of some of that; nil: nothing is known of it.
	join func(*spec.Resource, []spec.Found) *spec.Resource
}

func newState(tenants map[string]state.TenantState, x *index) *State {
	x.follow(tenants)
	return &State{tenants: tenants, index: x}
}

// ReadState reads the state from the store.
func ReadState(ctx context.Context, s Store) (*State, error) {
	heads, err := s.Heads(ctx)
	if err != nil {
		return nil, err
	}
	tenants := make(map[string]state.TenantState, len(heads))
	for tenant, head := range heads {
		t, err := s.Read(ctx, tenant, head)
		var damaged *store.DamagedError
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.As(err, &damaged) {
			return nil, err
		}
		tenants[tenant] = t
	}
	return newState(tenants, newIndex()), nil
}

// FollowState gives a function that takes the state from a mirror, as soon as that has caught up with
// the store's heads: for programs that follow the store anyway. It waits as long as its context lets it.
// A store whose heads are behind what the mirror had before is a *state.WentBackError; whether they are the same under the same
// numbers is compared when a change is made, with the IDs that the state has.
func FollowState(s Store, m *state.Mirror) func(context.Context) (*State, error) {
	x := newIndex()
	var read func(ctx context.Context) (*State, error)
	read = func(ctx context.Context) (*State, error) {
		known := map[string]state.Generation{}
		for _, tenant := range m.Tenants() {
			known[tenant] = m.Tenant(tenant).Head
		}
		heads, err := s.Heads(ctx)
		if err != nil {
			return nil, err
		}
		if len(heads) == 0 && len(known) > 0 {
			return nil, &state.WentBackError{Reason: "it is empty", Empty: true}
		}
		for _, tenant := range sortedKeys(known) { // read before heads, so that it cannot be ahead by itself
			if heads[tenant] < known[tenant] {
				return nil, &state.WentBackError{
					Reason: fmt.Sprintf("%s is at generation %d, but was at %d", tenant, heads[tenant], known[tenant])}
			}
		}
		tenants := make(map[string]state.TenantState, len(heads))
		for tenant, head := range heads {
			err := m.WaitGeneration(ctx, tenant, head)
			if errors.Is(err, state.ErrReplaced) {
				return read(ctx)
			}
			if err != nil {
				return nil, err
			}
			tenants[tenant] = m.Tenant(tenant)
		}
		st := newState(tenants, x)
		st.join = m.JoinWith
		return st, nil
	}
	return read
}

// Head gives a tenant's generation; 0: it has none.
func (s *State) Head(tenant string) state.Generation { return s.tenants[tenant].Head }

// ID identifies a tenant's generation; empty: not known.
func (s *State) ID(tenant string) string { return s.tenants[tenant].ID }

// Tenants lists the tenants that have a generation, sorted.
func (s *State) Tenants() []string { return slices.Sorted(maps.Keys(s.tenants)) }

// Tenant gives a tenant's resources, sorted by key.
func (s *State) Tenant(name string) []*spec.Resource {
	var out []*spec.Resource
	for _, v := range s.tenants[name].Resources.All() {
		out = append(out, v.Resource)
	}
	slices.SortFunc(out, func(a, b *spec.Resource) int { return a.Key.Compare(b.Key) })
	return out
}

// Get gives the resource of that key, or nil.
func (s *State) Get(k spec.Key) *spec.Resource {
	v, _ := s.tenants[k.Tenant].Resources.Get(k)
	return v.Resource
}

// Version gives the generation that wrote a resource; 0: it is not there.
func (s *State) Version(k spec.Key) state.Generation {
	v, _ := s.tenants[k.Tenant].Resources.Get(k)
	return v.Generation
}

// broken reports whether what the store holds of a resource cannot be decoded.
func (s *State) broken(k spec.Key) bool {
	_, is := s.tenants[k.Tenant].Broken[k]
	return is
}

// Of gives every resource of that kind, in any order.
func (s *State) Of(kind spec.Kind) iter.Seq[*spec.Resource] {
	return func(yield func(*spec.Resource) bool) {
		if isFew(kind) {
			for _, k := range s.index.ofKind(kind) {
				if r := s.Get(k); r != nil && !yield(r) {
					return
				}
			}
			return
		}
		for _, t := range s.tenants {
			for k, v := range t.Resources.All() {
				if k.Kind == kind && !yield(v.Resource) {
					return
				}
			}
		}
	}
}

// overlay is a state with changes laid over it.
type overlay struct {
	*State
	put     map[spec.Key]*spec.Resource
	deleted map[spec.Key]bool
}

func newOverlay(s *State) *overlay {
	return &overlay{State: s, put: map[spec.Key]*spec.Resource{}, deleted: map[spec.Key]bool{}}
}

// with gives another overlay that has the steps too.
func (o *overlay) with(steps []Step) *overlay {
	n := &overlay{State: o.State, put: maps.Clone(o.put), deleted: maps.Clone(o.deleted)}
	for _, st := range steps {
		if st.Action == Delete {
			n.deleted[st.Key] = true
			delete(n.put, st.Key)
		} else {
			n.put[st.Key] = st.new
			delete(n.deleted, st.Key)
		}
	}
	return n
}

func (o *overlay) Get(k spec.Key) *spec.Resource {
	if r := o.put[k]; r != nil {
		return r
	}
	if o.deleted[k] {
		return nil
	}
	return o.State.Get(k)
}

func (o *overlay) Of(kind spec.Kind) iter.Seq[*spec.Resource] {
	return func(yield func(*spec.Resource) bool) {
		for k, r := range o.put {
			if k.Kind == kind && !yield(r) {
				return
			}
		}
		for r := range o.State.Of(kind) {
			if o.put[r.Key] == nil && !o.deleted[r.Key] && !yield(r) {
				return
			}
		}
	}
}

func specOf(r *spec.Resource) spec.Spec {
	if r == nil {
		return nil
	}
	return r.Spec
}
