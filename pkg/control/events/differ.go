// Package events tells what changed of health: it makes events of the verdicts that replace others (package past hears of them), of the
// pools that these take down or up, and of the judge's pulses, and keeps them for a while, in memory and on disk.
package events

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/past"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// Subject is what events are of.
type Subject struct{ Kind, Tenant, Pool, Endpoint, Region, Edge string }

// SubjectOf gives that of an event.
func SubjectOf(e *api.Event) Subject {
	return Subject{e.Kind, e.Tenant, e.Pool, e.Endpoint, e.Region, e.Edge}
}

// subject gives that of a pool, named as it is judged, or of one of its endpoints.
func subject(kind string, id health.PoolID, endpoint string) Subject {
	of, region := id.Declared()
	return Subject{Kind: kind, Tenant: of.Tenant, Pool: of.Pool, Endpoint: endpoint, Region: region}
}

func (s Subject) event(at time.Time, from, to string) api.Event {
	return api.Event{Time: at.UTC(), Kind: s.Kind, Tenant: s.Tenant, Pool: s.Pool, Endpoint: s.Endpoint, Region: s.Region, Edge: s.Edge,
		From: from, To: to}
}

// identify names an event by what it tells. From is not part of it: a control that was away does not know it. salt stands for the time
// where that is of this control's own clock.
func identify(e *api.Event, salt string) {
	salt = cmp.Or(salt, e.Time.UTC().Format(time.RFC3339Nano))
	if e.Edge != "" {
		salt = e.Edge + " " + salt
	}
	if e.Region != "" {
		salt = e.Region + " " + salt
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q %q", e.Kind, e.Tenant, e.Pool, e.Endpoint, e.To, salt))
	e.ID = hex.EncodeToString(sum[:10])
}

// verdictEvents gives what a verdict changed of its endpoints and of the brake, sorted by endpoint, the brake last.
func verdictEvents(c past.Change, now time.Time) (events []api.Event) {
	if c.Is == nil {
		return nil
	}
	var was health.Verdict
	if c.Was != nil {
		was = *c.Was
	}
	for _, name := range slices.Sorted(maps.Keys(c.Is.Endpoints)) {
		f, before := c.Is.Endpoints[name], was.Endpoints[name]
		before.State = cmp.Or(before.State, health.Unknown)
		if f.State == before.State || f.State == "" || c.Was == nil && f.State == f.All { // a region that is judged now for the first time
			continue
		}
		e := subject(api.EventEndpoint, c.Pool, name).event(orNow(f.Since, now), string(before.State), string(f.State))
		e.Reason, e.Judge = f.Reason, c.Is.Judge
		identify(&e, "")
		events = append(events, e)
	}
	if was.Frozen != c.Is.Frozen {
		events = append(events, brakeEvent(c.Pool, &was, c.Is, now))
	}
	return events
}

func brakeEvent(id health.PoolID, was, is *health.Verdict, now time.Time) api.Event {
	of := subject(api.EventBrake, id, "")
	var e api.Event
	if is.Frozen {
		e = of.event(orNow(heldFrom(is), now), api.BrakeFree, api.BrakeHolds)
		e.Reason = is.Cause
	} else {
		e = of.event(now, api.BrakeHolds, api.BrakeFree)
		e.Reason = "what held is over, or was released"
	}
	e.Judge = is.Judge
	salt := ""
	if !is.Frozen { // by this clock: what it ends says which it is
		salt = "since " + heldFrom(was).UTC().Format(time.RFC3339Nano)
	}
	identify(&e, salt)
	return e
}

// heldFrom gives since when the brake holds what it holds of a pool: it may be held, freed and held again while the brake has hold of its
// tenant.
func heldFrom(v *health.Verdict) time.Time {
	if v.HeldSince.IsZero() { // an older judge
		return v.FrozenSince
	}
	return v.HeldSince
}

// missed gives what a verdict says otherwise than the last event of each of its endpoints and of its brake; last gives those. Where
// there is none, what is younger than newest has changed while no control looked.
func missed(v *health.Verdict, last map[Subject]*api.Event, newest, now time.Time) (events []api.Event) {
	before := health.Verdict{Pool: v.Pool, Endpoints: map[string]health.Finding{}}
	for name, f := range v.Endpoints {
		e := last[subject(api.EventEndpoint, v.Pool, name)]
		switch {
		case e != nil:
			before.Endpoints[name] = health.Finding{State: health.State(e.To)}
		case !f.Since.After(newest):
			before.Endpoints[name] = f
		}
	}
	if e := last[subject(api.EventBrake, v.Pool, "")]; e != nil {
		before.Frozen, before.HeldSince = e.To == api.BrakeHolds, e.Time
	} else {
		before.Frozen = v.Frozen && !heldFrom(v).After(newest)
	}
	return verdictEvents(past.Change{Pool: v.Pool, Was: &before, Is: v}, now)
}

// judgeEvent tells who judges now.
func judgeEvent(from, to, reason, salt string, at time.Time) api.Event {
	e := Subject{Kind: api.EventJudge, Tenant: spec.Platform}.event(at, from, to)
	e.Reason = reason
	identify(&e, salt)
	return e
}

// newestIn gives the time of the last change that a verdict tells of.
func newestIn(v *health.Verdict) (t time.Time) {
	if v == nil {
		return t
	}
	for _, f := range v.Endpoints {
		if f.Since.After(t) {
			t = f.Since
		}
	}
	if v.FrozenSince.After(t) {
		t = v.FrozenSince
	}
	if v.Out != nil && v.Out.Since.After(t) {
		t = v.Out.Since
	}
	return t
}

func orNow(t, now time.Time) time.Time {
	if t.IsZero() {
		return now
	}
	return t
}
