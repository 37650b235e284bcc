package api

import "time"

// EdgeDemand is who asked an edge for what, at GET /edge/demand.
type EdgeDemand struct {
	Edge    string    `json:"edge"`
	Started time.Time `json:"started"`
	Counts  []byte    `json:"counts"` // as pkg/demand writes them
}

// Demand is who asks for what, as edges sampled it: queries of about a day, of which new ones count more than old ones.
type Demand struct {
	Edges []DemandEdge `json:"edges" doc:"those whose counts are in it"`
	// Tenants are those that have services which were asked for, by name; Services those of them, most queries first.
	Tenants  []DemandOf `json:"tenants"`
	Services []DemandOf `json:"services"`
	More     int        `json:"more,omitempty" doc:"how many more services were asked for"`
}

// DemandEdge is an edge that counted queries.
type DemandEdge struct {
	ID    string    `json:"id"`
	Heard time.Time `json:"heard" doc:"when it told last what it counted"`
}

// DemandOf is who asks for one thing.
type DemandOf struct {
	Tenant  string  `json:"tenant"`
	Service string  `json:"service,omitempty"`
	Queries float64 `json:"queries" doc:"of about a day, as samples stand for them"`
	Samples float64 `json:"samples" doc:"by how many of them"`
	// Enough: plans weigh it by its own queries.
	Enough bool      `json:"enough" doc:"there are enough samples to weigh its clients by them"`
	Edges  int       `json:"edges"`
	Newest time.Time `json:"newest" doc:"when an edge that counted any told so last"`
	// Countries are those with most queries.
	Countries []DemandCountry `json:"countries"`
}

// DemandCountry is the part of the queries that came from a country.
type DemandCountry struct {
	Country string  `json:"country" doc:"empty: it is not known"`
	Share   float64 `json:"share"`
}

// WeighedBy tells by what the clients of a service are weighed.
type WeighedBy struct {
	By      string    `json:"by" enum:"service,tenant,users" doc:"its own queries, those of all services of its tenant, or Internet users"`
	Queries float64   `json:"queries,omitempty" doc:"of about a day, as samples stand for them"`
	Samples float64   `json:"samples,omitempty"`
	Edges   int       `json:"edges,omitempty" doc:"that saw them"`
	Newest  time.Time `json:"newest,omitzero" doc:"when the last of them told so"`
}

// TenantEffect is what a change does to the answers of all services of a tenant together.
type TenantEffect struct {
	Tenant  string  `json:"tenant"`
	Queries float64 `json:"queries" doc:"of about a day"`
	Moved   float64 `json:"moved" doc:"the part of them that comes from another pool than before, or not at all"`
}
