// Package policy says what a client's place makes of the rules of a service: which pools are tried, in what order, and with what weights.
//
// A Policy is a function from a place to a Row, without clock, health or randomness: whoever compiles a service asks it once for each
// distinct place, whoever explains an answer asks it again for one, with a Trace. It is pure.
package policy

import (
	"fmt"
	"slices"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/spec"
)

// Policy is the rules of a service, with all that they refer to filled in. Immutable, and safe for concurrent use.
type Policy struct {
	Pools []*Pool // that rows lead to, each once
	*shape
}

// shape is what of a policy can be the same for several: it knows pools by their index.
type shape struct {
	conditions *geo.Conditions
	matchers   []geo.Matcher // of conditions
	rules      []rule
	last       []target
	fence      *fence // of the service
	today      int64  // days since 1970
	located    bool   // it asks where clients are
	timed      bool   // it asks for latencies
	ranked     bool   // places must be ranked ahead; see Rows
	regional   []bool // of Policy.Pools: those that are; nil: none is
	key        string // what appendShape gives; empty: it is not kept
}

// Pool is a pool as policies see it. Immutable.
type Pool struct {
	Name   string
	Site   string
	At     geo.Point // of its site
	Region string    // of its site, as in EU-DE; empty: it has none, and is outside of every fence
	// Regional: it is judged for the clients of each continent.
	Regional bool
}

// Set is what a policy looks things up in.
type Set interface {
	// Pool gives a pool of a tenant; one that is not there has no site.
	Pool(tenant, name string) *Pool
	// Policy gives the policy that a tenant means by a name, and the tenant that it belongs to; nil: there is none.
	Policy(tenant, name string) (owner string, p *spec.Policy)
}

// rule is one rule of a service or a policy.
type rule struct {
	name      string
	title     string // for people, as in "rule eu of policy near"
	condition int    // of Policy.conditions; everyone: -1
	ttl       int64  // seconds; -1: it has none
	fence     *fence
	targets   []target
}

// everyone is the condition of a rule without one.
const everyone = -1

// target is a spec.Target with what it refers to filled in.
type target struct {
	kind    kind
	pool    int
	weight  int      // 0: absent
	trickle int      // in parts of ten thousand; 0: absent
	order            // of nearest and fastest
	arms    []target // of a split; and of a role or a site, whose pools follow each other
	rules   []rule   // of a policy
	fence   *fence   // of a policy
	name    string   // of a policy
}

type kind uint8

const (
	poolTarget kind = iota
	listTarget
	splitTarget
	nearestTarget
	fastestTarget
	policyTarget
)

// PoolAt makes a Pool that stands at a site, of which the name is given; nil: at none.
func PoolAt(name, siteName string, site *spec.Site) *Pool {
	if site == nil {
		return &Pool{Name: name}
	}
	return &Pool{Name: name, Site: siteName, Region: site.Region, At: site.Point()}
}

// Simple reports whether a service asks nothing of a client but which of its rules matches: each entry of its lists is a pool, and nothing
// fences them. It needs no Policy.
func Simple(s *spec.Service) bool { return s.OnlyPools() }

// New fills in what the rules of a tenant's service refer to. today is the day since 1970, by which measurements are old. What is not
// there leads nowhere.
func New(tenant string, s *spec.Service, set Set, today int64) (*Policy, error) {
	names := s.AllPools()
	f := filler{Policy: &Policy{make([]*Pool, len(names)), &shape{today: today}}, set: set, tenant: tenant, declared: s}
	for i, name := range names {
		f.Pools[i] = set.Pool(tenant, name)
	}
	if slices.ContainsFunc(f.Pools, func(p *Pool) bool { return p.Regional }) {
		for _, p := range f.Pools {
			f.regional = append(f.regional, p.Regional)
		}
	}
	f.fence = f.fenceOf(s.Fence)
	var err error
	if f.rules, err = f.ruleList(s.Rules, origin{owner: tenant, role: f.ownPool}); err != nil {
		return nil, err
	}
	if f.last, err = f.targets(s.LastResort, origin{owner: tenant, role: f.ownPool}); err != nil {
		return nil, fmt.Errorf("lastResort: %w", err)
	}
	f.conditions = geo.NewConditions(f.matchers)
	return f.Policy, nil
}

// Maps names the maps that the policy asks for, as a geo.Classifier wants them.
func (p *Policy) Maps() []string { return p.conditions.Maps }

// Asks tells what of a client makes a difference, beside the conditions of rules: where it is, and the latencies of its network.
func (p *Policy) Asks() (located, timed bool) { return p.located, p.timed }

// filler makes a Policy.
type filler struct {
	*Policy
	set      Set
	tenant   string
	declared *spec.Service
	among    []member // see members
	nested   int
}

// member is a pool that policies draw from.
type member struct {
	pool int
	role string
}

// origin is where a list of targets stands: it says what names mean.
type origin struct {
	owner string                  // the tenant whose policies are meant
	role  func(name string) []int // the pools that are meant by a name
	title string                  // of a policy: as in " of policy near"
}

// members gives the pools that policies draw from; few services are asked.
func (f *filler) members() []member {
	if f.among == nil {
		for _, m := range f.declared.Members() {
			f.among = append(f.among, member{f.index(m.Pool), m.As()})
		}
	}
	return f.among
}

// index gives the place of a pool in Pools; -1: it has none.
func (f *filler) index(name string) int {
	return slices.IndexFunc(f.Pools, func(p *Pool) bool { return p.Name == name })
}

func (f *filler) ownPool(name string) []int {
	if i := f.index(name); i >= 0 {
		return []int{i}
	}
	return nil
}

// inRole gives the pools that a policy means by a role.
func (f *filler) inRole(role string) (pools []int) {
	for _, m := range f.members() {
		if m.role == role {
			pools = append(pools, m.pool)
		}
	}
	return pools
}

func (f *filler) atSite(site string) (pools []int) {
	for _, m := range f.members() {
		if f.Pools[m.pool].Site == site {
			pools = append(pools, m.pool)
		}
	}
	return pools
}

func (f *filler) ruleList(declared []spec.Rule, at origin) ([]rule, error) {
	rules := make([]rule, len(declared))
	for i := range declared {
		d, r := &declared[i], &rules[i]
		r.name, r.condition, r.ttl, r.fence = ruleName(d.Name, i), everyone, -1, f.fenceOf(d.Fence)
		r.title = "rule " + r.name + at.title
		if d.TTL != nil {
			r.ttl = int64(d.TTL.WholeSeconds())
		}
		if !d.MatchesAll() {
			m, err := Matcher(d.When)
			if err != nil {
				return nil, fmt.Errorf("rule %s: %w", r.name, err)
			}
			r.condition = len(f.matchers)
			f.matchers = append(f.matchers, m)
		}
		var err error
		if r.targets, err = f.targets(d.Pools, at); err != nil {
			return nil, fmt.Errorf("rule %s: %w", r.name, err)
		}
	}
	return rules, nil
}

// Matcher turns a condition into what geo matches places with. w may be nil: everyone.
func Matcher(w *spec.When) (geo.Matcher, error) {
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
	m.ASN, m.Maps, m.Resolver = w.ASN, w.Map, w.Resolver
	return m, nil
}

func ruleName(name string, i int) string {
	if name == "" {
		return fmt.Sprint(i + 1)
	}
	return name
}

func (f *filler) targets(declared []spec.Target, at origin) ([]target, error) {
	out := make([]target, 0, len(declared))
	for i := range declared {
		t, err := f.target(&declared[i], at)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

func (f *filler) target(declared *spec.Target, at origin) (t target, err error) {
	d := declared.Effective()
	t.weight = declared.Weight
	if d.Trickle != "" {
		if t.trickle, err = spec.ParseTrickle(d.Trickle); err != nil {
			return t, fmt.Errorf("trickle: %w", err)
		}
	}
	switch {
	case declared.Pool != "":
		f.list(&t, at.role(declared.Pool))
	case d.Site != "":
		f.list(&t, f.atSite(d.Site))
	case d.Split != nil:
		t.kind = splitTarget
		t.arms, err = f.targets(d.Split, at)
	case d.Nearest != nil:
		err = f.nearest(&t, &d, at)
	case d.Fastest != nil:
		err = f.fastest(&t, &d, at)
	case d.Policy != "":
		err = f.policy(&t, d.Policy, at)
	}
	return t, err
}

// list makes a target of pools that follow each other.
func (f *filler) list(t *target, pools []int) {
	if len(pools) == 1 {
		t.kind, t.pool = poolTarget, pools[0]
		return
	}
	t.kind = listTarget
	for _, pool := range pools {
		t.arms = append(t.arms, target{kind: poolTarget, pool: pool})
	}
}

// maxNested bounds how deep policies use each other; plans refuse what is deeper.
const maxNested = 8

func (f *filler) policy(t *target, name string, at origin) error {
	owner, p := f.set.Policy(at.owner, name)
	switch t.kind, t.name = policyTarget, name; {
	case p == nil:
		return fmt.Errorf("policy %s does not exist", name)
	case !p.Granted(owner, f.tenant):
		return fmt.Errorf("policy %s of the tenant %s is not granted to %s", name, owner, f.tenant)
	case f.nested == maxNested:
		return fmt.Errorf("policies use each other more than %d deep", maxNested)
	}
	f.nested++
	defer func() { f.nested-- }()
	t.fence = f.fenceOf(p.Fence)
	var err error
	if t.rules, err = f.ruleList(p.Rules, origin{owner, f.inRole, " of policy " + name}); err != nil {
		return fmt.Errorf("policy %s: %w", name, err)
	}
	return nil
}

// fence is places, outside of which no pool may answer.
type fence struct {
	places  []string
	outside []bool // of Policy.Pools
}

// fenceOf gives the fence of some places; nil: there are none.
func (f *filler) fenceOf(places []string) *fence {
	if len(places) == 0 {
		return nil
	}
	out := &fence{places: places, outside: make([]bool, len(f.Pools))}
	for i := range f.Pools {
		out.outside[i] = !Inside(f.Pools[i].Region, places)
	}
	return out
}

// Inside reports whether the region of a site lies in one of the places of a fence; one that is not known does not.
func Inside(region string, places []string) bool {
	at, err := geo.ParsePlace(region)
	return region != "" && err == nil && slices.ContainsFunc(places, func(place string) bool {
		of, err := geo.ParsePlace(place)
		return err == nil && at.In(of)
	})
}
