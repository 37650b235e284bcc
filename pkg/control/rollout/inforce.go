package rollout

import (
	"reflect"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// rules are what stands about rollouts of a tenant: in its newest generation, and for all.
type rules struct {
	head     state.Mark
	own      *spec.Rollout // the tenant's own, as it is declared; nil: it declares none
	unclear  bool          // it declares one that is not lawful, or of a newer gtm: what is in force holds
	platform *spec.Rollout // that of the platform, as it is in force; nil: there is none
}

// rulesOf reads what stands for a tenant.
func rulesOf(m *state.Mirror, tenant string) *rules {
	t := m.Tenant(tenant)
	r := &rules{head: state.MarkOf(t)}
	r.own, r.unclear = declaredIn(t, tenant)
	if tenant == spec.Platform {
		return r
	}
	if a, _ := state.Aims.Get(m, spec.Platform); len(a.Groups) > 0 && a.InForce != nil {
		r.platform = a.InForce
	} else {
		r.platform, _ = declaredIn(m.Tenant(spec.Platform), spec.Platform)
	}
	return r
}

// declaredIn gives the Rollout that a state of a tenant declares; nil: none. unclear: there is one that nobody can go by.
func declaredIn(t state.TenantState, tenant string) (r *spec.Rollout, unclear bool) {
	v, ok := t.Resources.Get(spec.Key{Tenant: tenant, Kind: spec.KindRollout, Name: tenant})
	if !ok {
		return nil, false
	}
	if r, ok = v.Resource.Spec.(*spec.Rollout); !ok || len(r.Groups) == 0 {
		return nil, true
	}
	return r, false
}

// first gives the Rollout of a tenant that has had none; nil: it has none now.
func (r *rules) first() *spec.Rollout {
	if r.own != nil {
		return r.own
	}
	return r.platform
}

// brings gives the tenant's own Rollout that is in force once all groups have the newest generation.
func (r *rules) brings(a *state.Aim) *spec.Rollout {
	if r.unclear && a.Own {
		return a.InForce
	}
	return r.own
}

// start has all groups of the Rollout that is declared be at the newest generation; without one, edges are pointed at nothing.
func start(a *state.Aim, r *rules, now time.Time, why string) {
	first := r.first()
	if first == nil {
		end(a)
		return
	}
	reset(a, first.Groups, r.head, now, why)
	a.InForce, a.Own, a.Rollout.Brings = first, r.own != nil, r.own
}

// end has edges go by the newest generation.
func end(a *state.Aim) { a.Groups, a.Rollout, a.InForce, a.Own = nil, nil, nil, false }

// recall notes what is in force where a control of before did not: what is declared; else what the groups tell of it.
func recall(a *state.Aim, r *rules) {
	if a.InForce != nil {
		return
	}
	if a.InForce, a.Own, a.Rollout.Brings = r.first(), r.own != nil, r.own; a.InForce == nil {
		a.InForce = &spec.Rollout{}
		for _, g := range a.Groups {
			a.InForce.Groups = append(a.InForce.Groups, spec.EdgeGroup{Name: g.Name, Edges: g.Edges})
		}
	}
}

// enforce has a Rollout be in force that all groups have: what the tenant's generation brought where that is done, or the platform's. That
// there is none any more changes nothing yet: what is under way, and what was stopped, goes on by the one that was.
func enforce(a *state.Aim, r *rules) {
	p, now := a.Rollout, a.InForce
	if p.State == state.RolloutDone {
		if a.Own = p.Brings != nil; a.Own {
			now = p.Brings
		}
	}
	if !a.Own && r.platform != nil {
		now = r.platform
	}
	if !same(now, a.InForce) {
		a.InForce = now
	}
	if !sameGroups(a, a.InForce.Groups) {
		point(a, a.InForce.Groups, a.Groups[len(a.Groups)-1].At)
		p.Stage = len(a.Groups) - 1
	}
}

// sameGroups reports whether an aim has just these groups.
func sameGroups(a *state.Aim, groups []spec.EdgeGroup) bool {
	return slices.EqualFunc(a.Groups, groups, func(x state.AimedGroup, y spec.EdgeGroup) bool {
		return x.Name == y.Name && slices.Equal(x.Edges, y.Edges)
	})
}

// same reports whether two Rollouts say the same. One was read from YAML, the other from the store, where an empty list is none.
func same(x, y *spec.Rollout) bool {
	return reflect.DeepEqual(plain(x), plain(y))
}

func plain(r *spec.Rollout) spec.Rollout {
	out := *r
	if out.Groups = slices.Clone(r.Groups); len(r.Gates.Probes) == 0 {
		out.Gates.Probes = nil
	}
	for i := range out.Groups {
		if len(out.Groups[i].Edges) == 0 {
			out.Groups[i].Edges = nil
		}
	}
	return out
}

// Note tells in words that what is declared of a tenant's rollouts is not in force yet; empty: it is.
func Note(m *state.Mirror, a *state.Aim) string {
	if a.Rollout == nil || a.InForce == nil {
		return ""
	}
	r := rulesOf(m, a.Tenant)
	const until = ": until all groups have that generation, the one before is in force"
	switch {
	case a.Own && r.own == nil && !r.unclear:
		return "its Rollout is deleted" + until
	case a.Own && r.own != nil && !same(r.own, a.InForce):
		return "its Rollout is changed" + until
	case !a.Own && r.own != nil:
		return "its own Rollout is declared" + until
	case !a.Own && a.Tenant != spec.Platform && r.platform == nil:
		return "the platform has no Rollout any more: the one that it had is in force until all groups have the newest generation"
	case r.unclear:
		return "the Rollout that is declared cannot be gone by: the one before is in force"
	}
	return ""
}
