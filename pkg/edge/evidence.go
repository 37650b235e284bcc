package edge

import (
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// self is what the edge tells the store of itself.
func (e *Edge) self() store.Edge {
	self := store.Edge{ID: e.cfg.ID, HTTP: e.cfg.HTTP, DNS: addrStrings(e.Addrs()), Version: e.cfg.Version, Started: e.started}
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

// standsStill says so of health, or nothing. Explanations ask it.
func (e *Edge) standsStill() string {
	now := e.cfg.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	h := e.healthNow(now)
	return h.Text(now)
}

// pulseAge is in seconds; -1: no pulse ever came.
func (e *Edge) pulseAge() float64 {
	h := e.evidence.Health(e.cfg.Now(), state.FollowStatus{State: state.Current}, time.Time{})
	if h.Pulse.IsZero() {
		return -1
	}
	return e.cfg.Now().Sub(h.Pulse).Seconds()
}
