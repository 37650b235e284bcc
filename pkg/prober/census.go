package prober

import (
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// census is what the brake counted of each tenant last, and of all together: what nearly everything fails of is nobody's own matter.
type census struct {
	tenants map[string]health.Census
	all     health.Census
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
		d, _ := t.docket(tenant)
		t.census.note(tenant, t.brake(tenant).Count(d))
	}
}

// recount takes what was counted in a pass. Where nearly everything fails now, or does no more, all tenants are news.
func (t *term) recount(tallies map[string]health.Tally) {
	brake := t.brake(spec.Platform)
	nearly, most := brake.NearlyAll(t.census.all)
	for tenant, tally := range tallies {
		t.census.note(tenant, tally.Census)
	}
	if n, m := brake.NearlyAll(t.census.all); n != nearly || m != most {
		t.news.again()
	}
}
