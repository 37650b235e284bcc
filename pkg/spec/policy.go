package spec

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Policy is a set of rules that several services go by: see Target.Policy. It draws from the pools of the service that uses it.
type Policy struct {
	// Rules are tried in order, as those of a service. A client that none matches gets nothing from the policy.
	Rules []Rule `json:"rules" yaml:"rules"`
	// Fence is that of every rule. See Rule.Fence.
	Fence []string `json:"fence,omitempty" yaml:"fence,omitempty"`
	// Grants names the tenants that may use a policy of the platform's; * is all of them.
	Grants []string `json:"grants,omitempty" yaml:"grants,omitempty"`
}

func (*Policy) kind() Kind { return KindPolicy }

// GrantAll, among Policy.Grants, is every tenant.
const GrantAll = "*"

// Bounds of policies.
const (
	maxNested  = 4    // splits and policies inside of each other
	maxTargets = 4096 // of one service or policy, nested ones too
	maxFence   = 256
)

func (c *checker) policy(p *Policy) {
	c.ruleList(p.Rules)
	c.noResolvers(p.Rules, "in rules of a service that name pools alone")
	c.fence("spec.fence", p.Fence)
	for i, tenant := range p.Grants {
		path := indexed("spec.grants", i)
		switch {
		case c.r.Tenant != Platform:
			c.fail(path, "remove it", "a policy of a tenant is its own; only those of the tenant %s are granted to others", Platform)
		case tenant != GrantAll:
			c.label(path, tenant)
		}
	}
}

func (c *checker) fence(path string, places []string) {
	if n := len(places); n > maxFence {
		c.fail(path, "write fewer, wider places", "has %d places: it can have at most %d", n, maxFence)
	}
	for i, p := range places {
		c.place(indexed(path, i), p)
	}
}

// targets checks a list of targets by itself. inner says what holds the list, if a target does.
func (c *checker) targets(path string, list []Target, nested int) {
	seen := map[string]int{}
	for i := range list {
		t, at := &list[i], indexed(path, i)
		c.target(at, t, nested)
		if t.More().Trickle != "" {
			c.trickle(at, list, i)
		}
		if !t.IsPool() {
			continue
		}
		if first, twice := seen[t.Pool]; twice {
			c.fail(at, "", "pool %q stands twice, first at %s", t.Pool, indexed(path, first))
		} else {
			seen[t.Pool] = i
		}
	}
}

func (c *checker) trickle(path string, list []Target, i int) {
	if _, err := ParseTrickle(list[i].More().Trickle); err != nil {
		c.fail(path+".trickle", "", "%v", err)
	}
	switch {
	case i == 0:
		c.fail(path+".trickle", "put what it stands by for before it", "the first entry of a list has nothing to trickle beside")
	case list[i].Weight != 0:
		c.fail(path+".trickle", "write one of them", "goes not with weight")
	}
}

// target checks one target; nested is how many splits and policies hold it.
func (c *checker) target(path string, t *Target, nested int) {
	if c.total++; c.total == maxTargets+1 {
		c.fail(path, "make several services or policies of it", "more than %d entries are not possible", maxTargets)
	}
	if c.total > maxTargets {
		return
	}
	if t.Weight != 0 { // absent
		c.between(path+".weight", t.Weight, 1, maxWeight)
	}
	more := t.More()
	switch c.sort(path, t) {
	case "pool":
		name := path
		if !t.IsPool() || t.Weight != 0 {
			name += ".pool"
		}
		c.label(name, t.Pool)
	case "site":
		if c.label(path+".site", more.Site); c.r.Kind != KindPolicy {
			c.fail(path+".site", "name a pool", "stands in policies; a service names its pools")
		}
	case "nearest":
		c.choices(path+".nearest", more.Nearest)
		c.nearness(path, more)
	case "fastest":
		c.choices(path+".fastest", more.Fastest)
	case "policy":
		c.label(path+".policy", more.Policy)
	case "split":
		c.split(path, more, nested)
	}
	c.strays(path, more)
}

// sort tells which of the sorts of targets t is; "": none, or more than one.
func (c *checker) sort(path string, t *Target) string {
	var sorts []string
	more := t.More()
	for _, s := range []struct {
		field string
		given bool
	}{{"pool", t.Pool != ""}, {"site", more.Site != ""}, {"nearest", more.Nearest != nil}, {"fastest", more.Fastest != nil},
		{"policy", more.Policy != ""}, {"split", more.Split != nil}} {
		if s.given {
			sorts = append(sorts, s.field)
		}
	}
	switch len(sorts) {
	case 1:
		return sorts[0]
	case 0:
		c.fail(path, "write the name of a pool, or one of nearest, fastest, policy and split", "names nothing")
	default:
		c.fail(path, "make several entries of it", "is %s at once", strings.Join(sorts, " and "))
	}
	return ""
}

// choices checks what nearest and fastest choose among.
func (c *checker) choices(path string, among *Choices) {
	if among.Sites {
		return
	}
	if len(among.List) == 0 {
		c.fail(path, "name pools, or write sites for all of the service's", "is empty")
	}
	seen := map[string]bool{}
	for i := range among.List {
		t, at := &among.List[i], indexed(path, i)
		if !t.IsPool() && (t.More().Site == "" || c.sort(at, t) != "site") {
			c.fail(at, "", "wants the name of a pool")
			continue
		}
		c.target(at, t, 0)
		if name := t.Pool + "\x00" + t.More().Site; seen[name] {
			c.fail(at, "", "%s stands twice", t)
		} else {
			seen[name] = true
		}
	}
}

func (c *checker) nearness(path string, t *Steering) {
	if t.Band != "" {
		if _, err := ParseBand(t.Band); err != nil {
			c.fail(path+".band", "", "%v", err)
		}
	}
	if t.Farthest != "" {
		if _, err := ParseKilometres(t.Farthest); err != nil {
			c.fail(path+".farthest", "", "%v", err)
		}
	}
	for _, of := range slices.Sorted(maps.Keys(t.Bias)) {
		at := joinPath(path+".bias", of)
		if _, _, err := ParseBias(t.Bias[of]); err != nil {
			c.fail(at, "", "%v", err)
		}
		if !t.Nearest.Sites && !slices.ContainsFunc(t.Nearest.List, func(o Target) bool { return o.Pool == of || o.More().Site == of }) {
			c.label(at, of) // it may be a site's: whether it is one of theirs, the set knows
		}
	}
}

func (c *checker) split(path string, t *Steering, nested int) {
	if len(t.Split) == 0 {
		c.fail(path+".split", "", "needs at least one entry")
	}
	if nested == maxNested {
		c.fail(path+".split", "make a policy or a service of its own of it", "entries nest at most %d deep", maxNested)
		return
	}
	c.targets(path+".split", t.Split, nested+1)
}

// strays finds fields of one sort of target in another.
func (c *checker) strays(path string, t *Steering) {
	for _, f := range []struct {
		field string
		given bool
		with  string
		right bool
	}{
		{"band", t.Band != "", "nearest", t.Nearest != nil},
		{"bias", t.Bias != nil, "nearest", t.Nearest != nil},
		{"farthest", t.Farthest != "", "nearest", t.Nearest != nil},
		{"margin", t.Margin != nil, "fastest", t.Fastest != nil},
		{"samples", t.Samples != 0, "fastest", t.Fastest != nil},
		{"maxAge", t.MaxAge != 0, "fastest", t.Fastest != nil},
		{"then", t.Then != "", "fastest", t.Fastest != nil},
	} {
		if f.given && !f.right {
			c.fail(path+"."+f.field, "remove it", "goes with %s alone", f.with)
		}
	}
	if t.Then != "" {
		c.oneOf(path+".then", t.Then, ThenNearest, ThenListed)
	}
	if t.Samples != 0 {
		c.between(path+".samples", t.Samples, 1, 1<<30)
	}
}

// members checks the pools that a service gives to policies.
func (c *checker) members(s *Service) {
	seen := map[string]int{}
	for i := range s.Pools {
		m, path := &s.Pools[i], indexed("spec.pools", i)
		c.label(path, m.Pool)
		if m.Role != "" {
			c.label(path+".role", m.Role)
		}
		if first, twice := seen[m.Pool]; twice {
			c.fail(path, "", "pool %q stands twice, first at %s", m.Pool, indexed("spec.pools", first))
		} else {
			seen[m.Pool] = i
		}
	}
}

// FindPolicy gives the policy that a tenant means by a name: its own, or else the platform's. nil: there is none.
func FindPolicy(set Lookup, tenant, name string) *Resource {
	if r := set.Get(Key{tenant, KindPolicy, name}); r != nil {
		return r
	}
	return set.Get(Key{Platform, KindPolicy, name})
}

// Granted reports whether a tenant may use a policy.
func (p *Policy) Granted(owner, tenant string) bool {
	return owner == tenant || slices.Contains(p.Grants, tenant) || slices.Contains(p.Grants, GrantAll)
}

// policies checks the policies that a service or a policy uses: grants, circles, and how deep they nest.
func (v *setChecker) policies(r *Resource, rules []Rule, more []Target) {
	v.within(r, r.Tenant, rules, more, nil)
}

// within follows policies from r down. way holds the policies that led here.
func (v *setChecker) within(r *Resource, tenant string, rules []Rule, more []Target, way []Key) bool {
	visit := func(path string, t *Target) bool {
		name := t.More().Policy
		p := FindPolicy(v.after, tenant, name)
		if name == "" || p == nil {
			return true // what does not exist is told by dangling
		}
		declared, ok := p.Spec.(*Policy)
		switch {
		case !ok:
			return true
		case !declared.Granted(p.Tenant, r.Tenant):
			v.fail(r, path, fmt.Sprintf("have the tenant %s add %s to its spec.grants", Platform, r.Tenant),
				"policy %s of the tenant %s is not granted to %s", p.Name, p.Tenant, r.Tenant)
			return false
		case p.Key == r.Key || slices.Contains(way, p.Key):
			v.fail(r, path, "take one of them out", "policies use each other in a circle: %s", circle(r.Key, way, p.Key))
			return false
		case len(way) == maxNested:
			v.fail(r, path, "name the inner policies' pools instead", "policies use each other more than %d deep: %s", maxNested,
				circle(r.Key, way, p.Key))
			return false
		}
		return v.within(r, p.Tenant, declared.Rules, nil, append(slices.Clip(way), p.Key))
	}
	for i := range rules {
		if !eachTarget(rules[i].Pools, indexed("spec.rules", i)+".pools", visit) {
			return false
		}
	}
	return eachTarget(more, "spec.lastResort", visit)
}

func circle(from Key, way []Key, to Key) string {
	words := []string{from.String()}
	for _, k := range append(slices.Clip(way), to) {
		words = append(words, k.String())
	}
	return strings.Join(words, " uses ")
}
