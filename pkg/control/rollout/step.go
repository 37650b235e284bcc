package rollout

import (
	"fmt"
	"maps"
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
	others map[string]state.Counts // of some that have not got the generation
	// failed are gates of which the driver asked others, that have failed; blind are those of whom no answer came.
	failed, blind []string
}

// begin has the first group be next. It is pointed at the generation when it is known what it gave before: see watch. brings is the
// tenant's own Rollout in it.
func begin(a *state.Aim, to state.Mark, brings *spec.Rollout, now time.Time) {
	*a.Rollout = state.Progress{State: state.RolloutSoaking, From: a.Groups[len(a.Groups)-1].At, To: to, Brings: brings, Since: now}
}

// reset points all groups at one generation.
func reset(a *state.Aim, groups []spec.EdgeGroup, at state.Mark, now time.Time, why string) {
	point(a, groups, at)
	a.Rollout = &state.Progress{State: state.RolloutDone, From: at, To: at, Stage: len(groups) - 1, Since: now, Why: why}
}

func point(a *state.Aim, groups []spec.EdgeGroup, at state.Mark) {
	a.Groups = nil
	for _, g := range groups {
		a.Groups = append(a.Groups, state.AimedGroup{Name: g.Name, Edges: g.Edges, At: at})
	}
}

// follow brings an aim to where a Rollout and the newest generation have it, but for what soaks. passes reports whether what was changed
// since a generation waits for no rollout.
func follow(a *state.Aim, r *rules, passes func(since state.Mark) bool, now time.Time) {
	if a.Rollout == nil || len(a.Groups) == 0 {
		start(a, r, now, "")
		return
	}
	recall(a, r)
	p := a.Rollout
	if p.State != state.RolloutDone && p.State != state.RolloutStopped {
		return // what came meanwhile goes together, next
	}
	enforce(a, r)
	at := a.Groups[len(a.Groups)-1].At
	switch {
	case r.head.Same(at):
		if !a.Own && r.platform == nil {
			end(a)
		}
	case r.head.Generation <= at.Generation: // another history was accepted
		start(a, r, now, "the store has another history")
	case p.State == state.RolloutStopped && passes(p.Bad):
		p.Bad = r.head // it is as bad
	case p.State == state.RolloutStopped && r.head.Same(p.Bad):
	case p.State == state.RolloutDone && passes(at):
		brings := p.Brings
		reset(a, a.InForce.Groups, r.head, now, "")
		a.Rollout.Brings = brings
	default:
		begin(a, r.head, r.brings(a), now)
	}
}

// watch judges the group that soaks, by the Rollout in force, and goes on or back.
func watch(a *state.Aim, s *sight, now time.Time) {
	p, r := a.Rollout, a.InForce
	group := groupOf(r, a.Groups[p.Stage].Name)
	edges := edgesOf(a, s.edges, p.Stage)
	if p.Resumed {
		dropRestarted(p, s.edges)
	}
	if !a.Groups[p.Stage].At.Same(p.To) {
		note(p, s, r.Gates.Shift != "")
		a.Groups[p.Stage].At = p.To
		return
	}
	was := p.Slow
	why, untold := failure(a, r, edges, s)
	if why != "" {
		stop(a, why, "", now)
		return
	}
	slow, cannot := slower(&r.Gates, p, s)
	if p.Slow = 0; slow != "" {
		if p.Slow = was + 1; p.Slow >= slowLooks {
			stop(a, slow, "", now)
			return
		}
	}
	if cannot != "" {
		untold = append(untold, cannot)
	}
	p.Waits, p.Untold = waits(edges, a.Tenant, p.To, s), untold
	note(p, s, r.Gates.Shift != "")
	if len(p.Waits) > 0 {
		p.Soaks = time.Time{}
		return
	}
	if p.Soaks.IsZero() {
		p.Soaks = now
	}
	soaked := now.Sub(p.Soaks)
	if soaked < group.SoakTime() || p.Slow > 0 || len(untold) > 0 && soaked < untoldTimes*group.SoakTime() {
		return
	}
	promote(a, "", now)
	if len(untold) > 0 {
		a.Rollout.Why = fmt.Sprintf("group %s was not judged: %s", group.Name, strings.Join(untold, "; "))
	}
}

// untoldTimes is how many soak times a group soaks whose gates cannot tell: then the next one gets the generation all the same.
const untoldTimes = 2

// promote has the next group be pointed at the new generation, or ends the rollout. By hand it can come before the group of now was
// pointed.
func promote(a *state.Aim, by string, now time.Time) {
	p := a.Rollout
	a.Groups[p.Stage].At = p.To
	p.Since, p.Soaks, p.By, p.Why = now, time.Time{}, by, ""
	forget(p)
	if p.State = state.RolloutSoaking; p.Stage+1 < len(a.Groups) {
		p.Stage++
		return
	}
	p.State = state.RolloutDone
	forgetPlan(p)
}

// stop points all groups back at what they had before.
func stop(a *state.Aim, why, by string, now time.Time) {
	p := a.Rollout
	for i := range a.Groups {
		a.Groups[i].At = p.From
	}
	p.State, p.Why, p.By, p.Since, p.Bad, p.Soaks = state.RolloutStopped, why, by, now, p.To, time.Time{}
	forget(p)
	forgetPlan(p)
}

// forgetPlan drops a plan at the end of a rollout, so that the aim gets small again. Who resumes one that was stopped works it out anew.
func forgetPlan(p *state.Progress) { p.Planned, p.LeftOut, p.PlanTries = nil, nil, 0 }

// forget drops what was known of a group.
func forget(p *state.Progress) {
	p.Base, p.Pools, p.Others, p.Waits, p.Untold, p.Slow, p.Resumed, p.PoolsLost = nil, nil, nil, nil, nil, 0, false, false
}

// dropRestarted drops after a pause what is known of edges that restarted in it, or cannot be asked: what they count may have begun anew.
// What pools gave is a sum over edges, so it is of no use any more when one is dropped.
func dropRestarted(p *state.Progress, edges []api.Edge) {
	started := map[string]time.Time{}
	for i := range edges {
		if st := edges[i].Status; st != nil {
			started[edges[i].ID] = st.Started
		}
	}
	other := func(id string, was state.Counts) bool {
		at, ok := started[id]
		return !ok || !at.Equal(was.Started)
	}
	known := len(p.Base)
	maps.DeleteFunc(p.Base, other)
	maps.DeleteFunc(p.Others, other)
	p.Resumed, p.PoolsLost = false, p.PoolsLost || len(p.Base) < known
}

// groupOf gives a group as it is declared.
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
			p.Base = map[string]state.Counts{}
		}
		if p.Pools == nil { // also where the edges before had none: an empty one is not stored
			p.Pools = map[string]uint64{}
		}
		for pool, n := range c.Pools {
			if pools {
				p.Pools[pool] += n
			}
		}
		c.Pools = nil
		p.Base[id] = c
	}
	for id, c := range s.others {
		if _, ok := p.Others[id]; ok {
			continue
		}
		if p.Others == nil {
			p.Others = map[string]state.Counts{}
		}
		c.Pools = nil
		p.Others[id] = c
	}
}

// failure tells which gate has failed; empty: none has. untold are gates that cannot tell.
func failure(a *state.Aim, r *spec.Rollout, edges []*api.Edge, s *sight) (why string, untold []string) {
	p := a.Rollout
	for i := 0; i <= p.Stage; i++ { // also those that had it before: they are watched on
		for _, e := range edgesOf(a, s.edges, i) {
			if why := edgeFailed(e, a.Tenant, p); why != "" {
				return fmt.Sprintf("edge %s %s", e.ID, why), nil
			}
		}
	}
	for _, e := range edges {
		if why := newlyBroken(e, a, s.edges); why != "" {
			return fmt.Sprintf("edge %s %s", e.ID, why), nil
		}
	}
	if len(s.failed) > 0 {
		return s.failed[0], nil
	}
	return countsFailed(&r.Gates, p, s)
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
			return "refuses it: " + h.Reason()
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
