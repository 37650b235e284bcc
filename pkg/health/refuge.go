package health

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// roll is what is known of a pool's endpoints. Those that take no clients are not among them.
type roll struct {
	known int // up by votes now, or by an operator's word
	stand int // of these, those that did not flap of late: B8
	up    int // these, and those that are up by what was known last
	lost  int // that failed now or within the window, and not beyond doubt
	open  int // that may be anything: nobody ever saw them
	needs int // how many must be up
}

// rollOf counts a pool.
func (r *round) rollOf(id PoolID) roll {
	if c, ok := r.pools[id]; ok {
		return c
	}
	declared, v := r.Pools[id], r.Proposed[id]
	c, size := roll{}, declared.Size
	for _, stand := range declared.Stands {
		switch stand {
		case SaidUp:
			c.known++
			c.stand++
			c.up++
		case Weightless, Drained:
			size--
		}
	}
	if len(v.Endpoints) == 0 { // nobody checks it
		c.open = size - c.up
	}
	h := r.hearing(id, &v)
	for name, f := range v.Endpoints {
		if declared.Stands[name] != Judged {
			continue
		}
		switch fate := h.fate(name); fate {
		case well:
			c.up++
			if !v.Unvoted[name] {
				c.known++
				if h.steady(name) {
					c.stand++
				}
			}
		case fresh, recent:
			if !h.proven(name) && (fate == fresh || h.age(name) < h.window()) {
				c.lost++
			}
		case aside:
			if f.State != Down {
				c.open++
			}
		}
	}
	c.needs = declared.needs(size)
	r.pools[id] = c
	return c
}

// refuge reports whether clients can go to a pool: as many of its endpoints as it needs, and half of those that were up, are up by
// votes now or by an operator's word. One that has just lost more than half failed with those that look for it. (B4)
func (r *round) refuge(id PoolID) bool {
	c := r.rollOf(id)
	return !r.Pools[id].Out && c.known >= c.needs && 2*c.known >= c.up+c.lost
}

// objection tells why a pool's failures do not pass; "": they do. (B4, B5)
func (r *round) objection(id PoolID) string {
	other := func(pool PoolID) bool { return pool != id }
	refuges, alone := 0, ""
	for _, row := range r.Pools[id].Rows {
		why := row.Name + " has no other pool"
		switch {
		case slices.ContainsFunc(row.Pools, func(pool PoolID) bool { return other(pool) && r.refuge(pool) }):
			refuges++
			continue
		case slices.ContainsFunc(row.Pools, other):
			why = "no other pool of " + row.Name + " is known up"
		}
		if row.Refuses || !r.lost(row) {
			return why
		}
		alone = cmp.Or(alone, why)
	}
	if refuges > 0 {
		return ""
	}
	return alone
}

// lost reports whether nothing that a rule leads to is up, or may be.
func (r *round) lost(row Row) bool {
	return !slices.ContainsFunc(row.Pools, func(pool PoolID) bool {
		c := r.rollOf(pool)
		return c.up+c.open > 0
	})
}

// cause tells what a pool is held for, with the objection.
func (r *round) cause(objection string) string {
	what, of := "", r.tally.Failing
	total := r.tally.Total
	if r.most {
		all := r.Others.Plus(r.tally.Census, 1)
		what, of, total = "of all tenants ", all.Failing, all.Total
	}
	return fmt.Sprintf("%d of %d endpoints %sthat were up failed within %s, and %s", of, total, what, short(r.brake.Window), objection)
}

// forsaken reports whether nothing is up, or may be, in any rule that names a pool. (B6)
func (r *round) forsaken(id PoolID) bool {
	return !slices.ContainsFunc(r.Pools[id].Rows, func(row Row) bool { return !r.lost(row) })
}

// short writes 1m for what is 1m0s elsewhere.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
