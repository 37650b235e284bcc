package prober

import (
	"time"

	"github.com/gti/gtm/pkg/health"
)

// What a prober writes to the store of what it sees, and the judge of verdicts. Each has a budget of its own, so that etcd's quota lasts
// whatever flaps: 20 minutes of history at totalRate are 300 MB for each writer. See docs/decisions/0121.
const (
	totalRate   = 256 << 10 // bytes a second in the long run, of all tenants together
	tenantRate  = 64 << 10  // likewise, of one
	totalBurst  = 64 << 20  // bytes at once
	tenantBurst = 16 << 20
	// A pool is written so many times at once, and then once in so long, as it is then; once in paceScarce where its tenant has less
	// than a quarter of its burst left: what a cut changes by and by is not written so often that it could not be told in time.
	paceBurst  = 8
	paceEvery  = 500 * time.Millisecond
	paceScarce = 2 * time.Second
	// wholeEvery is how often a large pool is written as a whole, which is all that programs go by that know no pieces, or not all of
	// them: as long as its tenant has half of its burst left, so that wholes never make changes late.
	wholeEvery = time.Minute
)

// budget shares what is written between tenants, and bounds how often a pool is. Those who stay within their share never wait for
// others. It is not safe for concurrent use. Make one with newBudget.
type budget struct {
	tenants map[string]*purse // those whose purse may not be full
	pools   map[health.PoolID]time.Time
}

// purse is what one tenant has left. It may be less than nothing, since what is written is not cut.
type purse struct {
	left float64
	at   time.Time // when left was right
}

func newBudget() *budget {
	return &budget{tenants: map[string]*purse{}, pools: map[health.PoolID]time.Time{}}
}

// share is what each of those has who write now.
func (b *budget) share() (rate, burst float64) {
	n := float64(max(1, len(b.tenants)))
	return min(tenantRate, totalRate/n), min(tenantBurst, totalBurst/n)
}

// fill gives a tenant's purse as of now.
func (b *budget) fill(tenant string, now time.Time) *purse {
	p := b.tenants[tenant]
	if p == nil {
		p = &purse{left: tenantBurst, at: now}
		b.tenants[tenant] = p
	}
	rate, burst := b.share()
	p.left, p.at = min(burst, p.left+rate*now.Sub(p.at).Seconds()), now
	return p
}

// pay takes so many bytes of a tenant; less than 0 gives back.
func (b *budget) pay(tenant string, bytes int, now time.Time) {
	b.fill(tenant, now).left -= float64(bytes)
}

// count notes that a pool is written.
func (b *budget) count(id health.PoolID, now time.Time) {
	at := b.pools[id]
	if at.Before(now) {
		at = now
	}
	every := paceEvery
	if !b.has(id.Tenant, 4, now) {
		every = paceScarce
	}
	b.pools[id] = at.Add(every)
}

// waitTenant tells how long a tenant must wait until it may write; 0: it may.
func (b *budget) waitTenant(tenant string, now time.Time) time.Duration {
	if b.tenants[tenant] == nil {
		return 0
	}
	p := b.fill(tenant, now)
	if p.left > 0 {
		return 0
	}
	rate, _ := b.share()
	return time.Duration((1 - p.left) / rate * float64(time.Second))
}

// ample reports whether a tenant has enough left for what can wait: half of its burst.
func (b *budget) ample(tenant string, now time.Time) bool { return b.has(tenant, 2, now) }

// has reports whether a tenant has one of so many parts of its burst left.
func (b *budget) has(tenant string, parts float64, now time.Time) bool {
	if b.tenants[tenant] == nil {
		return true
	}
	_, burst := b.share()
	return b.fill(tenant, now).left >= burst/parts
}

// waitPool tells how long a pool must wait for its pace.
func (b *budget) waitPool(id health.PoolID, now time.Time) time.Duration {
	at, is := b.pools[id]
	if !is {
		return 0
	}
	return max(0, at.Sub(now)-(paceBurst-1)*paceEvery)
}

// wait is both.
func (b *budget) wait(id health.PoolID, now time.Time) time.Duration {
	return max(b.waitPool(id, now), b.waitTenant(id.Tenant, now))
}

// tidy forgets those who have not written for so long that it makes no difference.
func (b *budget) tidy(now time.Time) {
	for tenant := range b.tenants {
		if _, burst := b.share(); b.fill(tenant, now).left >= burst {
			delete(b.tenants, tenant)
		}
	}
	for id, at := range b.pools {
		if !at.After(now) {
			delete(b.pools, id)
		}
	}
}

// backoff is when something that failed is tried again.
type backoff struct {
	until time.Time
	pause time.Duration
}

// after gives the next one, which waits twice as long, within least and most.
func (b backoff) after(now time.Time, least, most time.Duration) backoff {
	b.pause = min(max(2*b.pause, least), most)
	b.until = now.Add(b.pause)
	return b
}
