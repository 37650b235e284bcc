// Package health turns observations into verdicts: thresholds, quorum, score, brake.
//
// It is pure: it knows no clock, no network and no store, and its functions may be called concurrently.
package health

import (
	"strings"
	"time"
)

// PoolID names a pool.
type PoolID struct {
	Tenant string `json:"tenant"`
	Pool   string `json:"pool"`
}

// String gives tenant/pool.
func (p PoolID) String() string { return p.Tenant + "/" + p.Pool }

// A pool is judged for the clients of a region as if it were a pool of its own, which no resource can have the name of: the verdict on
// eu for clients of Asia is that on eu@AS.
const regionMark = "@"

// For gives the pool as it is judged for the clients of a region; empty: of all.
func (p PoolID) For(region string) PoolID {
	if region != "" {
		p.Pool += regionMark + region
	}
	return p
}

// Declared gives the pool as it is declared, and the region for whose clients it is judged; empty: for all.
func (p PoolID) Declared() (of PoolID, region string) {
	p.Pool, region, _ = strings.Cut(p.Pool, regionMark)
	return p, region
}

// State is what is known of an endpoint.
type State string

// The states. Unknown answers as up, and is shown as unknown.
const (
	Unknown State = "unknown"
	Up      State = "up"
	Down    State = "down"
)

// Observation is what one vantage knows of one pool. It is written on transitions only, and has no lease.
type Observation struct {
	Vantage   string           `json:"vantage"`
	Pool      PoolID           `json:"pool"`
	Endpoints map[string]Sight `json:"endpoints"` // by endpoint name
}

// Sight is what a vantage knows of one endpoint, after its thresholds.
type Sight struct {
	State  State     `json:"state"`
	Score  float64   `json:"score"` // 0 to 1; 0 when down
	Since  time.Time `json:"since"`
	Reason string    `json:"reason,omitempty"` // "connect: connection refused", "status 503"
	// Blind tells that the vantage cannot check the endpoint at present (no route, an address that may not be
	// probed). The rest is what it knew before: for this endpoint it is like a silent vantage.
	Blind bool `json:"blind,omitempty"`
	// Of is what was checked: see spec.Endpoint.Checked. Empty: whatever the endpoint's name stands for.
	Of string `json:"of,omitempty"`
	// Unsure tells that the endpoint is amid its thresholds: of late, results spoke against State. Only where Limits.Unsure asks.
	Unsure bool `json:"unsure,omitempty"`
	// Said tells that State follows from a signal, which every vantage hears alike: the vantage did not see it itself.
	Said bool `json:"said,omitempty"`
	// Watched says which checks fail that are only watched, and why.
	Watched string `json:"watched,omitempty"`
}

// Verdict is what the judge holds of one pool. Edges only read verdicts.
type Verdict struct {
	Pool      PoolID             `json:"pool"`
	Endpoints map[string]Finding `json:"endpoints"` // by endpoint name
	// Frozen tells that the brake holds: changes were seen and not followed.
	Frozen bool `json:"frozen,omitempty"`
	// FrozenSince is when the brake took hold of the tenant. Zero unless Frozen.
	FrozenSince time.Time `json:"frozenSince,omitzero"`
	Judge       string    `json:"judge,omitempty"` // the vantage that judged
	// Cause says why the brake holds, in words. Empty unless Frozen.
	Cause string `json:"cause,omitempty"`
	// NeverUp are the endpoints that are down and never were up, sorted: they say nothing of how many failed.
	NeverUp []string `json:"neverUp,omitempty"`
	// Released are the endpoints that are down by a person's word against the brake, sorted: it does not take them back.
	Released []string `json:"released,omitempty"`
	// Out tells that the pool failed and is kept out; nil: it is not. See StayOut.
	Out *Out `json:"out,omitempty"`
	// HeldSince is since when what the brake holds in the pool is the same. Zero unless Frozen.
	HeldSince time.Time `json:"heldSince,omitzero"`
	// Vantages are, of a verdict for clients of a region, those that stand there, sorted: who is silent stands there still. See R11.
	Vantages []string `json:"vantages,omitempty"`
	// Doubts say of endpoints that are down by votes why those may be a broken observer's. As Unvoted.
	Doubts map[string]string `json:"-"`
	// Unvoted are the endpoints whose state no quorum of vantages votes for now. Judge gives it, for the brake; it is not kept.
	Unvoted map[string]bool `json:"-"`
}

// Finding is the verdict on one endpoint. Score multiplies the weight; 0 is down. Unknown has score 1: it answers.
type Finding struct {
	State  State     `json:"state"`
	Score  float64   `json:"score"`
	Since  time.Time `json:"since"`
	Reason string    `json:"reason,omitempty"`
	Of     string    `json:"of,omitempty"` // as in Sight
	// Unsure tells that vantages doubt State; see R8. Only where Case.Unsure asks.
	Unsure bool `json:"unsure,omitempty"`
	// Recovered tells that it was down before it turned Up, which was at Since. Only where Case.Recovery asks.
	Recovered bool `json:"recovered,omitempty"`
	// Watched is what the first of the vantages says of checks that are only watched.
	Watched string `json:"watched,omitempty"`
	// Proven tells that it is down beyond what a broken observer could say: the brake neither counts nor holds it. See R10 and B8.
	Proven bool `json:"proven,omitempty"`
	// All is, of a finding for clients of a region, the state for all beside which it was found. See R12.
	All State `json:"all,omitempty"`
	// Back is since when it is back that the brake held, while others of its pool were held still. See B8.
	Back time.Time `json:"back,omitzero"`
}

// Equal reports whether two findings say the same.
func (f Finding) Equal(g Finding) bool {
	same := f.Since.Equal(g.Since) && f.Back.Equal(g.Back)
	f.Since, f.Back = g.Since, g.Back
	return same && f == g
}

// Out is that a pool failed, and stays out until a person says otherwise.
type Out struct {
	Since time.Time `json:"since"`
	Why   string    `json:"why"` // what was seen then, as in "0 of 2 endpoints up, 1 needed"
	// Observed: it is only told, and the pool answers when its endpoints do.
	Observed bool `json:"observed,omitempty"`
}
