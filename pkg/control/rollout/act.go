package rollout

import (
	"fmt"
	"time"

	"github.com/gti/gtm/pkg/store/state"
)

// ActError tells why a person's order is not carried out.
type ActError struct{ text string }

func (e *ActError) Error() string { return e.text }

// Order is what a person wants of a rollout.
type Order struct {
	Action     string // pause, resume, abort or promote
	By, Reason string
	Newest     state.TenantState // of the tenant
}

// Act carries out a person's order.
func Act(a *state.Aim, o *Order, now time.Time) error {
	p := a.Rollout
	if p == nil {
		return &ActError{fmt.Sprintf("there is no rollout of %s: declare a Rollout, or have the platform declare one", a.Tenant)}
	}
	running := p.State == state.RolloutSoaking || p.State == state.RolloutPaused
	why := "by hand"
	if o.Reason != "" {
		why += ": " + o.Reason
	}
	switch {
	case o.Action == "pause" && p.State == state.RolloutSoaking:
		p.State, p.By, p.Why, p.Since = state.RolloutPaused, o.By, why, now
	case o.Action == "resume" && p.State == state.RolloutPaused:
		p.State, p.By, p.Why, p.Since, p.Soaks = state.RolloutSoaking, o.By, why, now, time.Time{}
		p.Waits, p.Untold, p.Slow, p.Resumed = nil, nil, 0, true // what the group gave before it had the generation stays
	case o.Action == "resume" && p.State == state.RolloutStopped: // once more, from the first group on
		begin(a, p.Bad, p.Brings, now)
		a.Rollout.By, a.Rollout.Why = o.By, why
	case o.Action == "abort" && running:
		stop(a, why, o.By, now)
		holdNewer(a, o.Newest)
	case o.Action == "promote" && running:
		promote(a, o.By, now)
	default:
		return &ActError{fmt.Sprintf("the rollout of %s is %s, and cannot %s; gtmctl rollout status %s shows it", a.Tenant, p.State,
			o.Action, a.Tenant)}
	}
	return nil
}

// holdNewer has what was declared meanwhile wait for a person, too: it has in it what was aborted.
func holdNewer(a *state.Aim, t state.TenantState) {
	p := a.Rollout
	if t.Head <= p.Bad.Generation {
		return
	}
	p.Bad = state.MarkOf(t)
	r := &rules{}
	r.own, r.unclear = declaredIn(t, a.Tenant)
	p.Brings = r.brings(a)
	p.Why += fmt.Sprintf("; %s@%d waited, and begins with gtmctl rollout resume %s, or when there is a newer one", a.Tenant, t.Head,
		a.Tenant)
}
