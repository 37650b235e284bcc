package change

import (
	"fmt"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/spec"
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
	all := slices.Concat(puts, dels)
	if !slices.ContainsFunc(all, func(st Step) bool {
		return st.Key.Kind == spec.KindOverride || st.Key.Kind == spec.KindPool || st.Key.Kind == spec.KindService
	}) {
		return nil
	}
	after := newOverlay(m.state).with(all)
	touched := map[spec.Key]bool{} // what the steps are about
	targets := map[string]bool{}   // what they override
	for _, st := range all {
		touched[st.Key] = true
		if st.Key.Kind == spec.KindOverride && st.new != nil {
			targets[spec.OverrideTarget(after, st.new)] = true
		}
	}
	for r := range m.state.Of(spec.KindOverride) {
		if touched[r.Key] || !m.state.ended(r) {
			continue
		}
		refers := slices.ContainsFunc(spec.References(r), func(k spec.Key) bool { return touched[k] })
		if targets[spec.OverrideTarget(after, r)] || refers && !hasTarget(after.Get, r) {
			steps = append(steps, Step{Action: Delete, Key: r.Key})
			m.warnings = append(m.warnings, &spec.Error{Resource: r.Key.String(), Field: "spec.expires",
				Msg: fmt.Sprintf("is over since %s: the override gives way", r.Spec.(*spec.Override).Expires)})
		}
	}
	return steps
}

// hasTarget reports whether there is what an override is of.
func hasTarget(get func(spec.Key) *spec.Resource, override *spec.Resource) bool {
	o := override.Spec.(*spec.Override)
	if o.Service != "" {
		if o.Hold != nil {
			return get(spec.Key{Tenant: override.Tenant, Kind: spec.KindService, Name: o.Service}) != nil
		}
		s, ok := specOf(get(spec.Key{Tenant: override.Tenant, Kind: spec.KindService, Name: o.Service})).(*spec.Service)
		if !ok {
			return false
		}
		rule := s.RuleNamed(o.Rule)
		if rule < 0 {
			return false
		}
		_, i := s.Rules[rule].Entry(o.Pool)
		return i >= 0
	}
	r := get(spec.Key{Tenant: override.Tenant, Kind: spec.KindPool, Name: o.Pool})
	return r != nil && (o.Endpoint == "" || hasEndpoint(r, o.Endpoint) == nil)
}

// begun gives an override whose weight goes somewhere the time at which it begins to, which all edges go by: now, or as it was where
// the same
// is declared again.
func (m *maker) begun(old, r *spec.Resource) *spec.Resource {
	o, ok := r.Spec.(*spec.Override)
	if !ok || !o.Ramps() || !o.Starts.IsZero() || o.Schedule != nil || m.state.now.IsZero() {
		return r
	}
	b := *o
	b.Starts = spec.TimeAt(m.state.now)
	if was, ok := specOf(old).(*spec.Override); ok && was.Ramps() && !was.Starts.IsZero() && !was.Ended(m.state.now) &&
		was.State == o.State && was.Weight.To == o.Weight.To && was.Weight.Over == o.Weight.Over {
		b.Starts = was.Starts
		if o.Weight.From == nil {
			b.Weight = was.Weight
		}
	}
	begun := *r
	begun.Spec = &b
	return &begun
}
