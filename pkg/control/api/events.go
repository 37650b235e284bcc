package api

import "time"

// Event is one change of state: that health made, or an override of health, a rollout, or an edge that refuses a generation.
type Event struct {
	// ID is the same for the same change at every control that saw the same verdicts.
	ID string `json:"id"`
	// Time is when it changed, by the clock of who decided: the judge, for what a verdict says.
	Time time.Time `json:"time"`
	// Noted is when this control heard of it.
	Noted time.Time `json:"noted"`
	Kind  string    `json:"kind" enum:"endpoint,pool,brake,judge,change,rollout,edge"`
	// Tenant is platform for what concerns all.
	Tenant   string `json:"tenant"`
	Pool     string `json:"pool,omitempty"`
	Endpoint string `json:"endpoint,omitempty"`
	// Region is the continent for whose clients it changed, of a pool with regions. Absent: for all.
	Region string `json:"region,omitempty"`
	// Edge is the one that refuses a generation, or crashed on it.
	Edge   string `json:"edge,omitempty"`
	From   string `json:"from"`
	To     string `json:"to"`
	Reason string `json:"reason,omitempty"`
	// Judge is the vantage that judged.
	Judge string `json:"judge,omitempty"`
	// Vantages say what the living ones saw of the endpoint when control heard of it. Absent: not asked, or not to be had.
	Vantages map[string]string `json:"vantages,omitempty"`
}

// The kinds of events.
const (
	EventEndpoint = "endpoint" // from and to are up, down or unknown
	EventPool     = "pool"     // up or down, by whatever makes it so
	EventBrake    = "brake"    // free or holds
	EventJudge    = "judge"    // the vantage that judges, or none
	EventChange   = "change"   // from guarded to breakGlass: guards did not stop it
	EventRollout  = "rollout"  // from a state of a rollout to what became of it
	EventEdge     = "edge"     // refused, crashed or taken: a generation, by an edge
)

// States that events tell of beside those of endpoints.
const (
	BrakeFree  = "free"
	BrakeHolds = "holds"
	NoJudge    = "none"

	Guarded     = "guarded"
	BrokenGlass = "breakGlass"

	RolloutBegun    = "begun"
	RolloutReached  = "reached"  // the next group, after the soak time of the one before
	RolloutPromoted = "promoted" // a person did not wait for that
	RolloutPaused   = "paused"
	RolloutResumed  = "resumed"
	RolloutFailed   = "failed"  // a gate did, and all groups went back
	RolloutAborted  = "aborted" // a person did that
	RolloutDone     = "done"
	RolloutEnded    = "ended" // there is no Rollout any more

	EdgeTakes   = "taken"
	EdgeRefuses = "refused"
	EdgeCrashed = "crashed"
)

// Of names what an event is of, as in shop/eu/a, or in shop/eu/a for AS.
func (e *Event) Of() string {
	if e.Kind == EventJudge {
		return "the judge"
	}
	switch e.Kind {
	case EventChange:
		return "a change of " + e.Tenant
	case EventRollout:
		return "the rollout of " + e.Tenant
	case EventEdge:
		return "edge " + e.Edge + " on " + e.Tenant
	}
	of := e.Tenant + "/" + e.Pool
	if e.Kind == EventEndpoint {
		of += "/" + e.Endpoint
	}
	if e.Region != "" {
		of += " for " + e.Region
	}
	return of
}

// Bad reports whether it tells of something that went wrong.
func (e *Event) Bad() bool {
	switch e.To {
	case "down", BrakeHolds, NoJudge, RolloutFailed, EdgeRefuses, EdgeCrashed:
		return true
	}
	return false
}

// Events are some of those that a control keeps, oldest first.
type Events struct {
	Events []Event `json:"events"`
	// Kept tells what there is beside them.
	Kept EventsKept `json:"kept"`
	// More: there are older ones that match, beyond the limit.
	More bool `json:"more,omitempty"`
}

// EventsKept is what a control keeps of events.
type EventsKept struct {
	Events int    `json:"events"`
	Most   int    `json:"most"` // then the oldest of the tenant that has most go
	Keep   string `json:"keep"` // for how long
	// Since is when this control, or one before it in the same folder, began.
	Since time.Time `json:"since,omitzero"`
	// Dropped are those that went before their time, as there were too many.
	Dropped uint64 `json:"dropped,omitempty"`
	// Fault tells why they are kept in memory alone.
	Fault string `json:"fault,omitempty"`
	// Targets are the webhooks and Alertmanagers that are told, where this control tells them.
	Targets []EventTarget `json:"targets,omitempty"`
	// Teller reports whether this control is the one that tells them.
	Teller bool `json:"teller"`
}

// EventTarget is a webhook or an Alertmanager.
type EventTarget struct {
	Tenant string `json:"tenant"`
	Name   string `json:"name"`
	Format string `json:"format" enum:"json,slack,alertmanager"`
	// Sent are events that it took; Dropped, those that it did not take in time.
	Sent    uint64 `json:"sent"`
	Dropped uint64 `json:"dropped,omitempty"`
	// Error is why it took nothing last; absent: it did.
	Error string    `json:"error,omitempty"`
	Since time.Time `json:"since,omitzero"` // since when that is so
}
