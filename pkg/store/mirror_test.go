package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// plainState is a TenantState as a map.
type plainState struct {
	Head      state.Generation
	Resources map[spec.Key]state.Version
}

func plain(s state.TenantState) plainState {
	return plainState{s.Head, maps.Collect(s.Resources.All())}
}

// updateMaker makes updates as Follow does, and keeps the state that they add up to.
type updateMaker struct {
	rng      *rand.Rand
	cursor   int64
	tenants  map[string]plainState
	verdicts map[health.PoolID]health.Verdict
	keysets  map[string]dnssec.Keyset
}

func newUpdateMaker(seed uint64) *updateMaker {
	return &updateMaker{rng: rand.New(rand.NewPCG(seed, 1)), tenants: map[string]plainState{}, verdicts: map[health.PoolID]health.Verdict{},
		keysets: map[string]dnssec.Keyset{}}
}

func (m *updateMaker) delta() state.Update {
	m.cursor++
	u := state.Update{Cursor: m.cursor, Cluster: 1 << 63, Epoch: 4}
	for range m.rng.IntN(3) {
		name := fmt.Sprint("t", m.rng.IntN(4))
		if len(u.Tenants) > 0 && u.Tenants[0].Tenant == name {
			continue
		}
		now := m.tenants[name]
		now = plainState{Head: now.Head + 1, Resources: maps.Clone(now.Resources)}
		if now.Resources == nil {
			now.Resources = map[spec.Key]state.Version{}
		}
		tu := state.TenantUpdate{Tenant: name, Head: now.Head}
		for _, n := range m.rng.Perm(6)[:1+m.rng.IntN(3)] {
			r := site(name, fmt.Sprint(n), fmt.Sprint(m.cursor))
			if n == 5 {
				r = &spec.Resource{Key: spec.Key{Tenant: name, Kind: spec.KindZone, Name: "z."}, Spec: &spec.Zone{Content: zoneText(m.rng.IntN(20), nil)}}
			}
			if _, ok := now.Resources[r.Key]; ok && m.rng.IntN(2) == 0 {
				delete(now.Resources, r.Key)
				tu.Deleted = append(tu.Deleted, r.Key)
				continue
			}
			v := state.Version{Resource: r, Generation: now.Head}
			now.Resources[r.Key] = v
			tu.Put = append(tu.Put, v)
		}
		m.tenants[name] = now
		u.Tenants = append(u.Tenants, tu)
	}
	v := verdictOf("t0", fmt.Sprint(m.rng.IntN(5)), float64(m.cursor))
	if _, ok := m.verdicts[v.Pool]; ok && m.rng.IntN(2) == 0 {
		delete(m.verdicts, v.Pool)
		u.VerdictsDeleted = append(u.VerdictsDeleted, v.Pool)
	} else {
		m.verdicts[v.Pool] = v
		u.Verdicts = append(u.Verdicts, v)
	}
	ks := keysetOf(fmt.Sprint("z", m.rng.IntN(5), "."), uint64(m.cursor))
	if _, ok := m.keysets[ks.Zone]; ok && m.rng.IntN(2) == 0 {
		delete(m.keysets, ks.Zone)
		u.KeysetsDeleted = append(u.KeysetsDeleted, ks.Zone)
	} else {
		m.keysets[ks.Zone] = ks
		u.Keysets = append(u.Keysets, ks)
	}
	return u
}

// diff compares a mirror with what the updates add up to.
func (m *updateMaker) diff(got *state.Mirror) string {
	states := map[string]plainState{}
	for _, name := range got.Tenants() {
		states[name] = plain(got.Tenant(name))
	}
	return cmp.Diff(m.tenants, states) + cmp.Diff(m.verdicts, got.Verdicts()) + cmp.Diff(m.keysets, got.Keysets())
}

func TestMirrorAddsUp(t *testing.T) {
	maker, mirror, copied := newUpdateMaker(1), state.NewMirror(), state.NewMirror()
	for i := range 200 {
		mirror.Apply(maker.delta())
		if i%3 == 0 {
			if diff := maker.diff(mirror); diff != "" {
				t.Fatalf("update %d:\n%s", i, diff)
			}
		}
		if i%50 == 49 {
			copied.Apply(mirror.Full())
			if diff := maker.diff(copied); diff != "" {
				t.Fatalf("full update %d:\n%s", i, diff)
			}
		}
	}
}

func TestWhatTheMirrorHandsOutStays(t *testing.T) {
	maker, mirror := newUpdateMaker(2), state.NewMirror()
	type look struct {
		got  state.TenantState
		want plainState
	}
	var looks []look
	for range 100 {
		mirror.Apply(maker.delta())
		s := mirror.Tenant("t1")
		looks = append(looks, look{s, plain(s)})
	}
	for i, l := range looks {
		if !cmp.Equal(plain(l.got), l.want) {
			t.Fatalf("the state handed out at %d changed later", i)
		}
	}
}

func TestMirrorKeepsTheLastGoodForm(t *testing.T) {
	m := state.NewMirror()
	a := site("shop", "a", "EU")
	m.Apply(state.Update{Full: true, Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 1, Put: []state.Version{{Resource: a, Generation: 1}}}}})
	broken := []state.BrokenResource{{Key: a.Key, Generation: 2, Err: errors.New("x")}}
	m.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 2, Broken: broken}}})
	m.Apply(state.Update{Full: true, Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 2, Broken: broken}}})
	if got, want := plain(m.Tenant("shop")), (plainState{Head: 2, Resources: map[spec.Key]state.Version{a.Key: {Resource: a, Generation: 1}}}); !cmp.Equal(got, want) {
		t.Errorf("held %+v", got)
	}
}

func TestWaitGeneration(t *testing.T) {
	m := state.NewMirror()
	done := make(chan error)
	go func() { done <- m.WaitGeneration(testContext(t), "shop", 2) }()
	for g := range state.Generation(2) {
		m.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: g + 1}}})
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := m.WaitGeneration(ctx, "shop", 3); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
