// Package guards tells which changes the guards of the platform and of tenants refuse, and by what number. It is pure: who changes
// something gathers what it asks for.
package guards

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/change/effect"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
)

// Step is one resource that a change writes or deletes.
type Step struct {
	Key     spec.Key
	Deleted bool
}

// Change is what is judged.
type Change struct {
	Steps  []Step
	Guards []*spec.Resource // of the state that it is made on: it cannot free itself
	Now    time.Time
	// Copied: it brings here what a zone's primary has, or its catalog lists, which others changed. It is neither frozen nor does it wait.
	Copied bool
	Effect *effect.Effect // nil: nothing of it concerns answers, or it is Unknown
	// Unknown is why the effect cannot be told, where guards ask for it; empty: it is.
	Unknown string
	// Hour gives which part of a service's answers would come from other pools than an hour ago, of those of which it would be more than
	// without the change. It is asked where a guard wants to know.
	Hour func() map[spec.Key]float64
}

// Refusal is what one guard says to a change.
type Refusal struct {
	Guard spec.Key
	Field string // of the guard, as in spec.leastSites
	Of    spec.Key
	Text  string
	Hint  string
	// Waits is how long the change waits for a second person, who may let it pass; 0: nobody may.
	Waits time.Duration
	// Observed: the guard only says so.
	Observed bool
	// Breaks says who may pass over it by breaking the glass, as spec.Guard.BreakGlass does.
	Breaks string
	// Tenants are those of which something is refused.
	Tenants []string
}

// Fault gives it in the form in which all that is wrong is told.
func (r *Refusal) Fault() *spec.Error {
	return &spec.Error{Resource: r.Of.String(), Msg: fmt.Sprintf("%s (%s of %s)", r.Text, r.Field, r.Guard), Hint: r.Hint}
}

// Binding gives the guards that have to do with some tenants, sorted.
func Binding(set spec.Lookup, tenants map[string]bool) (list []*spec.Resource) {
	for r := range set.Of(spec.KindGuard) {
		g := r.Spec.(*spec.Guard)
		for t := range tenants {
			if g.BindsTenant(r.Tenant, t) {
				list = append(list, r)
				break
			}
		}
	}
	slices.SortFunc(list, func(a, b *spec.Resource) int { return a.Key.Compare(b.Key) })
	return list
}

// mostRefusals bounds what one guard says of one change: so many refusals, and so many that a second person may let pass.
const mostRefusals = 20

// Judge gives what guards say to a change, in their order.
func Judge(c *Change) (all []Refusal) {
	for _, r := range c.Guards {
		j := &judge{Change: c, key: r.Key, guard: r.Spec.(*spec.Guard)}
		j.steps()
		j.answers()
		all = append(all, few(j.refusals)...)
	}
	return all
}

// few keeps the first of each sort, so that what waits hides nothing that is refused. The last of a sort stands for the tenants of those
// that are left out, too.
func few(all []Refusal) (kept []Refusal) {
	type sort struct{ count, last int }
	var sorts [2]sort
	for _, r := range all {
		s := &sorts[0]
		if r.Waits > 0 {
			s = &sorts[1]
		}
		if s.count++; s.count > mostRefusals {
			kept[s.last].of(r.Tenants...)
			continue
		}
		s.last = len(kept)
		kept = append(kept, r)
	}
	return kept
}

// of adds tenants of which something is refused.
func (r *Refusal) of(tenants ...string) {
	for _, t := range tenants {
		if !slices.Contains(r.Tenants, t) {
			r.Tenants = append(r.Tenants, t)
		}
	}
}

// judge is one guard and one change.
type judge struct {
	*Change
	key      spec.Key
	guard    *spec.Guard
	refusals []Refusal
	bounds   map[bound]bool // that are among the refusals
}

// bound is one that answers of a service are beyond. It is told once, whatever the moment.
type bound struct {
	field string
	of    spec.Key
}

// breakHint tells how the guard is passed over, and who may.
func (j *judge) breakHint() string {
	whom := fmt.Sprintf("an %s of %s", j.guard.Breaks(), j.key.Tenant)
	if j.guard.Breaks() == spec.BreakTenantAdmin {
		whom = "an admin of the tenant"
	}
	return "in an emergency: --break-glass REASON, by " + whom + "; history and webhooks tell it"
}

// beyond refuses what becomes of a service's answers.
func (j *judge) beyond(field string, s *effect.Service, waits time.Duration, hint, format string, args ...any) {
	at := bound{field, s.Key}
	if j.bounds[at] {
		return
	}
	if j.bounds == nil {
		j.bounds = map[bound]bool{}
	}
	j.bounds[at] = true
	if !s.At.IsZero() {
		format = "as of " + s.At.UTC().Format(time.RFC3339) + ", when overrides of now have changed, " + format
	}
	j.refuse(field, s.Key, waits, hint, format, args...)
}

func (j *judge) refuse(field string, of spec.Key, waits time.Duration, hint, format string, args ...any) {
	if hint != "" {
		hint += "; or, "
	}
	j.refusals = append(j.refusals, Refusal{Guard: j.key, Field: field, Of: of, Text: fmt.Sprintf(format, args...),
		Hint: hint + j.breakHint(), Waits: waits, Observed: !j.guard.Enforces(), Breaks: j.guard.Breaks(), Tenants: []string{of.Tenant}})
}

// steps judges what is written and deleted.
func (j *judge) steps() {
	for _, st := range j.Steps {
		if !j.guard.BindsTenant(j.key.Tenant, st.Key.Tenant) {
			continue
		}
		if entry := j.guard.Protects(st.Key); st.Deleted && entry != "" {
			j.refuse("spec.protect", st.Key, 0, fmt.Sprintf("take %s out of the guard first", entry), "is protected against deletion")
		}
	}
	if j.Copied {
		return
	}
	j.freeze()
	j.approveSteps()
}

// refuseAll refuses every step of the tenants that the guard binds. Where there is none, it is of the tenant of first.
func (j *judge) refuseAll(field string, first spec.Key, waits time.Duration, hint, format string, args ...any) {
	j.refuse(field, first, waits, hint, format, args...)
	bound := Refusal{}
	for _, st := range j.Steps {
		if j.guard.BindsTenant(j.key.Tenant, st.Key.Tenant) {
			bound.of(st.Key.Tenant)
		}
	}
	if len(bound.Tenants) > 0 {
		j.refusals[len(j.refusals)-1].Tenants = bound.Tenants
	}
}

// freeze judges by the time. Overrides are how people answer incidents: they are never frozen.
func (j *judge) freeze() {
	at := slices.IndexFunc(j.Steps, func(st Step) bool {
		return st.Key.Kind != spec.KindOverride && j.guard.BindsTenant(j.key.Tenant, st.Key.Tenant)
	})
	if at < 0 {
		return
	}
	for i := range j.guard.Freeze {
		f := &j.guard.Freeze[i]
		end, holds := f.Holds(j.Now)
		if !holds {
			continue
		}
		why := ""
		if f.Reason != "" {
			why = ": " + f.Reason
		}
		j.refuseAll(fmt.Sprintf("spec.freeze[%d]", i), j.Steps[at].Key, 0, "wait until then (drains and other overrides can be made)",
			"nothing is changed until %s%s", end.Format(time.RFC3339), why)
		return
	}
}

// approveSteps has every change wait where no share is said, and any change of the guard itself.
func (j *judge) approveSteps() {
	a := j.guard.Approval
	if a == nil {
		return
	}
	for _, st := range j.Steps {
		switch {
		case st.Key == j.key:
			j.refuse("spec.approval", st.Key, a.Waits(), "", "a change of the guard itself needs a second person")
		case a.Above == "" && j.guard.BindsTenant(j.key.Tenant, st.Key.Tenant):
			j.refuseAll("spec.approval", st.Key, a.Waits(), "", "every change needs a second person")
		default:
			continue
		}
		return
	}
}

// answers judges what becomes of answers, at any of the moments that the effect tells of.
func (j *judge) answers() {
	switch {
	case !j.guard.Weighs():
		return
	case j.Unknown != "":
		j.refuseAll("spec", j.key, 0, "", "%s", j.Unknown)
		return
	case j.Effect == nil:
		return
	}
	if n := j.Effect.Skipped; n > 0 {
		j.refuseAll("spec", j.key, 0, "make it in smaller changes",
			"concerns %d services more than the %d whose answers are looked at", n, effect.MostServices)
	}
	for _, list := range [][]effect.Service{j.Effect.All(), j.Effect.Later()} {
		for i := range list {
			s := &list[i]
			if !j.guard.BindsTenant(j.key.Tenant, s.Key.Tenant) {
				continue
			}
			j.capacity(s)
			j.shift(s)
		}
	}
	moves := slices.ContainsFunc(j.Effect.Shifts(), func(at map[spec.Key]effect.Shift) bool { return len(at) > 0 })
	if g := j.guard.LargestShift; g != nil && g.Hour != "" && moves && j.Hour != nil {
		j.hour()
	}
}

func (j *judge) capacity(s *effect.Service) {
	if s.Gone { // which the shift tells
		return
	}
	if bound, of := share(j.guard.LeastCapacity); of && s.Capacity.After < bound && s.Capacity.After < s.Capacity.Before {
		j.beyond("spec.leastCapacity", s, 0, "put endpoints back first",
			"%s of the endpoints of its rules would take clients (%s %s): at least %s must", table.Percent(s.Capacity.After),
			without(s), table.Percent(s.Capacity.Before), j.guard.LeastCapacity)
	}
	if least := j.guard.LeastSites; s.SitesUp[1] < least && s.SitesUp[1] < s.SitesUp[0] {
		j.beyond("spec.leastSites", s, 0, "", "pools at %d of its sites would be up (%s %d): at least %d must", s.SitesUp[1],
			without(s), s.SitesUp[0], least)
	}
}

// without says what the number is that a change is compared with.
func without(s *effect.Service) string {
	if s.At.IsZero() {
		return "now"
	}
	return "without this"
}

func (j *judge) shift(s *effect.Service) {
	g := j.guard
	if g.LargestShift != nil {
		if bound, of := share(g.LargestShift.Change); of && s.Largest() > bound {
			j.beyond("spec.largestShift.change", s, 0, "make it in steps", "%s: at most %s may in one change", movedText(s),
				g.LargestShift.Change)
		}
	}
	if g.Approval == nil {
		return
	}
	if bound, of := share(g.Approval.Above); of && s.Largest() > bound {
		j.beyond("spec.approval", s, g.Approval.Waits(), "", "%s: above %s a second person is needed", movedText(s), g.Approval.Above)
	}
}

// hour judges the services that a change moves by what they would differ from an hour ago.
func (j *judge) hour() {
	bound, of := share(j.guard.LargestShift.Hour)
	if !of {
		return
	}
	since := j.Hour()
	for _, k := range slices.SortedFunc(maps.Keys(since), spec.Key.Compare) {
		if since[k] > bound && j.guard.BindsTenant(j.key.Tenant, k.Tenant) {
			j.refuse("spec.largestShift.hour", k, 0, "wait, or take back what was changed",
				"%s of its answers would come from other pools or addresses than an hour ago: at most %s may in an hour",
				table.Percent(since[k]), j.guard.LargestShift.Hour)
		}
	}
}

func movedText(s *effect.Service) string {
	if s.Gone {
		return "its name would answer no more, which moves all of its answers"
	}
	text := table.Percent(s.Largest()) + " of its answers would come from "
	switch {
	case s.Within == 0:
		text += "another pool"
	case s.Within < s.Moved-1e-6:
		text += "another pool, or from addresses that are new to theirs"
	default:
		text += "addresses that are new to their pool"
	}
	if s.Weighing.By != effect.ByUsers && s.ByUsers > s.Moved {
		text += ", weighed by Internet users (" + table.Percent(s.Moved) + " by the queries seen)"
	}
	if len(s.Places) > 0 {
		var countries []string
		for _, p := range s.Places[:min(3, len(s.Places))] {
			countries = append(countries, p.Country)
		}
		text += " (of " + strings.Join(countries, ", ") + map[bool]string{true: " and others", false: ""}[len(s.Places) > 3] + ")"
	}
	return text
}

// share reads a bound; not ok: there is none.
func share(text string) (bound float64, ok bool) {
	percent, err := spec.ParseShare(text)
	return float64(percent) / 100, err == nil
}

// Split takes apart what refuses, what waits for a second person, and what is only told.
func Split(all []Refusal) (refused, waiting, observed []Refusal) {
	for _, r := range all {
		switch {
		case r.Observed:
			observed = append(observed, r)
		case r.Waits > 0:
			waiting = append(waiting, r)
		default:
			refused = append(refused, r)
		}
	}
	return refused, waiting, observed
}

// Shortest gives the refusal that lets a change wait least.
func Shortest(waiting []Refusal) Refusal {
	return slices.MinFunc(waiting, func(a, b Refusal) int { return cmp.Compare(a.Waits, b.Waits) })
}
