package edge

import (
	"context"
	"sync/atomic"
	"time"
)

// clock tells the time in Unix seconds to the workers, who have no time to ask for it, and rings at a time. It is up to clockStep
// late. It goes by the time of day, as what expires does: a timer would not follow a clock that is set, or that ran on while the
// machine was stopped.
type clock struct {
	seconds atomic.Uint32
	alarm   atomic.Pointer[time.Time] // when to ring next; nil: never
	rings   chan struct{}             // has room for one
}

const clockStep = 250 * time.Millisecond

func (c *clock) set(now time.Time) {
	c.seconds.Store(uint32(now.Unix()))
	if at := c.alarm.Load(); at != nil && !now.Before(*at) && c.alarm.CompareAndSwap(at, nil) {
		select {
		case c.rings <- struct{}{}:
		default: // it rings already
		}
	}
}

// ringAt sets the time at which it rings; the zero time: it does not.
func (c *clock) ringAt(at time.Time) {
	if at.IsZero() {
		c.alarm.Store(nil)
		return
	}
	at = at.Round(0) // the time of day alone
	c.alarm.Store(&at)
}

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
