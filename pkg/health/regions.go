package health

import (
	"maps"
	"slices"
	"strings"

	"github.com/gti/gtm/pkg/geo"
)

// regionLeast is how many vantages must stand in a region for it to be judged: one alone may be blind, or lie.
const regionLeast = 2

// continent gives that of a vantage's region; empty: it has none.
func continent(region string) string {
	if region, _, _ = strings.Cut(region, "-"); slices.Contains(geo.Continents[:], region) {
		return region
	}
	return ""
}

// Regions gives the case of each region in which enough of the case's vantages stand. previous are the verdicts for regions so far. (R11)
func (c *Case) Regions(previous map[string]Verdict) map[string]Case {
	in := map[string][]string{}
	for _, v := range c.electorate() {
		if region := c.stands(v, previous); region != "" {
			in[region] = append(in[region], v)
		}
	}
	cases := make(map[string]Case, len(in))
	for region, vantages := range in {
		if len(vantages) < regionLeast {
			continue
		}
		of := *c
		of.Pool, of.Region, of.Vantages, of.Previous = c.Pool.For(region), region, vantages, previous[region]
		of.Quorum, of.Agree, of.names = 0, nil, nil
		cases[region] = of
	}
	return cases
}

// stands gives the continent on which a vantage stands; empty: nobody knows.
func (c *Case) stands(vantage string, previous map[string]Verdict) string {
	if c.Alive[vantage] {
		return continent(c.About[vantage].Region)
	}
	for region, v := range previous {
		if slices.Contains(v.Vantages, vantage) { // of one only: it was alive when it was noted
			return region
		}
	}
	return ""
}

// few reports whether too few live and see an endpoint for a quorum.
func (p *poll) few() bool { return len(p.up)+len(p.down) < p.quorum }

// asForAll stands before the reason of what is found for all, where that holds in a region.
const asForAll = "as for all: "

// goesByAll applies R12: follows tells whether f is now what is found for all. That is beyond doubt: the brake has asked there.
func (p *poll) goesByAll(f *Finding, previous, all Finding) (follows bool) {
	if follows = p.few() && previous.All != all.State; follows {
		of, recovered, back := f.Of, f.Recovered, f.Back
		*f = all
		f.Of, f.Back, f.Proven = of, back, all.State == Down
		if previous.State != Unknown {
			f.Recovered = recovered
		}
		if f.Reason = strings.TrimPrefix(f.Reason, heldReason); f.Reason != "" {
			f.Reason = asForAll + f.Reason
		}
	}
	f.All = all.State
	return follows
}

// votedByAll reports whether those who see what a region's vantages do not say what is found there.
func (c *Case) votedByAll(name string, f Finding, p *poll) bool {
	return c.All != nil && p.few() && f.State == c.All.Endpoints[name].State && !c.All.Unvoted[name]
}

// ForRegion gives the docket of a tenant for the clients of a region: cases are those of pools, as they are declared, that are judged for
// it, and all are the verdicts for all, behind the brake. Of other pools these hold in it, too. Age, FrozenFor, HeldFor, Others and what
// Pools says of Out stay as they are.
func (d Docket) ForRegion(cases map[PoolID]Case, all map[PoolID]Verdict) Docket {
	d.Previous, d.Proposed = maps.Clone(d.Previous), maps.Clone(d.Proposed)
	for id, c := range cases {
		found := all[id]
		found.Unvoted = d.Proposed[id].Unvoted
		c.All, c.Previous = &found, c.Previous.For(c.Endpoints, c.Of)
		if delete(d.Previous, id); len(c.Previous.Endpoints) > 0 {
			d.Previous[id] = c.Previous
		}
		d.Proposed[id] = Judge(c)
	}
	return d
}

// AnswersAs reports whether answers are the same by two verdicts on a pool. One by which nothing is down needs no words of its own.
func (v *Verdict) AnswersAs(o *Verdict) bool {
	if o == nil || v.Frozen || o.Frozen || v.Out != nil || o.Out != nil || len(v.Endpoints) != len(o.Endpoints) {
		return false
	}
	for name, f := range v.Endpoints {
		g, ok := o.Endpoints[name]
		if !ok || f.State == Down || f.State != g.State || f.Score != g.Score || f.Unsure != g.Unsure || f.Of != g.Of ||
			f.Recovered != g.Recovered || f.Recovered && !f.Since.Equal(g.Since) {
			return false
		}
	}
	return true
}
