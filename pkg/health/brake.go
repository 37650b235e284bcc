package health

import (
	"strings"
	"time"
)

// Brake keeps a tenant's endpoints from going down too many at once, because then it is likelier that the observer
// broke than that they all did. The zero value has the defaults.
//
// An endpoint is failing if evidence takes it down now, or took it down within Window. The brake takes hold when more than Share
// of the tenant's endpoints, and at least Min of them, are failing; and lets go when fewer than Share, or fewer than Min, are. While
// it holds the window's beginning stands still, so that waiting alone never releases it.
//
// While it holds nothing goes down that is not down already; recoveries and scores pass. A held finding keeps what it was
// and says in its reason what was seen; its pool's verdict is Frozen.
type Brake struct {
	Share  float64       // 0: 0.5
	Window time.Duration // 0: 60 s
	// Min is the least number of failing endpoints that the brake acts on. 0: 4, so that a pool of two or three can always fail.
	Min int
}

// Docket is one tenant's verdicts before the brake.
type Docket struct {
	Previous, Proposed map[PoolID]Verdict
	// Exempt tells of endpoints that are in an operator's hands (an override): they neither count nor are held. nil: none.
	Exempt func(PoolID, string) bool
	Now    time.Time
}

// Tally is what the brake counted.
type Tally struct {
	Total, Failing, Held int
	Frozen               bool
}

// heldReason stands before the reason of what was seen and not followed.
const heldReason = "held by the brake: "

// Held tells what was seen of an endpoint whose finding the brake holds, as in "held by the brake: status 503"; "": it is not held.
// It means something in a verdict that is Frozen only.
func (f Finding) Held() string {
	if strings.HasPrefix(f.Reason, heldReason) {
		return f.Reason
	}
	return ""
}

// Apply gives the verdicts after the brake. Verdicts of d are not changed. The brake's memory is d.Previous alone, so that
// a new judge goes on where the last one stopped.
func (b Brake) Apply(d Docket) (map[PoolID]Verdict, Tally) {
	since, frozen := frozenSince(d)
	t := b.tally(d, since)
	t.Frozen = t.Held > 0 && b.holds(t, frozen)
	if !t.Frozen {
		t.Held = 0
		return d.Proposed, t
	}
	verdicts := make(map[PoolID]Verdict, len(d.Proposed))
	for id, v := range d.Proposed {
		verdicts[id] = d.hold(v, since)
	}
	return verdicts, t
}

// frozenSince gives when the brake took hold, or else now.
func frozenSince(d Docket) (since time.Time, frozen bool) {
	since = d.Now
	for _, v := range d.Previous {
		if v.Frozen {
			frozen = true
			if !v.FrozenSince.IsZero() && v.FrozenSince.Before(since) {
				since = v.FrozenSince
			}
		}
	}
	return since, frozen
}

// tally counts. Held is how many would be held.
func (b Brake) tally(d Docket, since time.Time) (t Tally) {
	window := b.Window
	if window <= 0 {
		window = time.Minute
	}
	start := since.Add(-window)
	for id, v := range d.Proposed {
		for name, f := range v.Endpoints {
			if d.Exempt != nil && d.Exempt(id, name) {
				continue
			}
			t.Total++
			switch {
			case f.State != Down:
			case !d.wasDown(id, name):
				t.Failing++
				t.Held++
			case f.Since.After(start):
				t.Failing++
			}
		}
	}
	return t
}

func (b Brake) holds(t Tally, already bool) bool {
	share, least := b.Share, b.Min
	if share <= 0 {
		share = 0.5
	}
	if least <= 0 {
		least = 4
	}
	limit := share * float64(t.Total)
	if t.Failing < least {
		return false
	}
	return float64(t.Failing) > limit || already && float64(t.Failing) == limit
}

func (d *Docket) wasDown(id PoolID, endpoint string) bool {
	return d.Previous[id].Endpoints[endpoint].State == Down
}

// hold gives v with its new failures taken back.
func (d *Docket) hold(v Verdict, since time.Time) Verdict {
	held := Verdict{Pool: v.Pool, Endpoints: make(map[string]Finding, len(v.Endpoints)), Judge: v.Judge}
	for name, f := range v.Endpoints {
		exempt := d.Exempt != nil && d.Exempt(v.Pool, name)
		if f.State == Down && !exempt && !d.wasDown(v.Pool, name) {
			held.Frozen, held.FrozenSince = true, since
			f = d.before(v.Pool, name, heldReason+f.Reason)
		}
		held.Endpoints[name] = f
	}
	return held
}

// before gives the finding as it was, with another reason.
func (d *Docket) before(id PoolID, endpoint, reason string) Finding {
	f, ok := d.Previous[id].Endpoints[endpoint]
	if !ok || f.State == "" {
		f = Finding{State: Unknown, Score: 1, Since: d.Now}
	}
	f.Reason = reason
	return f
}
