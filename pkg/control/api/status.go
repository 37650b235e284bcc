package api

import (
	"time"

	"github.com/gti/gtm/pkg/spec"
)

// Status is the whole system at a glance.
type Status struct {
	Time time.Time `json:"time"`
	// Heads are the newest generations, by tenant.
	Heads map[string]uint64 `json:"heads"`
	// IDs identify the generations in Heads, as EdgeStatus.IDs do.
	IDs map[string]string `json:"ids,omitempty"`
	// Epoch is that of the store's history: see EdgeStatus.Epoch.
	Epoch int64       `json:"epoch,omitempty"`
	Edges []Edge      `json:"edges"`
	Pools []Pool      `json:"pools"`
	Store StoreStatus `json:"store"`
	// Unserved are the services of which no pool of their rules is up.
	Unserved []spec.Key `json:"unserved,omitempty" doc:"services of which no pool of their rules is up"`
	// Holds are the services that are frozen.
	Holds []Hold `json:"holds,omitempty"`
	// Health tells how old is what is known of health; absent: not known.
	Health *Health `json:"health,omitempty"`
	// Vantages are the probers.
	Vantages []Vantage `json:"vantages,omitempty"`
	// Events is what is kept of events, and who is told; absent: nothing is.
	Events *EventsKept `json:"events,omitempty"`
	// Audit is how the audit log of this control is, and Retention what the store keeps of the past; absent: not known.
	Audit     *AuditStatus `json:"audit,omitempty"`
	Retention *Retention   `json:"retention,omitempty"`
	// Past is what is kept of verdicts for explanations of the past; absent: nothing is.
	Past *Past `json:"past,omitempty"`
	// Voteless are the monitors of which too few vantages are alive to agree on anything.
	Voteless []Voteless `json:"voteless,omitempty"`
}

// Past is what a control keeps of the verdicts of the past, in memory.
type Past struct {
	Since   time.Time `json:"since,omitzero"` // from then on it knows all; absent: nothing yet
	Changes int       `json:"changes"`
	Bytes   int       `json:"bytes"` // about
	Most    int       `json:"most"`  // of bytes: then the oldest go
	Keep    string    `json:"keep"`  // for how long: "24h0m0s"
}

// Voteless are monitors whose endpoints stay as they are, whatever happens to them: too few of their vantages are alive.
type Voteless struct {
	Monitors []spec.Key `json:"monitors"`
	// Why tells who is away, and what to do.
	Why string `json:"why"`
}

// Vantages are the probers that the store or a monitor knows, sorted by ID.
type Vantages struct {
	Vantages []Vantage `json:"vantages"`
}

// Vantage is one prober.
type Vantage struct {
	ID    string `json:"id"`
	State string `json:"state" enum:"alive,silent,absent,unknown"`
	// Region and Network are what its prober says of itself, while it is alive.
	Region  string `json:"region,omitempty"`
	Network string `json:"network,omitempty"`
	// Heard is when it was last known to be alive; given where State is unknown.
	Heard *time.Time `json:"heard,omitempty"`
	// Pools is on how many pools there is evidence of it.
	Pools int `json:"pools"`
	// Monitors are those that name it.
	Monitors []spec.Key `json:"monitors,omitempty"`
}

// The states of a vantage.
const (
	VantageAlive  = "alive"
	VantageSilent = "silent" // it does not hold its lease; what it saw last stays, and says nothing
	VantageAbsent = "absent" // a monitor names it, and it was never seen
	// VantageUnknown: it was alive when the store was last heard.
	VantageUnknown = "unknown"
)

// Forgotten tells what was forgotten of a vantage.
type Forgotten struct {
	ID    string `json:"id"`
	Pools int    `json:"pools"`
	// Monitors are those that name it still, and count it as unknown.
	Monitors []spec.Key `json:"monitors,omitempty"`
}

// Edges tells what every registered edge answers from.
type Edges struct {
	Heads map[string]uint64 `json:"heads"`
	// IDs identify the generations in Heads, as EdgeStatus.IDs do.
	IDs map[string]string `json:"ids,omitempty"`
	// Epoch is that of the store's history: see EdgeStatus.Epoch.
	Epoch int64  `json:"epoch,omitempty"`
	Edges []Edge `json:"edges"`
	// Store reports whether Heads are the newest: as far as control follows the store. Absent: not known.
	Store *StoreStatus `json:"store,omitempty"`
}

// Edge is one edge that the store knows, and what it said when it was asked just now.
type Edge struct {
	ID      string    `json:"id"`
	HTTP    string    `json:"http"`
	DNS     []string  `json:"dns,omitempty"`
	Version string    `json:"version,omitempty"`
	Started time.Time `json:"started"`
	// State reports whether it holds its lease; absent: control is too old to know, and lists only those that do.
	State string `json:"state,omitempty" enum:"alive,silent"`
	// Since is since when it is as it is: silent, or not known to answer from the newest generations. Absent: not known.
	Since *time.Time `json:"since,omitempty"`
	// Last are the generations that it answered from when that was last known. It may answer from them still.
	Last map[string]uint64 `json:"last,omitempty"`
	// Twin tells in which way another process seems to go by its ID.
	Twin string `json:"twin,omitempty"`
	// Error tells why it could not be asked; Status is then absent.
	Error  string      `json:"error,omitempty"`
	Status *EdgeStatus `json:"status,omitempty"`
}

// The states of an edge.
const (
	EdgeAlive  = "alive"
	EdgeSilent = "silent" // it does not hold its lease: it is dead, stopped, or cut off, and answers what it answered
)

// ForgottenEdge is an edge that is not missed any more.
type ForgottenEdge struct {
	ID string `json:"id"`
}

// StoreStatus is how control follows the store.
type StoreStatus struct {
	State  string    `json:"state"` // connecting, current, stale, refused
	Since  time.Time `json:"since,omitzero"`
	Error  string    `json:"error,omitempty"`
	Cursor int64     `json:"cursor,omitempty"`
	// Size of the database of the etcd member that has the least left, what of it is in use, and its quota, in bytes; absent: not known.
	Size  int64 `json:"size,omitempty"`
	InUse int64 `json:"inUse,omitempty"`
	Quota int64 `json:"quota,omitempty"`
	// Full: etcd takes no writes. Room says what to do, also when it is nearly full.
	Full bool   `json:"full,omitempty"`
	Room string `json:"room,omitempty"`
}

// Pool is a pool's declaration, its verdict and its overrides put together.
type Pool struct {
	Tenant     string `json:"tenant"`
	Pool       string `json:"pool"`
	Site       string `json:"site,omitempty"`
	Monitor    string `json:"monitor,omitempty"`
	MinHealthy string `json:"minHealthy,omitempty"`
	// Up reports whether traffic goes to the pool; Why, in words.
	Up  bool   `json:"up"`
	Why string `json:"why,omitempty"`
	// Would says for what the pool would be down, were that not only observed.
	Would string `json:"would,omitempty"`
	// Out: it failed, and stays out until a person resumes it (or only would: then Would says so).
	Out *PoolOut `json:"out,omitempty"`
	// Frozen: the brake holds, changes were seen and not followed.
	Frozen bool `json:"frozen,omitempty"`
	// Brake tells why it holds, and what to do.
	Brake string `json:"brake,omitempty"`
	// Judge is the prober that judged; absent: no verdict yet.
	Judge string `json:"judge,omitempty"`
	// Changes is how often it went up or down within the last hour, as far as events are kept.
	Changes int `json:"changes,omitempty"`
	// Overrides are those in force on the pool or its endpoints.
	Overrides []Override `json:"overrides,omitempty"`
	Endpoints []Endpoint `json:"endpoints"`
	// Signals are what owners of its endpoints say of them; absent: nobody goes by that.
	Signals []Signal `json:"signals,omitempty"`
	// Watched: what they say is told, and changes nothing.
	Watched bool `json:"signalsWatched,omitempty"`
	// Regions are what is known for the clients of continents, of a pool with regions, sorted. Clients of others get what is known for all.
	Regions []PoolRegion `json:"regions,omitempty"`
	// Unregioned says why a pool with regions is not judged for any; absent: it is, or has none.
	Unregioned string `json:"unregioned,omitempty"`
	// Sources are where further ones are found.
	Sources []PoolSource `json:"sources,omitempty"`
}

// PoolSource is where endpoints of a pool are found, and what it had when it was last good.
type PoolSource struct {
	Name string `json:"name"`
	Of   string `json:"of"` // as in "dns edge.example.net."
	// Observed: what it has is told, and no answer names it.
	Observed bool `json:"observed,omitempty"`
	// Off: nobody looks at it.
	Off       bool `json:"off,omitempty"`
	Endpoints int  `json:"endpoints"`
	// Since is from when on it has these. Absent: it never had any.
	Since time.Time `json:"since,omitzero"`
	// Leaving is how many of them it names no more, which are kept until it is sure; Notes, what of its list was passed over.
	Leaving int    `json:"leaving,omitempty"`
	Notes   string `json:"notes,omitempty"`
	// Failed is since when it fails, Error why, and Good when it was last good. What it had then is kept.
	Failed time.Time `json:"failed,omitzero"`
	Error  string    `json:"error,omitempty"`
	Good   time.Time `json:"good,omitzero"`
	// By and Expires are of what was pushed.
	By      string    `json:"by,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
}

// FoundEndpoint is one endpoint of a list that is pushed.
type FoundEndpoint struct {
	Address string `json:"address"`
	// Port is what is checked in the place of the monitor's.
	Port   uint16 `json:"port,omitempty" maximum:"65535"`
	Weight *int   `json:"weight,omitempty" minimum:"0" maximum:"65535"`
}

// PushRequest is a list of endpoints for a source that is pushed.
type PushRequest struct {
	Endpoints []FoundEndpoint `json:"endpoints"`
	// For is how long it holds, or Expires until when. Absent: until another list comes.
	For     string    `json:"for,omitempty" maxLength:"32" doc:"how long it holds, as in 10m, 10s at least; absent: until the next list"`
	Expires time.Time `json:"expires,omitzero"`
}

// PushList is one list of several.
type PushList struct {
	Pool   string `json:"pool"`
	Source string `json:"source"`
	PushRequest
}

// PushesRequest are lists for sources of one tenant, which are taken all or none.
type PushesRequest struct {
	Lists []PushList `json:"lists"`
}

// PushReply tells what was taken.
type PushReply struct {
	Sources []PoolSource `json:"sources"`
}

// PoolRegion is a pool as it is for clients of a continent.
type PoolRegion struct {
	Region string `json:"region"`
	Up     bool   `json:"up"`
	Why    string `json:"why,omitempty"`
	// Vantages are those that stand there, whether they live or not.
	Vantages []string `json:"vantages,omitempty"`
	// Silent are those of them that do not live. Where these are so many that no quorum is left, Undecided says so, and Why.
	Silent    []string `json:"silent,omitempty"`
	Undecided string   `json:"undecided,omitempty"`
	Frozen    bool     `json:"frozen,omitempty"`
	Brake     string   `json:"brake,omitempty"`
	Out       *PoolOut `json:"out,omitempty"`
	// Endpoints are those that are otherwise than for all, or are held.
	Endpoints []Endpoint `json:"endpoints,omitempty"`
}

// Hold is a service that is frozen as it answered.
type Hold struct {
	Service  string `json:"service"` // shop/web
	Override string `json:"override"`
	Reason   string `json:"reason"`
	Author   string `json:"author,omitempty"`
	Expires  string `json:"expires,omitempty"`
	// Apart says of pools that would answer otherwise how they are held, and what would be.
	Apart []string `json:"apart,omitempty"`
}

// PoolOut is that a pool with resume: manual failed.
type PoolOut struct {
	Since time.Time `json:"since"`
	Why   string    `json:"why"` // what was seen then
	// Observed: it is only told.
	Observed bool `json:"observed,omitempty"`
	// Ready: its endpoints are up again, so that it can be resumed.
	Ready bool `json:"ready,omitempty"`
}

// Endpoint is one endpoint of a Pool.
type Endpoint struct {
	Name string `json:"name"`
	// Source is where it was found; absent: it is declared.
	Source    string   `json:"source,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
	Host      string   `json:"host,omitempty"`
	Probe     string   `json:"probe,omitempty"` // what is checked instead
	Weight    int      `json:"weight"`          // as declared, or as an override says
	// State, Score, Since and Reason are as measured, whatever an override says.
	State  string    `json:"state"` // unknown, up, down
	Score  float64   `json:"score"`
	Since  time.Time `json:"since,omitzero"`
	Reason string    `json:"reason,omitempty"`
	// Watched says which checks fail that are only watched.
	Watched string `json:"watched,omitempty"`
	// Effective is the weight that draws use: weight times score, after overrides.
	Effective float64 `json:"effective"`
	// Out says why it takes no part; absent when it does.
	Out string `json:"out,omitempty"`
	// Held: it was seen to fail, which the brake keeps from being followed; Reason says what was seen.
	Held bool `json:"held,omitempty"`
	// Changes is how often State changed within the last hour, as far as events are kept.
	Changes int `json:"changes,omitempty"`
	// Note says what slow start does to its weight, or would.
	Note string `json:"note,omitempty"`
}

// Override is an override in force, or to come.
type Override struct {
	Name string `json:"name"`
	// Service and Rule are those of an override of a rule's pools.
	Service string `json:"service,omitempty"`
	Rule    string `json:"rule,omitempty"`
	Pool    string `json:"pool,omitempty"`
	// Endpoint is absent where the whole pool is meant.
	Endpoint string `json:"endpoint,omitempty"`
	State    string `json:"state,omitempty"`
	Weight   *int   `json:"weight,omitempty"`
	// Over is how long the weight takes to get there, and There when it does; absent: at once.
	Over    string    `json:"over,omitempty"`
	There   time.Time `json:"there,omitzero"`
	Reason  string    `json:"reason"`
	Author  string    `json:"author,omitempty"`
	Expires string    `json:"expires,omitempty"`
	// Starts is when it begins to hold; absent: it holds.
	Starts time.Time `json:"starts,omitzero"`
	// Recurs tells when it comes again and again.
	Recurs string `json:"recurs,omitempty"`
	// Next is when it begins, ends or comes to its next step; absent: never by itself.
	Next time.Time `json:"next,omitzero"`
}
