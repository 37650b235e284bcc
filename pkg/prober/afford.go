package prober

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/pieces"
)

// refusedMax is how long a verdict waits at last that the store does not take for what it is.
const refusedMax = time.Minute

// releases gives those that wait for a tenant and were not followed.
func (t *term) releases(tenant string) []store.Release {
	return slices.DeleteFunc(t.world.released(tenant), func(r store.Release) bool { return t.followed[r] })
}

// wait has a tenant judged again at a time, or before.
func (t *term) wait(tenant string, until time.Time) {
	if at, is := t.waiting[tenant]; !is || until.Before(at) {
		t.waiting[tenant] = until
	}
}

// nextWaiting tells how long the first of those who wait does; false: nobody waits.
func (t *term) nextWaiting(now time.Time) (time.Duration, bool) {
	if len(t.waiting) == 0 {
		return 0, false
	}
	return max(0, slices.MinFunc(slices.Collect(maps.Values(t.waiting)), time.Time.Compare).Sub(now)), true
}

// waited takes the tenants whose time has come.
func (t *term) waited(now time.Time) (tenants []string) {
	for tenant, until := range t.waiting {
		if !until.After(now) {
			tenants = append(tenants, tenant)
			delete(t.waiting, tenant)
		}
	}
	return tenants
}

// notBefore tells when a pool may be written.
func (t *term) notBefore(id health.PoolID) time.Time {
	now := time.Now()
	if at := now.Add(t.budget.WaitPool(id, now)); at.After(t.refused[id].until) {
		return at
	}
	return t.refused[id].until
}

// writeOf gives how a verdict is written: what differs from what is stored, or all of it, where that is not known or a whole is due.
func (t *term) writeOf(v, held health.Verdict) store.VerdictWrite {
	w := store.VerdictWrite{Verdict: v}
	due := len(v.Endpoints) > pieces.WholeMost && t.wholeDue(v.Pool, len(v.Endpoints), time.Now())
	if held.Judge != "" && !due {
		w.Was = &held
	}
	return w
}

// wholeDue reports whether it is time to write a large pool as a whole.
func (t *term) wholeDue(id health.PoolID, endpoints int, now time.Time) bool {
	w := t.wholes[id]
	if w == nil {
		w = &wholes{}
	}
	return w.due(endpoints, t.plain, now) && t.budget.Ample(id.Tenant, now)
}

// account notes what came of a write. confirmed: the store said so.
func (t *term) account(v health.Verdict, got store.Written, confirmed bool) {
	now, id := time.Now(), v.Pool
	t.budget.Count(id, now)
	t.budget.Pay(id.Tenant, got.Bytes, now)
	t.metrics.bytes.WithLabelValues("verdicts").Add(float64(got.Bytes))
	switch {
	case !confirmed:
	case got.Err != nil:
		r := t.refused[id]
		if r.why == "" {
			t.cfg.Logger.Error("the store does not take the verdict of one pool; the one before holds, and others are written",
				"pool", id.String(), "error", got.Err)
		}
		t.refused[id] = refusal{r.after(now, time.Second, refusedMax), got.Err.Error()}
		t.wait(id.Tenant, t.refused[id].until)
	default:
		delete(t.refused, id)
		t.unheard[id] = unheard{got.Revision, now}
		if len(v.Endpoints) <= pieces.WholeMost {
			delete(t.wholes, id)
			return
		}
		if t.wholes[id] == nil {
			t.wholes[id] = &wholes{}
		}
		t.wholes[id].wrote(got, now)
	}
}

// noteLate tells the log that a tenant is late, once.
func (t *term) noteLate(tenant string) {
	if !t.late[tenant] {
		t.late[tenant] = true
		t.cfg.Logger.Warn("a tenant's verdicts change faster than its share of the store allows; they are late", "tenant", tenant)
	}
}

// tidy forgets who has not written for long, and has large pools written as wholes for which it is time.
func (t *term) tidy(now time.Time) {
	t.budget.Tidy(now)
	maps.DeleteFunc(t.unheard, func(_ health.PoolID, u unheard) bool { return now.Sub(u.at) >= hearing })
	maps.DeleteFunc(t.late, func(tenant string, _ bool) bool { return t.budget.WaitTenant(tenant, now) == 0 })
	older := t.world.hasOlder()
	anew := older && !t.plain // what stands there may be packed
	t.plain = older
	for _, verdicts := range t.held {
		for id, v := range verdicts {
			if w := t.wholes[id]; anew || w != nil && w.inPieces && t.wholeDue(id, len(v.Endpoints), now) {
				v.Judge = "" // differs from every verdict that is written
				t.hold(id, v)
			}
		}
	}
}

// troubles says whose verdicts are late or not taken: a few of them.
func (t *term) troubles() (all []string) {
	const most, longest = 8, 300
	for _, id := range slices.SortedFunc(maps.Keys(t.refused), comparePools) {
		why := t.refused[id].why
		all = append(all, fmt.Sprintf("%s: the store does not take its verdict, and the one before holds: %s", id,
			strings.ToValidUTF8(why[:min(len(why), longest)], "")))
	}
	for _, tenant := range slices.Sorted(maps.Keys(t.late)) {
		all = append(all, fmt.Sprintf("%s: its endpoints change so fast that its share of the store is used up; its verdicts are late",
			tenant))
	}
	if len(all) > most {
		all = append(all[:most], fmt.Sprintf("and %d more of the kind", len(all)-most))
	}
	return all
}
