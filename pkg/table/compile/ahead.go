package compile

import (
	"runtime"
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
			c.want(&a, k.Tenant, s)
		}
	}
	var work []func()
	for key, p := range a.parts { // first, since each takes long
		work = append(work, func() { p.compile(key, c.atlas, c.maps) })
	}
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

// want notes the draws and the partition of a service that nobody has yet.
func (c *Compiler) want(a *ahead, tenant string, s *spec.Service) {
	if !policy.Simple(s) {
		c.wantSteering(a, tenant, s)
	} else if key := partKey(s); c.parts[string(key)] == nil && a.parts[string(key)] == nil {
		if classifier, err := classifierOf(s); err == nil {
			a.parts[string(key)] = &aheadPart{begin: ofRules(classifier)}
		}
	}
	form, err := formOf(s)
	if err != nil {
		return
	}
	for _, name := range s.AllPools() {
		key := aheadKey{health.PoolID{Tenant: tenant, Pool: name}, form}
		if a.draws[key] != nil {
			continue
		}
		if p := c.pools[key.pool]; p != nil && p.state != nil && p.draws[form] == nil {
			a.draws[key] = &aheadDraw{pool: p.state}
		}
	}
}

// wantSteering notes the partition of a service that goes by a policy.
func (c *Compiler) wantSteering(a *ahead, tenant string, s *spec.Service) {
	eff := s.Effective()
	p, err := policy.New(tenant, &eff, policySet{c, map[spec.Key]bool{}}, c.today)
	if err != nil {
		return // compiling it says so
	}
	if key := ownPart + string(p.AppendKey(nil)); c.parts[key] == nil && a.parts[key] == nil && c.ownParts()+a.own < maxOwnParts {
		a.parts[key] = &aheadPart{begin: ofRows(p)}
		a.own++
	}
}

// formOf gives the form in which a service draws.
func formOf(s *spec.Service) (form draws.Form, err error) {
	form.Answers = int32(max(1, s.Answers))
	switch s.Pick {
	case spec.PickSticky:
		form.Pick = draws.Sticky
	case spec.PickAll:
		form.Pick, form.Answers = draws.All, 0
	}
	form.Extra, err = draws.ExtraOf(s)
	return form, err
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
