package store

import (
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store/state"
)

// ObservationUpdate is all that the probers told (Full), or what changed.
type ObservationUpdate struct {
	Full    bool
	Put     []health.Observation
	Deleted []ObservationKey
	// Alive are all vantages that hold a lease now, sorted; AliveChanged tells that it is news.
	Alive        []string
	AliveChanged bool
	// Releases are all that wait for the judge; ReleasesChanged tells that it is news.
	Releases        []Release
	ReleasesChanged bool
}

// ObservationKey names one vantage's observation of one pool.
type ObservationKey struct {
	Vantage string
	Pool    health.PoolID
}

// Edge is what an edge tells of itself, so that it can be found and asked.
type Edge struct {
	ID      string    `json:"id"`
	HTTP    string    `json:"http"`
	DNS     []string  `json:"dns,omitempty"`
	Version string    `json:"version,omitempty"`
	Started time.Time `json:"started"`
	// Recipient is the age recipient for which zone-signing keys are to be sealed; empty: it does not sign.
	Recipient string `json:"recipient,omitempty"`
	// Tenants are the generations that it answered from when it wrote this.
	Tenants map[string]state.Generation `json:"tenants,omitempty"`

	// Alive: it holds its lease. Filled in by Client.Edges.
	Alive bool `json:"-"`
	// Seen is when it last wrote what it is, by its own clock; zero: it is of a program that does not.
	Seen time.Time `json:"-"`
	// Twin, if not empty, says in which way another process seems to go by the same ID.
	Twin string `json:"-"`
}
