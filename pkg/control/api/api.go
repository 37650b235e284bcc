// Package api holds what goes over the wire of gtm's HTTP API: its requests, its replies, its problems, and
// what an edge says of itself and of its answers.
//
// It holds types only, so that a client needs neither the server nor the store. In every reply an absent field means
// its zero value, and a reader ignores fields that it does not know, so that older and newer programs understand each other.
package api

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/gti/gtm/pkg/spec"
)

// Version is the first element of every path of the API.
const Version = "/v1"

// Resource is one declared resource.
type Resource struct {
	Kind   spec.Kind       `json:"kind" doc:"Zone, Site, Map, Monitor, Pool, Policy, Service, Override, Tenant, Access or Guard"`
	Tenant string          `json:"tenant" doc:"the tenant that owns it"`
	Name   string          `json:"name"`
	Spec   json.RawMessage `json:"spec" doc:"what it declares; the fields depend on kind"`
	// Generation is the tenant's generation that wrote this version. In requests: the one that the declaration was made from; where
	// the resource is of another now, and not as declared, that is a conflict. Absent: it replaces whatever is there.
	Generation uint64 `json:"generation,omitempty" doc:"the tenant's generation that wrote it; in requests, the one it must still be of"`
	// Error tells why what the store holds of it cannot be read; Spec is then the form before, or absent. Absent in requests.
	Error string `json:"error,omitempty" doc:"why what the store holds cannot be read"`
	// Origin is where it was declared, so that errors can name file and line; absent in replies.
	Origin *Origin `json:"origin,omitempty" doc:"where it was declared; errors name it"`
}

// Key gives the resource's key.
func (r Resource) Key() spec.Key { return spec.Key{Tenant: r.Tenant, Kind: r.Kind, Name: r.Name} }

// Origin is a place in a file of the client.
type Origin struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
}

// ApplyRequest asks for a change: every resource is to be as given. What is not named stays as it is.
type ApplyRequest struct {
	Resources []Resource `json:"resources,omitempty"`
	// Delete names what is to go.
	Delete []spec.Key `json:"delete,omitempty"`
	// DropUnknown lets resources be replaced that hold what this control does not understand, which is then lost.
	DropUnknown bool `json:"dropUnknown,omitempty" doc:"replace resources although fields of a newer gtm are lost"`
	// DryRun asks for the plan alone.
	DryRun  bool   `json:"dryRun,omitempty" doc:"plan only; change nothing"`
	Message string `json:"message,omitempty" maxLength:"4096" doc:"why; history shows it"`
	// Expect pins tenants to the generation that the change was made for; another head is a conflict. 0: no head yet.
	Expect map[string]uint64 `json:"expect,omitempty" doc:"per tenant: the generation that must still be its head"`
}

// ApplyReply tells what was, or with a dry run would be, changed.
type ApplyReply struct {
	Plan []PlanItem `json:"plan" doc:"one item for each resource that differs"`
	// Records are the generations that were made, in the order in which they were; empty after a dry run.
	Records []Record `json:"records,omitempty"`
	// Heads are the tenants' heads afterwards, of those that the request names.
	Heads    map[string]uint64 `json:"heads,omitempty"`
	Warnings []Issue           `json:"warnings,omitempty"`
	// Starts is when a drain, a ramp or a shift begins; absent: at once. Ends is when it ends by itself; absent: it does not.
	Starts time.Time `json:"starts,omitzero" doc:"of a drain, ramp or shift: when it begins; absent: at once"`
	Ends   time.Time `json:"ends,omitzero" doc:"of a drain, ramp or shift: when it ends by itself"`
	// Outlook tells what a drain, a ramp, a shift or weights leave; absent after other changes.
	Outlook *Outlook `json:"outlook,omitempty" doc:"what a drain, ramp, shift or weights leave"`
	// Base are the generations that the plan was made on, of the tenants that it changes or relies on: see ApplyRequest.Expect.
	Base map[string]uint64 `json:"base,omitempty" doc:"the heads that the plan was made on"`
	// Effect is what it does to answers; absent: it concerns none.
	Effect *Effect `json:"effect,omitempty" doc:"what it does to answers"`
	// Refusals are what guards say to it. After a dry run the change would be refused, or wait, unless they only observe.
	Refusals []Refusal `json:"refusals,omitempty" doc:"what guards say"`
}

// Outlook is what a change leaves of the rules that it concerns.
type Outlook struct {
	// At is when all of it has come about: at the end of a ramp.
	At    time.Time     `json:"at"`
	Rules []RuleOutlook `json:"rules,omitempty" doc:"those in which anything changes"`
	// More is how many more rules there are in which anything changes.
	More int `json:"more,omitempty"`
	// Gone is when the last client that was sent to what is drained has let go of it; Why it is then, in words. Absent: nothing is drained.
	Gone time.Time `json:"gone,omitzero"`
	Why  string    `json:"why,omitempty"`
	// Tail is how long after the last answer that is, in seconds.
	Tail int64 `json:"tail,omitempty"`
}

// RuleOutlook is one rule of a service, before a change and after it.
type RuleOutlook struct {
	Service spec.Key    `json:"service"`
	Rule    string      `json:"rule"`
	Region  string      `json:"region,omitempty" doc:"for clients of that continent, where it is otherwise than for all"`
	Sites   []SiteShare `json:"sites" doc:"by the weights of the rule's pools, not by traffic"`
	Before  Capacity    `json:"before"`
	After   Capacity    `json:"after"`
}

// SiteShare is a site's part of a rule's answers, from 0 to 1.
type SiteShare struct {
	Site   string  `json:"site,omitempty" doc:"absent: pools without a site"`
	Before float64 `json:"before"`
	After  float64 `json:"after"`
}

// Capacity is what a rule can answer with.
type Capacity struct {
	// Pools are those that are up, Endpoints those of all pools of the rule that take clients.
	Pools     int `json:"pools"`
	Endpoints int `json:"endpoints"`
	// Instead is where answers come from, where no pool of the rule itself is up.
	Instead string `json:"instead,omitempty" doc:"lastResort, or: all are down"`
}

// The actions of a plan.
const (
	Create = "create"
	Update = "update"
	Delete = "delete"
)

// PlanItem is one resource's part of a plan.
type PlanItem struct {
	spec.Key
	Action string             `json:"action" enum:"create,update,delete"`
	Fields []spec.FieldChange `json:"fields,omitempty" doc:"what an update changes"`
	// More is how many fields it changes beside those told: one reply tells 10,000, or as many as make 16 MiB.
	More int `json:"more,omitempty" doc:"how many more fields it changes"`
}

// Record is one generation of a tenant.
type Record struct {
	Tenant     string     `json:"tenant"`
	Generation uint64     `json:"generation"`
	Time       time.Time  `json:"time"`
	Author     string     `json:"author,omitempty"`
	Message    string     `json:"message,omitempty"`
	Put        []spec.Key `json:"put,omitempty"`
	Deleted    []spec.Key `json:"deleted,omitempty"`
	// BreakGlass is why guards did not stop it; absent: they had their say.
	BreakGlass string `json:"breakGlass,omitempty" doc:"why guards did not stop it"`
	Approved   string `json:"approved,omitempty" doc:"the second person, who let it pass"`
}

// State gives the name of the state that the record made, as in shop@41.
func (r Record) State() string { return fmt.Sprintf("%s@%d", r.Tenant, r.Generation) }

// ResourceList is a part of the present state.
type ResourceList struct {
	Resources []Resource `json:"resources"`
	// Heads are the generations that the list was read at.
	Heads map[string]uint64 `json:"heads,omitempty"`
	// Next is what after must be for the next page; absent: this is the last one.
	Next string `json:"next,omitempty" doc:"what after must be for the next page; absent: this is the last one"`
}

// Description is a resource with what surrounds it.
type Description struct {
	Resource
	// Record is the change that wrote this version; absent where history no longer holds it.
	Record *Record `json:"record,omitempty"`
	// RefersTo and ReferredBy are the neighbours in the graph of resources.
	RefersTo   []spec.Key `json:"refersTo,omitempty"`
	ReferredBy []spec.Key `json:"referredBy,omitempty"`
	// Pools are the health of the pool itself, or of the pools that a service sends to.
	Pools []Pool `json:"pools,omitempty"`
	// Health tells how old is what Pools say; absent: not known.
	Health *Health `json:"health,omitempty"`
}

// WeightsRequest sets weights of a pool's endpoints, by endpoint name.
type WeightsRequest struct {
	Weights map[string]int    `json:"weights" minProperties:"1"`
	DryRun  bool              `json:"dryRun,omitempty"`
	Message string            `json:"message,omitempty" maxLength:"4096"`
	Expect  map[string]uint64 `json:"expect,omitempty"`
	// Force lets all weights of the pool become 0.
	Force bool `json:"force,omitempty" doc:"although no endpoint of the pool would take clients any more"`
}

// DrainRequest takes an endpoint, or a whole pool, out of new answers.
type DrainRequest struct {
	Endpoint string `json:"endpoint,omitempty" doc:"absent: the whole pool"`
	Reason   string `json:"reason,omitempty" maxLength:"4096" doc:"why; people see it beside the state (required for drain)"`
	Times
	DryRun bool `json:"dryRun,omitempty"`
	// Force drains the last pool of a rule that takes clients, too.
	Force bool `json:"force,omitempty" doc:"although a rule would have no pool left that takes clients"`
}

// HoldRequest freezes a service as it answers now, or lets it go.
type HoldRequest struct {
	Reason string `json:"reason,omitempty" maxLength:"4096" doc:"why; people see it beside the state (required unless release)"`
	// For is how long, as in 1h30m or 1d; absent: until it is released.
	For string `json:"for,omitempty" doc:"how long, as in 1h30m or 1d; absent: until it is released"`
	// Release ends the hold.
	Release bool `json:"release,omitempty" doc:"let the service answer by what is known again"`
	DryRun  bool `json:"dryRun,omitempty"`
}

// Times say when something that a person asks for holds.
type Times struct {
	// For is how long, as in 1h30m or 1d, from when it starts; absent: until it is taken back.
	For string `json:"for,omitempty" doc:"how long, as in 1h30m or 1d; absent: until it is taken back"`
	// Until says so as a moment, RFC 3339; not together with For.
	Until string `json:"until,omitempty" doc:"until when, as in 2030-01-31T20:00:00Z; not together with for"`
	// Over is how long it takes to get there, in steps; absent: it is there at once.
	Over string `json:"over,omitempty" doc:"how long it takes to get there in steps of at most 1 %, as in 20m; absent: it is there at once"`
	// Starts is when it begins, RFC 3339; absent: at once.
	Starts string `json:"starts,omitempty" doc:"when it begins, as in 2030-01-31T18:00:00Z; absent: at once"`
}

// RampRequest gives an endpoint another weight for a while, by an override.
type RampRequest struct {
	Endpoint string `json:"endpoint" minLength:"1"`
	To       int    `json:"to" minimum:"0"`
	Reason   string `json:"reason" maxLength:"4096" doc:"why; people see it beside the weight"`
	Times
	DryRun bool `json:"dryRun,omitempty"`
	Force  bool `json:"force,omitempty" doc:"although a rule would have no pool left that takes clients"`
}

// ShiftRequest gives pools of a service's rule other weights for a while, by overrides.
type ShiftRequest struct {
	Rule    string         `json:"rule" minLength:"1" doc:"its name or its number, from 1"`
	Weights map[string]int `json:"weights" minProperties:"1" doc:"by pool"`
	Reason  string         `json:"reason" maxLength:"4096" doc:"why; people see it beside the weights"`
	Times
	DryRun bool `json:"dryRun,omitempty"`
	Force  bool `json:"force,omitempty" doc:"although a rule would have no pool left that takes clients"`
}

// ServiceWeights tells from which pools a service answers, and how often.
type ServiceWeights struct {
	Time    time.Time     `json:"time"`
	Service spec.Key      `json:"service"`
	Rules   []RuleWeights `json:"rules"`
	// Overrides are those of the service's rules and of its pools, which are in force or to come.
	Overrides []Override `json:"overrides,omitempty"`
}

// RuleWeights is one rule of a service.
type RuleWeights struct {
	Rule string `json:"rule"`
	TTL  uint32 `json:"ttl" doc:"seconds"`
	// Instead is where answers come from, where no pool of the rule itself is up.
	Instead string        `json:"instead,omitempty" doc:"lastResort, or: all are down"`
	Pools   []PoolWeights `json:"pools"`
	// Next is when weights of the rule change by themselves; absent: never.
	Next time.Time `json:"next,omitzero" doc:"when weights change by themselves; absent: never"`
}

// PoolWeights is one pool of a rule, in the order of failover.
type PoolWeights struct {
	Pool string `json:"pool"`
	Site string `json:"site,omitempty"`
	// Declared is its weight among its neighbours; absent: it is a step of failover by itself. Weight is what overrides make of it.
	Declared int     `json:"declared,omitempty"`
	Weight   float64 `json:"weight,omitempty"`
	// Share is its part of the rule's answers, from 0 to 1.
	Share float64 `json:"share"`
	Up    bool    `json:"up"`
	Why   string  `json:"why,omitempty"`
	// Taking are those of its Endpoints that take clients.
	Endpoints int `json:"endpoints"`
	Taking    int `json:"taking"`
}

// RollbackRequest makes a new generation whose resources are those of an older one.
type RollbackRequest struct {
	Generation uint64            `json:"generation" minimum:"1"`
	DryRun     bool              `json:"dryRun,omitempty"`
	Message    string            `json:"message,omitempty" maxLength:"4096"`
	Expect     map[string]uint64 `json:"expect,omitempty"`
	// Overrides are taken back, too; absent: those of now stay.
	Overrides bool `json:"overrides,omitempty" doc:"take overrides back, too"`
}

// History is a tenant's generations, newest first.
type History struct {
	Records []Record `json:"records"`
	// More tells that there are fewer than were asked for, since these name as many resources as one answer may.
	More bool `json:"more,omitempty" doc:"fewer than asked for: they name as many resources as one answer may"`
	// Oldest is the oldest generation that the store has whole. Of older ones the audit log tells.
	Oldest uint64 `json:"oldest,omitempty" doc:"the oldest generation that can be shown, compared and rolled back to"`
}

// Change is one generation of a tenant with what it changed.
type Change struct {
	Record
	Plan []PlanItem `json:"plan" doc:"one item for each resource that was written or deleted"`
	// Incomplete tells why the fields are not all told; absent: they are.
	Incomplete string `json:"incomplete,omitempty" doc:"why the fields are not all told"`
}

// RebuildRequest asks that a store which is empty, or older than what edges serve, be made as the resources say, and then be taken.
type RebuildRequest struct {
	Resources []Resource `json:"resources,omitempty"`
	// FromMemory takes what control still holds from before in the place of Resources.
	FromMemory  bool   `json:"fromMemory,omitempty" doc:"what control still holds from before, in the place of resources"`
	DropUnknown bool   `json:"dropUnknown,omitempty" doc:"replace resources although fields of a newer gtm are lost"`
	DryRun      bool   `json:"dryRun,omitempty" doc:"plan only; change nothing"`
	Message     string `json:"message,omitempty" maxLength:"4096"`
}

// RebuildReply tells what a rebuild made, or would make.
type RebuildReply struct {
	ApplyReply
	// Kept were in the store and not in the request: they stay as they are.
	Kept []spec.Key `json:"kept,omitempty"`
	// Lost are those that control knew before, and that are neither in the request nor in the store.
	Lost []spec.Key `json:"lost,omitempty"`
	// Keys are the signed zones that keep the keys that they had.
	Keys []string `json:"keys,omitempty"`
	// Accepted tells that the store is to be taken now; absent after a dry run.
	Accepted *Accepted `json:"accepted,omitempty"`
}

// Accepted tells that the store's present state is the one to take, and who said so.
type Accepted struct {
	Author string `json:"author"`
}
