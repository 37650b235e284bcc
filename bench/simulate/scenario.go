package main

import (
	"fmt"
	"time"

	"github.com/gti/gtm/bench/simulate/sim"
	"github.com/gti/gtm/pkg/spec"
)

// scenarios are all there are, in the order in which they run. Each stands in a file of its own.
var scenarios = []scenario{siteLost, ramp, drain, sticky, fence, regionDies, poolAlone, observerDies, cableCut, regionCut}

// A scenario is a world, what happens in it, and what must come of it.
type scenario struct {
	name, about string
	play        func(form) (*outcome, error)
}

// form says how a scenario is played.
type form struct {
	short bool // with fewer clients, and for less time
	seed  uint64
	land  *sim.Land
}

// outcome is what came of a scenario.
type outcome struct {
	run    *sim.Run
	facts  []fact
	marks  []mark
	groups []group // of endpoints, whose load is told and drawn
}

// fact is something to know.
type fact struct{ what, is string }

// group is some endpoints, under the name that a picture has for them.
type group struct {
	name      string
	endpoints []int
}

// mark is something that must hold.
type mark struct {
	what            string
	measured, limit float64
	unit            string
	least           bool // the limit is the least, not the most
}

func atMost(what string, measured, most float64, unit string) mark {
	return mark{what, measured, most, unit, false}
}

// within is atMost for times.
func within(what string, measured, most time.Duration) mark {
	return atMost(what, measured.Seconds(), most.Seconds(), "s")
}

func atLeast(what string, measured, least float64, unit string) mark {
	return mark{what, measured, least, unit, true}
}

// met reports whether the mark holds. What was not measured, NaN, never does.
func (m mark) met() bool {
	if m.least {
		return m.measured >= m.limit
	}
	return m.measured <= m.limit
}

// The sites, with the zone and the monitor that every scenario stands on.
const ground = `
kind: Zone
tenant: platform
name: gtm.example.
spec:
  nameservers: [ns1.example.net.]
  contact: hostmaster.example.net.
  grants: {shop: [shop.gtm.example.]}
---
kind: Site
tenant: platform
name: fra
spec: {location: {lat: 50.11, lon: 8.68}, region: EU-DE}
---
kind: Site
tenant: platform
name: iad
spec: {location: {lat: 38.95, lon: -77.45}, region: NA-US-VA}
---
kind: Site
tenant: platform
name: sin
spec: {location: {lat: 1.35, lon: 103.82}, region: AS-SG}
---
kind: Monitor
tenant: shop
name: ok
spec: {type: http, port: 80, path: /healthz, interval: 5s, timeout: 2s, rise: 2, fall: 2}
---
`

// monday is when scenarios begin, unless they say otherwise.
var monday = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)

// config gives what scenarios have in common: 1,000 sessions that begin in a second and 10 minutes of each, or a tenth of that in the
// short form.
func (f form) config(resources string) sim.Config {
	c := sim.Config{
		Seed: f.seed, Land: f.land, Resources: ground + resources, Host: "live.shop.gtm.example.", Start: monday,
		Warm: time.Hour,
		Audience: sim.Audience{Countries: sim.Countries, PerSecond: 1000, Networks: 50_000, V6: 0.3, Resolvers: 10_000, Public: 0.3,
			Nodes: 32, Stretch: 0.05, Least: 30 * time.Second},
		Sessions: sim.Sessions{Mean: 10 * time.Minute, Most: time.Hour},
		Health: sim.Health{Vantages: []sim.Vantage{
			{Name: "ams", At: spec.Location{Lat: 52.37, Lon: 4.90}},
			{Name: "sjc", At: spec.Location{Lat: 37.36, Lon: -121.93}},
			{Name: "nrt", At: spec.Location{Lat: 35.76, Lon: 140.39}},
		}, Lost: 0.001, Report: 50 * time.Millisecond, Publish: 50 * time.Millisecond},
	}
	if f.short {
		c.PerSecond, c.Networks, c.Resolvers = 100, 20_000, 4000
	}
	return c
}

// percent writes a part.
func percent(part float64) string { return fmt.Sprintf("%.2f %%", 100*part) }

// sites gives the load by site.
func sites(r *sim.Run, names ...string) (all []group) {
	for _, name := range names {
		all = append(all, group{name, r.AtSite(name)})
	}
	return all
}
