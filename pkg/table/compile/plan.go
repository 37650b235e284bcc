package compile

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/draws"
	"github.com/gti/gtm/pkg/table/rr"
	"github.com/gti/gtm/pkg/table/zones"
	"github.com/gti/gtm/pkg/zone"
)

// planOf gives the plan of a service. An alias is compiled from the rules of what it leads to, as if they were its own.
func (c *Compiler) planOf(k spec.Key, declared *spec.Service) (*plan, error) {
	eff := declared.Effective()
	if eff.Alias == nil {
		p := &plan{eff: &eff, tenant: k.Tenant, rules: k}
		c.shift(k, p)
		return p, nil
	}
	l, ok := c.alias.leads[k]
	if !ok {
		return nil, fmt.Errorf("alias: %q is no host", eff.Alias.To)
	}
	z := c.zoneOf(l.host)
	l.outside = z == nil || delegates(z.static, l.host)
	c.alias.leads[k] = l
	switch owner, steered := c.hosts[l.host]; {
	case l.outside:
		return c.planOutside(&eff, l.target)
	case steered:
		return c.planSteered(k, &eff, owner, declared.TTL)
	}
	return c.planContent(&eff, z, l.host)
}

// planSteered leads to a service, in the form in which that is served. Beside addresses only HTTPS goes with it: what SVCB
// stands for is told by its owner's name.
func (c *Compiler) planSteered(k spec.Key, eff *spec.Service, owner spec.Key, ttl *spec.Duration) (*plan, error) {
	s := c.services[owner]
	switch {
	case owner == k:
		return nil, fmt.Errorf("alias: it leads to itself")
	case s == nil || s.compiled == nil || !s.attached:
		return nil, fmt.Errorf("alias: %s of %s is not served", eff.Alias.To, owner)
	case s.compiled.Spec.Alias != nil:
		return nil, fmt.Errorf("alias: %s is an alias itself: name %s in its place", eff.Alias.To, s.compiled.Spec.Alias.To)
	case !s.compiled.Serves(rr.IPv4) && !s.compiled.Serves(rr.IPv6):
		return nil, fmt.Errorf("alias: %s (%s) has no addresses", eff.Alias.To, owner)
	case k.Tenant != spec.Platform && k.Tenant != owner.Tenant:
		return nil, fmt.Errorf("alias: %s belongs to %s: a service's alias leads to its own tenant's", eff.Alias.To, owner)
	}
	as := *s.compiled.Spec
	as.Host, as.Alias, as.Metrics, as.SVCB = eff.Host, eff.Alias, eff.Metrics, nil
	return &plan{eff: &as, tenant: owner.Tenant, rules: owner, aliasOf: owner.Tenant + "/" + owner.Name, ttl: ttl,
		order: s.compiled.Order}, nil
}

// shift gives the pools of rules the weights that overrides have them have at present.
func (c *Compiler) shift(k spec.Key, p *plan) {
	shifts := c.shifts[k]
	if len(shifts) == 0 {
		return
	}
	keys := slices.SortedFunc(maps.Keys(shifts), spec.Key.Compare)
	p.order = make([][]string, len(p.eff.Rules))
	for i := range p.eff.Rules {
		r := &p.eff.Rules[i]
		p.order[i] = p.eff.PoolsOf(r.Pools)
		var of []*spec.Override
		for _, key := range keys {
			if o := shifts[key]; o.OfRule(k.Name, p.eff, i) {
				of = append(of, o)
			}
		}
		var next time.Time
		r.Pools, next = steer.Rule(r.Pools, of, c.now)
		p.next = sooner(p.next, next)
	}
}

// planContent leads to a name of a zone that has addresses.
func (c *Compiler) planContent(eff *spec.Service, z *zoneState, host string) (*plan, error) {
	var addresses []netip.Addr
	ttl := uint32(table.AnyTTL)
	for _, s := range zones.SetsAt(z.static, host) {
		if s.Type != dnswire.TypeA && s.Type != dnswire.TypeAAAA {
			continue
		}
		ttl = min(ttl, s.TTL)
		for _, data := range s.Data {
			a, _ := netip.AddrFromSlice(data) // 4 or 16 bytes
			addresses = append(addresses, a)
		}
	}
	if len(addresses) == 0 {
		return nil, fmt.Errorf("alias: zone %s has neither a service nor addresses at %s", z.key.Name, eff.Alias.To)
	}
	id := health.PoolID{Tenant: "content of " + z.key.Name, Pool: eff.Alias.To}
	c.setAddresses(id, addresses, ttl)
	c.alias.content[id] = true
	c.compileOnePool(id, time.Time{})
	eff.Pick = spec.PickAll
	eff.Rules = []spec.Rule{{Name: everywhere, Pools: []spec.Target{{Pool: id.Pool}}}}
	return &plan{eff: eff, tenant: id.Tenant, aliasOf: eff.Alias.To + " in zone " + z.key.Name}, nil
}

// planOutside leads to a host elsewhere. There is a rule for each place that is told apart, whether or not it has addresses of its
// own, so that the partition stays the same whatever is resolved.
func (c *Compiler) planOutside(eff *spec.Service, t Target) (*plan, error) {
	p := &plan{eff: eff, tenant: t.tenant(), aliasOf: t.Host + " outside"}
	eff.Pick = spec.PickAll
	r := c.alias.resolved[t]
	if r == nil {
		p.pending = true
		return p, nil
	}
	for _, place := range r.Places {
		rule := spec.Rule{Name: place.Place, When: &spec.When{Geo: []string{place.Place}}}
		if len(place.Addresses) > 0 {
			rule.Pools = append(rule.Pools, spec.Target{Pool: place.Place})
		}
		rule.Pools = append(rule.Pools, spec.Target{Pool: everywhere})
		eff.Rules = append(eff.Rules, rule)
	}
	eff.Rules = append(eff.Rules, spec.Rule{Name: everywhere, Pools: []spec.Target{{Pool: everywhere}}})
	return p, nil
}

// newPending makes a service that answers SERVFAIL. It claims to have both families, so that nobody is told that one does not exist.
func (c *Compiler) newPending(k spec.Key, p *plan, s *serviceState) (*table.Service, error) {
	out := &table.Service{ServiceInfo: &table.ServiceInfo{Tenant: k.Tenant, Name: k.Name, Spec: p.eff, AliasOf: p.aliasOf, Pick: draws.All},
		Is: table.Pending}
	out.Served = 1<<rr.IPv4 | 1<<rr.IPv6
	return out, c.takeParts(&spec.Service{}, out, s)
}

// delegates tells whether a zone gives a name that is below its apex to others.
func delegates(z *zone.Zone, host string) bool {
	for name := host; name != string(z.Apex); name = name[1+int(name[0]):] {
		if slices.ContainsFunc(zones.SetsAt(z, name), func(s zone.RRset) bool { return s.Type == dnswire.TypeNS }) {
			return true
		}
	}
	return false
}
