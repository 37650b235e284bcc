package compile

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/draws"
	"github.com/gti/gtm/pkg/table/names"
	"github.com/gti/gtm/pkg/table/rr"
)

// compileServices compiles what changed. What fails keeps its last good form.
func (c *Compiler) compileServices() {
	c.spread()
	keys := make([]spec.Key, 0, len(c.dirty.services))
	for k := range c.dirty.services {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, c.inTurn)
	c.lookAhead(keys)
	for _, k := range keys { // first make room: a host may move from one service to another in one change
		if s := c.services[k]; s != nil {
			if declared := c.serviceSpec(k); declared == nil {
				c.removeService(k, s)
			} else if host, err := names.Wire(declared.Host); err == nil && s.attached && host != s.host {
				c.unplace(k, s)
			}
		}
	}
	for i, k := range keys {
		if i%policiesAtOnce == 0 {
			c.policiesAhead(keys[i:min(i+policiesAtOnce, len(keys))])
		}
		declared := c.serviceSpec(k)
		if declared == nil {
			continue
		}
		s := c.services[k]
		if s == nil {
			s = &serviceState{key: k}
			c.services[k] = s
		}
		s.err = guard(k, func() error { return c.compileService(k, declared, s) })
		c.note(s)
	}
	for _, k := range keys { // who made room in vain goes back
		if s := c.services[k]; s != nil && s.err != nil && s.compiled != nil && !s.attached {
			c.putBack(k, s)
		}
	}
	c.ahead = ahead{}
	c.dropUnused()
	c.dropParts()
}

// inTurn orders services: what aliases lead to comes before them.
func (c *Compiler) inTurn(a, b spec.Key) int {
	if len(c.alias.leads) > 0 {
		_, x := c.alias.leads[a]
		_, y := c.alias.leads[b]
		if x != y {
			return map[bool]int{false: -1, true: 1}[x]
		}
	}
	return a.Compare(b)
}

// putBack gives a service its former place, if it is still free, since its last good form is to be served.
func (c *Compiler) putBack(k spec.Key, s *serviceState) {
	z := c.zones[s.zone]
	if _, taken := c.hosts[s.host]; taken || z == nil {
		return
	}
	c.host(z, s.host, hostedAs(s.slot, s.compiled))
	c.hosts[s.host] = k
	s.attached = true
}

func (c *Compiler) removeService(k spec.Key, s *serviceState) {
	c.unplace(k, s)
	c.release(s)
	if s.slotted {
		c.serviceSlots.Remove(s.slot)
	}
	delete(c.services, k)
	delete(c.counting, s)
	delete(c.failing, s)
	delete(c.steering, s)
	delete(c.shifting, k)
}

// note keeps the lists of the services that count, that fail and that go by a policy.
func (c *Compiler) note(s *serviceState) {
	if delete(c.steering, s); s.policies != nil {
		c.steering[s] = true
	}
	if delete(c.failing, s); s.err != nil {
		c.failing[s] = true
	}
	if delete(c.counting, s); s.compiled != nil && s.compiled.Counting != nil {
		c.counting[s] = true
	}
}

// release gives back what a compiled service refers to.
func (c *Compiler) release(s *serviceState) {
	c.releaseNodes(s.steps)
	for _, p := range s.uses {
		delete(p.users, s)
		c.releasePool(p.id, p)
	}
	c.releaseParts(s)
	s.steps, s.uses, s.part, s.otherPart = nil, nil, nil, nil
}

// compileService compiles one service beside its old form, and then replaces that.
func (c *Compiler) compileService(k spec.Key, declared *spec.Service, s *serviceState) error {
	p, err := c.planOf(k, declared)
	if err != nil {
		return err
	}
	if delete(c.shifting, k); !p.next.IsZero() {
		c.shifting[k] = p.next
	}
	fresh := &serviceState{key: k, slot: s.slot, slotted: s.slotted, attached: s.attached, zone: s.zone, host: s.host, defaults: s.defaults}
	uses := c.watchPools(p, s) // also when it fails: a pool that appears mends it
	out, err := c.newService(k, p, fresh)
	if err == nil {
		err = c.place(k, p.eff, out, fresh)
	}
	if err != nil {
		c.release(fresh)
		for _, p := range uses {
			if !slices.Contains(s.uses, p) {
				s.uses = append(s.uses, p)
			}
		}
		s.policies = fresh.policies // what is missing may come
		return err
	}
	var counts *table.ServiceCounts
	if s.compiled != nil {
		counts, out.Sigs = s.compiled.Counting, s.compiled.Sigs
	}
	out.Counting = sameCounts(counts, out)
	if out.Counting != nil {
		out.Is |= table.Metrics
	}
	out.Sigs = out.Sigs.KeptFor(c.zones[fresh.zone].signer, fresh.host, out.TTLs())
	out.Steps = c.steps.same(out.Steps)
	c.serviceSlots.Set(fresh.slot, *out)
	c.releaseNodes(s.steps)
	for _, p := range s.uses {
		if !slices.Contains(uses, p) {
			delete(p.users, s)
			c.releasePool(p.id, p)
		}
	}
	c.releaseParts(s)
	fresh.compiled, fresh.uses = out, uses
	*s = *fresh
	return nil
}

// stepLists are lists of steps as they stand in memory. Many names that lead to the same pools have the same, which queries find near.
type stepLists struct {
	known map[string][]table.Step // by key
	steps int                     // in all of them
	key   []byte                  // memory for one
}

// maxSteps bounds stepLists.steps, of which some stay that services no longer have.
const maxSteps = 1 << 16

// same gives a list that is the same, if one is known.
func (l *stepLists) same(steps []table.Step) []table.Step {
	l.key = l.key[:0]
	for _, s := range steps {
		l.key = binary.NativeEndian.AppendUint64(l.key, uint64(s.Node)<<32|uint64(s.TTL))
	}
	if known, ok := l.known[string(l.key)]; ok {
		return known
	}
	if l.steps += len(steps); l.known == nil || l.steps > maxSteps {
		l.known, l.steps = map[string][]table.Step{}, len(steps)
	}
	l.known[string(l.key)] = steps
	return steps
}

// watchPools notes which pools a service names, so that it is compiled anew when they appear or change shape, and gives them.
func (c *Compiler) watchPools(p *plan, s *serviceState) (uses []*poolState) {
	pools := p.eff.AllPools()
	uses = make([]*poolState, 0, len(pools))
	for _, name := range pools {
		id := health.PoolID{Tenant: p.tenant, Pool: name}
		pool := c.pools[id]
		if pool == nil {
			pool = newPoolState(id)
			c.pools[id] = pool
		}
		uses = append(uses, pool)
		pool.users[s] = true
	}
	return uses
}

// newService compiles rules, pools and partition. What it takes is noted in s.
func (c *Compiler) newService(k spec.Key, p *plan, s *serviceState) (*table.Service, error) {
	if p.pending {
		return c.newPending(k, p, s)
	}
	eff := p.eff
	out := &table.Service{ServiceInfo: &table.ServiceInfo{Tenant: k.Tenant, Name: k.Name, Spec: eff, AliasOf: p.aliasOf, Order: p.order},
		Tiers: uint8(table.AllTiers)}
	if eff.AllDown == "servfail" {
		out.Tiers = table.HealthTiers
	}
	form, err := formOf(eff)
	if err != nil {
		return nil, err
	}
	form.Held = c.heldBy(p.rules)
	if out.Pick = form.Pick; form.Hashing != draws.ByNetwork {
		out.Is |= table.Keyed
	}
	coherent := eff.Coherent || out.Pick == draws.Sticky
	if !c.simple(p.tenant, eff) {
		return c.newSteering(out, s, p, form, coherent)
	}
	if out.Served = c.servedBy(p); coherent {
		out.Need = out.Served
	}
	if err := c.addRows(out, s, p, form); err != nil {
		return nil, err
	}
	if err := c.takeParts(eff, out, s); err != nil {
		return nil, err
	}
	return out, c.anyServed(out)
}

func (c *Compiler) anyServed(out *table.Service) error {
	if out.Served == 0 {
		return fmt.Errorf("no address family is served: every rule needs a pool with endpoints of it")
	}
	return nil
}

// newSteering is newService for one that goes by a policy.
func (c *Compiler) newSteering(out *table.Service, s *serviceState, p *plan, form draws.Form, coherent bool) (*table.Service, error) {
	f := c.ahead.policies[s.key]
	if f == nil || p.aliasOf != "" {
		f = c.fillPolicy(p.tenant, p.eff)
	}
	delete(c.ahead.policies, s.key)
	if s.policies = f.asked; f.err != nil {
		return nil, f.err
	}
	var rows *policy.Rows
	var err error
	if out.Part, rows, err = c.takePolicyPart(f, s); err != nil {
		return nil, err
	}
	if out.ResolverPart = out.Part; p.eff.ECS == spec.ECSOff {
		if out.Part, err = c.takePart(p.eff, bySubnet, &s.otherPart); err != nil {
			return nil, err
		}
	}
	out.Steering = &table.Steering{Policy: f.policy, Default: rows.At(s.part.unplaced)}
	if out.Served = families(c.servedByRows(p, f.policy, rows), p.eff); coherent {
		out.Need = out.Served
	}
	if err := c.anyServed(out); err != nil {
		return nil, err
	}
	return out, c.addPolicyRows(out, s, p, form, rows)
}

// servedBy gives the families that exist at the name of a service.
func (c *Compiler) servedBy(p *plan) (served rr.FamilySet) {
	eff := p.eff
	v4, v6, host := spec.Served(eff, func(name string) spec.Families {
		if pool := c.pools[health.PoolID{Tenant: p.tenant, Pool: name}]; pool != nil {
			return pool.has
		}
		return spec.Families{}
	})
	return families(spec.Families{V4: v4, V6: v6, Host: host}, eff)
}

// families gives what exists at the name of a service whose pools have addresses or host names for all clients.
func families(has spec.Families, eff *spec.Service) (served rr.FamilySet) {
	v4, v6, host := has.V4, has.V6, has.Host
	srv, mx := host && eff.SRV != nil, host && eff.MX != nil
	for f, serves := range [rr.Families]bool{rr.IPv4: v4, rr.IPv6: v6, rr.CNAME: host && !srv && !mx, rr.HTTPS: !host && eff.HTTPS != nil,
		rr.SVCB: !host && eff.SVCB != nil, rr.SRV: srv, rr.MX: mx} {
		if serves && (v4 || v6 || host) {
			served |= 1 << f
		}
	}
	return served
}

// sameCounts keeps the counters of the old form where the pools are the same.
func sameCounts(old *table.ServiceCounts, s *table.Service) *table.ServiceCounts {
	if !s.Spec.Metrics {
		return nil
	}
	pools := s.Spec.AllPools()
	slices.Sort(pools)
	if old != nil && slices.Equal(old.Pools, pools) {
		return old
	}
	n := &table.ServiceCounts{Tenant: s.Tenant, Service: s.Name, Pools: pools, Answers: make([]atomic.Uint64, len(pools))}
	for i, p := range pools {
		if old == nil {
			break
		}
		if j, ok := slices.BinarySearch(old.Pools, p); ok {
			n.Answers[i].Store(old.Answers[j].Load())
		}
	}
	return n
}
