package compile

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/draws"
	"github.com/gti/gtm/pkg/table/rr"
)

// maxOwnParts is how many policies have a partition of their own, in which scopes are as short as they can be. Those that come later share
// one with all that ask the same of a place: their scopes are right as well, but may be longer.
const maxOwnParts = 256

// Keys of policies' partitions begin so; those of rules begin with |.
const (
	ownPart    = "p"
	sharedPart = "w"
)

func isPolicyPart(key string) bool {
	return strings.HasPrefix(key, ownPart) || strings.HasPrefix(key, sharedPart)
}

// policySet is what policies look things up in. It notes what was looked for, so that what changes there has the service compiled anew.
type policySet struct {
	*Compiler
	policies map[spec.Key]bool
}

// Site gives the site of a pool.
func (s policySet) Site(tenant, pool string) (name string, site *spec.Site) {
	p := s.pools[health.PoolID{Tenant: tenant, Pool: pool}]
	if p == nil || p.spec == nil || p.spec.Site == "" {
		return "", nil
	}
	it, ok := s.items[spec.Key{Tenant: spec.Platform, Kind: spec.KindSite, Name: p.spec.Site}]
	if !ok {
		return "", nil
	}
	site, _ = it.Resource.Spec.(*spec.Site)
	return p.spec.Site, site
}

// Policy gives the tenant's own policy, or else the platform's.
func (s policySet) Policy(tenant, name string) (owner string, p *spec.Policy) {
	for _, owner := range []string{tenant, spec.Platform} {
		k := spec.Key{Tenant: owner, Kind: spec.KindPolicy, Name: name}
		s.policies[k] = true
		if it, ok := s.items[k]; ok {
			p, _ = it.Resource.Spec.(*spec.Policy)
			return owner, p
		}
	}
	return "", nil
}

// touchSite has the services compiled anew whose policies go by where pools are, if they use one at the site.
func (c *Compiler) touchSite(name string) {
	for s := range c.steering {
		for _, p := range s.uses {
			if p.spec != nil && p.spec.Site == name {
				c.dirty.services[s.key] = true
				break
			}
		}
	}
}

// touchPolicy has the services compiled anew that looked for a policy of that key.
func (c *Compiler) touchPolicy(k spec.Key) {
	for s := range c.steering {
		if s.policies[k] {
			c.dirty.services[s.key] = true
		}
	}
}

// touchTimed has the services compiled anew whose policies go by measurements, which have grown older by a day.
func (c *Compiler) touchTimed() {
	for s := range c.steering {
		if s.compiled == nil || s.compiled.Steering == nil {
			continue
		}
		if _, timed := s.compiled.Steering.Policy.Asks(); timed {
			c.dirty.services[s.key] = true
		}
	}
}

// takePolicyPart gives the partition of a policy, and its rows there.
func (c *Compiler) takePolicyPart(f *aheadPolicy, s *serviceState) (slot uint32, rows policy.Rows, err error) {
	key, begin := f.key, ofRows(f.policy)
	if c.parts[key] == nil && c.ahead.parts[key] == nil && c.owned >= maxOwnParts {
		key, begin = f.sharedKey(), ofWheres(f.policy)
	}
	part := c.parts[key]
	if part == nil {
		if part, err = c.newPart(key, begin); err != nil {
			return 0, rows, err
		}
	}
	if slot, err = c.usePart(part, s); err != nil {
		return 0, rows, err
	}
	if f.division == part.division {
		return slot, f.rows, nil
	}
	return slot, part.rowsFor(f.policy), nil
}

// addPolicyRows compiles the rows of a service's policy.
func (c *Compiler) addPolicyRows(out *table.Service, s *serviceState, p *plan, form draws.Form, rows policy.Rows) error {
	b := rowBuilder{Compiler: c, service: s, out: out, need: out.Need, tenant: p.tenant, form: form, nodes: make(map[stepKey]int, 16)}
	ttl := p.atMost(out.Spec.TTLSeconds())
	var lasts [][]policy.Step
	last := make([]int, len(rows.List))
	var orders [][]int
	for i, row := range rows.List {
		own := ttl
		if t := row.TTL(); t >= 0 {
			own = p.atMost(uint32(t))
		}
		steps, behind := row.Steps()
		order, err := b.order(steps, own)
		if err != nil {
			return err
		}
		orders = append(orders, order)
		last[i] = slices.IndexFunc(lasts, func(known []policy.Step) bool { return slices.EqualFunc(known, behind, equalSteps) })
		if last[i] < 0 {
			last[i], lasts = len(lasts), append(lasts, behind)
		}
	}
	for i := range last {
		last[i] += len(rows.List)
	}
	for _, steps := range lasts {
		order, err := b.order(steps, ttl)
		if err != nil {
			return fmt.Errorf("lastResort: %w", err)
		}
		orders = append(orders, order)
	}
	if len(orders) > math.MaxUint16 || len(out.Steps) > math.MaxUint16 {
		return fmt.Errorf("its policy has %d rows of %d steps; at most %d are possible", len(orders), len(out.Steps), math.MaxUint16)
	}
	out.Steering.Arrange(rows.Of, orders, last)
	return nil
}

func equalSteps(a, b policy.Step) bool { return bytes.Equal(a, b) }

// rowBuilder makes the steps of a service's rows, each once.
type rowBuilder struct {
	*Compiler
	service *serviceState
	out     *table.Service
	need    rr.FamilySet
	tenant  string
	form    draws.Form
	nodes   map[stepKey]int // of out.Steps
}

// stepKey tells steps apart.
type stepKey struct {
	code string
	ttl  uint32
}

// order gives the steps of a row, by their index.
func (b *rowBuilder) order(steps []policy.Step, ttl uint32) ([]int, error) {
	out := make([]int, len(steps))
	for i, step := range steps {
		at, ok := b.nodes[stepKey{string(step), ttl}]
		if !ok {
			node := step.Node()
			n, err := b.take(&node)
			if err != nil {
				return nil, err
			}
			at = len(b.out.Steps)
			b.nodes[stepKey{string(step), ttl}] = at
			b.service.steps, b.out.Steps = append(b.service.steps, n), append(b.out.Steps, table.Step{Node: n.slot, TTL: ttl})
		}
		out[i] = at
	}
	return out, nil
}

// take takes the node of a policy's one.
func (b *rowBuilder) take(n *policy.Node) (*nodeState, error) {
	if n.Kind == policy.Leaf {
		d, err := b.draw(health.PoolID{Tenant: b.tenant, Pool: b.out.Steering.Policy.Pools[n.Pool].Name}, b.form)
		if err != nil {
			return nil, err
		}
		return &d.nodeState, nil
	}
	arms := make([]share, 0, len(n.Arms))
	for i := range n.Arms {
		node, err := b.take(&n.Arms[i].Node)
		if err != nil {
			b.releaseArms(arms)
			return nil, err
		}
		arms = append(arms, share{node: node, weight: uint16(min(n.Arms[i].Weight, math.MaxUint16))})
	}
	node, err := b.mix(b.kind(n.Kind), b.need, arms)
	if err != nil {
		b.releaseArms(arms)
	}
	return node, err
}

func (b *rowBuilder) kind(k policy.Kind) table.Kind {
	switch {
	case k == policy.First:
		return table.FirstNode
	case b.need != 0:
		return table.HashedNode
	}
	return table.WeightedNode
}

// servedByRows gives the families that each row has an answer in: what exists at the service's name.
func (c *Compiler) servedByRows(p *plan, pol *policy.Policy, rows []policy.Row) spec.Families {
	has := make([]spec.Families, len(pol.Pools))
	for i := range has {
		if pool := c.pools[health.PoolID{Tenant: p.tenant, Pool: pol.Pools[i].Name}]; pool != nil {
			has[i] = pool.has
		}
	}
	every, some := spec.Families{V4: true, V6: true}, spec.Families{}
	for _, row := range rows {
		list, last := row.Steps()
		if len(list) == 0 {
			list = last
		}
		if len(list) == 0 {
			continue // a fence leaves nothing: SERVFAIL, whatever is asked for
		}
		var of spec.Families
		for _, step := range list {
			for pool := range step.Pools() {
				of = of.Or(has[pool])
			}
		}
		every.V4, every.V6, some = every.V4 && of.V4, every.V6 && of.V6, some.Or(of)
	}
	if some.Host || some == (spec.Families{}) {
		return spec.Families{Host: some.Host}
	}
	return spec.Families{V4: every.V4 && p.eff.Wants(spec.FamilyIPv4), V6: every.V6 && p.eff.Wants(spec.FamilyIPv6)}
}
