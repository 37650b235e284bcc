package compile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
)

// Apply takes news. Nothing is compiled before the next Compile.
func (c *Compiler) Apply(ch Change) {
	if ch.Full {
		c.forget(&ch)
	}
	c.dirty.faults = c.dirty.faults || ch.Full || len(ch.Tenants) > 0
	for _, t := range ch.Tenants {
		if c.heads[t.Tenant] != t.Head {
			c.heads[t.Tenant] = t.Head
			c.dirty.heads = true
		}
		for _, k := range t.Deleted {
			c.drop(k)
		}
		for _, it := range t.Put {
			c.put(it)
		}
		for _, b := range t.Broken {
			c.unread[b.Key] = b.Err
			c.dirty.zoneList = c.dirty.zoneList || b.Key.Kind == spec.KindZone
		}
	}
	for i := range ch.Verdicts {
		v := &ch.Verdicts[i]
		c.verdicts[v.Pool] = v
		c.touchJudged(v.Pool)
	}
	for _, id := range ch.VerdictsDeleted {
		delete(c.verdicts, id)
		c.touchJudged(id)
	}
}

// touchJudged has the pool compiled anew that a verdict is on.
func (c *Compiler) touchJudged(id health.PoolID) {
	id, _ = id.Declared()
	c.dirty.pools[id] = true
}

// forget drops what a full change does not mention.
func (c *Compiler) forget(ch *Change) {
	keep := map[spec.Key]bool{}
	tenants := map[string]bool{}
	for _, t := range ch.Tenants {
		tenants[t.Tenant] = true
		for _, it := range t.Put {
			keep[it.Resource.Key] = true
		}
		for _, b := range t.Broken {
			keep[b.Key] = true
		}
	}
	for k := range c.items {
		if !keep[k] {
			c.drop(k)
		}
	}
	for t := range c.heads {
		if !tenants[t] {
			delete(c.heads, t)
			c.dirty.heads = true
		}
	}
	told := map[health.PoolID]bool{}
	for _, id := range ch.VerdictsBroken {
		told[id] = true
	}
	for i := range ch.Verdicts {
		told[ch.Verdicts[i].Pool] = true
	}
	for id := range c.verdicts {
		if !told[id] {
			delete(c.verdicts, id)
			c.touchJudged(id)
		}
	}
}

func (c *Compiler) put(it Item) {
	k := it.Resource.Key
	old, had := c.items[k]
	delete(c.unread, k)
	if had && old.Generation == it.Generation && old.Resource == it.Resource {
		return
	}
	c.items[k] = it
	c.touch(it)
	if had {
		c.dropOverride(k, old)
	}
	if o, ok := it.Resource.Spec.(*spec.Override); ok {
		c.addOverride(k, o)
	}
}

// touch has compiled anew what an item that came or went is part of; overrides are looked after by put and drop.
func (c *Compiler) touch(it Item) {
	switch k := it.Resource.Key; it.Resource.Spec.(type) {
	case *spec.Zone:
		c.dirty.zones[k.Name] = true
	case *spec.Map:
		c.dirty.maps = true
	case *spec.Site:
		c.touchSite(k.Name)
	case *spec.Policy:
		c.touchPolicy(k)
	case *spec.Pool:
		c.dirty.pools[health.PoolID{Tenant: k.Tenant, Pool: k.Name}] = true
	case *spec.Service:
		c.dirty.services[k] = true
		for id := range c.needed.services[k] {
			c.dirty.pools[id] = true
		}
	}
}

func (c *Compiler) drop(k spec.Key) {
	old, had := c.items[k]
	delete(c.unread, k)
	if !had {
		return
	}
	delete(c.items, k)
	c.touch(old)
	c.dropOverride(k, old)
}

func (c *Compiler) addOverride(k spec.Key, o *spec.Override) {
	if o.Hold != nil {
		c.putHold(k, o)
		return
	}
	if o.Service != "" {
		service := spec.Key{Tenant: k.Tenant, Kind: spec.KindService, Name: o.Service}
		if c.shifts[service] == nil {
			c.shifts[service] = map[spec.Key]*spec.Override{}
		}
		c.shifts[service][k] = o
		c.dirty.services[service] = true
		return
	}
	id := health.PoolID{Tenant: k.Tenant, Pool: o.Pool}
	if c.overrides[id] == nil {
		c.overrides[id] = map[spec.Key]*spec.Override{}
	}
	c.overrides[id][k] = o
	c.dirty.pools[id] = true
}

func (c *Compiler) dropOverride(k spec.Key, old Item) {
	o, ok := old.Resource.Spec.(*spec.Override)
	switch {
	case !ok:
	case o.Hold != nil:
		c.dropHold(k, o)
	case o.Service != "":
		service := spec.Key{Tenant: k.Tenant, Kind: spec.KindService, Name: o.Service}
		delete(c.shifts[service], k)
		c.dirty.services[service] = true
	default:
		id := health.PoolID{Tenant: k.Tenant, Pool: o.Pool}
		delete(c.overrides[id], k)
		c.dirty.pools[id] = true
	}
}

// Compile makes a View of all that was applied. It always succeeds: what cannot be compiled keeps its last good
// form, or is not served if it never had one, and is listed as broken. next is when an override begins, ends or comes to its next
// step, or something else changes by the clock, and Compile should run again; zero: never.
func (c *Compiler) Compile(now time.Time) (v *table.View, broken []Broken, next time.Time) {
	c.now = now
	c.CatchUp()
	c.turnDay(now)
	c.compileMaps()
	for id, at := range c.expiring {
		if !now.Before(at) {
			c.dirty.pools[id] = true
		}
	}
	c.turnHolds(now)
	for k, at := range c.shifting {
		if !now.Before(at) {
			c.dirty.services[k] = true
		}
	}
	if c.dirty.heads {
		c.headsView = maps.Clone(c.heads)
	}
	c.compilePools(now)
	c.compileZoneContent()
	c.compileServices()
	c.compileDefaults()
	c.compileZones()
	if len(c.dirty.services) > 0 {
		c.listCounted()
	}
	c.serial++
	v = &table.View{Serial: c.serial, Published: now, Atlas: c.atlas, Maps: c.maps, Seed: c.cfg.Seed, Heads: c.headsView,
		Top: c.top, Depths: c.depths, ZoneList: c.zoneList, Served: c.served, PartList: slices.Clone(c.partList),
		Distances: c.distances(),
		Services:  c.serviceSlots.Freeze(), Nodes: c.nodeSlots.Freeze(),
		Serving: len(c.hosts), Counted: c.counted, Acts: c.acts, Held: c.heldNow()}
	next = c.nextHold(c.nextDay())
	for _, at := range c.expiring {
		next = sooner(next, at)
	}
	for _, at := range c.shifting {
		next = sooner(next, at)
	}
	if c.dirty.faults || len(c.dirty.services)+len(c.dirty.zones) > 0 || c.dirty.maps || c.dirty.heads {
		c.faults = c.broken() // a verdict alone breaks and mends nothing: it costs no walk over everything
	}
	c.touched = c.dirty
	c.dirty.reset()
	return v, slices.Clone(c.faults), next
}

// maxCounted bounds how many services have series of their own; the first by name get them.
const maxCounted = 1000

func (c *Compiler) listCounted() {
	c.counted = nil
	for s := range c.counting {
		if s.attached {
			c.counted = append(c.counted, s.compiled.Counting)
		}
	}
	slices.SortFunc(c.counted, func(a, b *table.ServiceCounts) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Service, b.Service))
	})
	c.counted = c.counted[:min(len(c.counted), maxCounted)]
}

// broken lists what is not served as declared, sorted.
func (c *Compiler) broken() []Broken {
	var out []Broken
	for k, err := range c.unread {
		out = append(out, Broken{k, err, c.form(k)})
	}
	for k, err := range c.empty {
		out = append(out, Broken{k, err, Nothing})
	}
	for _, z := range c.zones {
		if z.err != nil {
			out = append(out, Broken{z.key, z.err, c.form(z.key)})
		} else if z.compiled != nil {
			for _, p := range z.compiled.Problems {
				out = append(out, Broken{z.key, fmt.Errorf("%s", p), TheRest})
			}
		}
	}
	for p := range c.failingPools {
		k := spec.Key{Tenant: p.id.Tenant, Kind: spec.KindPool, Name: p.id.Pool}
		out = append(out, Broken{k, p.err, c.form(k)})
	}
	for s := range c.failing {
		k := s.key
		if zone, ok := c.alias.zones[k]; ok {
			out = append(out, Broken{zone, fmt.Errorf("alias %s: %w", k.Name, s.err), c.form(k)})
			continue
		}
		out = append(out, Broken{k, s.err, c.form(k)})
	}
	slices.SortFunc(out, func(a, b Broken) int {
		return cmp.Or(a.Key.Compare(b.Key), cmp.Compare(a.Err.Error(), b.Err.Error()))
	})
	return out
}

// form tells whether a resource whose newest version is broken is served in its last good form.
func (c *Compiler) form(k spec.Key) Form {
	good := false
	switch k.Kind {
	case spec.KindZone:
		z := c.zones[k.Name]
		good = z != nil && z.compiled != nil
	case spec.KindMap:
		good = slices.ContainsFunc(c.maps, func(m geo.Map) bool { return m.Name == k.Name })
	case spec.KindPool:
		p := c.pools[health.PoolID{Tenant: k.Tenant, Pool: k.Name}]
		good = p != nil && p.state != nil
	case spec.KindService:
		s := c.services[k]
		good = s != nil && s.compiled != nil && s.attached
	default:
		_, good = c.items[k]
	}
	if good {
		return LastGood
	}
	return Nothing
}

// Touched gives the names that the last Compile touched, in order, as far as what they belong to is still declared.
func (c *Compiler) Touched() (list []Name) {
	services := maps.Clone(c.touched.services)
	for id := range c.touched.pools {
		if p := c.pools[id]; p != nil {
			for s := range p.users {
				services[s.key] = true
			}
		}
	}
	for k := range services {
		if s := c.services[k]; s != nil && s.compiled != nil {
			eff := s.compiled.Spec
			may := eff.AllDown == spec.AllDownServfail || s.compiled.Is.Has(table.Pending)
			list = append(list, Name{Key: k, Host: eff.Host, MayFail: may})
		}
	}
	for name := range c.touched.zones {
		if z := c.zones[name]; z != nil {
			list = append(list, Name{Key: z.key, Host: name, Apex: true, MayFail: z.res == nil || len(z.res.Primaries) > 0})
		}
	}
	slices.SortFunc(list, func(a, b Name) int { return cmp.Or(a.Key.Compare(b.Key), cmp.Compare(a.Host, b.Host)) })
	return list
}
