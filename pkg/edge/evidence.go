package edge

import (
	"fmt"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// self is what the edge tells the store of itself.
func (e *Edge) self() store.Edge {
	self := store.Edge{ID: e.cfg.ID, HTTP: e.cfg.HTTP, DNS: addrStrings(e.Addrs()), Version: e.cfg.Version, Started: e.started}
	if e.cfg.Pin != nil {
		self.Pin = e.cfg.Pin()
	}
	if e.cfg.Identity != nil {
		self.Recipient = e.cfg.Identity.Recipient().String()
	}
	if v := e.view.Load(); v != nil {
		self.Tenants = make(map[string]state.Generation, len(v.Heads))
		for tenant, generation := range v.Heads {
			self.Tenants[tenant] = state.Generation(generation)
		}
	}
	return self
}

func (e *Edge) heard(p state.Pulse) { e.evidence.Heard(p, e.cfg.Now()) }

// healthNow tells how old is what is known of health. e.mu is held.
func (e *Edge) healthNow(now time.Time) state.Health {
	contact := e.cfg.Store.LastContact()
	if e.snapshot.from && e.status.State == state.Connecting { // what is known was known when the snapshot was written
		contact = e.snapshot.written
	}
	return e.evidence.Health(now, e.status, contact)
}

// healthAt is that for the API. e.mu is held.
func (e *Edge) healthAt(now time.Time) *api.Health {
	h := api.Health(e.healthNow(now))
	if h.Pulse.IsZero() && !h.StandsStill {
		return nil
	}
	return &h
}

// date adds to the lines of an explanation what is out of the ordinary: while health stands still, of each pool how old is what is known
// of it, and that; and what this edge was told itself, past the store.
func (e *Edge) date(lines []string) []string {
	now := e.cfg.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	if h := e.healthNow(now); h.StandsStill {
		age := ", as known " + now.Sub(h.Since).Round(time.Second).String() + " ago"
		for i, l := range lines {
			isPool := strings.HasPrefix(l, "step ") || strings.HasPrefix(l, "lastResort step ")
			if isPool && !strings.Contains(l, unwatched) {
				lines[i] += age
			}
		}
		lines = append(lines, h.Text(now))
	}
	for i := range e.local.shown {
		o := &e.local.shown[i]
		lines = append(lines, fmt.Sprintf("override of this edge alone: %s %s until %s: %s", o.Of(), o.State,
			o.Expires.Format(time.RFC3339), o.Reason))
	}
	return lines
}

// unwatched is what steer says of a pool without a monitor, whose evidence does not age.
const unwatched = "not monitored"

// pulseAge is in seconds; -1: no pulse ever came.
func (e *Edge) pulseAge() float64 {
	h := e.evidence.Health(e.cfg.Now(), state.FollowStatus{State: state.Current}, time.Time{})
	if h.Pulse.IsZero() {
		return -1
	}
	return e.cfg.Now().Sub(h.Pulse).Seconds()
}
