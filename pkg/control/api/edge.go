package api

import (
	"fmt"
	"strings"
	"time"
)

// EdgeStatus is what an edge says of itself at GET /edge/status.
type EdgeStatus struct {
	ID      string    `json:"id"`
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	DNS     []string  `json:"dns"`
	View    View      `json:"view"`
	// Tenants are the generations that it answers from.
	Tenants map[string]uint64 `json:"tenants"`
	// IDs identify these generations, which their numbers alone do not where a store went back; absent where not known.
	IDs    map[string]string `json:"ids,omitempty"`
	Source Source            `json:"source"`
	// Health tells how old is what it knows of health; absent: not known.
	Health   *Health `json:"health,omitempty"`
	Services int     `json:"services"`
	Zones    int     `json:"zones"`
	// Broken are the resources that are not served as declared.
	Broken []Broken `json:"broken,omitempty"`
	// Unknown are the resources that it does not wholly understand, since a newer gtm wrote them; all else of them is served.
	Unknown []Unknown  `json:"unknown,omitempty"`
	Geo     []GeoState `json:"geo,omitempty"`
	// GeoFault tells why a geography file is not used as it is.
	GeoFault string `json:"geoFault,omitempty"`
	// Maps are the map files in use; absent: there are none.
	Maps *MapFiles `json:"maps,omitempty"`
	// Latency is the latency table in use; absent: there is none.
	Latency *LatencyState `json:"latency,omitempty"`
	// LatencyFault tells why a latency table is not used as it is.
	LatencyFault string `json:"latencyFault,omitempty"`
	// Aliases are the hosts outside that aliases lead to.
	Aliases []AliasState `json:"aliases,omitempty"`
	// Epoch tells which of the states it answers from that were accepted after a store went back; absent: of a program that does not tell.
	Epoch *int64 `json:"epoch,omitempty"`
	// Held are the tenants that it does not serve at their newest generation.
	Held []HeldTenant `json:"held,omitempty"`
	// Local are the overrides of this edge alone.
	Local []LocalOverride `json:"local,omitempty"`
	// Snapshot is the copy on disk; absent: of a program that does not tell.
	Snapshot *SnapshotState `json:"snapshot,omitempty"`
}

// HeldTenant is a tenant that an edge does not serve at its newest generation, and why.
type HeldTenant struct {
	Tenant string `json:"tenant"`
	Newest uint64 `json:"newest"`
	Serves uint64 `json:"serves"`
	// Refused is the generation that it refuses; absent: a rollout has not come to it yet.
	Refused uint64    `json:"refused,omitempty"`
	Why     string    `json:"why,omitempty"`
	Crashed bool      `json:"crashed,omitempty"` // the edge did, on it
	Since   time.Time `json:"since,omitzero"`
	// Group is that of the edge in the rollout of the tenant; absent: it is in none.
	Group string `json:"group,omitempty"`
	// Waits: it is pointed at a generation that it has not got yet.
	Waits bool `json:"waits,omitempty"`
}

// Text says it in words.
func (h *HeldTenant) Text() string {
	switch {
	case h.Crashed:
		return fmt.Sprintf("serves %s@%d, since it crashed on %s@%d: a newer generation ends that", h.Tenant, h.Serves, h.Tenant,
			h.Refused)
	case h.Refused != 0:
		return fmt.Sprintf("refuses %s@%d and serves %s@%d: %s; change it, or if it is meant: gtmctl edge accept %s@%d", h.Tenant,
			h.Refused, h.Tenant, h.Serves, h.Why, h.Tenant, h.Refused)
	case h.Waits:
		return fmt.Sprintf("serves %s@%d, since what its group %s is pointed at is not here yet", h.Tenant, h.Serves, h.Group)
	}
	return fmt.Sprintf("serves %s@%d, where the rollout has its group %s", h.Tenant, h.Serves, h.Group)
}

// Reason tells why it is refused, in words that its tenant may read: what is wrong may be with the names of another one, whose generation
// came at the same time.
func (h *HeldTenant) Reason() string {
	switch {
	case h.Crashed:
		return "it crashed on it"
	case h.Tenant == "platform" || strings.HasPrefix(h.Why, h.Tenant+"/"):
		return h.Why
	}
	return "it came together with what others changed, and then a name of another tenant would fail; it is tried again without that"
}

// LocalOverride is an override of one edge, which it was told itself, past the store.
type LocalOverride struct {
	Tenant   string `json:"tenant"`
	Pool     string `json:"pool"`
	Endpoint string `json:"endpoint,omitempty"` // absent: the whole pool
	State    string `json:"state"`              // drain, down or up
	Reason   string `json:"reason"`
	Author   string `json:"author,omitempty"` // who says to have set it
	// Set and Expires are when it was set, and when it ends, if not before.
	Set     time.Time `json:"set,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
	// Fault tells why it would not outlive a restart.
	Fault string `json:"fault,omitempty"`
}

// Of names what it overrides, as in shop/eu/a.
func (o *LocalOverride) Of() string {
	of := o.Tenant + "/" + o.Pool
	if o.Endpoint != "" {
		of += "/" + o.Endpoint
	}
	return of
}

// SnapshotState tells of the copy on disk: of when it is, and why it is not as it should be.
type SnapshotState struct {
	Written *time.Time `json:"written,omitempty"` // absent: there is none
	Error   string     `json:"error,omitempty"`
}

// Health tells how old is what is known of health: its fields are those of state.Health.
type Health struct {
	// Judge is whose pulse came last, and Pulse when, by the clock of who tells; absent: none ever came.
	Judge string    `json:"judge,omitempty"`
	Pulse time.Time `json:"pulse,omitzero"`
	// StandsStill: since Since verdicts may be out of date, and Why says why.
	StandsStill bool      `json:"standsStill,omitempty"`
	Since       time.Time `json:"since,omitzero"`
	Why         string    `json:"why,omitempty"`
	// Silent are the vantages that had lost their lease, by that pulse.
	Silent []string `json:"silent,omitempty"`
	// Troubles say, by that pulse, whose verdicts the store does not take, or are late: a few, in words.
	Troubles []string `json:"troubles,omitempty"`
}

// AliasState tells how a host outside was resolved last.
type AliasState struct {
	Host      string     `json:"host"`
	By        string     `json:"by,omitempty"`        // continent, country; absent: the same for all clients
	Addresses []string   `json:"addresses,omitempty"` // where no place is told apart
	Resolved  *time.Time `json:"resolved,omitempty"`  // the last good result; absent: there is none yet, and answers are SERVFAIL
	Failing   int        `json:"failing,omitempty"`   // questions (one a place) that failed last time
	Error     string     `json:"error,omitempty"`
}

// View is the state that answers are read from; Serial counts its publications since the start.
type View struct {
	Serial    uint64    `json:"serial"`
	Published time.Time `json:"published"`
}

// Source is where an edge's state comes from: current, stale, refused, or snapshot (the copy on disk).
type Source struct {
	State  string    `json:"state"`
	Since  time.Time `json:"since"`
	Cursor int64     `json:"cursor,omitempty"`
	Error  string    `json:"error,omitempty"`
}

// Broken is a resource that is not served as declared, by its key as text.
type Broken struct {
	Resource string `json:"resource"`
	Error    string `json:"error"`
	// Serves tells what is served in its place: nothing, lastGood (the form before), or theRest (itself but for what Error says).
	Serves string `json:"serves,omitempty"`
}

// Unknown is a resource, by its key as text, of which only a newer gtm understands all.
type Unknown struct {
	Resource string `json:"resource"`
	// Fields are those that are not known; absent: its kind is not.
	Fields []string `json:"fields,omitempty"`
}

// The values of Broken.Serves.
const (
	ServesNothing  = "nothing"
	ServesLastGood = "lastGood"
	ServesTheRest  = "theRest"
)

// GeoState is one geographic database in use.
type GeoState struct {
	File     string    `json:"file"`
	Type     string    `json:"type"`
	Built    time.Time `json:"built"`
	Networks int       `json:"networks"`
}

// MapFiles are the files that maps with fromFiles get their networks from.
type MapFiles struct {
	Files    []MapFile `json:"files"`
	Networks int       `json:"networks"` // of all files, each counted once
	// Undeclared counts the names of files that no Map with fromFiles has. Examples are the first of them.
	Undeclared int      `json:"undeclared,omitempty"`
	Examples   []string `json:"examples,omitempty"`
	// Changed is when files were replaced last, and how many networks that added, removed, and gave to another map.
	Changed time.Time `json:"changed,omitzero"`
	Added   int       `json:"added,omitempty"`
	Removed int       `json:"removed,omitempty"`
	Renamed int       `json:"renamed,omitempty"`
	// Fault tells why a file is not used as it is.
	Fault string `json:"fault,omitempty"`
}

// MapFile is one of them.
type MapFile struct {
	File     string `json:"file"`
	Networks int    `json:"networks"`
	Maps     int    `json:"maps"` // how many names it has
	SHA256   string `json:"sha256"`
}

// LatencyState is the latency table in use.
type LatencyState struct {
	File     string    `json:"file"`
	Measured time.Time `json:"measured"`
	Networks int       `json:"networks"`
	Sites    int       `json:"sites"`
}

// Explanation is what an edge says of one decision at GET /edge/explain. The code that answers made it.
type Explanation struct {
	Host       string `json:"host"`
	Service    string `json:"service"`    // shop/web
	Generation string `json:"generation"` // shop@41
	Edge       string `json:"edge"`
	// At is the time of which it is, where control tells of the past; absent: it is of now, by the edge.
	At     *time.Time `json:"at,omitempty"`
	Client Client     `json:"client"`
	Scope  int        `json:"scope"`
	// ScopeFrom is what made the scope as long as it is: "place", or as in "network hashed (sticky /24; the place alone: /17)", "resolver
	// (no client subnet was told)".
	ScopeFrom string       `json:"scopeFrom,omitempty"`
	Rule      *MatchedRule `json:"rule,omitempty"` // absent: no rule matched
	// Path are the rules that led to the pools, the service's first; absent: its rules name nothing but pools.
	Path []Passed `json:"path,omitempty"`
	// Fence are the fences that hold, each as in "EU or NA", and Fenced the pools that are outside of one.
	Fence    []string      `json:"fence,omitempty"`
	Fenced   []string      `json:"fenced,omitempty"`
	Choices  []Choosing    `json:"choices,omitempty"`
	Pools    []PoolInTurn  `json:"pools"`
	Fallback string        `json:"fallback,omitempty"` // "", "lastResort", "all down: answering as if up"
	Answer   ExampleAnswer `json:"answer"`
	Notes    []string      `json:"notes,omitempty"`
	Drawn    int           `json:"drawn,omitempty"` // how often the answer was drawn, as asked
	// Text tells all of this in lines, as _explain and gtmctl do; an older edge does not.
	Text []string `json:"text,omitempty"`
}

// MostDraws is how many answers Explanation.Drawn can be asked to be.
const MostDraws = 100_000

// Passed is a rule on the way to the pools.
type Passed struct {
	Policy string `json:"policy,omitempty"` // absent: the service's own
	Rule   string `json:"rule,omitempty"`   // its name or number; absent: none matched
}

// Choosing is what nearest or fastest made of its pools.
type Choosing struct {
	What       string   `json:"what"` // nearest, fastest
	LastResort bool     `json:"lastResort,omitempty"`
	Note       string   `json:"note,omitempty"` // why it went otherwise than usual
	Candidates []Choice `json:"candidates"`     // in the order in which they are tried, then those that are left out
}

// Choice is a pool among those that nearest or fastest choose from.
type Choice struct {
	Pool string `json:"pool"`
	Site string `json:"site,omitempty"`
	// Turn is when it is tried, from 1. Those of one turn share the answers by weight. Absent: it is left out.
	Turn         int      `json:"turn,omitempty"`
	AsListed     bool     `json:"asListed,omitempty"` // the turn is the last, in which pools follow each other as declared
	Weight       int      `json:"weight"`
	Kilometres   *float64 `json:"km,omitempty"`     // absent: not known
	Counts       *float64 `json:"counts,omitempty"` // the kilometres with its bias
	Milliseconds *float64 `json:"ms,omitempty"`     // absent: not asked, or not known well enough
	Out          string   `json:"out,omitempty"`    // why it is left out
}

// Client is what the edge knows of the client.
type Client struct {
	Address string `json:"address"`
	Source  string `json:"source"` // subnet, resolver: which address decided
	Place   string `json:"place"`
	ASN     uint32 `json:"asn,omitempty"`
	Network string `json:"network"`
	// Point is what distances are measured from: latitude and longitude, as in "50.11,8.68"; absent where the place has none.
	Point     string `json:"point,omitempty"`
	PointFrom string `json:"pointFrom,omitempty"` // "own coordinates", or as in "centroid of EU-DE"
	// Latency is what the latency table knows of the network, nearest first; absent: nothing.
	Latency []SiteLatency `json:"latency,omitempty"`
}

// SiteLatency is how far a site is, and on how many measurements that stands. Both are rounded.
type SiteLatency struct {
	Site         string  `json:"site"`
	Milliseconds float64 `json:"ms"`
	Samples      int     `json:"samples"`
}

// MatchedRule is the rule that decided.
type MatchedRule struct {
	Index   int    `json:"index"`             // from 0, as declared
	Name    string `json:"name,omitempty"`    // of one without a name its number, from 1
	Matched string `json:"matched,omitempty"` // "geo EU"
}

// PoolInTurn is a pool in the order in which the rule tries them; pools of one Step share it by Share. Where the client's network decides
// between them (sticky, coherent), shares are those of all networks that the rule is for.
type PoolInTurn struct {
	Pool      string      `json:"pool"`
	Step      int         `json:"step"` // from 1
	Up        bool        `json:"up"`
	Chosen    bool        `json:"chosen"`          // the example answer came from it
	Turns     string      `json:"turns,omitempty"` // "chosen in 10% of the answers"; an older edge does not say
	Why       string      `json:"why,omitempty"`
	Share     float64     `json:"share"`           // 0 to 1, of the answers to this client
	Drawn     *int        `json:"drawn,omitempty"` // how many of the answers drawn came from it; absent: not drawn
	Endpoints []Candidate `json:"endpoints"`
}

// Candidate is an endpoint; Out says why it is left out, and is absent where it is not.
type Candidate struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses,omitempty"`
	Host      string   `json:"host,omitempty"`
	Weight    int      `json:"weight"`
	Score     float64  `json:"score"`
	State     string   `json:"state"`
	Effective float64  `json:"effective"`       // weight times score, after overrides; as declared where all pools are down
	Share     float64  `json:"share"`           // 0 to 1, of all answers, those in which it comes first; of all endpoints together 1
	Drawn     *int     `json:"drawn,omitempty"` // in how many of the answers drawn it comes first; absent: not drawn, and of SRV and MX
	Out       string   `json:"out,omitempty"`
	AsIfUp    string   `json:"asIfUp,omitempty"` // why it would be left out, were not all pools down
	Held      string   `json:"held,omitempty"`   // what was seen and is not followed, because the brake holds
	Note      string   `json:"note,omitempty"`   // what slow start does to its weight, or would
}

// ExampleAnswer is one answer that the client may get.
type ExampleAnswer struct {
	Type    string   `json:"type"`
	TTL     int      `json:"ttl"`               // seconds
	TTLFrom string   `json:"ttlFrom,omitempty"` // what set it: "rule europe", "service"; an older edge does not say
	Records []string `json:"records"`
}
