package api

import "time"

// AuditStatus tells how the audit log of a control is.
type AuditStatus struct {
	Writer string `json:"writer"`          // the log's name
	First  uint64 `json:"first,omitempty"` // the oldest entry that is kept
	Last   uint64 `json:"last"`
	// Head is the hash of the last entry: who knows it knows later whether the log was changed up to there.
	Head  string `json:"head,omitempty"`
	Bytes int64  `json:"bytes,omitempty"`
	// Error tells why it cannot be written, or will not be for long; Since since when that is so or is over.
	Error string    `json:"error,omitempty"`
	Since time.Time `json:"since,omitzero"`
}
