package compile

import (
	"net/netip"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/names"
)

// Targets lists what must be resolved, in any order. It is right after Compile.
func (c *Compiler) Targets() []Target {
	seen := map[Target]bool{}
	var out []Target
	for _, l := range c.alias.leads {
		if l.outside && !seen[l.target] {
			seen[l.target] = true
			out = append(out, l.target)
		}
	}
	return out
}

// SetResolved says what a target was resolved to; nil: that is not known. r must not be changed later.
func (c *Compiler) SetResolved(t Target, r *Resolved) {
	was, fresh := c.alias.resolved[t], map[health.PoolID]string{}
	if r == nil {
		delete(c.alias.resolved, t)
	} else {
		c.alias.resolved[t] = r
		c.setAddresses(t.pool(everywhere), r.Addresses, r.TTL)
		fresh[t.pool(everywhere)] = ""
		for _, p := range r.Places {
			if len(p.Addresses) > 0 {
				c.setAddresses(t.pool(p.Place), p.Addresses, r.TTL)
				fresh[t.pool(p.Place)] = p.Place
			}
		}
	}
	for id := range c.alias.places[t] {
		if _, stays := fresh[id]; !stays {
			c.alias.drop(id)
			c.dirty.pools[id] = true
		}
	}
	if sameRules := was != nil && r != nil && slices.EqualFunc(was.Places, r.Places, func(a, b PlaceResult) bool {
		return a.Place == b.Place && (len(a.Addresses) > 0) == (len(b.Addresses) > 0)
	}); !sameRules {
		host, err := names.Wire(t.Host)
		if err == nil {
			c.touchFollowers(host)
		}
	}
	if c.alias.places[t] = fresh; r == nil {
		delete(c.alias.places, t)
	}
}

// everywhere is the name of the pool for those that no other is for.
const everywhere = "everywhere"

// pool names the pool of a place. No tenant can have that name.
func (t Target) pool(place string) health.PoolID {
	return health.PoolID{Tenant: t.tenant(), Pool: place}
}

func (t Target) tenant() string {
	if t.By == "" {
		return "alias of " + t.Host
	}
	return "alias of " + t.Host + " by " + t.By
}

// ttlOf gives the most seconds that answers from a pool may have.
func (a *aliases) ttlOf(id health.PoolID) uint32 {
	if ttl, ok := a.ttls[id]; ok {
		return ttl
	}
	return table.AnyTTL
}

// drop forgets a pool.
func (a *aliases) drop(id health.PoolID) {
	delete(a.pools, id)
	delete(a.ttls, id)
}

// setAddresses declares a pool of addresses, and how long its answers hold at most.
func (c *Compiler) setAddresses(id health.PoolID, addresses []netip.Addr, ttl uint32) {
	old := c.alias.pools[id]
	if old != nil && c.alias.ttls[id] == ttl && slices.Equal(old.Spec.(*spec.Pool).Endpoints[0].Addresses, addresses) {
		return
	}
	c.alias.ttls[id] = ttl
	key := spec.Key{Tenant: id.Tenant, Kind: spec.KindPool, Name: id.Pool}
	c.alias.pools[id] = &spec.Resource{Key: key, Spec: &spec.Pool{Endpoints: []spec.Endpoint{{Name: "all", Addresses: addresses}}}}
	c.dirty.pools[id] = true
}

// poolResource gives what declares a pool.
func (c *Compiler) poolResource(id health.PoolID) *spec.Resource {
	if it, ok := c.items[spec.Key{Tenant: id.Tenant, Kind: spec.KindPool, Name: id.Pool}]; ok {
		return it.Resource
	}
	return c.alias.pools[id]
}

// serviceSpec gives what declares a service: a resource, or a zone's alias.
func (c *Compiler) serviceSpec(k spec.Key) *spec.Service {
	if it, ok := c.items[k]; ok {
		return it.Resource.Spec.(*spec.Service)
	}
	return c.alias.declared[k]
}

// setZoneAliases takes the aliases of a zone; nil: it is gone.
func (c *Compiler) setZoneAliases(zone spec.Key, r *spec.Resource) {
	fresh := map[spec.Key]*spec.Service{}
	if r != nil {
		for _, a := range spec.AliasServices(r) {
			fresh[a.Key] = a.Spec.(*spec.Service)
		}
	}
	for k, of := range c.alias.zones {
		if of == zone && fresh[k] == nil {
			delete(c.alias.zones, k)
			delete(c.alias.declared, k)
			c.dirty.services[k] = true
		}
	}
	for k, s := range fresh {
		c.alias.zones[k], c.alias.declared[k] = zone, s
		c.dirty.services[k] = true
	}
}

// follow notes where a service leads, if it has an alias.
func (c *Compiler) follow(k spec.Key) {
	old, had := c.alias.leads[k]
	var host string
	var err error
	s := c.serviceSpec(k)
	if s != nil && s.Alias != nil {
		host, err = names.Wire(s.Alias.To)
	}
	if had && old.host != host {
		delete(c.alias.followers[old.host], k)
		if len(c.alias.followers[old.host]) == 0 {
			delete(c.alias.followers, old.host)
		}
	}
	if s == nil || s.Alias == nil || err != nil {
		delete(c.alias.leads, k)
		return
	}
	alias := s.Effective().Alias
	c.alias.leads[k] = lead{host: host, target: Target{alias.To, alias.By}, outside: had && old.outside}
	if c.alias.followers[host] == nil {
		c.alias.followers[host] = map[spec.Key]bool{}
	}
	c.alias.followers[host][k] = true
}

// touchFollowers has the aliases that lead to host compiled anew.
func (c *Compiler) touchFollowers(host string) {
	for k := range c.alias.followers[host] {
		c.dirty.services[k] = true
	}
}

// touchFollowersIn has the aliases that lead to names of a zone compiled anew.
func (c *Compiler) touchFollowersIn(apex string) {
	for host := range c.alias.followers {
		if host == apex || names.IsBelow(host, apex) {
			c.touchFollowers(host)
		}
	}
}

// spread brings the aliases of what is dirty into what is dirty.
func (c *Compiler) spread() {
	keys := make([]spec.Key, 0, len(c.dirty.services))
	for k := range c.dirty.services {
		keys = append(keys, k)
	}
	for _, k := range keys {
		c.follow(k)
		if s := c.services[k]; s != nil {
			c.touchFollowers(s.host)
		}
		if s := c.serviceSpec(k); s != nil {
			if host, err := names.Wire(s.Host); err == nil {
				c.touchFollowers(host)
			}
		}
	}
}

// dropUnused forgets the pools of zones' content that no alias uses any more.
func (c *Compiler) dropUnused() {
	for id := range c.alias.content {
		if p := c.pools[id]; p == nil || len(p.users) == 0 {
			delete(c.alias.content, id)
			c.alias.drop(id)
			c.compileOnePool(id, time.Time{})
		}
	}
}
