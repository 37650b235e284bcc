package prober

import (
	"time"

	"github.com/gti/gtm/pkg/health"
)

// ages is a judge's memory of when endpoints went down and the brake took hold, by its own monotonic clock: clocks of machines
// differ, and jump. What was before its term it inherits as ages by the clock of the judge before: what that judge's last pulse and
// its verdicts are apart.
type ages struct {
	start  time.Time
	before time.Time // by the clock of the verdicts that were found; zero: not known
	fell   map[health.PoolID]map[string]time.Time
	froze  map[string]time.Time // by tenant
	// last is since when what is held in a pool is the same; since is what the verdict says of that.
	last map[health.PoolID]heldLast
}

type heldLast struct{ since, at time.Time }

// newAges begins a term. pulse is when the judge before gave its last sign of life, by its own clock; where there was none, the
// verdicts are measured by the wall clock of now.
func newAges(pulse, now time.Time) *ages {
	a := &ages{start: time.Now(), before: pulse, fell: map[health.PoolID]map[string]time.Time{}, froze: map[string]time.Time{},
		last: map[health.PoolID]heldLast{}}
	if pulse.IsZero() {
		a.before = now
	}
	return a
}

// inherited gives when something was that stands in a verdict of an earlier judge. What says no time is of this term.
func (a *ages) inherited(at time.Time) time.Time {
	if at.IsZero() {
		return a.start
	}
	return a.start.Add(-max(0, a.before.Sub(at)))
}

// down tells how long an endpoint has been down. f is its finding.
func (a *ages) down(id health.PoolID, endpoint string, f health.Finding) time.Duration {
	if at, ok := a.fell[id][endpoint]; ok {
		return time.Since(at)
	}
	return time.Since(a.inherited(f.Since))
}

// frozen tells how long the brake has held a tenant. since is what the verdicts say.
func (a *ages) frozen(tenant string, since time.Time) time.Duration {
	if _, ok := a.froze[tenant]; !ok {
		a.froze[tenant] = a.inherited(since)
	}
	return time.Since(a.froze[tenant])
}

// heldFor tells for how long what is held in a pool has been the same, by the verdict that says so. One of an older program does not.
func (a *ages) heldFor(v health.Verdict) time.Duration {
	if l, ok := a.last[v.Pool]; ok && l.since.Equal(v.HeldSince) {
		return time.Since(l.at)
	}
	return time.Since(a.inherited(firstTime(v.HeldSince, v.FrozenSince)))
}

func firstTime(a, b time.Time) time.Time {
	if a.IsZero() {
		return b
	}
	return a
}

// note remembers what a verdict changes.
func (a *ages) note(was, now health.Verdict) {
	switch {
	case !now.Frozen:
		delete(a.last, now.Pool)
	case !now.HeldSince.Equal(was.HeldSince):
		a.last[now.Pool] = heldLast{now.HeldSince, time.Now()}
	}
	for name, f := range now.Endpoints {
		switch before := was.Endpoints[name].State; {
		case f.State != health.Down:
			delete(a.fell[now.Pool], name)
		case before != health.Down:
			if a.fell[now.Pool] == nil {
				a.fell[now.Pool] = map[string]time.Time{}
			}
			a.fell[now.Pool][name] = time.Now()
		}
	}
	for name := range a.fell[now.Pool] {
		if _, is := now.Endpoints[name]; !is {
			delete(a.fell[now.Pool], name)
		}
	}
	if len(a.fell[now.Pool]) == 0 {
		delete(a.fell, now.Pool)
	}
}

// noteBrake remembers whether the brake holds.
func (a *ages) noteBrake(tenant string, holds bool) {
	if _, known := a.froze[tenant]; !holds {
		delete(a.froze, tenant)
	} else if !known {
		a.froze[tenant] = time.Now()
	}
}
