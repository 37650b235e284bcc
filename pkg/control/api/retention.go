package api

import "time"

// Retention is what the store keeps of the past, and how it is done by this control.
type Retention struct {
	For         string `json:"for"`         // how long a generation stays after another took its place: "720h0m0s"
	Generations int    `json:"generations"` // how many of each tenant stay at least
	// Pruner reports whether this control is elected to remove what is older.
	Pruner bool `json:"pruner,omitempty"`
	// Removed are generations, and Runs pieces of zone content, that it removed since it was started.
	Removed uint64 `json:"removed,omitempty"`
	Runs    uint64 `json:"runs,omitempty"`
	// Error tells why it cannot, Since since when that is so or is over.
	Error string    `json:"error,omitempty"`
	Since time.Time `json:"since,omitzero"`
}
