package health

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Brake keeps a tenant's endpoints from going down too many at once, because then it is likelier that the observer
// broke than that they all did. The zero value has the defaults. The rules:
//
//	B1  Only endpoints that were up count. What goes down without ever having been up passes.
//	B2  It takes hold when more than Share of those, and at least Min of them, fail now or went down within Window; it lets go when
//	    fewer than Share, or fewer than Min, did. While it holds the window's beginning stands still, so that waiting never releases.
//	B3  While it holds, a pool's failures pass nevertheless if in each rule that names the pool another one is a refuge: it is known
//	    to be up, and did not fail with it. A pool that no rule names passes.
//	B4  What does not pass is held, and with it what went down in the same pool within the window: all of them answer as if they
//	    were up, so that the pool's clients are spread and never sent to the last one.
//	B5  What is held stays so until a quorum votes it up, or it passes. Silence is no vote.
//	B6  What a person releases goes down, and is not taken back until it was up again. It counts on as having failed.
//
// Recoveries and scores pass. A held finding says in its reason what was seen; its pool's verdict is Frozen.
type Brake struct {
	Share  float64       // 0: 0.5
	Window time.Duration // 0: 60 s
	// Min is the least number of failing endpoints that the brake acts on. 0: 4, so that a pool of two or three can always fail.
	Min  int
	Mode Mode
}

// Mode is what the brake does where it would hold.
type Mode string

// The modes. Empty is Enforce.
const (
	Enforce Mode = "enforce"
	Observe Mode = "observe" // it says what it would hold, and holds nothing
	Off     Mode = "off"
)

// Docket is one tenant's verdicts before the brake.
type Docket struct {
	Previous, Proposed map[PoolID]Verdict
	// Pools is what is declared of pools, also of those that have no verdict.
	Pools map[PoolID]Declared
	// Release tells of pools of which a person wants what is held to go down. nil: of none.
	Release func(PoolID) bool
	Now     time.Time
	// Age tells how long an endpoint has been down, and FrozenFor how long the brake holds, by one clock. nil: by the times in Previous
	// and Proposed, which several clocks may have written.
	Age       func(PoolID, string) time.Duration
	FrozenFor func() time.Duration
}

// Declared is what the brake must know of a pool beside its verdicts.
type Declared struct {
	// Rows are the rules that name the pool, each with all pools that it can lead to, this one too.
	Rows []Row
	Size int // how many endpoints it has
	// Needs gives how many of n endpoints must be up for the pool to be up. nil: 1.
	Needs func(n int) int
	// Stands are those of the endpoints that are not Judged.
	Stands map[string]Stand
	// Resume is what StayOut does. Empty is Off.
	Resume Mode
	// Out tells that the pool takes no clients now, whatever its endpoints do: it is nobody's refuge.
	Out bool
}

// Row is one rule of a service.
type Row struct {
	Name  string // for people
	Pools []PoolID
}

// Stand is what an operator or the declaration says of an endpoint.
type Stand uint8

// The stands. All but Judged and Weightless are in an operator's hands: the brake neither counts nor holds them.
const (
	Judged     Stand = iota // nothing: evidence decides
	Weightless              // it takes no clients
	SaidUp
	SaidDown
	Drained
)

// Tally is what the brake counted.
type Tally struct {
	Total, Failing int // endpoints that were up, and those of them that failed
	Held           int
	Would          int // endpoints that are down and would have been held, were it not for Observe
	Frozen         bool
}

// heldReason stands before the reason of what was seen and not followed, wouldReason before that of what is only observed.
const (
	heldReason  = "held by the brake: "
	wouldReason = "the brake would hold it: "
)

// Held tells what was seen of an endpoint whose finding the brake holds, as in "held by the brake: status 503"; "": it is not held.
// It means something in a verdict that is Frozen only.
func (f Finding) Held() string {
	if strings.HasPrefix(f.Reason, heldReason) {
		return f.Reason
	}
	return ""
}

// held reports whether the brake holds an endpoint.
func (v *Verdict) held(endpoint string) bool {
	f := v.Endpoints[endpoint]
	return v.Frozen && f.State == Up && f.Held() != ""
}

// Apply gives the verdicts after the brake. Verdicts of d are not changed. The brake's memory is in d.Previous, so that
// a new judge goes on where the last one stopped.
func (b Brake) Apply(d Docket) (map[PoolID]Verdict, Tally) {
	r := round{Docket: d, brake: b.orDefaults(), since: d.Now}
	r.open()
	taken := r.takesHold()
	verdicts := make(map[PoolID]Verdict, len(d.Proposed))
	for id, v := range d.Proposed {
		cause := ""
		if taken {
			cause = r.cause(id)
		}
		verdicts[id] = r.verdictOf(id, v, cause)
	}
	r.tally.Frozen = r.tally.Held > 0
	return verdicts, r.tally
}

func (b Brake) orDefaults() Brake {
	if b.Share <= 0 {
		b.Share = 0.5
	}
	if b.Window <= 0 {
		b.Window = time.Minute
	}
	if b.Min <= 0 {
		b.Min = 4
	}
	return b
}

// round is one application of the brake.
type round struct {
	Docket
	brake  Brake
	frozen bool          // the brake held before
	since  time.Time     // when it took hold; else now
	back   time.Duration // how far the window reaches back
	tally  Tally
}

// open finds out where the window begins, and counts.
func (r *round) open() {
	for _, v := range r.Previous {
		if v.Frozen {
			r.frozen = true
			if !v.FrozenSince.IsZero() && v.FrozenSince.Before(r.since) {
				r.since = v.FrozenSince
			}
		}
	}
	r.back = r.brake.Window
	switch {
	case r.frozen && r.FrozenFor != nil:
		r.back += max(0, r.FrozenFor())
	case r.frozen:
		r.back += r.Now.Sub(r.since)
	}
	for id, v := range r.Proposed {
		h := r.hearing(id, &v)
		for name := range v.Endpoints {
			switch h.fate(name) {
			case well:
				r.tally.Total++
			case fresh, recent:
				r.tally.Total++
				r.tally.Failing++
			}
		}
	}
}

// takesHold applies B2.
func (r *round) takesHold() bool {
	limit := r.brake.Share * float64(r.tally.Total)
	if r.brake.Mode == Off || r.tally.Failing < r.brake.Min {
		return false
	}
	return float64(r.tally.Failing) > limit || r.frozen && float64(r.tally.Failing) == limit
}

// cause tells why a pool's failures do not pass; "": they do. (B3)
func (r *round) cause(id PoolID) string {
	for _, row := range r.Pools[id].Rows {
		if slices.ContainsFunc(row.Pools, func(other PoolID) bool { return other != id && r.refuge(other) }) {
			continue
		}
		why := "no other pool of " + row.Name + " is known up"
		if !slices.ContainsFunc(row.Pools, func(other PoolID) bool { return other != id }) {
			why = row.Name + " has no other pool"
		}
		return fmt.Sprintf("%d of %d endpoints that were up failed within %s, and %s",
			r.tally.Failing, r.tally.Total, short(r.brake.Window), why)
	}
	return ""
}

// refuge reports whether clients can go to a pool: as many of its endpoints as it needs, and half of those that were up, are up by
// votes now or by an operator's word. One that has just lost more than half failed with those that look for it.
func (r *round) refuge(id PoolID) bool {
	declared, v := r.Pools[id], r.Proposed[id]
	if declared.Out {
		return false
	}
	known, up, lost, size := 0, 0, 0, declared.Size
	for _, stand := range declared.Stands {
		switch stand {
		case SaidUp:
			known++
			up++
		case Weightless, Drained:
			size--
		}
	}
	h := r.hearing(id, &v)
	for name := range v.Endpoints {
		if declared.Stands[name] != Judged {
			continue
		}
		switch h.fate(name) {
		case well:
			up++
			if !v.Unvoted[name] {
				known++
			}
		case fresh, recent:
			lost++
		}
	}
	return known >= declared.needs(size) && 2*known >= up+lost
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
	case f.State == Down && before.State == Down && !slices.Contains(h.now.NeverUp, name) && h.age(name) < h.back:
		return recent
	}
	return aside
}

// fails reports whether an endpoint is down by evidence: by that of now, or else by what it is held for. (B5)
func (h *hearing) fails(name string) bool {
	return h.now.Endpoints[name].State == Down || h.was.held(name) && h.now.Unvoted[name]
}

func (h *hearing) age(name string) time.Duration {
	if h.Age != nil {
		return h.Age(h.id, name)
	}
	return h.Now.Sub(h.now.Endpoints[name].Since)
}

// released reports whether a person let an endpoint's failure through, and it was not up since. (B6)
func (h *hearing) released(name string) bool {
	return slices.Contains(h.was.Released, name) || h.letThrough && h.was.held(name)
}

// stops reports whether there is a failure to be held, if what fails does not pass.
func (h *hearing) stops() bool {
	for name := range h.now.Endpoints {
		if h.fate(name) == fresh && !h.released(name) {
			return true
		}
	}
	return false
}

// verdictOf gives the verdict on a pool. Its failures pass where cause is empty.
func (r *round) verdictOf(id PoolID, v Verdict, cause string) Verdict {
	h := r.hearing(id, &v)
	out := v
	out.Unvoted, out.Released = nil, nil
	changed := map[string]Finding{}
	stopped := cause != "" && h.stops()
	for name, f := range v.Endpoints {
		fate, released := h.fate(name), h.released(name)
		stop := stopped && !released && (fate == fresh || fate == recent)
		switch {
		case stop && r.brake.Mode != Observe:
			changed[name] = h.hold(name) // B4
			r.tally.Held++
			out.Frozen, out.FrozenSince, out.Cause = true, r.since, cause
		case h.fails(name):
			if g := h.down(name, stop && fate == fresh); g != f {
				changed[name] = g
			}
			if released {
				out.Released = append(out.Released, name)
			}
		}
	}
	if len(changed) > 0 {
		out.Endpoints = maps.Clone(v.Endpoints)
		maps.Copy(out.Endpoints, changed)
	}
	slices.Sort(out.Released)
	return out
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
		f.Since, f.Recovered = before.Since, before.Recovered
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
