package compile

import (
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/policy"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/table/draws"
)

// aheadLeast is how many services make it worthwhile to compile ahead.
const aheadLeast = 64

// draw gives the draw of a pool.
func (a *ahead) draw(p *steer.Pool, form draws.Form) (*draws.Draw, error) {
	if d := a.draws[aheadKey{p.ID, form}]; d != nil && d.pool == p {
		return d.draw, d.err
	}
	return draws.New(p, form, nil)
}

// lookAhead compiles what services will want, where they are many.
func (c *Compiler) lookAhead(keys []spec.Key) {
	if len(keys) < aheadLeast {
		return
	}
	a := ahead{draws: map[aheadKey]*aheadDraw{}, parts: map[string]*aheadPart{}}
	for _, k := range keys {
		if s := c.serviceSpec(k); s != nil && s.Alias == nil {
			c.want(&a, k, s)
		}
	}
	work := c.partsAhead(a.parts) // first, since each takes long
	for key, d := range a.draws {
		work = append(work, func() {
			d.err = guard(key.pool.Pool, func() (err error) {
				d.draw, err = draws.New(d.pool, key.form, nil)
				return err
			})
		})
	}
	atOnce(len(work), func(i int) { work[i]() })
	c.ahead = a
}

// partsAhead gives the work of compiling partitions.
func (c *Compiler) partsAhead(parts map[string]*aheadPart) (work []func()) {
	for key, p := range parts {
		work = append(work, func() { p.compile(key, c.atlas, c.maps) })
	}
	return work
}

// want notes the draws and the partition of a service that nobody has yet.
func (c *Compiler) want(a *ahead, k spec.Key, s *spec.Service) {
	if c.simple(k.Tenant, s) {
		if c.wantPart(a, s, bySubnet); askersDiffer(s) {
			c.wantPart(a, s, byResolver)
		}
	}
	form, err := formOf(s)
	if err != nil || c.heldBy(k) != nil {
		return
	}
	for _, name := range s.AllPools() {
		key := aheadKey{health.PoolID{Tenant: k.Tenant, Pool: name}, form}
		if a.draws[key] != nil {
			continue
		}
		if p := c.pools[key.pool]; p != nil && p.state != nil && p.draws[form] == nil {
			if c.ask(p, form) != nil {
				continue // who wants it is told
			}
			a.draws[key] = &aheadDraw{pool: p.state}
		}
	}
}

// simple reports whether a tenant's service asks nothing of a client but which of its rules matches.
func (c *Compiler) simple(tenant string, s *spec.Service) bool {
	return policy.Simple(s) && !slices.ContainsFunc(s.AllPools(), func(name string) bool {
		p := c.pools[health.PoolID{Tenant: tenant, Pool: name}]
		return p != nil && p.spec != nil && p.spec.Regions
	})
}

// policiesAtOnce is for how many services policies are filled in ahead: all of them would take much memory.
const policiesAtOnce = 1024

// policiesAhead fills in the policies of the services that have one, of the next of keys, and makes their partitions and rows.
func (c *Compiler) policiesAhead(keys []spec.Key) {
	if len(keys) < aheadLeast {
		return
	}
	a := &ahead{parts: map[string]*aheadPart{}, own: owned{}}
	todo := c.fillPolicies(keys)
	for _, f := range todo {
		c.wantPolicyPart(a, f)
	}
	work := c.partsAhead(a.parts)
	atOnce(len(work), func(i int) { work[i]() })
	if c.ahead.parts == nil {
		c.ahead.parts = map[string]*aheadPart{}
	}
	maps.Copy(c.ahead.parts, a.parts)
	atOnce(len(todo), func(i int) { c.rowsAhead(todo[i]) })
}

// fillPolicies fills in the policies of services that have one.
func (c *Compiler) fillPolicies(keys []spec.Key) (todo []*aheadPolicy) {
	filled := make([]*aheadPolicy, len(keys))
	atOnce(len(keys), func(i int) {
		// overrides of a service's rules make its policy another one; they are few
		if s := c.serviceSpec(keys[i]); s != nil && s.Alias == nil && !c.simple(keys[i].Tenant, s) && len(c.shifts[keys[i]]) == 0 {
			eff := s.Effective()
			filled[i] = c.fillPolicy(keys[i].Tenant, &eff)
		}
	})
	c.ahead.policies = map[spec.Key]*aheadPolicy{}
	for i, f := range filled {
		if f != nil && f.err == nil { // else compiling it says so
			c.ahead.policies[keys[i]], todo = f, append(todo, f)
		}
	}
	return todo
}

// fillPolicy fills in the policy of a tenant's service.
func (c *Compiler) fillPolicy(tenant string, eff *spec.Service) *aheadPolicy {
	f := &aheadPolicy{asked: map[spec.Key]bool{}}
	f.err = guard(tenant, func() (err error) {
		if f.policy, err = policy.New(tenant, eff, policySet{c, f.asked}, c.today); err == nil {
			f.policy = c.shapes.Share(f.policy)
			f.key = string(f.policy.AppendKey([]byte(ownPart)))
			f.shared = string(f.policy.AppendConditions([]byte(sharedPart)))
			f.owner = owner{tenant, f.timed()}
		}
		return err
	})
	return f
}

// wantPolicyPart notes the partition of a policy: one of its own, as long as these are few.
func (c *Compiler) wantPolicyPart(a *ahead, f *aheadPolicy) {
	if c.parts[f.key] == nil && a.parts[f.key] == nil && c.mayOwn(&f.owner, a.own) {
		a.parts[f.key] = &aheadPart{begin: ofRows(f.policy)}
		a.own.count(&f.owner, 1)
	}
	if c.parts[f.key] != nil || a.parts[f.key] != nil || f.timed() {
		return
	}
	if key := f.shared; c.parts[key] == nil && a.parts[key] == nil {
		a.parts[key] = &aheadPart{begin: ofWheres(f.policy)}
	}
}

// rowsAhead makes the rows of a policy that shares a partition.
func (c *Compiler) rowsAhead(f *aheadPolicy) {
	if c.parts[f.key] != nil || c.ahead.parts[f.key] != nil {
		return
	}
	if part := c.parts[f.shared]; part != nil {
		f.division = part.division
	} else if part := c.ahead.parts[f.shared]; part != nil && part.err == nil {
		f.division = part.division
	}
	if f.division != nil {
		f.rows = f.division.rowsFor(f.policy)
	}
}

// wantPart notes a partition of a service, if nobody has it yet.
func (c *Compiler) wantPart(a *ahead, s *spec.Service, by asker) {
	key := partKey(s, by)
	if c.parts[string(key)] != nil || a.parts[string(key)] != nil {
		return
	}
	if classifier, err := classifierOf(s, by); err == nil {
		a.parts[string(key)] = &aheadPart{begin: ofRules(classifier)}
	}
}

// formOf gives the form in which a service draws.
func formOf(s *spec.Service) (form draws.Form, err error) {
	form.Answers, form.Hashing = int32(max(1, s.Answers)), draws.ByNetwork
	switch s.Pick {
	case spec.PickSticky:
		form.Pick, form.Hashing = draws.Sticky, hashingOf(s.Sticky)
	case spec.PickAll:
		form.Pick, form.Answers = draws.All, 0
	}
	if s.TTLUnsure != nil {
		form.TTLUnsure = 1 + s.TTLUnsure.WholeSeconds()
	}
	form.Extra, err = draws.ExtraOf(s)
	return form, err
}

// hashingOf gives what a sticky service goes by; sticky may be nil.
func hashingOf(sticky *spec.Sticky) draws.Hashing {
	switch h := draws.ByNetwork; {
	case sticky == nil:
		return h
	case sticky.By == spec.ByLabel:
		return draws.Hashing{Label: true}
	default:
		h.Period = sticky.Period.WholeSeconds()
		return h
	}
}

// atOnce calls f for 0 to n-1 on all CPUs, and returns when all have returned.
func atOnce(n int, f func(i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}
