package compile

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/draws"
)

// How many policies have a partition of their own, in which scopes are as short as they can be: of all tenants, and of one. Those that come
// later share one with all that ask the same of a place: their scopes are right as well, but may be longer. Of those that go by latencies
// there are no more: too many latencies differ for what they could share.
const (
	maxOwnParts    = 128
	maxTenantParts = 32
)

// mayOwn reports whether one more policy may have a partition of its own, beside those that there are and more.
func (c *Compiler) mayOwn(of *owner, more owned) bool {
	all := owner{timed: of.timed}
	return c.owned[*of]+more[*of] < maxTenantParts && c.owned[all]+more[all] < maxOwnParts
}

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

// Pool gives a pool, with its site.
func (s policySet) Pool(tenant, name string) *policy.Pool {
	p := s.pools[health.PoolID{Tenant: tenant, Pool: name}]
	if p == nil || p.spec == nil {
		return policy.PoolAt(name, "", nil)
	}
	it := s.items[spec.Key{Tenant: spec.Platform, Kind: spec.KindSite, Name: p.spec.Site}]
	if it.Resource == nil {
		of := policy.PoolAt(name, "", nil)
		of.Regional = p.spec.Regions
		return of
	}
	site, _ := it.Resource.Spec.(*spec.Site)
	if known := p.placed.Load(); known != nil && known.site == site && known.Site == p.spec.Site && known.Regional == p.spec.Regions {
		return &known.Pool
	}
	fresh := &placedPool{*policy.PoolAt(name, p.spec.Site, site), site}
	fresh.Regional = p.spec.Regions
	p.placed.Store(fresh)
	return &fresh.Pool
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
func (c *Compiler) takePolicyPart(f *aheadPolicy, s *serviceState) (slot uint32, rows *policy.Rows, err error) {
	key, by, begin := f.key, &f.owner, ofRows(f.policy)
	if c.parts[key] == nil && c.ahead.parts[key] == nil && !c.mayOwn(by, nil) {
		if f.timed() {
			return 0, nil, fmt.Errorf("fastest divides clients in more different ways than an edge has room for: "+
				"%d of a tenant, %d of all; let services choose among the same pools, in one way", maxTenantParts, maxOwnParts)
		}
		key, by, begin = f.shared, nil, ofWheres(f.policy)
	}
	part := c.parts[key]
	if part == nil {
		if part, err = c.newPart(key, by, begin); err != nil {
			return 0, nil, err
		}
	}
	if slot, err = c.usePart(part, &s.part); err != nil {
		return 0, nil, err
	}
	if f.division == part.division {
		return slot, f.rows, nil
	}
	return slot, part.rowsFor(f.policy), nil
}

// addPolicyRows compiles the rows of a service's policy.
func (c *Compiler) addPolicyRows(out *table.Service, s *serviceState, p *plan, form draws.Form, rows *policy.Rows) error {
	b := rowBuilder{Compiler: c, service: s, out: out, tenant: p.tenant, form: form, rows: rows, known: make([]entry, 0, len(rows.Steps)),
		leaves: make(map[leafKey]int, 8)}
	ttl := p.atMost(out.Spec.TTLSeconds())
	ownTTL := func(i int) uint32 {
		if t := rows.Orders[i].TTL; t >= 0 {
			return p.atMost(uint32(t))
		}
		return ttl
	}
	if b.isPlain() {
		return b.plain(ttl, ownTTL)
	}
	out.Is |= table.Steers
	for i := range rows.Orders {
		b.region = rows.Orders[i].Region
		if err := b.row(rows.Orders[i].Steps, ownTTL(i)); err != nil {
			return err
		}
	}
	last := make([]int, len(rows.Orders))
	for i := range rows.Orders {
		same := i
		for same > 0 && !rows.Orders[same-1].LastAs(&rows.Orders[i]) {
			same--
		}
		if same > 0 {
			last[i] = last[same-1]
			continue
		}
		last[i] = len(b.index)
		b.region = rows.Orders[i].Region
		if err := b.row(rows.Orders[i].Last, ttl); err != nil {
			return fmt.Errorf("lastResort: %w", err)
		}
	}
	if len(b.index) > math.MaxUint16 || len(out.Steps) >= table.GroupMark {
		return fmt.Errorf("its policy has %d rows of %d steps; at most %d are possible", len(b.index), len(out.Steps), table.GroupMark)
	}
	s.steps, out.Steps = slices.Clip(s.steps), slices.Clip(out.Steps)
	if out.Layout = s.part.layouts.take(rows, b.order, b.index, last); out.Layout.Grouped() {
		out.Is |= table.Grouped
	}
	return nil
}

// rowBuilder makes the steps of a service's rows, each once.
type rowBuilder struct {
	*Compiler
	service *serviceState
	out     *table.Service
	tenant  string
	form    draws.Form
	rows    *policy.Rows
	known   []entry
	leaves  map[leafKey]int // of out.Steps
	region  string          // of the clients of the row that is made
	order   []int           // as Steering wants it
	index   []uint32        // where each row begins there
}

// isPlain reports whether rows can stand side by side, as those of rules do: each class has one of its own, whose steps are few, and
// lastResort's is the same for all. A query reads less then.
func (b *rowBuilder) isPlain() bool {
	if !policy.Simple(b.out.Spec) || len(b.rows.Of) != len(b.rows.Orders) || b.rows.Groups != nil ||
		len(b.rows.Orders)*poolRefs(b.out.Spec) > math.MaxUint16 {
		return false
	}
	first := &b.rows.Orders[0]
	regional := slices.ContainsFunc(first.Last, func(step uint16) bool { return b.isRegional(&b.rows.Steps[step]) })
	for i := range b.rows.Orders {
		o := &b.rows.Orders[i]
		if int(b.rows.Of[i]) != i || !slices.Equal(o.Last, first.Last) || regional && o.Region != first.Region {
			return false
		}
	}
	return true
}

// plain makes the rows of a service that isPlain.
func (b *rowBuilder) plain(lastTTL uint32, ttl func(row int) uint32) error {
	row := func(steps []uint16, ttl uint32) error {
		b.out.Index = append(b.out.Index, uint32(len(b.out.Steps)))
		for _, step := range steps {
			n, err := b.take(&b.rows.Steps[step])
			if err != nil {
				return err
			}
			b.service.steps, b.out.Steps = append(b.service.steps, n), append(b.out.Steps, table.Step{Node: n.slot, TTL: ttl})
		}
		return nil
	}
	for i := range b.rows.Orders {
		b.region = b.rows.Orders[i].Region
		if err := row(b.rows.Orders[i].Steps, ttl(i)); err != nil {
			return err
		}
	}
	if err := row(b.rows.Orders[0].Last, lastTTL); err != nil {
		return fmt.Errorf("lastResort: %w", err)
	}
	b.out.Index = append(b.out.Index, uint32(len(b.out.Steps)))
	b.out.InlineIndex()
	b.service.steps, b.out.Steps = slices.Clip(b.service.steps), slices.Clip(b.out.Steps)
	return nil
}

// entry is a step of policy.Rows with a TTL, as it stands in an order.
type entry struct {
	step   uint16
	ttl    uint32
	region string
	at     []int
}

// leafKey tells the steps of pools apart.
type leafKey struct {
	pool, weight int
	ttl          uint32
	region       string
}

// row appends a row.
func (b *rowBuilder) row(steps []uint16, ttl uint32) error {
	b.index = append(b.index, uint32(len(b.order)))
	for _, step := range steps {
		region := b.regionOf(&b.rows.Steps[step])
		i := slices.IndexFunc(b.known, func(e entry) bool { return e.step == step && e.ttl == ttl && e.region == region })
		if i < 0 {
			at, err := b.entry(&b.rows.Steps[step], ttl)
			if err != nil {
				return err
			}
			i, b.known = len(b.known), append(b.known, entry{step, ttl, region, at})
		}
		b.order = append(b.order, b.known[i].at...)
	}
	return nil
}

// entry gives what stands for a step: its index in out.Steps; or, of a group of pools, a mark, how many they are, and their indexes.
func (b *rowBuilder) entry(node *policy.Node, ttl uint32) ([]int, error) {
	if node.Kind == policy.Leaf {
		leaf, err := b.leaf(node.Pool, 1, ttl)
		return []int{leaf}, err
	}
	if group := node.Group(); group != nil {
		at := []int{table.GroupMark, len(group)}
		for i := range group {
			leaf, err := b.leaf(group[i].Node.Pool, group[i].Weight, ttl)
			if err != nil {
				return nil, err
			}
			at = append(at, leaf)
		}
		return at, nil
	}
	n, err := b.take(node)
	if err != nil {
		return nil, err
	}
	return []int{b.add(n, 1, ttl)}, nil
}

func (b *rowBuilder) leaf(pool, weight int, ttl uint32) (int, error) {
	node := &policy.Node{Pool: pool}
	key := leafKey{pool, weight, ttl, b.regionOf(node)}
	at, ok := b.leaves[key]
	if !ok {
		n, err := b.take(node)
		if err != nil {
			return 0, err
		}
		at = b.add(n, weight, ttl)
		b.leaves[key] = at
	}
	return at, nil
}

// regionOf gives the region of the row, if a pool below a node is judged for each.
func (b *rowBuilder) regionOf(n *policy.Node) string {
	if b.isRegional(n) {
		return b.region
	}
	return ""
}

// isRegional reports whether a pool below a node is judged for each region.
func (b *rowBuilder) isRegional(n *policy.Node) bool {
	for pool := range n.Pools() {
		if b.out.Steering.Policy.Pools[pool].Regional {
			return true
		}
	}
	return false
}

// add appends a step.
func (b *rowBuilder) add(n *nodeState, weight int, ttl uint32) int {
	b.service.steps, b.out.Steps = append(b.service.steps, n), append(b.out.Steps, table.Step{Node: n.slot, TTL: ttl})
	b.out.Steering.AddWeight(weight, b.out.Need != 0, n.id)
	return len(b.out.Steps) - 1
}

// take takes the node of a policy's one.
func (b *rowBuilder) take(n *policy.Node) (*nodeState, error) {
	if n.Kind == policy.Leaf {
		form := b.form
		form.Region = b.regionOf(n)
		d, err := b.draw(health.PoolID{Tenant: b.tenant, Pool: b.out.Steering.Policy.Pools[n.Pool].Name}, form)
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
	m := mixState{kind: b.kind(n.Kind), need: b.out.Need, arms: arms}
	var err error
	if n.Kind == policy.Nearest {
		if m.near, err = b.near(n); err != nil {
			b.releaseArms(arms)
			return nil, err
		}
	}
	node, err := b.mix(&m)
	if err != nil {
		b.releaseArms(arms)
		m.near.release()
	}
	return node, err
}

// near gives what a policy's node goes by.
func (b *rowBuilder) near(n *policy.Node) (s *nearState, err error) {
	part := b.service.part
	s = &nearState{part.division, part.slot, &table.Near{Columns: make([]uint16, 0, len(n.Arms)), Band: n.Band, Hashed: b.out.Need != 0}}
	biased := false
	for i := range n.Arms {
		at := b.out.Steering.Policy.Pools[n.Arms[i].Node.Pool].At
		column, err := s.of.column(at)
		if err != nil {
			s.release()
			return nil, err
		}
		s.table.Columns = append(s.table.Columns, column)
		biased = biased || n.Arms[i].Bias != policy.Bias{}
	}
	if biased {
		for i := range n.Arms {
			s.table.Bias = append(s.table.Bias, n.Arms[i].Bias)
		}
	}
	return s, nil
}

func (b *rowBuilder) kind(k policy.Kind) table.Kind {
	switch {
	case k == policy.First:
		return table.FirstNode
	case k == policy.Nearest:
		return table.NearestNode
	case b.out.Need != 0:
		return table.HashedNode
	}
	return table.WeightedNode
}

// servedByRows gives the families that each row has an answer in: what exists at the service's name.
func (c *Compiler) servedByRows(p *plan, pol *policy.Policy, rows *policy.Rows) spec.Families {
	has := make([]spec.Families, len(rows.Steps))
	for i := range rows.Steps {
		for pool := range rows.Steps[i].Pools() {
			if pool := c.pools[health.PoolID{Tenant: p.tenant, Pool: pol.Pools[pool].Name}]; pool != nil {
				has[i] = has[i].Or(pool.has)
			}
		}
	}
	every, some := spec.Families{V4: true, V6: true}, spec.Families{}
	for i := range rows.Orders {
		list := rows.Orders[i].Steps
		if len(list) == 0 {
			list = rows.Orders[i].Last
		}
		if len(list) == 0 {
			continue // a fence leaves nothing: SERVFAIL, whatever is asked for
		}
		var of spec.Families
		for _, step := range list {
			of = of.Or(has[step])
		}
		every.V4, every.V6, some = every.V4 && of.V4, every.V6 && of.V6, some.Or(of)
	}
	if some.Host || some == (spec.Families{}) {
		return spec.Families{Host: some.Host}
	}
	return spec.Families{V4: every.V4 && p.eff.Wants(spec.FamilyIPv4), V6: every.V6 && p.eff.Wants(spec.FamilyIPv6)}
}
