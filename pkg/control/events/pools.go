package events

import (
	"maps"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/steer"
	"github.com/gti/gtm/pkg/store/state"
)

// pools knows which pools are up, by what is declared, judged and overridden, as edges know it.
type pools struct {
	mirror  *state.Mirror
	tenants map[string]*tenant
	stand   map[health.PoolID]standing
	due     map[health.PoolID]time.Time // when the clock next changes a pool
}

// standing is how a pool was last.
type standing struct {
	up  bool
	why string
}

// tenant is what a tenant declares that pools are up by.
type tenant struct {
	head       state.Generation
	pools      map[string]*spec.Pool
	services   map[string]*spec.Service
	overrides  map[string][]*spec.Override // by pool, in the order of their names
	dependents map[string]map[string]bool  // of a pool: the pools that are down with it, or with a service that names it
}

func newPools(m *state.Mirror) *pools {
	return &pools{mirror: m, tenants: map[string]*tenant{}, stand: map[health.PoolID]standing{}, due: map[health.PoolID]time.Time{}}
}

// declare reads anew what a tenant declares.
func (p *pools) declare(name string) *tenant {
	s := p.mirror.Joined(name)
	d := &tenant{head: s.Head, pools: map[string]*spec.Pool{}, services: map[string]*spec.Service{},
		overrides: map[string][]*spec.Override{}, dependents: map[string]map[string]bool{}}
	var names []spec.Key
	byName := map[spec.Key]*spec.Override{}
	for key, v := range s.Resources.All() {
		switch r := v.Resource.Spec.(type) {
		case *spec.Pool:
			d.pools[key.Name] = r
		case *spec.Service:
			d.services[key.Name] = r
		case *spec.Override:
			if r.Service == "" && r.Pool != "" {
				names, byName[key] = append(names, key), r
			}
		}
	}
	slices.SortFunc(names, spec.Key.Compare)
	for _, key := range names {
		o := byName[key]
		d.overrides[o.Pool] = append(d.overrides[o.Pool], o)
	}
	for dependent, pool := range d.pools {
		for _, on := range pool.Depends {
			for _, other := range d.poolsOf(on) {
				if d.dependents[other] == nil {
					d.dependents[other] = map[string]bool{}
				}
				d.dependents[other][dependent] = true
			}
		}
	}
	for id := range p.stand {
		if of, _ := id.Declared(); id.Tenant == name && d.pools[of.Pool] == nil {
			delete(p.stand, id)
			delete(p.due, id)
		}
	}
	p.tenants[name] = d
	return d
}

// poolsOf gives the pools that a dependency speaks of.
func (d *tenant) poolsOf(on spec.Dependency) []string {
	if on.Pool != "" {
		return []string{on.Pool}
	}
	if s := d.services[on.Service]; s != nil {
		return s.RulePools()
	}
	return nil
}

// with adds to some pools those that depend on them.
func (d *tenant) with(names ...string) []string {
	all := map[string]bool{}
	for len(names) > 0 {
		name := names[0]
		names = names[1:]
		if all[name] {
			continue
		}
		all[name] = true
		names = slices.AppendSeq(names, maps.Keys(d.dependents[name]))
	}
	return slices.Sorted(maps.Keys(all))
}

// turned is a pool that went up or down.
type turned struct {
	id       health.PoolID
	was, now standing
	verdict  *health.Verdict
}

// look finds out how pools of a tenant stand now, and gives those that turned. One that was not known before has not.
func (p *pools) look(tenant string, names []string, now time.Time) (list []turned) {
	d := p.tenants[tenant]
	if d == nil {
		d = p.declare(tenant)
	}
	steered := map[health.PoolID]*steer.Pool{}
	for _, region := range append([]string{""}, geo.Continents[:]...) {
		for _, name := range names {
			id := health.PoolID{Tenant: tenant, Pool: name}.For(region)
			if region != "" && (d.pools[name] == nil || !d.pools[name].Regions || p.verdict(id) == nil) {
				delete(p.stand, id)
				delete(p.due, id)
				continue
			}
			made := p.steer(d, tenant, name, region, steered, now)
			if made == nil {
				continue
			}
			if delete(p.due, id); !made.Next.IsZero() {
				p.due[id] = made.Next
			}
			is := standing{made.Up, made.Why}
			if was, known := p.stand[id]; known && was.up != is.up {
				list = append(list, turned{id, was, is, p.verdict(id)})
			}
			p.stand[id] = is
		}
	}
	return list
}

// steer gives what a pool is for clients of a region, as edges know it; nil: it is not declared. One without regions is the same for all,
// and so is what it depends on. steered are those that were made before.
func (p *pools) steer(d *tenant, tenant, name, region string, steered map[health.PoolID]*steer.Pool, now time.Time) *steer.Pool {
	declared := d.pools[name]
	if declared == nil {
		return nil
	}
	if !declared.Regions {
		region = ""
	}
	id := health.PoolID{Tenant: tenant, Pool: name}
	if known, ok := steered[id.For(region)]; ok {
		return known
	}
	steered[id.For(region)] = nil // it is being made: who depends on it meanwhile takes it for up
	effective := declared.Effective()
	verdict := p.verdict(id)
	if v := p.verdict(id.For(region)); v != nil {
		verdict = v
	}
	made := steer.NewPool(id, &effective, verdict, d.overrides[name], now)
	made.DependOn(declared, steer.DownBy(declared, func(on string) *steer.Pool { return p.steer(d, tenant, on, region, steered, now) },
		func(service string) []string {
			if s := d.services[service]; s != nil {
				return s.RulePools()
			}
			return nil
		}))
	steered[id.For(region)] = made
	return made
}

func (p *pools) verdict(id health.PoolID) *health.Verdict {
	v, ok := p.mirror.Verdict(id)
	if !ok {
		return nil
	}
	return &v
}

// ripe gives the pools that the clock changes now, by tenant.
func (p *pools) ripe(now time.Time) map[string][]string {
	list := map[string][]string{}
	for id, at := range p.due {
		if !at.After(now) {
			of, _ := id.Declared()
			list[id.Tenant] = append(list[id.Tenant], of.Pool)
		}
	}
	return list
}
