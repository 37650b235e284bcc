package rollout

import (
	"fmt"
	"time"

	"github.com/gti/gtm/pkg/store/state"
)

// ActError tells why a person's order is not carried out.
type ActError struct{ text string }

func (e *ActError) Error() string { return e.text }

// Act carries out a person's order: pause, resume, abort or promote.
func Act(a *state.Aim, action, by, reason string, now time.Time) error {
	p := a.Rollout
	if p == nil {
		return &ActError{fmt.Sprintf("there is no rollout of %s: declare a Rollout, or have the platform declare one", a.Tenant)}
	}
	running := p.State == state.RolloutSoaking || p.State == state.RolloutPaused
	why := "by hand"
	if reason != "" {
		why += ": " + reason
	}
	switch {
	case action == "pause" && p.State == state.RolloutSoaking:
		p.State, p.By, p.Why, p.Since = state.RolloutPaused, by, why, now
	case action == "resume" && p.State == state.RolloutPaused:
		p.State, p.By, p.Why, p.Since, p.Soaks, p.Base, p.Pools = state.RolloutSoaking, by, why, now, time.Time{}, nil, nil
	case action == "resume" && p.State == state.RolloutStopped: // once more, from the first group on
		begin(a, p.Bad, now)
		a.Rollout.By, a.Rollout.Why = by, why
	case action == "abort" && running:
		stop(a, why, by, now)
	case action == "promote" && running:
		promote(a, by, now)
	default:
		return &ActError{fmt.Sprintf("the rollout of %s is %s, and cannot %s; gtmctl rollout status %s shows it", a.Tenant, p.State, action,
			a.Tenant)}
	}
	return nil
}
