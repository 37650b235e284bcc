package prober

import (
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// Declared gives what the brake must know of a tenant's pools, as the judge reads it from its resources and those of the platform.
func Declared(resources, platform state.Resources, now time.Time) map[health.PoolID]health.Declared {
	return makePlan(resources, platform, nil).declared(nil, now)
}

// Brake gives the brake of a tenant; own and platform are nil where nothing is set.
func Brake(own, platform *spec.Tenant) health.Brake { return brakeOf(own, platform) }
