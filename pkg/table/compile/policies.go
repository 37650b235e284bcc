package compile

import (
	"fmt"
	"math"
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

func policyPart(key string) bool {
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
		if s.compiled == nil || s.compiled.Policy == nil {
			continue
		}
		if _, timed := s.compiled.Policy.Asks(); timed {
			c.dirty.services[s.key] = true
		}
	}
}

// takePolicyPart gives the partition of a policy, and its rows there.
func (c *Compiler) takePolicyPart(p *policy.Policy, s *serviceState) (slot uint32, rows []policy.Row, of []uint16, err error) {
	key, begin := ownPart+string(p.AppendKey(nil)), ofRows(p)
	if c.parts[key] == nil && c.ownParts() >= maxOwnParts {
		key, begin = sharedPart+string(p.AppendConditions(nil)), ofWheres(p)
	}
	part := c.parts[key]
	if part == nil {
		if part, err = c.newPart(key, begin); err != nil {
			return 0, nil, nil, err
		}
	}
	if slot, err = c.usePart(part, s); err != nil {
		return 0, nil, nil, err
	}
	rows, of = part.rowsFor(p)
	return slot, rows, of, nil
}

func (c *Compiler) ownParts() (n int) {
	for key := range c.parts {
		if strings.HasPrefix(key, ownPart) {
			n++
		}
	}
	return n
}

// addPolicyRows compiles the rows of a service's policy.
func (c *Compiler) addPolicyRows(out *table.Service, s *serviceState, p *plan, form draws.Form, rows []policy.Row) error {
	b := rowBuilder{Compiler: c, service: s, need: out.Need, tenant: p.tenant, form: form, policy: out.Policy,
		nodes: map[string]*nodeState{}}
	ttl := p.atMost(out.Spec.TTLSeconds())
	for i := range rows {
		own := ttl
		if rows[i].TTL >= 0 {
			own = p.atMost(uint32(rows[i].TTL))
		}
		if err := b.row(out, rows[i].Steps, own); err != nil {
			return err
		}
	}
	lasts := map[string]uint16{}
	for i := range rows {
		var key []byte
		for j := range rows[i].Last {
			key = rows[i].Last[j].AppendKey(key)
		}
		last, ok := lasts[string(key)]
		if !ok {
			last = uint16(len(out.Index))
			lasts[string(key)] = last
			if err := b.row(out, rows[i].Last, ttl); err != nil {
				return fmt.Errorf("lastResort: %w", err)
			}
		}
		out.Last = append(out.Last, last)
	}
	out.Index = append(out.Index, uint32(len(out.Steps)))
	if len(out.Index) > math.MaxUint16 {
		return fmt.Errorf("the policy of one service has at most %d rows", math.MaxUint16)
	}
	out.InlineIndex()
	return nil
}

// rowBuilder makes the nodes of a service's rows, each once.
type rowBuilder struct {
	*Compiler
	service *serviceState
	policy  *policy.Policy
	need    rr.FamilySet
	tenant  string
	form    draws.Form
	nodes   map[string]*nodeState // that the service has taken, by policy.Node.AppendKey
	key     []byte
}

// row appends one row.
func (b *rowBuilder) row(out *table.Service, steps []policy.Node, ttl uint32) error {
	out.Index = append(out.Index, uint32(len(out.Steps)))
	for i := range steps {
		b.key = steps[i].AppendKey(b.key[:0])
		n := b.nodes[string(b.key)]
		if n == nil {
			key := string(b.key)
			var err error
			if n, err = b.take(&steps[i]); err != nil {
				return err
			}
			b.nodes[key] = n
			b.service.steps = append(b.service.steps, n)
		}
		out.Steps = append(out.Steps, table.Step{Node: n.slot, TTL: ttl})
	}
	return nil
}

// take takes the node of a policy's one.
func (b *rowBuilder) take(n *policy.Node) (*nodeState, error) {
	if n.Kind == policy.Leaf {
		d, err := b.draw(health.PoolID{Tenant: b.tenant, Pool: b.policy.Pools[n.Pool].Name}, b.form)
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
	every, some := spec.Families{V4: true, V6: true}, spec.Families{}
	for i := range rows {
		list := rows[i].Steps
		if len(list) == 0 {
			list = rows[i].Last
		}
		if len(list) == 0 {
			continue // a fence leaves nothing: SERVFAIL, whatever is asked for
		}
		has := c.familiesOf(p, pol, list)
		every.V4, every.V6, some = every.V4 && has.V4, every.V6 && has.V6, some.Or(has)
	}
	if some.Host || some == (spec.Families{}) {
		return spec.Families{Host: some.Host}
	}
	return spec.Families{V4: every.V4 && p.eff.Wants(spec.FamilyIPv4), V6: every.V6 && p.eff.Wants(spec.FamilyIPv6)}
}

func (c *Compiler) familiesOf(p *plan, pol *policy.Policy, nodes []policy.Node) (has spec.Families) {
	for i := range nodes {
		var of spec.Families
		if n := &nodes[i]; n.Kind != policy.Leaf {
			for j := range n.Arms {
				of = of.Or(c.familiesOf(p, pol, []policy.Node{n.Arms[j].Node}))
			}
		} else if pool := c.pools[health.PoolID{Tenant: p.tenant, Pool: pol.Pools[n.Pool].Name}]; pool != nil {
			of = pool.has
		}
		has = has.Or(of)
	}
	return has
}
