package api

import "time"

// EdgeCounts is what an edge counted of a tenant's answers since it started, at GET /edge/counts.
type EdgeCounts struct {
	Edge    string    `json:"edge"`
	Started time.Time `json:"started"`
	// Answers, ServFail and NXDomain are of the zones in which the tenant has names.
	Answers  uint64 `json:"answers"`
	ServFail uint64 `json:"servfail"`
	NXDomain uint64 `json:"nxdomain"`
	// Pools has the answers of the services with metrics, by service and pool, as in web/eu.
	Pools map[string]uint64 `json:"pools,omitempty"`
	// Nanos is how long an answer about a name of the tenant takes, as the edge asks itself; absent: it was not asked to, or has no such
	// name.
	Nanos uint64 `json:"nanos,omitempty"`
}

// Rollouts are those of all tenants that have one, by tenant.
type Rollouts struct {
	Rollouts []Rollout `json:"rollouts"`
}

// Rollout is how far one is.
type Rollout struct {
	Tenant string    `json:"tenant"`
	State  string    `json:"state" enum:"done,soaking,paused,stopped"`
	From   uint64    `json:"from"`
	To     uint64    `json:"to"`
	Newest uint64    `json:"newest"` // what was declared last
	Since  time.Time `json:"since,omitzero"`
	// Soaks is since when the whole group has it; absent: it has not.
	Soaks time.Time `json:"soaks,omitzero"`
	Why   string    `json:"why,omitempty"`
	By    string    `json:"by,omitempty"`
	Waits []string  `json:"waits,omitempty"`
	// Note tells that the Rollout which is declared is not in force yet, and which one is; absent: it is.
	Note   string         `json:"note,omitempty"`
	Groups []RolloutGroup `json:"groups"`
}

// RolloutGroup is a group of edges, and the generation that it is pointed at.
type RolloutGroup struct {
	Name  string   `json:"name"`
	Edges []string `json:"edges,omitempty"` // patterns; absent: all others
	At    uint64   `json:"at"`
	Now   bool     `json:"now,omitempty"` // it is the one that is watched
}

// RolloutRequest is what a person does to a rollout.
type RolloutRequest struct {
	Reason string `json:"reason,omitempty" maxLength:"500"`
}
