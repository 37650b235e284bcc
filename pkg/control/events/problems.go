package events

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/past"
	"github.com/gti/gtm/pkg/health"
)

// isWrong notes what is wrong, of which there is no event.
func (r *Recorder) isWrong(e *api.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.setProblem(e)
}

// setProblem notes that something is wrong, or is not any more. r.mu is held.
func (r *Recorder) setProblem(e *api.Event) {
	of := SubjectOf(e)
	if !e.Bad() {
		delete(r.problems[e.Tenant], of)
		if len(r.problems[e.Tenant]) == 0 {
			delete(r.problems, e.Tenant)
		}
		return
	}
	if r.problems[e.Tenant] == nil {
		r.problems[e.Tenant] = map[Subject]api.Event{}
	}
	r.problems[e.Tenant][of] = *e
}

// settleGone forgets the problems of endpoints and verdicts that are no more.
func (r *Recorder) settleGone(c past.Change) {
	if c.Was == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range c.Was.Endpoints {
		if c.Is == nil || !hasEndpoint(c.Is, name) {
			delete(r.problems[c.Pool.Tenant], subject(api.EventEndpoint, c.Pool, name))
		}
	}
	if c.Is == nil {
		delete(r.problems[c.Pool.Tenant], subject(api.EventBrake, c.Pool, ""))
		if _, region := c.Pool.Declared(); region != "" { // its clients get what is known for all
			delete(r.problems[c.Pool.Tenant], subject(api.EventPool, c.Pool, ""))
		}
	}
}

func hasEndpoint(v *health.Verdict, name string) bool {
	_, has := v.Endpoints[name]
	return has
}

// settleUndeclared forgets the problems of pools that are no more.
func (r *Recorder) settleUndeclared(tenant string, d *tenant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.counts {
		if id.Tenant == tenant && d.pools[id.Pool] == nil {
			delete(r.counts, id)
		}
	}
	for of := range r.problems[tenant] {
		if of.Pool != "" && d.pools[of.Pool] == nil {
			delete(r.problems[tenant], of)
		}
	}
}

// findProblems notes everything that is wrong now, as when nothing is known from before.
func (r *Recorder) findProblems(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range r.cfg.Mirror.Verdicts() {
		var unknown health.Verdict
		for _, e := range verdictEvents(past.Change{Pool: v.Pool, Was: &unknown, Is: &v}, now) {
			r.setProblem(&e)
		}
	}
	for id, s := range r.pools.stand {
		if !s.up {
			e := subject(api.EventPool, id, "").event(now, "up", "down")
			e.Reason = s.why
			r.setProblem(&e)
		}
	}
}

// Problems gives what is wrong now of a tenant (empty: of all), sorted: pools, brakes and the judge first, then endpoints.
func (r *Recorder) Problems(tenant string) (list []api.Event) {
	r.mu.Lock()
	for name, problems := range r.problems {
		if tenant == "" || tenant == name {
			list = slices.AppendSeq(list, maps.Values(problems))
		}
	}
	r.mu.Unlock()
	order := map[string]int{api.EventJudge: 0, api.EventRollout: 1, api.EventEdge: 2, api.EventBrake: 3, api.EventPool: 4,
		api.EventEndpoint: 5}
	slices.SortFunc(list, func(a, b api.Event) int {
		return cmp.Or(cmp.Compare(order[a.Kind], order[b.Kind]), strings.Compare(a.Of(), b.Of()))
	})
	return list
}
