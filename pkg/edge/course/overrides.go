package course

import (
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// overridden gives a state with the newest overrides of its tenant; with those that were served before, where the edge crashed on the
// newest.
func (c *Course) overridden(name string, t *tenant, base state.TenantState) state.TenantState {
	if c.poisoned(name, t) {
		return base.Overridden(t.good)
	}
	return base.Overridden(t.heard)
}

// poisoned reports whether the edge crashed on what was heard last.
func (c *Course) poisoned(name string, t *tenant) bool {
	newest := state.MarkOf(t.heard)
	return t.good.Head != 0 && c.poison[name].Same(newest) && !t.aim.Accept.Same(newest)
}

// overridesRefused tells that the newest overrides of a tenant are left out, though what it is pointed at is not; nil: they are not.
func (c *Course) overridesRefused(name string, t *tenant) *Refusal {
	if !c.poisoned(name, t) {
		return nil
	}
	return &Refusal{Mark: state.MarkOf(t.heard), Crashed: true, Since: c.started, Why: "this edge crashed on its overrides"}
}

// otherOverrides reports whether overrides differ, whatever else does. They are told by the generations that wrote them: after a start, and
// whenever all is told anew, resources are others that say the same.
func otherOverrides(was, is state.Resources) bool {
	for k, v := range is.Unlike(was) {
		if has, ok := was.Get(k); k.Kind == spec.KindOverride && (!ok || has.Generation != v.Generation) {
			return true
		}
	}
	for k := range was.Unlike(is) {
		if _, ok := is.Get(k); k.Kind == spec.KindOverride && !ok {
			return true
		}
	}
	return false
}

// OnTrial gives Taken, and the generations of which nothing but overrides was taken, over an older one: an edge can crash on these, too.
func (c *Course) OnTrial() map[string]state.Mark {
	on := c.Taken()
	for name := range c.touched {
		t := c.tenants[name]
		if _, taken := on[name]; t != nil && !taken && t.good.Head != 0 && otherOverrides(t.good.Resources, t.served.Resources) {
			on[name] = state.MarkOf(t.heard)
		}
	}
	return on
}
