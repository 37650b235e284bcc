package edge

import (
	"context"
	"sync/atomic"
	"time"
)

// clock tells the time in Unix seconds to the workers, who have no time to ask for it. It is up to clockStep late.
type clock struct {
	seconds atomic.Uint32
}

const clockStep = 250 * time.Millisecond

func (c *clock) set(now time.Time) { c.seconds.Store(uint32(now.Unix())) }

// run sets the clock until ctx ends.
func (c *clock) run(ctx context.Context, now func() time.Time) {
	tick := time.NewTicker(clockStep)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.set(now())
		}
	}
}
