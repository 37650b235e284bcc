package spec

import (
	"slices"
	"strings"
	"time"
)

// Values of Pool.Resume.
const (
	ResumeAuto   = "auto"
	ResumeManual = "manual"
)

// Modes of whatever moves traffic by itself.
const (
	ModeOff     = "off"
	ModeObserve = "observe" // it is told what it would do
	ModeEnforce = "enforce"
)

// Bounds of what moves traffic of a pool by itself.
const (
	maxDepends   = 16
	maxDependent = 8 // pools of a chain, each of which depends on the next
	minSlowStart = Duration(10 * time.Second)
	maxSlowStart = Duration(24 * time.Hour)
)

// ResumeMode tells how a pool that failed is kept out: ModeOff where it comes back by itself.
func (p *Pool) ResumeMode() string {
	return p.mode(p.Resume == ResumeManual, func(m *PoolModes) string { return m.Resume })
}

// DependsMode tells how Depends acts.
func (p *Pool) DependsMode() string {
	return p.mode(len(p.Depends) > 0, func(m *PoolModes) string { return m.Depends })
}

// SlowStartMode tells how SlowStart acts.
func (p *Pool) SlowStartMode() string {
	return p.mode(p.SlowStart > 0, func(m *PoolModes) string { return m.SlowStart })
}

func (p *Pool) mode(declared bool, of func(*PoolModes) string) string {
	switch {
	case !declared:
		return ModeOff
	case p.Modes == nil:
		return ModeEnforce
	}
	return orDefault(of(p.Modes), ModeEnforce)
}

// RulePools gives the names of the pools that the rules of a service can lead to, each once. Those of LastResort are not among them.
func (s *Service) RulePools() (names []string) {
	for i := range s.Rules {
		for _, name := range s.PoolsOf(s.Rules[i].Pools) {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// standby checks what moves traffic of a pool by itself.
func (c *checker) standby(p *Pool) {
	if p.Resume != "" {
		c.oneOf("spec.resume", p.Resume, ResumeAuto, ResumeManual)
	}
	if p.Resume == ResumeManual && !p.IsMonitored() {
		c.fail("spec.resume", "give it a monitor", "a pool that nobody checks never fails")
	}
	if p.SlowStart != 0 && (p.SlowStart < minSlowStart || p.SlowStart > maxSlowStart) {
		c.fail("spec.slowStart", "", "%s is out of range: it can be %s to %s", p.SlowStart, minSlowStart, maxSlowStart)
	}
	if p.SlowStart != 0 && !p.IsMonitored() {
		c.fail("spec.slowStart", "give it a monitor", "endpoints that nobody checks never recover")
	}
	if n := len(p.Depends); n > maxDepends {
		c.fail("spec.depends", "", "names %d pools and services: it can be %d", n, maxDepends)
	}
	for i, d := range p.Depends {
		path := indexed("spec.depends", i)
		switch {
		case (d.Pool == "") == (d.Service == ""):
			c.fail(path, "", "wants one of pool and service")
		case d.Pool != "":
			c.label(path+".pool", d.Pool)
		default:
			c.label(path+".service", d.Service)
		}
		if first := slices.Index(p.Depends, d); first < i {
			c.fail(path, "", "stands twice, first at %s", indexed("spec.depends", first))
		}
	}
	if m := p.Modes; m != nil {
		c.poolMode("resume", m.Resume, p.Resume == ResumeManual, "resume: manual")
		c.poolMode("depends", m.Depends, len(p.Depends) > 0, "depends")
		c.poolMode("slowStart", m.SlowStart, p.SlowStart != 0, "slowStart")
		c.poolMode("discover", m.Discover, len(p.Discover) > 0, "discover")
	}
}

func (c *checker) poolMode(field, mode string, declared bool, of string) {
	if mode == "" {
		return
	}
	c.oneOf("spec.modes."+field, mode, ModeOff, ModeObserve, ModeEnforce)
	if !declared {
		c.fail("spec.modes."+field, "remove it", "is how %s acts, which the pool does not have", of)
	}
}

// depends refuses a pool that depends on itself, by whatever chain, or by too long a one; and one that depends on an alias, which has
// no rules.
func (v *setChecker) depends(r *Resource, p *Pool) {
	for i, d := range p.Depends {
		s, _ := specOf[*Service](v.after, Key{r.Tenant, KindService, d.Service})
		if d.Service != "" && s != nil && s.Alias != nil {
			v.fail(r, indexed("spec.depends", i)+".service", "name what it leads to",
				"service %s is an alias, which has no pools", d.Service)
		}
	}
	chain := dependents{after: v.after, tenant: r.Tenant, done: map[string]int{}}
	if len(p.Depends) == 0 {
		return
	}
	if depth := chain.below(r.Name); chain.cycle != nil {
		v.fail(r, "spec.depends", "take one of them out", "depends on itself: %s", strings.Join(chain.cycle, " -> "))
	} else if depth > maxDependent {
		v.fail(r, "spec.depends", "name what it needs in the end",
			"is the first of a chain of %d pools that depend on each other: it can be %d", depth, maxDependent)
	}
}

func specOf[T Spec](set Lookup, k Key) (s T, ok bool) {
	r := set.Get(k)
	if r == nil {
		return s, false
	}
	s, ok = r.Spec.(T)
	return s, ok
}

// dependents walks what a pool depends on.
type dependents struct {
	after  Lookup
	tenant string
	path   []string       // from the pool down
	done   map[string]int // how many pools a chain has from here
	cycle  []string
}

// below gives how many pools the longest chain has that begins with a pool, or finds a cycle.
func (d *dependents) below(pool string) (depth int) {
	if n, known := d.done[pool]; known || d.cycle != nil {
		return n
	}
	step := "pool " + pool
	if at := slices.Index(d.path, step); at >= 0 {
		d.cycle = append(slices.Clone(d.path[at:]), step)
		return 0
	}
	p, ok := specOf[*Pool](d.after, Key{d.tenant, KindPool, pool})
	if !ok {
		return 0
	}
	d.path = append(d.path, step)
	for _, on := range p.Depends {
		if on.Pool != "" {
			depth = max(depth, d.below(on.Pool))
			continue
		}
		s, ok := specOf[*Service](d.after, Key{d.tenant, KindService, on.Service})
		if !ok {
			continue
		}
		d.path = append(d.path, "service "+on.Service)
		for _, name := range s.RulePools() {
			depth = max(depth, d.below(name))
		}
		d.path = d.path[:len(d.path)-1]
	}
	d.path = d.path[:len(d.path)-1]
	d.done[pool] = depth + 1
	return depth + 1
}
