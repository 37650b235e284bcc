package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// sight is what is seen of a tenant's edges, and of what they serve.
type sight struct {
	edges  []api.Edge              // all that are known
	counts map[string]state.Counts // of those of the group that were asked, by ID
	// failed are gates of which the driver asked others, that have failed; blind are those of whom no answer came.
	failed, blind []string
}

// begin has the first group be next. It is pointed at the generation when it is known what it gave before: see watch.
func begin(a *state.Aim, to state.Mark, now time.Time) {
	p := a.Rollout
	*p = state.Progress{State: state.RolloutSoaking, From: a.Groups[len(a.Groups)-1].At, To: to, Since: now}
}

// reset points all groups at one generation.
func reset(a *state.Aim, groups []spec.EdgeGroup, at state.Mark, now time.Time, why string) {
	a.Groups = nil
	for _, g := range groups {
		a.Groups = append(a.Groups, state.AimedGroup{Name: g.Name, Edges: g.Edges, At: at})
	}
	a.Rollout = &state.Progress{State: state.RolloutDone, From: at, To: at, Stage: len(groups) - 1, Since: now, Why: why}
}

// sameGroups reports whether an aim has just these groups.
func sameGroups(a *state.Aim, groups []spec.EdgeGroup) bool {
	return slices.EqualFunc(a.Groups, groups, func(x state.AimedGroup, y spec.EdgeGroup) bool {
		return x.Name == y.Name && slices.Equal(x.Edges, y.Edges)
	})
}

// follow brings an aim to where a rollout and the newest generation have it, but for what soaks. onlyOverrides: nothing but overrides
// differs from the generation before.
func follow(a *state.Aim, r *spec.Rollout, head state.Mark, onlyOverrides func(since state.Mark) bool, now time.Time) {
	p := a.Rollout
	switch {
	case r == nil:
		a.Groups, a.Rollout = nil, nil
		return
	case p == nil || len(a.Groups) == 0:
		reset(a, r.Groups, head, now, "")
		return
	case p.State != state.RolloutDone && p.State != state.RolloutStopped:
		return // what came meanwhile goes together, next
	}
	at := a.Groups[len(a.Groups)-1].At
	if !sameGroups(a, r.Groups) {
		was := *p
		reset(a, r.Groups, at, now, was.Why)
		a.Rollout.State, a.Rollout.Bad, a.Rollout.To, a.Rollout.From = was.State, was.Bad, was.To, was.From
		p = a.Rollout
	}
	switch {
	case head.Same(at):
	case head.Generation <= at.Generation: // another history was accepted
		reset(a, r.Groups, head, now, "the store has another history")
	case p.State == state.RolloutStopped && onlyOverrides(p.Bad):
		p.Bad = head // it is as bad
	case p.State == state.RolloutStopped && head.Same(p.Bad):
	case p.State == state.RolloutDone && onlyOverrides(at):
		reset(a, r.Groups, head, now, "")
	default:
		begin(a, head, now)
	}
}

// watch judges the group that soaks, and goes on or back.
func watch(a *state.Aim, r *spec.Rollout, s *sight, now time.Time) {
	p := a.Rollout
	group := groupOf(r, a.Groups[p.Stage].Name)
	edges := edgesOf(a, s.edges, p.Stage)
	if !a.Groups[p.Stage].At.Same(p.To) {
		note(p, s, r.Gates.Shift != "")
		a.Groups[p.Stage].At = p.To
		return
	}
	if why := failure(a, r, edges, s); why != "" {
		stop(a, why, "", now)
		return
	}
	p.Waits = waits(edges, a.Tenant, p.To, s)
	note(p, s, r.Gates.Shift != "")
	if len(p.Waits) > 0 {
		p.Soaks = time.Time{}
		return
	}
	if p.Soaks.IsZero() {
		p.Soaks = now
	}
	if now.Sub(p.Soaks) >= group.SoakTime() {
		promote(a, "", now)
	}
}

// promote has the next group be pointed at the new generation, or ends the rollout. By hand it can come before the group of now was
// pointed.
func promote(a *state.Aim, by string, now time.Time) {
	p := a.Rollout
	a.Groups[p.Stage].At = p.To
	p.Since, p.Soaks, p.By, p.Why, p.Waits = now, time.Time{}, by, "", nil
	p.Base, p.Pools = nil, nil
	if p.State = state.RolloutSoaking; p.Stage+1 < len(a.Groups) {
		p.Stage++
		return
	}
	p.State = state.RolloutDone
}

// stop points all groups back at what they had before.
func stop(a *state.Aim, why, by string, now time.Time) {
	p := a.Rollout
	for i := range a.Groups {
		a.Groups[i].At = p.From
	}
	p.State, p.Why, p.By, p.Since, p.Bad, p.Soaks, p.Waits = state.RolloutStopped, why, by, now, p.To, time.Time{}, nil
	p.Base, p.Pools = nil, nil
}

// groupOf gives a group as it is declared now, where its times can be others than when the rollout began.
func groupOf(r *spec.Rollout, name string) *spec.EdgeGroup {
	for i := range r.Groups {
		if r.Groups[i].Name == name {
			return &r.Groups[i]
		}
	}
	return &spec.EdgeGroup{Name: name}
}

// edgesOf gives the edges of a group.
func edgesOf(a *state.Aim, edges []api.Edge, group int) (list []*api.Edge) {
	for i := range edges {
		if a.Group(edges[i].ID) == group {
			list = append(list, &edges[i])
		}
	}
	return list
}

// waits tells for what the group's soak time waits; none: each of its edges serves the generation.
func waits(edges []*api.Edge, tenant string, to state.Mark, s *sight) (list []string) {
	const most = 5
	goal := map[string]api.Goal{tenant: {Generation: uint64(to.Generation), ID: to.ID}}
	for _, e := range edges {
		if b := e.Behind(goal); len(b.Tenants) > 0 && len(list) < most {
			list = append(list, "edge "+e.ID+" "+b.Why)
		}
	}
	if len(edges) == 0 {
		list = append(list, "no edge of the group is known; if it has none: gtmctl rollout promote "+tenant)
	}
	return append(list, s.blind...)
}

// note remembers what edges counted when they were first seen in the stage.
func note(p *state.Progress, s *sight, pools bool) {
	for id, c := range s.counts {
		if _, ok := p.Base[id]; ok {
			continue
		}
		if p.Base == nil {
			p.Base, p.Pools = map[string]state.Counts{}, map[string]uint64{}
		}
		for pool, n := range c.Pools {
			if pools {
				p.Pools[pool] += n
			}
		}
		c.Pools = nil
		p.Base[id] = c
	}
}

// failure tells which gate has failed; empty: none has.
func failure(a *state.Aim, r *spec.Rollout, edges []*api.Edge, s *sight) string {
	p := a.Rollout
	for i := 0; i <= p.Stage; i++ { // also those that had it before: they are watched on
		for _, e := range edgesOf(a, s.edges, i) {
			if why := edgeFailed(e, a.Tenant, p); why != "" {
				return fmt.Sprintf("edge %s %s", e.ID, why)
			}
		}
	}
	for _, e := range edges {
		if why := newlyBroken(e, a, s.edges); why != "" {
			return fmt.Sprintf("edge %s %s", e.ID, why)
		}
	}
	if len(s.failed) > 0 {
		return s.failed[0]
	}
	return countsFailed(&r.Gates, p, s.counts)
}

// edgeFailed tells what an edge made of the generation that no edge may.
func edgeFailed(e *api.Edge, tenant string, p *state.Progress) string {
	base, watched := p.Base[e.ID]
	if e.Status == nil {
		if e.State == api.EdgeSilent && (watched || e.Since != nil && e.Since.After(p.Since)) {
			return "is silent, and was not before it got the generation"
		}
		return ""
	}
	for i := range e.Status.Held {
		h := &e.Status.Held[i]
		switch {
		case h.Tenant != tenant || h.Refused != uint64(p.To.Generation):
		case h.Crashed:
			return "crashed on it"
		default:
			return "refuses it: " + h.Why
		}
	}
	if watched && !e.Status.Started.Equal(base.Started) {
		return "has restarted since it got the generation"
	}
	return ""
}

// newlyBroken tells what an edge does not serve as the generation declares it, and no edge that has not got that yet lacks. Where there is
// no such edge, the group before has been looked at.
func newlyBroken(e *api.Edge, a *state.Aim, edges []api.Edge) string {
	p := a.Rollout
	if e.Status == nil || e.Status.Tenants[a.Tenant] != uint64(p.To.Generation) {
		return ""
	}
	before, others := map[string]bool{}, false
	for i := range edges {
		if o := &edges[i]; a.Group(o.ID) > p.Stage && o.Status != nil {
			others = true
			for _, b := range o.Status.Broken {
				before[b.Resource] = true
			}
		}
	}
	for _, b := range e.Status.Broken {
		if strings.HasPrefix(b.Resource, a.Tenant+"/") && !before[b.Resource] && (others || p.Stage == 0) {
			return "does not serve " + b.Resource + " as declared: " + b.Error
		}
	}
	return ""
}
