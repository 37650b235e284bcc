package compile

import (
	"maps"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/draws"
)

// need notes what a pool depends on as it is declared now.
func (c *Compiler) need(id health.PoolID, p *poolState) {
	if len(p.onPools)+len(p.onServices) == 0 && (p.spec == nil || len(p.spec.Depends) == 0) {
		return
	}
	for _, on := range p.onPools {
		unlink(c.needed.pools, on, id)
	}
	for _, on := range p.onServices {
		unlink(c.needed.services, on, id)
	}
	if p.needs = (needs{}); p.spec == nil {
		return
	}
	for _, d := range p.spec.Depends {
		names := []string{d.Pool}
		if d.Service != "" {
			k := spec.Key{Tenant: id.Tenant, Kind: spec.KindService, Name: d.Service}
			p.onServices = append(p.onServices, k)
			link(c.needed.services, k, id)
			names = c.rulePools(k)
		}
		for _, name := range names {
			on := health.PoolID{Tenant: id.Tenant, Pool: name}
			p.onPools = append(p.onPools, on)
			link(c.needed.pools, on, id)
		}
	}
}

func link[K comparable](m map[K]map[health.PoolID]bool, on K, id health.PoolID) {
	if m[on] == nil {
		m[on] = map[health.PoolID]bool{}
	}
	m[on][id] = true
}

func unlink[K comparable](m map[K]map[health.PoolID]bool, on K, id health.PoolID) {
	if delete(m[on], id); len(m[on]) == 0 {
		delete(m, on)
	}
}

// rulePools gives the pools of a service's rules; none where it is not declared.
func (c *Compiler) rulePools(k spec.Key) []string {
	if s := c.serviceSpec(k); s != nil {
		return s.RulePools()
	}
	return nil
}

// downBy says with which of its dependencies a pool is down for clients of a region; empty: with none.
func (c *Compiler) downBy(id health.PoolID, declared *spec.Pool, region string) string {
	if len(declared.Depends) == 0 {
		return ""
	}
	return steer.DownBy(declared, func(pool string) *steer.Pool {
		if p := c.pools[health.PoolID{Tenant: id.Tenant, Pool: pool}]; p != nil && p.spec != nil {
			return p.stateFor(region)
		}
		return nil
	}, func(service string) []string {
		return c.rulePools(spec.Key{Tenant: id.Tenant, Kind: spec.KindService, Name: service})
	})
}

// noteDown notes that others must hear of a pool, if it is not down as it was.
func (c *Compiler) noteDown(id health.PoolID, was string) {
	if len(c.needed.pools[id]) > 0 && c.whyDown(id) != was {
		c.needed.news[id] = true
	}
}

// maxRounds is above the length of every chain of pools that may be declared.
const maxRounds = 16

// compileDependents compiles the pools anew that depend on what went up or down, and those that depend on these. An order is not
// needed: whoever was compiled too early is compiled once more.
func (c *Compiler) compileDependents(now time.Time) {
	for n := 0; n < maxRounds && len(c.needed.news) > 0; n++ {
		round := map[health.PoolID]bool{}
		for id := range c.needed.news {
			maps.Copy(round, c.needed.pools[id])
		}
		clear(c.needed.news)
		for id := range round {
			c.compileOnePool(id, now)
		}
	}
}

// ask has a pool tell whether it is unsure, where draws of a form want to know.
func (c *Compiler) ask(p *poolState, form draws.Form) error {
	if form.TTLUnsure == 0 || p.asked {
		return nil
	}
	p.asked = true
	return c.compilePool(p.id, p, c.now)
}

// countActs counts what moves a pool's traffic by itself; nil: the pool is gone.
func (c *Compiler) countActs(p *poolState, now *steer.Pool) {
	if len(p.acts) == 0 && (now == nil || len(now.Acts()) == 0) {
		return
	}
	c.acts = maps.Clone(c.acts) // views have the one before
	for _, act := range p.acts {
		c.acts[table.Act{What: act.What, Mode: act.Mode}]--
	}
	if p.acts = nil; now != nil {
		p.acts = now.Acts()
	}
	for _, act := range p.acts {
		c.acts[table.Act{What: act.What, Mode: act.Mode}]++
	}
}

// leafOf gives the leaf that draws from draw.
func (d *drawState) leafOf(draw *draws.Draw) table.Node {
	n := table.LeafOf(draw, d.pool.ttl, d.form.Hashing)
	if d.form.TTLUnsure > 0 && draw.Pool.Unsure() != "" {
		n.TTL = min(n.TTL, d.form.TTLUnsure-1)
	}
	return n
}

// heldService gives the service that an override of that key holds.
func heldService(k spec.Key, o *spec.Override) spec.Key {
	return spec.Key{Tenant: k.Tenant, Kind: spec.KindService, Name: o.Service}
}

func (c *Compiler) putHold(k spec.Key, o *spec.Override) {
	service := heldService(k, o)
	if c.holds[service] == nil {
		c.holds[service] = &holds{all: map[spec.Key]*spec.Override{}}
	}
	c.holds[service].all[k] = o
	c.dirty.services[service] = true
}

func (c *Compiler) dropHold(k spec.Key, o *spec.Override) {
	service := heldService(k, o)
	delete(c.holds[service].all, k)
	c.dirty.services[service] = true
}

// turnHolds finds out which holds are in force now. Services whose hold changed are compiled anew.
func (c *Compiler) turnHolds(now time.Time) {
	for service, h := range c.holds {
		was := h.now
		h.now, h.end = nil, time.Time{}
		for _, k := range slices.SortedFunc(maps.Keys(h.all), spec.Key.Compare) {
			term := h.all[k].At(now)
			if h.end = sooner(h.end, term.Next); term.Holds {
				h.now = h.all[k]
				break
			}
		}
		if h.now != was {
			c.dirty.services[service] = true
		}
		if len(h.all) == 0 {
			delete(c.holds, service)
		}
	}
}

// nextHold gives the earlier of next, zero for never, and when a hold ends.
func (c *Compiler) nextHold(next time.Time) time.Time {
	for _, h := range c.holds {
		if !h.end.IsZero() && (next.IsZero() || h.end.Before(next)) {
			next = h.end
		}
	}
	return next
}

// heldNow counts what is held.
func (c *Compiler) heldNow() (n table.Held) {
	for k, h := range c.holds {
		s := c.services[k]
		if h.now == nil || s == nil {
			continue
		}
		n.Services++
		for _, p := range s.uses {
			if p.isApart(h.now) {
				n.Apart++
			}
		}
	}
	return n
}

// isApart reports whether the pool would be another one without a hold, for all clients or for those of a region.
func (p *poolState) isApart(hold *spec.Override) bool {
	for form, d := range p.draws {
		if form.Held == hold && d.apart {
			return true
		}
	}
	return false
}
