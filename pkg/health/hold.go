package health

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// hearing is one pool in a round.
type hearing struct {
	*round
	id         PoolID
	was, now   *Verdict
	stands     map[string]Stand
	letThrough bool // a person released it
}

func (r *round) hearing(id PoolID, now *Verdict) hearing {
	was := r.Previous[id]
	return hearing{round: r, id: id, was: &was, now: now, stands: r.Pools[id].Stands, letThrough: r.Release != nil && r.Release(id)}
}

// fate is what evidence makes of an endpoint.
type fate uint8

const (
	aside  fate = iota // it does not count: it was not up, or is in an operator's hands
	well               // it is up
	fresh              // it was up, and fails now
	recent             // it went down within the window
)

// fate applies B1.
func (h *hearing) fate(name string) fate {
	f, before := h.now.Endpoints[name], h.was.Endpoints[name]
	switch stand := h.stands[name]; {
	case stand != Judged && stand != Weightless:
		return aside
	case h.fails(name) && before.State == Up:
		return fresh
	case f.State == Up:
		return well
	case f.State == Down && before.State == Down && !slices.Contains(h.now.NeverUp, name) && h.age(name)-h.window() < h.frozenFor:
		return recent
	}
	return aside
}

// fails reports whether an endpoint is down by evidence: by that of now, or else by what it is held for. (B5)
func (h *hearing) fails(name string) bool {
	return h.now.Endpoints[name].State == Down || h.was.held(name) && h.now.Unvoted[name]
}

// window is how long failures may be apart that one broken observer brings about.
func (h *hearing) window() time.Duration { return h.brake.Proves(h.Pools[h.id]) }

// age is how long an endpoint has been down.
func (h *hearing) age(name string) time.Duration {
	if h.Age != nil {
		return max(0, h.Age(h.id, name))
	}
	return max(0, h.Now.Sub(h.now.Endpoints[name].Since))
}

// released reports whether a person let an endpoint's failure through, and it was not up since. (B6)
func (h *hearing) released(name string) bool {
	return slices.Contains(h.was.Released, name) || h.letThrough && h.was.held(name)
}

// proven reports whether an endpoint's failure is beyond doubt. (B2)
func (h *hearing) proven(name string) bool { return h.now.Endpoints[name].Proven && !h.nearly }

// restStands reports whether the rest of a pool has been up for so long that what failed in it did. (B8)
func (h *hearing) restStands() bool {
	c := h.rollOf(h.id)
	return h.was.Frozen && c.stand >= c.needs && h.same() >= h.window()
}

// back tells since when an endpoint is back that was held while the pool is; zero: it never was, or the pool is not held. (B8)
func (h *hearing) back(name string) time.Time {
	if !h.was.Frozen {
		return time.Time{}
	}
	return h.was.Endpoints[name].Back
}

// steady reports whether an endpoint that is up has not just come back once more. (B8)
func (h *hearing) steady(name string) bool {
	back := h.back(name)
	return !back.After(h.was.HeldSince) || h.Now.Sub(back) >= h.window()
}

// clings reports whether what is held in the pool is held on though the brake lets go. (B3)
func (h *hearing) clings() bool {
	return h.was.Frozen && h.brake.Mode == Enforce && h.same() < h.window()
}

// same tells for how long what is held in the pool has been the same.
func (h *hearing) same() time.Duration {
	for name := range h.now.Endpoints {
		if !h.back(name).IsZero() {
			continue // it flaps
		}
		switch fate, held := h.fate(name), h.was.held(name); {
		case fate == well && held, fate == fresh && !held && !h.proven(name):
			return 0 // it changes now
		}
	}
	switch {
	case h.HeldFor != nil:
		return h.HeldFor(h.id)
	case h.was.HeldSince.IsZero():
		return 0
	}
	return h.Now.Sub(h.was.HeldSince)
}

// stops reports whether there is a failure to be held, if what fails does not pass.
func (h *hearing) stops() bool {
	for name := range h.now.Endpoints {
		if h.fate(name) == fresh && !h.released(name) && !h.proven(name) {
			return true
		}
	}
	return false
}

// verdictOf gives the verdict on a pool. taken: the brake has taken hold.
func (r *round) verdictOf(id PoolID, v Verdict, taken bool) Verdict {
	h := r.hearing(id, &v)
	objection, clings := "", !taken && h.clings()
	if taken || clings {
		objection = r.objection(id)
	}
	stands := h.restStands()                                               // B8
	stopped := objection != "" && !stands && (h.stops() || r.forsaken(id)) // B6
	out := v
	out.Unvoted, out.Doubts, out.Released = nil, nil, nil
	changed, doubted, voted, changes := map[string]Finding{}, "", false, false
	for name, f := range v.Endpoints {
		fate, released := h.fate(name), h.released(name)
		stop := stopped && !released && (fate == fresh || fate == recent) && !h.proven(name) && (taken || h.was.held(name))
		switch {
		case stop && r.brake.Mode != Observe:
			changed[name] = h.hold(name)
			r.tally.Held++
			if !out.Frozen {
				out.Frozen, out.FrozenSince, out.HeldSince = true, r.since, h.was.HeldSince
			}
			changes = changes || !h.was.held(name) && h.back(name).IsZero() || out.HeldSince.IsZero()
			voted = voted || !v.Unvoted[name]
			if doubt := v.Doubts[name]; doubt != "" && (doubted == "" || name < doubted) {
				doubted = name
			}
		case fate == well:
			if h.was.held(name) {
				changes = changes || h.back(name).IsZero()
				f.Back = h.Now
				changed[name] = f
			}
		case h.fails(name):
			g := h.down(name, stop && fate == fresh)
			if g.Proven = g.Proven || stands && h.was.held(name); g != f {
				changed[name] = g
			}
			if released {
				out.Released = append(out.Released, name)
			}
		}
	}
	if !out.Frozen {
		forgetBack(v.Endpoints, changed)
	}
	if len(changed) > 0 {
		out.Endpoints = maps.Clone(v.Endpoints)
		maps.Copy(out.Endpoints, changed)
	}
	if out.Frozen && changes {
		out.HeldSince = r.Now
	}
	switch {
	case !out.Frozen:
	case voted || !h.was.Frozen:
		out.Cause = r.cause(objection)
		if doubted != "" {
			out.Cause += "; " + v.Doubts[doubted]
		}
	default:
		out.Cause = h.was.Cause // silence rewrites nothing
	}
	slices.Sort(out.Released)
	return out
}

// forgetBack adds to what changed of findings that nobody is back from what is held no more.
func forgetBack(all, changed map[string]Finding) {
	for name, f := range all {
		if g, is := changed[name]; is {
			f = g
		}
		if !f.Back.IsZero() {
			f.Back = time.Time{}
			changed[name] = f
		}
	}
}

// seen gives why an endpoint fails.
func (h *hearing) seen(name string) string {
	reason := h.now.Endpoints[name].Reason
	if h.now.Endpoints[name].State != Down { // nobody votes, and it is held for what was seen before
		reason = h.was.Endpoints[name].Reason
	}
	return strings.TrimPrefix(strings.TrimPrefix(reason, heldReason), wouldReason)
}

// hold gives the finding of an endpoint that fails and answers.
func (h *hearing) hold(name string) Finding {
	f := Finding{State: Up, Score: 1, Since: h.Now, Reason: heldReason + h.seen(name)}
	if before := h.was.Endpoints[name]; before.State == Up {
		f.Since, f.Recovered, f.Back = before.Since, before.Recovered, before.Back
	}
	return f
}

// down gives the finding of an endpoint that fails. would: the brake would hold it; that is said as long as it is down.
func (h *hearing) down(name string, would bool) Finding {
	f, before := h.now.Endpoints[name], h.was.Endpoints[name]
	reason := h.seen(name)
	if f.State != Down {
		f = Finding{State: Down, Since: h.Now}
	}
	f.Reason = reason
	if would || h.brake.Mode == Observe && before.State == Down && strings.HasPrefix(before.Reason, wouldReason) {
		f.Reason = wouldReason + reason
		h.tally.Would++
	}
	return f
}
