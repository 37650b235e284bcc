package events

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/store/state"
)

// rollouts makes events of where rollouts point. What each of them says when it is seen first is told if it is younger than the log: a
// control that was away makes up for it, and names it as others did.
type rollouts struct {
	known map[string]state.Aim // by tenant; nil: nothing was looked at yet
}

// look gives what became of rollouts since the last look.
func (l *rollouts) look(r *Recorder, now time.Time) (list []api.Event) {
	is := state.Aims.All(r.cfg.Mirror)
	first, since := l.known == nil, time.Time{}
	if first {
		since = r.cfg.Log.Status().Since
	}
	for _, tenant := range slices.Sorted(maps.Keys(is)) {
		was, now := l.known[tenant], is[tenant]
		switch e, ok := rolloutEvent(&was, &now); {
		case ok && (!first || e.Time.After(since)):
			list = append(list, e)
		case ok:
			r.isWrong(&e)
		}
	}
	for tenant, was := range l.known {
		if _, still := is[tenant]; !still && was.Rollout != nil {
			e := Subject{Kind: api.EventRollout, Tenant: tenant}.event(now, was.Rollout.State, api.RolloutEnded)
			e.Reason = "edges go by the newest generation, whatever it is"
			identify(&e, fmt.Sprintf("%d %s", was.Rollout.To.Generation, was.Rollout.Since))
			list = append(list, e)
		}
	}
	l.known = is
	return list
}

// rolloutEvent tells what became of one rollout; false: nothing that is told.
func rolloutEvent(was, is *state.Aim) (e api.Event, ok bool) {
	before, p := was.Rollout, is.Rollout
	if p == nil || before != nil && before.State == p.State && before.Stage == p.Stage && before.To == p.To {
		return e, false
	}
	from := "none"
	if before != nil {
		from = before.State
	}
	to, reason := becameOf(before, is)
	if to == "" {
		return e, false
	}
	e = Subject{Kind: api.EventRollout, Tenant: is.Tenant}.event(p.Since, from, to)
	if e.Reason = fmt.Sprintf("%s@%d: %s", is.Tenant, p.To.Generation, reason); p.By != "" {
		e.Reason += ", by " + p.By
	}
	identify(&e, "")
	return e, true
}

// becameOf says it in a word, and in some; before is nil where it is not known.
func becameOf(before *state.Progress, is *state.Aim) (to, reason string) {
	p := is.Rollout
	group := "group " + is.Groups[min(p.Stage, len(is.Groups)-1)].Name
	switch p.State {
	case state.RolloutStopped:
		if to = api.RolloutFailed; p.By != "" {
			to = api.RolloutAborted
		}
		return to, fmt.Sprintf("%s; all groups are pointed back at %s@%d", p.Why, is.Tenant, p.From.Generation)
	case state.RolloutPaused:
		return api.RolloutPaused, fmt.Sprintf("at %s (%s)", group, p.Why)
	case state.RolloutDone:
		if p.From.Same(p.To) { // overrides alone, another history, or the first state
			return "", ""
		}
		return api.RolloutDone, "all groups have it" + unjudged(p)
	}
	switch {
	case before != nil && before.State == state.RolloutPaused && before.To == p.To && before.Stage == p.Stage:
		return api.RolloutResumed, "at " + group
	case p.Stage == 0:
		return api.RolloutBegun, group + " is first"
	case p.By != "":
		return api.RolloutPromoted, group + " gets it"
	}
	return api.RolloutReached, group + " gets it" + unjudged(p)
}

// unjudged tells of gates that could not tell.
func unjudged(p *state.Progress) string {
	if p.Why == "" || p.By != "" {
		return ""
	}
	return ", though " + p.Why
}
