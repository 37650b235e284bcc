package policy

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/spec"
)

// order is how nearest and fastest put pools in order.
type order struct {
	among    []choice
	band     float64 // a share: 0.05
	farthest float64 // km
	margin   float64 // ms
	samples  int
	maxAge   int64 // days
	listed   bool  // what no time is known of comes as listed, not by distance
}

// choice is a pool to choose from.
type choice struct {
	pool   int
	weight int
	share  float64 // by which its distance counts as less
	km     float64 // likewise
}

// cut is how many pools of nearest and fastest are put in order. The rest stands behind them as listed, the same for all places, so that
// places in which the first ones are the same are of one class.
const cut = 8

func (f *filler) choices(declared *spec.Choices, at origin) (out []choice) {
	add := func(pools []int, weight int) {
		for _, pool := range pools {
			if !slices.ContainsFunc(out, func(c choice) bool { return c.pool == pool }) {
				out = append(out, choice{pool: pool, weight: max(weight, 1)})
			}
		}
	}
	if declared.Sites {
		for _, m := range f.members {
			add([]int{m.pool}, 1)
		}
	}
	for i := range declared.List {
		if t := &declared.List[i]; t.Site != "" {
			add(f.atSite(t.Site), t.Weight)
		} else {
			add(at.role(t.Pool), t.Weight)
		}
	}
	return out
}

func (f *filler) nearest(t *target, d *spec.Target, at origin) (err error) {
	t.kind, t.among, t.farthest, f.located = nearestTarget, f.choices(d.Nearest, at), math.Inf(1), true
	if t.band, err = spec.ParseBand(d.Band); err != nil {
		return fmt.Errorf("band: %w", err)
	}
	if d.Farthest != "" {
		if t.farthest, err = spec.ParseKilometres(d.Farthest); err != nil {
			return fmt.Errorf("farthest: %w", err)
		}
	}
	for i := range t.among {
		c := &t.among[i]
		p := &f.Pools[c.pool]
		bias, ok := d.Bias[p.Name]
		if !ok {
			bias, ok = d.Bias[p.Site]
		}
		if !ok {
			continue
		}
		if c.share, c.km, err = spec.ParseBias(bias); err != nil {
			return fmt.Errorf("bias of %s: %w", p.Name, err)
		}
	}
	return nil
}

func (f *filler) fastest(t *target, d *spec.Target, at origin) error {
	t.kind, t.among, f.located, f.timed = fastestTarget, f.choices(d.Fastest, at), true, true
	t.margin = float64(time.Duration(*d.Margin)) / float64(time.Millisecond)
	t.samples, t.listed = d.Samples, d.Then == spec.ThenListed
	t.maxAge = int64(time.Duration(d.MaxAge) / (24 * time.Hour))
	t.band, t.farthest = 0, math.Inf(1)
	return nil
}

// ranked is a choice with what is known of it for a client.
type ranked struct {
	choice
	at       int     // as listed
	distance float64 // km, as it counts
	ms       float64
}

// nearestOf puts pools in order of distance, in groups that share the answers.
func (e *expander) nearestOf(t *target) [][]ranked {
	list := e.allowed(t.among)
	if !e.where.point.Known() {
		e.trace.chose("nearest", e, t, list, len(list))
		return alone(list)
	}
	for i := range list {
		e.measure(&list[i])
	}
	slices.SortStableFunc(list, nearer)
	n := len(list)
	for n > 0 && list[n-1].distance > t.farthest {
		n--
	}
	e.trace.chose("nearest", e, t, list, n)
	return banded(list[:n], t.band)
}

// measure sets how far a pool counts as.
func (e *expander) measure(r *ranked) {
	km := e.where.point.Kilometres(e.policy.Pools[r.pool].At)
	r.distance = max(0, km*(1-r.share)-r.km)
}

func nearer(a, b ranked) int {
	return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.at, b.at))
}

// banded groups what is about as near as the first of its group. What is nowhere stands alone.
func banded(list []ranked, band float64) (groups [][]ranked) {
	for from := 0; from < len(list); {
		end := from + 1
		for end < len(list) && !math.IsInf(list[end].distance, 1) && list[end].distance <= list[from].distance*(1+band) {
			end++
		}
		groups = append(groups, list[from:end:end])
		from = end
	}
	return groups
}

// alone makes a group of each.
func alone(list []ranked) [][]ranked {
	groups := make([][]ranked, len(list))
	for i := range list {
		groups[i] = list[i : i+1 : i+1]
	}
	return groups
}

// fastestOf puts pools in order of the time that was measured; of those about as fast as the fastest, the nearest is first.
func (e *expander) fastestOf(t *target) [][]ranked {
	list := e.allowed(t.among)
	byDistance := e.where.point.Known() && !t.listed
	for i := range list {
		r := &list[i]
		if r.ms = e.time(t, r.pool); byDistance {
			e.measure(r)
		}
	}
	if byDistance {
		slices.SortStableFunc(list, nearer)
	}
	var out []ranked
	for left := slices.Clone(list); len(left) > 0; {
		fastest := math.Inf(1)
		for i := range left {
			fastest = min(fastest, left[i].ms)
		}
		next := slices.IndexFunc(left, func(r ranked) bool { return r.ms <= fastest+t.margin })
		out = append(out, left[next])
		left = slices.Delete(left, next, next+1)
	}
	e.trace.chose("fastest", e, t, out, len(out))
	return alone(out)
}

// time gives the milliseconds to a pool's site, +Inf where they are not known well enough.
func (e *expander) time(t *target, pool int) float64 {
	ms, samples, measured, ok := e.where.latency.Of(e.policy.Pools[pool].Site)
	if !ok || samples < t.samples || e.policy.today-measured.Unix()/daySeconds > t.maxAge {
		return math.Inf(1)
	}
	return ms
}

const daySeconds = 86400

// allowed gives the choices that no fence leaves out.
func (e *expander) allowed(among []choice) []ranked {
	list := make([]ranked, 0, len(among))
	for i, c := range among {
		if e.admits(c.pool) {
			list = append(list, ranked{choice: c, at: i})
		}
	}
	return list
}
