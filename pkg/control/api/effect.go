package api

import (
	"time"

	"github.com/gti/gtm/pkg/spec"
)

// BreakGlassHeader says, with any change, why guards are not to stop it. History and webhooks tell.
const BreakGlassHeader = "X-Gtm-Break-Glass"

// Effect is what a change does to answers.
type Effect struct {
	// At is when all of it has come about: at the end of ramps.
	At time.Time `json:"at"`
	// Services are those of which anything changes, most first.
	Services []ServiceEffect `json:"services,omitempty"`
	More     int             `json:"more,omitempty" doc:"how many more services anything changes of"`
	Same     int             `json:"same,omitempty" doc:"services that the change concerns, and of whose answers nothing changes"`
	Skipped  int             `json:"skipped,omitempty" doc:"services that were not looked at, since the change concerns too many"`
	About    string          `json:"about" doc:"by what clients are weighed"`
	Tenants  []TenantEffect  `json:"tenants,omitempty" doc:"of all services of a tenant together, where enough of their queries were seen"`
	// Later is what goes further at another moment, when overrides that hold now have ended, or others have begun.
	Later     []ServiceEffect `json:"later,omitempty" doc:"services of which more changes at another moment, since overrides end or begin"`
	LaterMore int             `json:"laterMore,omitempty" doc:"how many more of these there are"`
}

// ServiceEffect is what a change does to the answers of a service. Shares are of these, from 0 to 1, each country as Weighed says.
type ServiceEffect struct {
	Service spec.Key `json:"service"`
	// At is as of when it is; absent: as of the effect's.
	At     time.Time `json:"at,omitzero" doc:"as of when it is; absent: as of the effect's at"`
	Moved  float64   `json:"moved" doc:"the part of its answers that comes from another pool, or from other addresses, or not at all"`
	Within float64   `json:"within,omitempty" doc:"the part of moved that stays in its pools, at addresses that are new to these"`
	// Weighed tells by what countries are weighed; ByUsers is Moved with each country by its Internet users, whatever that is.
	Weighed WeighedBy `json:"weighed" doc:"by what countries are weighed"`
	ByUsers float64   `json:"byUsers" doc:"moved with countries by their Internet users; guards go by the larger of the two"`
	Gone    bool      `json:"gone,omitempty" doc:"its name answers no more"`
	Type    string    `json:"type,omitempty" doc:"the type of records of which most moves"`
	// Pools and Sites are those from which answers come.
	Pools []ShareChange `json:"pools,omitempty"`
	Sites []ShareChange `json:"sites,omitempty"`
	Moves []Move        `json:"moves,omitempty" doc:"the largest"`
	// Rules are those that take another part of all clients than before, where rules change.
	Rules     []ShareChange   `json:"rules,omitempty" doc:"parts of all clients, where rules change"`
	Countries []CountryEffect `json:"countries,omitempty" doc:"those of which most moves"`
	Falls     []Fall          `json:"falls,omitempty" doc:"clients for whom no pool of their rule would be up"`
	// Capacity is how many endpoints of its rules take clients, by their weights, for each that is declared now.
	Capacity ShareChange `json:"capacity"`
	SitesUp  Counts      `json:"sitesUp" doc:"sites that have a pool of its rules that is up"`
	Notes    []string    `json:"notes,omitempty"`
}

// ShareChange is a share before and after.
type ShareChange struct {
	Name   string  `json:"name,omitempty"`
	Before float64 `json:"before"`
	After  float64 `json:"after"`
}

// Counts is a number before and after.
type Counts struct {
	Before int `json:"before"`
	After  int `json:"after"`
}

// Move is the part of answers that goes from one pool to another; absent: from or to no answer; the same: to addresses that are new to it.
type Move struct {
	From  string  `json:"from,omitempty"`
	To    string  `json:"to,omitempty"`
	Share float64 `json:"share"`
}

// CountryEffect is what moves of the answers of a country.
type CountryEffect struct {
	Country string  `json:"country"`
	Users   float64 `json:"users" doc:"its part of the clients"`
	Moved   float64 `json:"moved"`
}

// Fall is how clients get answers where no pool of their rule is up.
type Fall struct {
	How       string   `json:"how"`
	Users     float64  `json:"users" doc:"the part of the clients"`
	Countries []string `json:"countries" doc:"those with most users first"`
}

// Refusal is what a guard says to a change.
type Refusal struct {
	Guard   spec.Key `json:"guard"`
	Field   string   `json:"field" doc:"of the guard, as in spec.leastSites"`
	Of      spec.Key `json:"of"`
	Message string   `json:"message"`
	Hint    string   `json:"hint,omitempty"`
	// Waits: the change waits for a second person, who may let it pass.
	Waits bool `json:"waits,omitempty"`
	// Observed: the guard only says so.
	Observed bool `json:"observed,omitempty"`
}

// Pending is a change that waits for a second person.
type Pending struct {
	Tenant  string    `json:"tenant" doc:"whose resources it changes; of several the first"`
	ID      string    `json:"id"`
	Author  string    `json:"author"`
	Message string    `json:"message,omitempty"`
	Time    time.Time `json:"time"`
	Expires time.Time `json:"expires"`
	// Why is what guards say.
	Why []string `json:"why"`
	// Put and Deleted are the resources that it writes and deletes.
	Put     []spec.Key `json:"put,omitempty"`
	Deleted []spec.Key `json:"deleted,omitempty"`
}

// Name is what people type, as in shop/k7m2q5xw.
func (p *Pending) Name() string { return p.Tenant + "/" + p.ID }

// PendingList is the changes that wait, the oldest first.
type PendingList struct {
	Pending []Pending `json:"pending"`
}

// ApproveRequest lets a change pass that waits, or takes it back.
type ApproveRequest struct {
	DryRun bool `json:"dryRun,omitempty" doc:"show what it would do, as of now; change nothing"`
	Reject bool `json:"reject,omitempty" doc:"take it back: it is not made"`
}

// Blame tells which change wrote each field of a resource as it stands.
type Blame struct {
	Resource spec.Key     `json:"resource"`
	Fields   []FieldBlame `json:"fields"`
	// Older tells that fields without a record were written before the changes that history tells.
	Older bool `json:"older,omitempty"`
}

// FieldBlame is one field.
type FieldBlame struct {
	Path   string  `json:"path"`
	Value  string  `json:"value"`
	Record *Record `json:"record,omitempty" doc:"the change that wrote it; absent: older than what history tells"`
}
