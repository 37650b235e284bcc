package api

import "time"

// Signal is what the owner of an endpoint says of it, until it expires.
type Signal struct {
	Endpoint string `json:"endpoint"`
	SignalWord
	// Since is when it was said last, as far as that is written, and Until when it expires.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// By is what whoever said it goes by; all that is known of him is that he has the token.
	By string `json:"by,omitempty"`
	// Silent: it has expired, or nothing was ever said. Then there is no Until.
	Silent bool `json:"silent,omitempty"`
	// Refused says what came since, and is not believed.
	Refused string `json:"refused,omitempty"`
}

// SignalWord is what can be said of an endpoint.
type SignalWord struct {
	// State is up or down; absent with a score or a load: up.
	State string `json:"state,omitempty" enum:"up,down" doc:"absent with a score or a load: up"`
	// Score is what the endpoint's weight is worth.
	Score *float64 `json:"score,omitempty" minimum:"0" maximum:"1" doc:"what its weight is worth, 0 to 1; in place of load"`
	// Load is what the score follows from, where none is given.
	Load   *SignalLoad `json:"load,omitempty"`
	Reason string      `json:"reason,omitempty" maxLength:"200" doc:"why; people see it beside the state"`
}

// SignalLoad is how much an endpoint has to do, in any unit.
type SignalLoad struct {
	Current  float64 `json:"current" minimum:"0" doc:"what it has to do now"`
	Target   float64 `json:"target" exclusiveMinimum:"0" doc:"up to which it does well"`
	Capacity float64 `json:"capacity,omitempty" exclusiveMinimum:"0" doc:"what it can do at most: from there on its score is the least"`
}

// SignalRequest says something of one endpoint.
type SignalRequest struct {
	SignalWord
	// For is how long it holds, as in 30s or 1h.
	For string `json:"for,omitempty" maxLength:"32" doc:"how long it holds, as in 30s, 5s to 24h; absent: 1m"`
}

// SignalsRequest says something of several endpoints of a pool.
type SignalsRequest struct {
	For       string                `json:"for,omitempty" maxLength:"32" doc:"how long all of it holds, as in 30s, 5s to 24h; absent: 1m"`
	Endpoints map[string]SignalWord `json:"endpoints" doc:"what is said, by endpoint: at most 2,000"`
}

// SignalsReply tells what became of what was said.
type SignalsReply struct {
	// Until is when it expires.
	Until time.Time `json:"until,omitzero"`
	// Taken are the endpoints of which it was taken, sorted.
	Taken []string `json:"taken"`
	// Refused are those of which it is not believed, and why: what was said before holds.
	Refused map[string]string `json:"refused,omitempty"`
}

// PoolSignals is what is said of the endpoints of a pool.
type PoolSignals struct {
	Tenant  string   `json:"tenant"`
	Pool    string   `json:"pool"`
	Signals []Signal `json:"signals"`
}

// Signals is what is said of the pools of which signals count, sorted.
type Signals struct {
	Pools []PoolSignals `json:"pools"`
}
