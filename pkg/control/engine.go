package control

import (
	"context"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
)

// Store is what control itself needs of a *store.Client.
type Store interface {
	Edges(ctx context.Context) ([]store.Edge, error)
	History(ctx context.Context, tenant string, limit int) ([]store.Record, error)
	Accept(ctx context.Context, author string) error
}

// changes carries out changes.
type changes interface {
	apply(ctx context.Context, c change) (*api.ApplyReply, error)
	weights(ctx context.Context, tenant, pool string, weights map[string]int, c change) (*api.ApplyReply, error)
	drain(ctx context.Context, d drain, c change) (*api.ApplyReply, error)
	undrain(ctx context.Context, d drain, c change) (*api.ApplyReply, error)
	rollback(ctx context.Context, tenant string, to store.Generation, c change) (*api.ApplyReply, error)
}

// change is what somebody wants to be different.
type change struct {
	put             []*spec.Resource
	remove          []spec.Key
	author, message string
	dryRun          bool
	expect          map[string]uint64
}

// drain names what is drained, and until when; a zero until means until somebody ends it.
type drain struct {
	tenant, pool, endpoint, reason string
	until                          time.Time
}
