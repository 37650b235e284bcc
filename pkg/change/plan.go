package change

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/change/effect"
	"github.com/gti/gtm/pkg/change/guards"
	"github.com/gti/gtm/pkg/change/lawful"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// Edit computes a change from the state that it is to be made on. It is asked again when that state has
// moved, so that nothing that others did meanwhile is undone. It must be pure.
type Edit func(*State) (put []*spec.Resource, deleted []spec.Key, err error)

// KeyAuthor begins the author of a change that a key of a zone made, by an update (RFC 2136); the key's name follows.
const KeyAuthor = "key/"

// Input is what someone wants.
type Input struct {
	Put    []*spec.Resource // whole resources, which replace what is there; with a Generation only if it is of that
	Delete []spec.Key
	Edit   Edit // more of both; nil: none
	// Expect pins tenants to the generation on which the change was prepared: if one has moved since, the
	// change is refused with a *ConflictError. Tenants that are not pinned may move: then it is planned anew.
	Expect map[string]state.Generation
	// Match are the generations that must have written what is there of resources; 0: nothing is there. Where another did, the change is
	// refused with a *ChangedError.
	Match map[spec.Key]state.Generation
	// DropUnknown lets Put replace resources that hold what this program does not understand, which is then lost.
	DropUnknown bool
	// Unbounded has no quota and no guard stop the change: it puts back what was there before.
	Unbounded bool
	// Copied says that the change brings here what others changed, at a zone's primary: see guards.Change.
	Copied bool
	// Foresee asks for the effect on answers, whether a guard needs it or not.
	Foresee bool
	// BreakGlass is why guards are not to stop the change, which history and webhooks tell; empty: they do.
	BreakGlass string
	// MayBreak reports whether who breaks the glass may pass over what a guard says; nil: over nothing.
	MayBreak func(*guards.Refusal) bool
	// Approved is who lets pass what waits for a second person, another one than Author; empty: nobody did.
	Approved string
	Author   string // who is asking; Apply requires it; see KeyAuthor
	// Message says why. Absent: what the change does.
	Message string

	again bool      // a part may be done already: deleting what is not there is no fault
	now   time.Time // as the Changer has it
}

// Action is what a step does.
type Action string

// The actions.
const (
	Create Action = "create"
	Update Action = "update"
	Delete Action = "delete"
)

// Step changes one resource.
type Step struct {
	Action  Action             `json:"action"`
	Key     spec.Key           `json:"key"`
	Changes []spec.FieldChange `json:"changes,omitempty"` // of an update; otherwise none

	new *spec.Resource
}

// Resource gives what the step writes, which must not be changed; of a deletion nil.
func (s *Step) Resource() *spec.Resource { return s.new }

// Part is what becomes one generation of a tenant (or several, where it is too large for one).
type Part struct {
	Tenant string `json:"tenant"`
	// Base is the generation that the part builds upon, where no other change comes between.
	Base  state.Generation `json:"base"`
	Steps []Step           `json:"steps"` // dependencies first, then deletions, dependents first
	// Reads names the other tenants whose state this part relies on; the store compares their heads.
	Reads []string `json:"reads,omitempty"`
}

// Plan is a change worked out: data to be shown, and then applied. It is immutable.
type Plan struct {
	Parts    []Part      `json:"parts"` // in the order in which they are applied
	Warnings spec.Errors `json:"warnings,omitempty"`
	Author   string      `json:"author,omitempty"`
	Message  string      `json:"message,omitempty"`
	// Effect is what it does to answers; nil: nobody asked.
	Effect *effect.Effect `json:"-"`
	// Refusals are what guards say to it.
	Refusals []guards.Refusal `json:"-"`

	in     Input
	state  *State
	judged bool
	ground map[string]bool // the tenants by whose state it was judged
}

// Base gives the generations that the plan was made on, of the tenants that it changes and that it relies on.
func (p *Plan) Base() map[string]state.Generation {
	base := map[string]state.Generation{}
	for _, part := range p.Parts {
		for _, t := range append(slices.Clip(part.Reads), part.Tenant) {
			base[t] = p.state.Head(t)
		}
	}
	return base
}

// BreakGlass is why guards are not to stop the change; empty: they do.
func (p *Plan) BreakGlass() string { return p.in.BreakGlass }

// Approved is who lets pass what waits for a second person; empty: nobody did.
func (p *Plan) Approved() string { return p.in.Approved }

// Version gives the generation that wrote what the plan found of a resource; 0: nothing.
func (p *Plan) Version(k spec.Key) state.Generation { return p.state.Version(k) }

// Empty tells that everything is already as it is wanted.
func (p *Plan) Empty() bool { return len(p.Parts) == 0 }

// Make works out the change that in asks for. It is pure. The error is a spec.Errors with everything that is
// wrong, a *ConflictError where a pinned tenant has moved, a *ChangedError where a resource has, or what in.Edit says.
func Make(state *State, in Input) (*Plan, error) {
	for _, tenant := range sortedKeys(in.Expect) {
		if want, have := in.Expect[tenant], state.Head(tenant); want != have {
			return nil, &ConflictError{Tenant: tenant, Want: want, Have: have}
		}
	}
	if changed := unmatched(state, in.Match); len(changed) > 0 {
		return nil, &ChangedError{changed}
	}
	state = state.at(in.now)
	var edited []*spec.Resource
	deletes := in.Delete
	if in.Edit != nil {
		var more []spec.Key
		var err error
		if edited, more, err = in.Edit(state); err != nil {
			return nil, err
		}
		deletes = slices.Concat(deletes, more)
	}
	m := &maker{state: state, again: in.again, dropUnknown: in.DropUnknown}
	steps := m.steps(in.Put, edited, deletes)
	if len(m.changed) > 0 {
		return nil, &ChangedError{m.changed}
	}
	if m.errs.Full() {
		return nil, m.errs
	}
	after := newOverlay(state).with(steps)
	if !in.Unbounded {
		over, warned := overQuota(state, after, steps)
		m.errs.Add(append(over, overZones(state, after, steps)...)...)
		m.warnings.Add(warned...)
	}
	m.errs.Add(badScripts(steps)...)
	warnings, err := check(after, state, steps)
	if len(m.errs) > 0 { // the rest was checked all the same, to tell everything at once
		return nil, joined(m.errs, err)
	}
	if err != nil {
		return nil, err
	}
	parts, err := arrange(state, steps)
	if err != nil {
		return nil, err
	}
	m.warnings.Add(warnings...)
	p := &Plan{Parts: parts, Warnings: m.warnings, Author: in.Author, Message: in.Message, in: in, state: state}
	if p.Message == "" {
		p.Message = summary(steps)
	}
	return p, nil
}

// check tells what is wrong with the state that steps lead to. The error is a spec.Errors.
func check(after *overlay, before *State, steps []Step) (warnings spec.Errors, err error) {
	return changeOf(nearTo(after, steps), before, steps).Check()
}

func changeOf(after near, before *State, steps []Step) *lawful.Change {
	c := &lawful.Change{After: after, Before: before, Known: func(tenant string) bool { return before.Head(tenant) > 0 }}
	for _, st := range steps {
		if st.Action == Delete {
			c.Deleted = append(c.Deleted, st.Key)
		} else {
			c.Changed = append(c.Changed, st.new)
		}
	}
	return c
}

// joined puts two lists of faults together.
func joined(errs spec.Errors, err error) error {
	more, _ := err.(spec.Errors)
	seen := map[spec.Error]bool{}
	var out spec.Errors
	for _, e := range slices.Concat(errs, more) {
		if !seen[*e] {
			seen[*e] = true
			out.Add(e)
		}
	}
	return out
}

// maker turns wishes into steps.
type maker struct {
	state       *State
	again       bool
	dropUnknown bool
	errs        spec.Errors
	changed     []Changed // declarations that were made from another version than there is
	warnings    spec.Errors
	hints       int // of them that cost a look at all of a tenant
}

// steps gives what differs from the state, in the order in which it is safe to do. What was edited comes out of the state itself.
func (m *maker) steps(declared, edited []*spec.Resource, deletes []spec.Key) []Step {
	var puts, dels []Step
	wanted := make(map[spec.Key]bool, len(declared)+len(edited))
	for i, r := range slices.Concat(declared, edited) {
		if m.errs.Full() {
			return nil // nothing becomes of it
		}
		if wanted[r.Key] {
			m.fail(r, "", "keep one of them", "is declared twice")
			continue
		}
		wanted[r.Key] = true
		old := m.state.Get(r.Key)
		r := m.begun(old, m.whole(old, m.canonical(r, old), i < len(declared)))
		var changes []spec.FieldChange
		if old != nil {
			changes = spec.Diff(old, r)
		}
		switch {
		case old != nil && len(changes) == 0 && !m.state.broken(r.Key), !m.made(r):
		case m.leftOut(old, r):
		case old == nil:
			puts = append(puts, Step{Create, r.Key, nil, r})
		default:
			puts = append(puts, Step{Update, r.Key, changes, r})
		}
	}
	gone := map[spec.Key]bool{}
	for _, k := range deletes {
		switch {
		case m.errs.Full():
			return nil
		case wanted[k]:
			m.errs.Add(&spec.Error{Resource: k.String(), Msg: "is both declared and deleted", Hint: "keep one of them"})
		case m.state.Get(k) == nil && !m.state.broken(k):
			if !m.again {
				m.errs.Add(m.missing(k))
			}
		case !gone[k]:
			gone[k] = true
			dels = append(dels, Step{Action: Delete, Key: k})
		}
	}
	dels = append(dels, m.giveWay(puts, dels)...)
	slices.SortFunc(puts, func(a, b Step) int { return a.Key.Compare(b.Key) })
	slices.SortFunc(dels, func(a, b Step) int { return b.Key.Compare(a.Key) })
	return append(puts, dels...)
}

// canonical gives a declaration in the form that is stored.
func (m *maker) canonical(r, old *spec.Resource) *spec.Resource {
	stored, warnings, errs := lawful.Canonical(r, old)
	m.warnings.Add(warnings...)
	m.errs.Add(errs...)
	return stored
}

func (m *maker) fail(r *spec.Resource, field, hint, msg string) {
	m.errs.Add(&spec.Error{File: r.Origin.File, Line: r.Origin.LineOf(field), Resource: r.Key.String(), Field: field, Msg: msg, Hint: hint})
}

// maxHints is how many faults of one change come with what was probably meant: each costs a look at all names of a tenant.
const maxHints = 20

func (m *maker) missing(k spec.Key) *spec.Error {
	if m.hints++; m.hints > maxHints {
		return &spec.Error{Resource: k.String(), Msg: "does not exist"}
	}
	return missing(m.state, k)
}

// missing tells that a resource is not there, and which one was probably meant.
func missing(state *State, k spec.Key) *spec.Error {
	var names []string
	for _, r := range state.Tenant(k.Tenant) {
		if r.Kind == k.Kind {
			names = append(names, r.Name)
		}
	}
	e := &spec.Error{Resource: k.String(), Msg: "does not exist"}
	if state.Head(k.Tenant) == 0 {
		e.Hint = fmt.Sprintf("the tenant %s has no resources", k.Tenant)
	} else if c := spec.Closest(k.Name, names); c != "" {
		e.Hint = "did you mean " + c + "?"
	}
	return e
}

// summary says what steps do, as the message of a change that came without one.
func summary(steps []Step) string {
	var words []string
	for _, action := range []Action{Create, Update, Delete} {
		var keys []string
		for _, st := range steps {
			if st.Action == action {
				keys = append(keys, string(st.Key.Kind)+"/"+st.Key.Name)
			}
		}
		if n := len(keys); n > 3 {
			keys = append(keys[:2], fmt.Sprintf("%d more", n-2))
		}
		if len(keys) > 0 {
			words = append(words, string(action)+" "+strings.Join(keys, ", "))
		}
	}
	return strings.Join(words, "; ")
}
