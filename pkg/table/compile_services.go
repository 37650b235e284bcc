package table

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
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
			} else if host, err := wireHost(declared.Host); err == nil && s.placed && host != s.host {
				c.unplace(k, s)
			}
		}
	}
	for _, k := range keys {
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
		if s := c.services[k]; s != nil && s.err != nil && s.compiled != nil && !s.placed {
			c.putBack(k, s)
		}
	}
	c.ahead = ahead{}
	c.dropUnused()
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
	s.placed = true
}

func (c *Compiler) removeService(k spec.Key, s *serviceState) {
	c.unplace(k, s)
	c.release(s)
	if s.slotted {
		c.serviceSlots.remove(s.slot)
	}
	delete(c.services, k)
	delete(c.counting, s)
	delete(c.failing, s)
}

// note keeps the lists of the services that count and that fail.
func (c *Compiler) note(s *serviceState) {
	if delete(c.failing, s); s.err != nil {
		c.failing[s] = true
	}
	if delete(c.counting, s); s.compiled != nil && s.compiled.counts != nil {
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
	c.releasePart(s.part)
	s.steps, s.uses, s.part = nil, nil, nil
}

// compileService compiles one service beside its old form, and then replaces that.
func (c *Compiler) compileService(k spec.Key, declared *spec.Service, s *serviceState) error {
	p, err := c.planOf(k, declared)
	if err != nil {
		return err
	}
	fresh := &serviceState{key: k, slot: s.slot, slotted: s.slotted, placed: s.placed, zone: s.zone, host: s.host, defaults: s.defaults}
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
		return err
	}
	var counts *ServiceCounts
	if s.compiled != nil {
		counts, out.sigs = s.compiled.counts, s.compiled.sigs
	}
	out.counts = sameCounts(counts, out)
	out.metrics = out.counts != nil
	out.sigs = sameSigs(out.sigs, c.zones[fresh.zone].signer, fresh.host, out)
	c.serviceSlots.set(fresh.slot, *out)
	c.releaseNodes(s.steps)
	for _, p := range s.uses {
		if !slices.Contains(uses, p) {
			delete(p.users, s)
			c.releasePool(p.id, p)
		}
	}
	c.releasePart(s.part)
	fresh.compiled, fresh.uses = out, uses
	*s = *fresh
	return nil
}

// watchPools notes which pools a service names, so that it is compiled anew when they appear or change shape, and gives them.
func (c *Compiler) watchPools(p *plan, s *serviceState) (uses []*poolState) {
	uses = make([]*poolState, 0, poolRefs(p.eff))
	note := func(refs []spec.PoolRef) {
		for _, r := range refs {
			id := health.PoolID{Tenant: p.tenant, Pool: r.Pool}
			pool := c.pools[id]
			if pool == nil {
				pool = newPoolState(id)
				c.pools[id] = pool
			}
			if !slices.Contains(uses, pool) {
				uses = append(uses, pool)
				pool.users[s] = true
			}
		}
	}
	for i := range p.eff.Rules {
		note(p.eff.Rules[i].Pools)
	}
	note(p.eff.LastResort)
	return uses
}

// newService compiles rules, pools and partition. What it takes is noted in s.
func (c *Compiler) newService(k spec.Key, p *plan, s *serviceState) (*Service, error) {
	if p.pending {
		return c.newPending(k, p, s)
	}
	eff := p.eff
	out := &Service{serviceInfo: &serviceInfo{Tenant: k.Tenant, Name: k.Name, Spec: eff, AliasOf: p.aliasOf}, tiers: uint8(len(tiers))}
	if eff.AllDown == "servfail" {
		out.tiers = 1 // the one that follows health
	}
	form, err := formOf(eff)
	if err != nil {
		return nil, err
	}
	out.Pick, out.extra = form.pick, form.extra
	if out.served = c.servedBy(p); eff.Coherent || out.Pick == Sticky {
		out.need = out.served
	}
	if err := c.addRows(out, s, p, form); err != nil {
		return nil, err
	}
	if out.served == 0 {
		return nil, fmt.Errorf("no address family is served: every rule needs a pool with endpoints of it")
	}
	out.part, err = c.takePart(eff, s)
	return out, err
}

// servedBy gives the families that exist at the name of a service.
func (c *Compiler) servedBy(p *plan) (served famset) {
	eff := p.eff
	v4, v6, host := spec.Served(eff, func(name string) spec.Families {
		if pool := c.pools[health.PoolID{Tenant: p.tenant, Pool: name}]; pool != nil {
			return pool.has
		}
		return spec.Families{}
	})
	srv, mx := host && eff.SRV != nil, host && eff.MX != nil
	for f, serves := range [families]bool{IPv4: v4, IPv6: v6, CNAME: host && !srv && !mx, HTTPS: !host && eff.HTTPS != nil,
		SVCB: !host && eff.SVCB != nil, SRV: srv, MX: mx} {
		if serves && (v4 || v6 || host) {
			served |= 1 << f
		}
	}
	return served
}

// poolRefs is how often a service names a pool.
func poolRefs(eff *spec.Service) int {
	n := len(eff.LastResort)
	for i := range eff.Rules {
		n += len(eff.Rules[i].Pools)
	}
	return n
}

// takePart gives the partition of a service's matches; services with the same matches share one.
func (c *Compiler) takePart(eff *spec.Service, s *serviceState) (uint32, error) {
	key := partKey(eff)
	p := c.parts[string(key)]
	if p == nil {
		classifier, err := classifierOf(eff)
		if err != nil {
			return 0, err
		}
		p = &partState{key: string(key), classifier: classifier}
		part, err := c.part(p.key, classifier)
		if err != nil {
			return 0, err
		}
		if n := len(c.partFree); n > 0 {
			p.slot, c.partFree = c.partFree[n-1], c.partFree[:n-1]
			c.partList[p.slot] = part
		} else {
			p.slot = uint32(len(c.partList))
			c.partList = append(c.partList, part)
		}
		c.parts[p.key] = p
	}
	if p.err != nil {
		return 0, p.err
	}
	p.refs++
	s.part = p
	return p.slot, nil
}

func (c *Compiler) releasePart(p *partState) {
	if p == nil {
		return
	}
	if p.refs--; p.refs == 0 {
		c.partList[p.slot] = nil
		c.partFree = append(c.partFree, p.slot)
		delete(c.parts, p.key)
	}
}

// partKey is the same for services with the same matches.
func partKey(eff *spec.Service) []byte {
	b := make([]byte, 0, 128)
	for i := range eff.Rules {
		b = append(b, '|')
		w := eff.Rules[i].When
		if w == nil {
			continue
		}
		for _, g := range w.Geo {
			b = append(append(b, ' '), g...)
		}
		for _, n := range w.ASN {
			b = strconv.AppendUint(append(b, '#'), uint64(n), 10)
		}
		for _, m := range w.Map {
			b = append(append(b, '@'), m...) // names have none of these signs
		}
	}
	return b
}

// classifierOf has geo divide places by the rules of a service.
func classifierOf(eff *spec.Service) (*geo.Classifier, error) {
	matchers := make([]geo.Matcher, len(eff.Rules))
	for i := range eff.Rules {
		m, err := matcher(eff.Rules[i].When)
		if err != nil {
			return nil, fmt.Errorf("rule %s: %w", ruleName(eff, i), err)
		}
		matchers[i] = m
	}
	return geo.FirstOf(matchers), nil
}

// matcher turns a condition into what geo matches places with.
func matcher(w *spec.When) (geo.Matcher, error) {
	var m geo.Matcher
	if w == nil {
		return m, nil
	}
	for _, g := range w.Geo {
		p, err := geo.ParsePlace(g)
		if err != nil {
			return m, err
		}
		m.Geo = append(m.Geo, p)
	}
	m.ASN, m.Maps = w.ASN, w.Map
	return m, nil
}

// ruleName names a rule for people.
func ruleName(s *spec.Service, i int) string {
	if s.Rules[i].Name != "" {
		return s.Rules[i].Name
	}
	return fmt.Sprintf("%d", i+1)
}

// sameCounts keeps the counters of the old form where the pools are the same.
func sameCounts(old *ServiceCounts, s *Service) *ServiceCounts {
	if !s.Spec.Metrics {
		return nil
	}
	var pools []string
	for _, row := range rowsOf(s.Spec) {
		for _, p := range row {
			pools = append(pools, p.Pool)
		}
	}
	slices.Sort(pools)
	pools = slices.Compact(pools)
	if old != nil && slices.Equal(old.Pools, pools) {
		return old
	}
	n := &ServiceCounts{Tenant: s.Tenant, Service: s.Name, Pools: pools, Answers: make([]atomic.Uint64, len(pools))}
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

// wireHost gives a host in folded wire form.
func wireHost(host string) (string, error) {
	if !strings.HasSuffix(host, ".") {
		host += "."
	}
	wire, err := dnswire.AppendName(nil, host)
	if err != nil {
		return "", err
	}
	dnswire.FoldName(wire)
	return string(wire), nil
}
