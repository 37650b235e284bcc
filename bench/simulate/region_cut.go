package main

import (
	"time"

	"github.com/gti/gtm/bench/simulate/sim"
	"github.com/gti/gtm/pkg/spec"
)

var regionCut = scenario{"region-cut", "Europe does not reach Asia's site any more; the pool there has regions: true, and all others stay",
	playRegionCut}

const singaporeFirst = `
kind: Pool
tenant: shop
name: sg
spec:
  site: sin
  monitor: ok
  regions: true
  endpoints:
    - {name: a, addresses: [203.0.113.1]}
    - {name: b, addresses: [203.0.113.2]}
    - {name: c, addresses: [203.0.113.3]}
    - {name: d, addresses: [203.0.113.4]}
---
kind: Pool
tenant: shop
name: us
spec:
  site: iad
  monitor: ok
  endpoints:
    - {name: a, addresses: [198.51.100.1]}
    - {name: b, addresses: [198.51.100.2]}
---
kind: Service
tenant: shop
name: live
spec: {host: live.shop.gtm.example., ttl: 20s, rules: [{pools: [sg, us]}]}
`

// twoInEurope stands beside allVantages, of which one is in Europe.
var twoInEurope = append([]sim.Vantage{
	{Name: "waw", At: spec.Location{Lat: 52.23, Lon: 21.01}, Region: "EU-PL", Network: "AS64506"}}, allVantages[:4]...)

func playRegionCut(f form) (*outcome, error) {
	c := f.config(singaporeFirst)
	c.PerSecond, c.Networks, c.Resolvers = 100, 20_000, 4000
	c.Warm, c.Length, c.Vantages = 20*time.Minute, 15*time.Minute, twoInEurope
	r, err := sim.New(c)
	if err != nil {
		return nil, err
	}
	there := map[int]bool{}
	for _, at := range r.AtSite("sin") {
		there[at] = true
	}
	cut, lastThere, firstBack, others, strayed := 0, time.Duration(-1), time.Duration(-1), 0, 0
	r.Told = func(country sim.Country, endpoint int) {
		switch now := r.Now(); {
		case r.Continent(country) != "EU":
			if others++; !there[endpoint] {
				strayed++
			}
		case now >= happens && now < ends && there[endpoint]:
			lastThere = now
		case now >= happens && now < ends:
			cut++
		case now >= ends && there[endpoint] && firstBack < 0:
			firstBack = now
		}
	}
	r.At(happens, func() { r.Blind("ams", "sin"); r.Blind("waw", "sin") })
	r.At(ends, func() { r.See("ams"); r.See("waw") })
	if err := r.Play(); err != nil {
		return nil, err
	}
	o := &outcome{run: r, groups: sites(r, "iad", "sin")}
	o.marks = []mark{
		atMost("verdicts for all that went down or up", moved(r), 0, ""),
		atLeast("answers to clients of Europe that led elsewhere while it was cut", float64(cut), 1, ""),
		within("until the last of them was told of the site that they do not reach", lastThere-happens, r.Down("sg")+r.Kept()),
		within("until the first of them is back when it is over", firstBack-ends, r.Up("sg")+r.Kept()),
		atLeast("answers to all others", float64(others), 1, ""),
		atMost("of those, that led elsewhere", float64(strayed), 0, ""),
	}
	return o, nil
}
