package prober

import (
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// census is what the brake counted of each tenant last, and of all together: what nearly everything fails of is nobody's own matter.
type census struct {
	tenants map[string]health.Census
	all     health.Census
	regions map[string]map[string]health.Census // of tenants that are judged for the clients of a region
}

// note takes what was counted of a tenant.
func (c *census) note(tenant string, counted health.Census) {
	c.all = c.all.Plus(c.tenants[tenant], -1).Plus(counted, 1)
	if c.tenants[tenant] = counted; counted == (health.Census{}) {
		delete(c.tenants, tenant)
	}
}

// others gives what was counted of all but one.
func (c *census) others(tenant string) health.Census { return c.all.Plus(c.tenants[tenant], -1) }

// noteIn takes what was counted of a tenant in regions.
func (c *census) noteIn(tenant string, tallies map[string]health.Tally) {
	for _, region := range geo.Continents {
		counted, is := tallies[tenantIn(tenant, region)]
		if delete(c.regions[region], tenant); !is {
			continue
		}
		if c.regions[region] == nil {
			c.regions[region] = map[string]health.Census{}
		}
		c.regions[region][tenant] = counted.Census
	}
}

// othersIn gives what was counted for clients of a region of all but one: of those who are not judged for it, what was for all.
func (c *census) othersIn(region, tenant string) health.Census {
	others := c.others(tenant)
	for other, counted := range c.regions[region] {
		if other != tenant {
			others = others.Plus(c.tenants[other], -1).Plus(counted, 1)
		}
	}
	return others
}

// nearly tells where nearly everything fails, and whether of most tenants.
func (c *census) nearly(brake health.Brake) (where [len(geo.Continents) + 1][2]bool) {
	where[0][0], where[0][1] = brake.NearlyAll(c.all)
	for i, region := range geo.Continents {
		if len(c.regions[region]) > 0 {
			where[i+1][0], where[i+1][1] = brake.NearlyAll(c.othersIn(region, ""))
		}
	}
	return where
}

// brake gives the brake of a tenant.
func (t *term) brake(tenant string) health.Brake {
	return brakeOf(t.world.plan(tenant).settings(), t.world.plan(spec.Platform).settings())
}

// countFirst counts tenants before the first of them is judged in a term: what is held because everything fails is not let go by a judge
// who has not looked at everything.
func (t *term) countFirst(tenants []string) {
	if t.counted {
		return
	}
	t.counted = true
	for _, tenant := range tenants {
		d, brake := t.docket(tenant), t.brake(tenant)
		t.census.note(tenant, brake.Count(d.Docket))
		if len(d.regions) == 0 {
			continue
		}
		verdicts, _ := brake.Apply(d.Docket)
		tallies := map[string]health.Tally{}
		for region, cases := range d.regions {
			of := t.docketFor(tenant, region, d.Docket, cases, verdicts)
			tallies[tenantIn(tenant, region)] = health.Tally{Census: brake.Count(of)}
		}
		t.census.noteIn(tenant, tallies)
	}
}

// recount takes what was counted in a pass. Where nearly everything fails now, or does no more, all tenants are news.
func (t *term) recount(judged []string, tallies map[string]health.Tally) {
	brake := t.brake(spec.Platform)
	before := t.census.nearly(brake)
	for _, tenant := range judged {
		t.census.note(tenant, tallies[tenant].Census)
		t.census.noteIn(tenant, tallies)
	}
	if t.census.nearly(brake) != before {
		t.news.again()
	}
}
