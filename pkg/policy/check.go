package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/spec"
)

// Fault is what is wrong with a policy, whatever clients and health do.
type Fault struct {
	Path    string // of the service's field, as in spec.rules[0]
	Hint    string
	Text    string
	Warning bool // it can be meant so
}

// Check tells which rules can never answer, which pools a fence leaves out wherever they are named, and what nearness cannot place.
func (p *Policy) Check(s *spec.Service) []Fault {
	c := &check{policy: p}
	for i := range p.rules {
		r := &p.rules[i]
		c.path, c.fences = fmt.Sprintf("spec.rules[%d]", i), nil
		c.fence(p.fence)
		c.rule(r, "")
		c.lastWithin(r)
	}
	if c.path, c.fences = "spec.lastResort", nil; len(p.last) > 0 {
		c.fence(p.fence)
		if pools := c.pools(p.last); len(pools) == 0 {
			c.fault("lastResort can never answer: %s", c.outside())
		}
	}
	c.unplaced()
	return c.faults
}

// check gathers faults.
type check struct {
	policy *Policy
	path   string
	fences []*fence
	whens  []int // the conditions of the rules that led here
	faults []Fault
	told   map[string]bool
}

func (c *check) fence(f *fence) {
	if f != nil {
		c.fences = append(c.fences, f)
	}
}

func (c *check) fault(format string, args ...any) { c.add(false, "", format, args...) }

func (c *check) add(warning bool, hint, format string, args ...any) {
	f := Fault{c.path, hint, fmt.Sprintf(format, args...), warning}
	if c.told == nil {
		c.told = map[string]bool{}
	}
	if key := f.Path + f.Text; !c.told[key] {
		c.told[key] = true
		c.faults = append(c.faults, f)
	}
}

// lastWithin warns of a rule whose fence leaves nothing of lastResort, which then does not answer where its pools are down.
func (c *check) lastWithin(r *rule) {
	if r.fence == nil || len(c.policy.last) == 0 || len(c.pools(r.targets)) == 0 {
		return
	}
	if c.fence(r.fence); len(c.pools(c.policy.last)) == 0 {
		c.add(true, "name a pool inside in lastResort", "all of lastResort lies outside of the fence %s: where the rule's pools are down, "+
			"they answer as if they were up", c.places())
	}
}

// rule checks a rule of the service or of a policy that one uses; of tells of which policy.
func (c *check) rule(r *rule, of string) {
	before := len(c.fences)
	defer func() { c.fences = c.fences[:before] }()
	c.fence(r.fence)
	if outer := c.excludes(r.condition); outer != "" {
		c.add(true, "take it out", "rule %s%s is never reached: the rule that uses the policy takes only %s", r.name, of, outer)
		return
	}
	if r.condition != everyone {
		c.whens = append(c.whens, r.condition)
		defer func() { c.whens = c.whens[:len(c.whens)-1] }()
	}
	told := len(c.faults)
	c.targets(r.targets)
	if pools := c.pools(r.targets); len(pools) == 0 && len(c.faults) == told { // else what is inside says it better
		c.fault("rule %s%s can never answer: %s", r.name, of, c.outside())
	}
}

// excludes gives the places of a condition on the way that has nothing in common with those of another one; empty: there is none.
func (c *check) excludes(condition int) string {
	if condition == everyone || len(c.policy.matchers[condition].Geo) == 0 {
		return ""
	}
	for _, outer := range c.whens {
		var words []string
		meet := len(c.policy.matchers[outer].Geo) == 0
		for _, a := range c.policy.matchers[outer].Geo {
			words = append(words, a.String())
			meet = meet || slices.ContainsFunc(c.policy.matchers[condition].Geo, func(b geo.Place) bool { return a.In(b) || b.In(a) })
		}
		if !meet {
			return strings.Join(words, ", ")
		}
	}
	return ""
}

// targets checks what targets name under the fences that hold.
func (c *check) targets(targets []target) {
	for i := range targets {
		switch t := &targets[i]; t.kind {
		case poolTarget:
			if c.left(t.pool) && len(c.pools(targets)) > 0 {
				c.add(true, "take it out, or let its site's region lie in the fence",
					"pool %s never answers here: it lies outside of the fence %s", c.policy.Pools[t.pool].Name, c.places())
			}
		case policyTarget:
			before := len(c.fences)
			c.fence(t.fence)
			for j := range t.rules {
				c.rule(&t.rules[j], " of policy "+t.name)
			}
			c.fences = c.fences[:before]
		default:
			c.targets(t.arms)
		}
	}
}

// pools gives what targets can lead to within the fences that hold, by the indexes of pools.
func (c *check) pools(targets []target) (pools []int) {
	add := func(more ...int) {
		for _, pool := range more {
			if !c.left(pool) && !slices.Contains(pools, pool) {
				pools = append(pools, pool)
			}
		}
	}
	for i := range targets {
		t := &targets[i]
		switch t.kind {
		case poolTarget:
			add(t.pool)
		case policyTarget:
			before := len(c.fences)
			c.fence(t.fence)
			for j := range t.rules {
				at := len(c.fences)
				c.fence(t.rules[j].fence)
				add(c.pools(t.rules[j].targets)...)
				c.fences = c.fences[:at]
			}
			c.fences = c.fences[:before]
		default:
			for j := range t.among {
				add(t.among[j].pool)
			}
			add(c.pools(t.arms)...)
		}
	}
	return pools
}

func (c *check) left(pool int) bool {
	return slices.ContainsFunc(c.fences, func(f *fence) bool { return f.outside[pool] })
}

// outside says why nothing is left.
func (c *check) outside() string {
	if len(c.fences) == 0 {
		return "no pool of the service has a role, or stands at a site, that it names"
	}
	return "no pool that it names lies inside of the fence " + c.places()
}

func (c *check) places() string {
	var words []string
	for _, f := range c.fences {
		words = append(words, strings.Join(f.places, " or "))
	}
	return strings.Join(words, " + ")
}

// unplaced warns of pools that nearest and fastest choose among and that stand nowhere.
func (c *check) unplaced() {
	var names []string
	var look func(targets []target)
	look = func(targets []target) {
		for i := range targets {
			t := &targets[i]
			for j := range t.among {
				if pool := c.policy.Pools[t.among[j].pool]; !pool.At.Known() && !slices.Contains(names, pool.Name) {
					names = append(names, pool.Name)
				}
			}
			look(t.arms)
			for j := range t.rules {
				look(t.rules[j].targets)
			}
		}
	}
	for i := range c.policy.rules {
		look(c.policy.rules[i].targets)
	}
	if c.path = "spec.rules"; len(names) > 0 {
		c.add(true, "give the pool a site, and the site a location or a region",
			"it is not known where these pools are, so they come behind all others: %s", strings.Join(names, ", "))
	}
}
