package change

import (
	"fmt"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// An override that has ended says nothing any more, and is in nobody's way: what it would hinder takes it away in the same generation,
// and a declaration of one that is not there is left out. So no target ever has more than one.

// at gives the state as it is seen at a time, by which overrides have ended; zero: none has.
func (s *State) at(now time.Time) *State {
	seen := *s
	seen.now = now
	return &seen
}

// ended reports whether r is an override that is over.
func (s *State) ended(r *spec.Resource) bool {
	o, ok := specOf(r).(*spec.Override)
	return ok && !s.now.IsZero() && o.Ended(s.now)
}

// leftOut reports whether a declaration is of an override that is over and not there, and warns.
func (m *maker) leftOut(old, r *spec.Resource) bool {
	if old != nil || !m.state.ended(r) {
		return false
	}
	m.warnings = append(m.warnings, &spec.Error{File: r.Origin.File, Line: r.Origin.LineOf("spec.expires"), Resource: r.Key.String(),
		Field: "spec.expires", Msg: "is over: the override is left out", Hint: "give it another end, or take it out of the file"})
	return true
}

// giveWay gives the deletions of overrides that are over and that puts or dels would be refused for.
func (m *maker) giveWay(puts, dels []Step) (steps []Step) {
	touched := map[spec.Key]bool{} // what the steps are about
	targets := map[Target]bool{}   // what they override
	for _, st := range slices.Concat(puts, dels) {
		touched[st.Key] = true
		if o, ok := specOf(st.new).(*spec.Override); ok {
			targets[targetOf(st.Key.Tenant, o)] = true
		}
	}
	if !slices.ContainsFunc(slices.Concat(puts, dels), func(st Step) bool {
		return st.Key.Kind == spec.KindOverride || st.Key.Kind == spec.KindPool || st.Key.Kind == spec.KindService
	}) {
		return nil
	}
	after := newOverlay(m.state).with(slices.Concat(puts, dels))
	for r := range m.state.Of(spec.KindOverride) {
		if touched[r.Key] || !m.state.ended(r) {
			continue
		}
		o := r.Spec.(*spec.Override)
		t, held := targetOf(r.Tenant, o), spec.Key{Tenant: r.Tenant, Kind: spec.KindService, Name: o.Service}
		if targets[t] || touched[held] && after.Get(held) == nil || touched[t.key()] && !t.in(after) {
			steps = append(steps, Step{Action: Delete, Key: r.Key})
			m.warnings = append(m.warnings, &spec.Error{Resource: r.Key.String(), Field: "spec.expires",
				Msg: fmt.Sprintf("is over since %s: the override gives way", r.Spec.(*spec.Override).Expires)})
		}
	}
	return steps
}

// targetOf gives what an override is of. That of a service has a name that no pool can have.
func targetOf(tenant string, o *spec.Override) Target {
	if o.Service != "" {
		return Target{Tenant: tenant, Pool: "service " + o.Service}
	}
	return Target{tenant, o.Pool, o.Endpoint}
}

// in reports whether a set has the target.
func (t Target) in(set spec.Lookup) bool {
	r := set.Get(t.key())
	return r != nil && (t.Endpoint == "" || hasEndpoint(r, t.Endpoint) == nil)
}

// inState is in for one tenant's state.
func (t Target) inState(state state.TenantState) bool {
	v, ok := state.Resources.Get(t.key())
	return ok && (t.Endpoint == "" || hasEndpoint(v.Resource, t.Endpoint) == nil)
}
