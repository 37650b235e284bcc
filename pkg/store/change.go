package store

import (
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// Change is a tenant's next generation.
type Change struct {
	Tenant string
	// Base is the head that the change was planned on; 0: the tenant has none yet.
	Base state.Generation
	// Reads are the heads of other tenants that the change relies on; 0: must not exist.
	Reads map[string]state.Generation
	// IDs identify Base (under Tenant) and Reads, as far as they are known.
	IDs map[string]string
	// Put and Delete must all belong to Tenant, and name a key at most once.
	Put    []*spec.Resource
	Delete []spec.Key

	Author, Message string
	Time            time.Time
}
