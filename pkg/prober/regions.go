package prober

import (
	"maps"
	"time"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/health"
)

// A pool with regions has a verdict for the clients of each continent where enough of its vantages stand, beside the one for all: see R11,
// R12 and B10 of pkg/health. It is stored as that of a pool of its own.

// regional are the cases of a tenant's pools, as they are declared, by region.
type regional map[string]map[health.PoolID]health.Case

func (r regional) add(id health.PoolID, c *health.Case, previous map[string]health.Verdict) {
	for region, of := range c.Regions(previous) {
		if r[region] == nil {
			r[region] = map[health.PoolID]health.Case{}
		}
		r[region][id] = of
	}
}

// judges reports whether a pool, named as it is judged, is for all, or is one of the cases.
func (r regional) judges(id health.PoolID) bool {
	of, region := id.Declared()
	_, is := r[region][of]
	return region == "" || is
}

// inRegions gives what is held of a pool for regions.
func inRegions(held map[health.PoolID]health.Verdict, id health.PoolID) map[string]health.Verdict {
	found := map[string]health.Verdict{}
	for _, region := range geo.Continents {
		if v, ok := held[id.For(region)]; ok {
			found[region] = v
		}
	}
	return found
}

// tenantIn names a tenant as it is judged for a region.
func tenantIn(tenant, region string) string { return health.PoolID{Pool: tenant}.For(region).Pool }

// docketFor gives the docket of a tenant for the clients of a region. all are the verdicts for all.
func (t *term) docketFor(tenant, region string, d health.Docket, cases map[health.PoolID]health.Case,
	all map[health.PoolID]health.Verdict) health.Docket {
	held, named := t.held[tenant], func(id health.PoolID) health.PoolID {
		if _, is := cases[id]; is {
			return id.For(region)
		}
		return id
	}
	pools := maps.Clone(d.Pools)
	for id := range cases {
		p := pools[id]
		p.Out = p.Resume == health.Enforce && held[id.For(region)].Out.Enforced()
		pools[id] = p
	}
	d.Pools = pools
	d.Age = func(id health.PoolID, endpoint string) time.Duration {
		return t.ages.down(named(id), endpoint, held[named(id)].Endpoints[endpoint])
	}
	d.FrozenFor = func(since time.Time) time.Duration { return t.ages.frozen(tenantIn(tenant, region), since) }
	d.HeldFor = func(id health.PoolID) time.Duration { return t.ages.heldFor(held[named(id)]) }
	d.Others = t.census.othersIn(region, tenant)
	return d.ForRegion(cases, all)
}

// judgeRegions adds to work what changes for clients of regions.
func (t *term) judgeRegions(tenant string, d *docket, all map[health.PoolID]health.Verdict, work *verdictWork) {
	brake := t.brake(tenant)
	for region, cases := range d.regions {
		of := t.docketFor(tenant, region, d.Docket, cases, all)
		verdicts, tally := brake.Apply(of)
		for id := range cases {
			t.propose(d, of.Pools[id], verdicts[id], work)
		}
		work.tally[tenantIn(tenant, region)] = tally
	}
}
