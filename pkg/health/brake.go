package health

import (
	"strings"
	"time"
)

// Brake keeps a tenant's endpoints from going down too many at once on the word of an observer that may be broken. The zero value has the
// defaults. The rules:
//
//	B1  Only endpoints that were up count. What goes down without ever having been up passes.
//	B2  A failure that is Proven passes and does not count, unless nearly everything fails: more than Everywhere of what was up on the
//	    whole platform fails now or went down within the window. Then nothing is proven.
//	B3  It takes hold when more than Share of those that count, and at least Min of them, fail now or went down within the window: Window,
//	    or a pool's Span where that is longer. It lets go when fewer than Share, or fewer than Min, did; what is held in a pool is held on
//	    until that has been the same for the window: an observer that recovers sees one after the other. While it holds the window's
//	    beginning stands still, so that waiting alone never releases. It also takes hold when nearly everything fails, and of more
//	    than half of the tenants more than Share does.
//	B4  While it holds, a pool's failures pass nevertheless if in each rule that names the pool another one is a refuge: it is known
//	    to be up, and did not fail with it. A pool that no rule names passes.
//	B5  A rule in which nothing is up any more does not object, if there is a refuge in another one: its clients get answers as if all
//	    were up either way. It objects where its service refuses to give these.
//	B6  What does not pass is held, and with it what went down in the same pool within the window: all of them answer as if they
//	    were up, so that the pool's clients are spread and never sent to the last one. A pool that went down within the window is
//	    taken back likewise when nothing in its rules is up any more: its clients are not left to the pool that fell last.
//	B7  What is held stays so until a quorum votes it up, or it passes. Silence is no vote.
//	B8  What is held in a pool is proven when as many of its other endpoints as it needs are known to be up, and none failed or recovered
//	    for so long that a broken observer would have lost them too: for the window. When one that was held came back, while others are
//	    held, fails and comes back again, no window begins anew: it flaps. Among those that are known to be up it counts again when
//	    it has been back for the window.
//	B9  What a person releases goes down, and is not taken back until it was up again. It counts on as having failed.
//	B10 For the clients of a region B1 to B9 go by what is found for them: of the pools that are judged for it there, of the others for
//	    all. What holds there by R12 is proven.
//
// Recoveries and scores pass. A held finding says in its reason what was seen; its pool's verdict is Frozen.
type Brake struct {
	Share  float64       // 0: 0.5
	Window time.Duration // 0: 60 s
	// Min is the least number of failing endpoints that the brake acts on. 0: 4, so that a pool of two or three can always fail.
	Min  int
	Mode Mode
	// Everywhere is the share of everything that tenants have at which nobody is believed. 0: 0.9.
	Everywhere float64
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
	// Age tells how long an endpoint has been down, FrozenFor how long the brake holds, if the verdicts in Previous say since when, and
	// HeldFor for how long what is held in a pool has been the same, by one clock. nil: by the times in Previous and Proposed, which
	// several clocks may have written.
	Age       func(PoolID, string) time.Duration
	FrozenFor func(since time.Time) time.Duration
	HeldFor   func(PoolID) time.Duration
	// Others is what the brake counted of all other tenants.
	Others Census
}

// Declared is what the brake must know of a pool beside its verdicts.
type Declared struct {
	// Rows are the rules that can lead to the pool, each with all pools that it can lead to, this one too: none outside of its fences.
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
	// Span is how long it takes at most until a vantage that sees nothing any more has all of the pool's endpoints down.
	Span time.Duration
}

// Row is one rule of a service.
type Row struct {
	Name  string // for people
	Pools []PoolID
	// Refuses: where all of them are down clients get no answer, instead of one as if all were up.
	Refuses bool
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
	Total, Failing int // endpoints that were up and those of them that failed, without those of which that is proven
	Held           int
	Would          int // endpoints that are down and would have been held, were it not for Observe
	Frozen         bool
	Census         Census // proven or not
}

// Census is what failed of tenants, for B2 and B3.
type Census struct {
	Total, Failing  int // endpoints that were up, and those of them that failed
	Tenants, Struck int // that have such endpoints, and those of them that lost more than their share
}

// Plus adds another one, or takes it away, where sign is -1.
func (c Census) Plus(o Census, sign int) Census {
	return Census{c.Total + sign*o.Total, c.Failing + sign*o.Failing, c.Tenants + sign*o.Tenants, c.Struck + sign*o.Struck}
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

// Observed tells what was seen of an endpoint that is down and that the brake would hold, did it not only observe; "": it would not.
func (f Finding) Observed() string {
	if strings.HasPrefix(f.Reason, wouldReason) {
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
	r := b.open(d)
	taken := r.takesHold()
	verdicts := make(map[PoolID]Verdict, len(d.Proposed))
	for id, v := range d.Proposed {
		verdicts[id] = r.verdictOf(id, v, taken)
	}
	r.tally.Frozen = r.tally.Held > 0
	return verdicts, r.tally
}

// Count gives what of a tenant failed, without judging.
func (b Brake) Count(d Docket) Census { return b.open(d).tally.Census }

// NearlyAll reports whether so much fails of what tenants have that nobody is believed, and whether that is most tenants' matter.
func (b Brake) NearlyAll(c Census) (nearly, most bool) {
	b = b.orDefaults()
	nearly = c.Failing >= b.Min && float64(c.Failing) > b.Everywhere*float64(c.Total)
	return nearly, nearly && c.Tenants > 1 && 2*c.Struck > c.Tenants
}

// Proves gives how long the rest of a pool must stand to prove what is held in it. (B8)
func (b Brake) Proves(pool Declared) time.Duration { return max(b.orDefaults().Window, pool.Span) }

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
	if b.Everywhere <= 0 {
		b.Everywhere = 0.9
	}
	if b.Mode == "" {
		b.Mode = Enforce
	}
	return b
}

// round is one application of the brake.
type round struct {
	Docket
	brake  Brake
	frozen bool      // the brake held before
	since  time.Time // when it took hold; else now
	// frozenFor is how long it has held, by which the window reaches back further.
	frozenFor time.Duration
	tally     Tally
	nearly    bool // nearly everything fails
	most      bool // and of most tenants
	pools     map[PoolID]roll
}

// open finds out where the window begins, and counts.
func (b Brake) open(d Docket) *round {
	r := &round{Docket: d, brake: b.orDefaults(), since: d.Now, pools: make(map[PoolID]roll, len(d.Proposed))}
	r.openWindow()
	proven := 0
	all := &r.tally.Census
	for id, v := range r.Proposed {
		h := r.hearing(id, &v)
		for name := range v.Endpoints {
			switch fate := h.fate(name); {
			case fate == aside:
				continue
			case fate != well:
				all.Failing++
				if v.Endpoints[name].Proven {
					proven++
				}
			}
			all.Total++
		}
	}
	if all.Total > 0 {
		all.Tenants = 1
	}
	if float64(all.Failing) > r.brake.Share*float64(all.Total) {
		all.Struck = 1
	}
	if r.nearly, r.most = r.brake.NearlyAll(r.Others.Plus(*all, 1)); r.nearly {
		proven = 0
	}
	r.tally.Total, r.tally.Failing = all.Total-proven, all.Failing-proven
	return r
}

func (r *round) openWindow() {
	for _, v := range r.Previous {
		if v.Frozen {
			r.frozen = true
			if !v.FrozenSince.IsZero() && v.FrozenSince.Before(r.since) {
				r.since = v.FrozenSince
			}
		}
	}
	switch {
	case r.frozen && r.FrozenFor != nil:
		r.frozenFor = max(0, r.FrozenFor(r.since))
	case r.frozen:
		r.frozenFor = r.Now.Sub(r.since)
	}
}

// takesHold applies B3.
func (r *round) takesHold() bool {
	if r.brake.Mode == Off || r.most {
		return r.brake.Mode != Off
	}
	limit, failing := r.brake.Share*float64(r.tally.Total), float64(r.tally.Failing)
	return r.tally.Failing >= r.brake.Min && (failing > limit || r.frozen && failing == limit)
}
