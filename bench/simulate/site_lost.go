package main

import (
	"fmt"
	"time"

	"github.com/gti/gtm/bench/simulate/sim"
	"github.com/gti/gtm/pkg/health"
)

var siteLost = scenario{"site-lost", "all endpoints of the largest site die at the peak of demand, and live again later", playSiteLost}

const threeSites = `
kind: Pool
tenant: shop
name: eu
spec:
  site: fra
  monitor: ok
  endpoints:
    - {name: a, addresses: [192.0.2.1]}
    - {name: b, addresses: [192.0.2.2]}
    - {name: c, addresses: [192.0.2.3]}
    - {name: d, addresses: [192.0.2.4]}
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
    - {name: c, addresses: [198.51.100.3]}
    - {name: d, addresses: [198.51.100.4]}
---
kind: Pool
tenant: shop
name: sg
spec:
  site: sin
  monitor: ok
  endpoints:
    - {name: a, addresses: [203.0.113.1]}
    - {name: b, addresses: [203.0.113.2]}
    - {name: c, addresses: [203.0.113.3]}
    - {name: d, addresses: [203.0.113.4]}
---
kind: Service
tenant: shop
name: live
spec:
  host: live.shop.gtm.example.
  ttl: 20s
  rules:
    - {name: europe, when: {geo: [EU, AF]}, pools: [eu, us]}
    - {name: asia-pacific, when: {geo: [AS, OC]}, pools: [sg, us]}
    - {name: rest, pools: [us, eu]}
`

func playSiteLost(f form) (*outcome, error) {
	c := f.config(threeSites)
	c.Length = 24 * time.Hour
	dies, lives := sim.Peak(c.Audience, c.Start), 2*time.Hour
	if f.short {
		c.Start = c.Start.Add(dies - 15*time.Minute)
		c.Length, dies, lives = 45*time.Minute, 15*time.Minute, 15*time.Minute
	}
	lives += dies
	r, err := sim.New(c)
	if err != nil {
		return nil, err
	}
	lost, europe, america := r.AtSite("sin"), r.AtSite("fra"), r.AtSite("iad")
	r.At(dies, func() { r.Fail(lost...) })
	r.At(lives, func() { r.Heal(lost...) })
	if err := r.Play(); err != nil {
		return nil, err
	}
	o := &outcome{run: r, groups: sites(r, "fra", "iad", "sin")}
	during := r.Between(dies, lives)
	before := r.Load(america, dies) + r.Load(lost, dies)
	peak, quiet := 0.0, 0.0
	for at := dies; at <= lives && at <= dies+10*time.Minute; at += sim.Step {
		peak = max(peak, r.Load(america, at))
		quiet = max(quiet, r.Load(europe, at)/r.Load(europe, dies))
	}
	o.facts = []fact{
		{"it died", r.Start.Add(dies).Format("15:04 UTC")},
		{"sessions cut", fmt.Sprint(during.Cut)},
		{"new sessions sent to it after that", fmt.Sprintf("%d of %d", during.Wrong, during.Starts)},
		{"answers that named it after that", fmt.Sprintf("%d of %d", during.Bad, during.Answers)},
		{"attempts of clients that it had left", fmt.Sprint(during.Retries)},
		{"load of iad before, and at most after", fmt.Sprintf("%.0f, %.0f sessions", r.Load(america, dies), peak)},
	}
	judged, ok := r.Judged(lost, health.Down, dies)
	back, known := r.Judged(lost, health.Up, lives)
	if !ok || !known {
		return nil, fmt.Errorf("not all endpoints of the lost site were judged to be down, and up again")
	}
	o.marks = []mark{
		within("until edges have heard that all of it is down", judged-dies, r.Down("sg")),
		atLeast("answers that named it until then", float64(during.Bad), 1, ""),
		within("until the last answer that names it", r.LastBad-dies, r.Down("sg")),
		within("until less than 0.1 % of new sessions are sent to it", r.Recovered(dies, 0.001), r.Down("sg")+r.Kept()+sim.Step),
		within("until the last session is sent to it", r.LastWrong-dies, r.Down("sg")+r.Kept()),
		atMost("most load of iad, of what both had before", 100*peak/before, 110, "%"),
		atMost("most load of fra within 10 minutes, of that before", 100*quiet, 105, "%"),
		within("until edges have heard that all of it is up again", back-lives, r.Up("sg")),
	}
	return o, nil
}
