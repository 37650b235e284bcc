package change

import (
	"context"
	"fmt"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// TooManyError: a tenant makes more changes an hour than its quota has. Nothing was made.
type TooManyError struct {
	Tenant string
	Limit  int
	Wait   time.Duration // then one more can be made
	Ask    string        // whom, for more
}

func (e *TooManyError) Error() string {
	return fmt.Sprintf("%s made %d changes within the last hour, as many as its quota allows: try again in %s, or %s", e.Tenant, e.Limit,
		e.Wait.Round(time.Second), e.Ask)
}

// mayChange refuses a change of a tenant that made as many within the last hour as it may. History tells that, to all controls alike: the
// change that is as many back is within the hour.
func (c *Changer) mayChange(ctx context.Context, p *Plan) error {
	if p.in.Unbounded {
		return nil
	}
	now := c.cfg.Now()
	platform := platformOf(p.state)
	for _, tenant := range tenantsOf(p) {
		limit := spec.EffectiveQuota(platform, tenant).Changes
		head := p.state.Head(tenant)
		if tenant == spec.Platform || uint64(head) < uint64(limit) {
			continue
		}
		at, err := c.cfg.Store.MadeAt(ctx, tenant, head-state.Generation(limit)+1)
		if err != nil {
			return err
		}
		if wait := at.Add(time.Hour).Sub(now); wait > 0 {
			return &TooManyError{Tenant: tenant, Limit: limit, Wait: wait, Ask: spec.AskToRaise(platform, tenant, "changes")}
		}
	}
	return nil
}
