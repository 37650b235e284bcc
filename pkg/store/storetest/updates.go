package storetest

import (
	"fmt"
	"maps"
	"math/rand/v2"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// PlainState is a TenantState as a map.
type PlainState struct {
	Head      state.Generation
	Resources map[spec.Key]state.Version
}

func Plain(s state.TenantState) PlainState {
	return PlainState{s.Head, maps.Collect(s.Resources.All())}
}

// updateMaker makes updates as Follow does, and keeps the state that they add up to.
type UpdateMaker struct {
	rng      *rand.Rand
	Cursor   int64
	tenants  map[string]PlainState
	verdicts map[health.PoolID]health.Verdict
	keysets  map[string]dnssec.Keyset
}

func NewUpdateMaker(seed uint64) *UpdateMaker {
	return &UpdateMaker{rng: rand.New(rand.NewPCG(seed, 1)), tenants: map[string]PlainState{}, verdicts: map[health.PoolID]health.Verdict{},
		keysets: map[string]dnssec.Keyset{}}
}

func (m *UpdateMaker) Delta() state.Update {
	m.Cursor++
	u := state.Update{Cursor: m.Cursor, Cluster: 1 << 63, Epoch: 4}
	for range m.rng.IntN(3) {
		name := fmt.Sprint("t", m.rng.IntN(4))
		if len(u.Tenants) > 0 && u.Tenants[0].Tenant == name {
			continue
		}
		now := m.tenants[name]
		now = PlainState{Head: now.Head + 1, Resources: maps.Clone(now.Resources)}
		if now.Resources == nil {
			now.Resources = map[spec.Key]state.Version{}
		}
		tu := state.TenantUpdate{Tenant: name, Head: now.Head}
		for _, n := range m.rng.Perm(6)[:1+m.rng.IntN(3)] {
			r := Site(name, fmt.Sprint(n), fmt.Sprint(m.Cursor))
			if n == 5 {
				r = &spec.Resource{Key: spec.Key{Tenant: name, Kind: spec.KindZone, Name: "z."},
					Spec: &spec.Zone{Content: ZoneText(m.rng.IntN(20), nil)}}
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
	v := VerdictOf("t0", fmt.Sprint(m.rng.IntN(5)), float64(m.Cursor))
	if _, ok := m.verdicts[v.Pool]; ok && m.rng.IntN(2) == 0 {
		delete(m.verdicts, v.Pool)
		state.Verdicts.Set(&u, state.Changes[health.PoolID, health.Verdict]{Deleted: []health.PoolID{v.Pool}})
	} else {
		m.verdicts[v.Pool] = v
		state.Verdicts.Set(&u, state.Changes[health.PoolID, health.Verdict]{Put: []health.Verdict{v}})
	}
	ks := KeysetOf(fmt.Sprint("z", m.rng.IntN(5), "."), uint64(m.Cursor))
	if _, ok := m.keysets[ks.Zone]; ok && m.rng.IntN(2) == 0 {
		delete(m.keysets, ks.Zone)
		state.Keysets.Set(&u, state.Changes[string, dnssec.Keyset]{Deleted: []string{ks.Zone}})
	} else {
		m.keysets[ks.Zone] = ks
		state.Keysets.Set(&u, state.Changes[string, dnssec.Keyset]{Put: []dnssec.Keyset{ks}})
	}
	return u
}

// Sum is what updates add up to.
type Sum struct {
	Tenants  map[string]PlainState
	Verdicts map[health.PoolID]health.Verdict
	Keysets  map[string]dnssec.Keyset
}

// Sum gives what the updates so far add up to, which does not stay as it is.
func (m *UpdateMaker) Sum() Sum { return Sum{m.tenants, m.verdicts, m.keysets} }

// SumOf gives what a mirror has.
func SumOf(m *state.Mirror) Sum {
	tenants := map[string]PlainState{}
	for _, name := range m.Tenants() {
		tenants[name] = Plain(m.Tenant(name))
	}
	return Sum{tenants, m.Verdicts(), m.Keysets()}
}
