package events

import (
	"context"
	"fmt"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/past"
)

// mostRecords is how many changes of a tenant are looked at that control hears of at once: the newest.
const mostRecords = 100

// brokenGlass gives the events of changes that guards did not stop. It reads the record of each change once.
func (r *Recorder) brokenGlass(ctx context.Context, moved []past.Moved) (list []api.Event) {
	if r.cfg.History == nil {
		return nil
	}
	for _, m := range moved {
		ctx, cancel := context.WithTimeout(ctx, askTime)
		records, err := r.cfg.History(ctx, m.Tenant, int(min(m.Is-m.Was, mostRecords)))
		cancel()
		if err != nil {
			r.cfg.Logger.Error("whether a guard was passed over is not known: the records of changes cannot be read", "tenant", m.Tenant,
				"from", m.Was+1, "to", m.Is, "error", err)
			continue
		}
		for i := range records {
			rec := &records[i]
			if rec.BreakGlass == "" || rec.Generation <= m.Was {
				continue
			}
			e := Subject{Kind: api.EventChange, Tenant: m.Tenant}.event(rec.Time, api.Guarded, api.BrokenGlass)
			e.Reason = fmt.Sprintf("%s@%d by %s: %s (%s)", m.Tenant, rec.Generation, rec.Author, rec.BreakGlass, rec.Message)
			identify(&e, rec.ID)
			list = append(list, e)
		}
	}
	return list
}
