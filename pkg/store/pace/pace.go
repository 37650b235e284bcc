// Package pace bounds how much is written to the store, and has tenants share that.
package pace

import (
	"time"

	"github.com/gti/gtm/pkg/health"
)

// What a prober writes to the store of what it sees, the judge of verdicts, and control of signals. Each has a budget of its own, so that
// etcd's quota lasts whatever flaps: 20 minutes of history at TotalRate are 300 MB for each writer. See docs/decisions/0121.
const (
	TotalRate   = 256 << 10 // bytes a second in the long run, of all tenants together
	TenantRate  = 64 << 10  // likewise, of one
	TotalBurst  = 64 << 20  // bytes at once
	TenantBurst = 16 << 20
	// A pool is written so many times at once, and then once in so long, as it is then; once in PoolScarce where its tenant has less
	// than a quarter of its burst left: what a cut changes by and by is not written so often that it could not be told in time.
	PoolBurst  = 8
	PoolEvery  = 500 * time.Millisecond
	PoolScarce = 2 * time.Second
)

// Budget shares what is written between tenants, and bounds how often a pool is. Those who stay within their share never wait for
// others. It is not safe for concurrent use. Make one with New.
type Budget struct {
	tenants map[string]*purse // those whose purse may not be full
	pools   map[health.PoolID]time.Time
}

// purse is what one tenant has left. It may be less than nothing, since what is written is not cut.
type purse struct {
	left float64
	at   time.Time // when left was right
}

// New makes a budget of which nothing is used.
func New() *Budget {
	return &Budget{tenants: map[string]*purse{}, pools: map[health.PoolID]time.Time{}}
}

// share is what each of those has who write now.
func (b *Budget) share() (rate, burst float64) {
	n := float64(max(1, len(b.tenants)))
	return min(TenantRate, TotalRate/n), min(TenantBurst, TotalBurst/n)
}

// fill gives a tenant's purse as of now.
func (b *Budget) fill(tenant string, now time.Time) *purse {
	p := b.tenants[tenant]
	if p == nil {
		p = &purse{left: TenantBurst, at: now}
		b.tenants[tenant] = p
	}
	rate, burst := b.share()
	p.left, p.at = min(burst, p.left+rate*now.Sub(p.at).Seconds()), now
	return p
}

// Pay takes so many bytes of a tenant; less than 0 gives back.
func (b *Budget) Pay(tenant string, bytes int, now time.Time) {
	b.fill(tenant, now).left -= float64(bytes)
}

// Count notes that a pool is written.
func (b *Budget) Count(id health.PoolID, now time.Time) {
	at := b.pools[id]
	if at.Before(now) {
		at = now
	}
	every := PoolEvery
	if !b.has(id.Tenant, 4, now) {
		every = PoolScarce
	}
	b.pools[id] = at.Add(every)
}

// WaitTenant tells how long a tenant must wait until it may write; 0: it may.
func (b *Budget) WaitTenant(tenant string, now time.Time) time.Duration {
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

// Ample reports whether a tenant has enough left for what can wait: half of its burst.
func (b *Budget) Ample(tenant string, now time.Time) bool { return b.has(tenant, 2, now) }

// has reports whether a tenant has one of so many parts of its burst left.
func (b *Budget) has(tenant string, parts float64, now time.Time) bool {
	if b.tenants[tenant] == nil {
		return true
	}
	_, burst := b.share()
	return b.fill(tenant, now).left >= burst/parts
}

// WaitPool tells how long a pool must wait for its pace.
func (b *Budget) WaitPool(id health.PoolID, now time.Time) time.Duration {
	at, is := b.pools[id]
	if !is {
		return 0
	}
	return max(0, at.Sub(now)-(PoolBurst-1)*PoolEvery)
}

// Wait is both.
func (b *Budget) Wait(id health.PoolID, now time.Time) time.Duration {
	return max(b.WaitPool(id, now), b.WaitTenant(id.Tenant, now))
}

// Tidy forgets those who have not written for so long that it makes no difference.
func (b *Budget) Tidy(now time.Time) {
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
