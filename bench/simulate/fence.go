package main

import (
	"fmt"
	"time"

	"github.com/gti/gtm/bench/simulate/sim"
	"github.com/gti/gtm/pkg/health"
)

var fence = scenario{"fence", "clients of Europe are fenced in; its nearer site dies, then the other too", playFence}

const fourSites = `
kind: Site
tenant: platform
name: waw
spec: {location: {lat: 52.23, lon: 21.01}, region: EU-PL}
---
kind: Pool
tenant: shop
name: de
spec:
  site: fra
  monitor: ok
  endpoints:
    - {name: a, addresses: [192.0.2.1]}
    - {name: b, addresses: [192.0.2.2]}
---
kind: Pool
tenant: shop
name: pl
spec:
  site: waw
  monitor: ok
  endpoints:
    - {name: a, addresses: [192.0.2.65]}
    - {name: b, addresses: [192.0.2.66]}
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
kind: Pool
tenant: shop
name: sg
spec:
  site: sin
  monitor: ok
  endpoints:
    - {name: a, addresses: [203.0.113.1]}
    - {name: b, addresses: [203.0.113.2]}
---
kind: Service
tenant: shop
name: live
spec:
  host: live.shop.gtm.example.
  ttl: 20s
  rules:
    - {name: europe, when: {geo: [EU]}, fence: [EU], pools: [{nearest: [de, pl, us, sg]}]}
    - {name: rest, pools: [{nearest: [de, pl, us, sg]}]}
`

func playFence(f form) (*outcome, error) {
	c := f.config(fourSites)
	c.Length = 40 * time.Minute
	const dies, both, lives = 10 * time.Minute, 20 * time.Minute, 30 * time.Minute
	r, err := sim.New(c)
	if err != nil {
		return nil, err
	}
	fra, waw, outside := r.AtSite("fra"), r.AtSite("waw"), append(r.AtSite("iad"), r.AtSite("sin")...)
	inside := map[int]bool{}
	for _, at := range append(r.AtSite("fra"), waw...) {
		inside[at] = true
	}
	fenced, left := 0, 0
	r.Told = func(country sim.Country, endpoint int) {
		if r.Continent(country) == "EU" {
			if fenced++; !inside[endpoint] {
				left++
			}
		}
	}
	r.At(dies, func() { r.Fail(fra...) })
	r.At(both, func() { r.Fail(waw...) })
	r.At(lives, func() { r.Heal(fra...) })
	if err := r.Play(); err != nil {
		return nil, err
	}
	one, ok := r.Judged(fra, health.Down, dies)
	back, known := r.Judged(fra, health.Up, lives)
	if !ok || !known {
		return nil, fmt.Errorf("not all of fra was judged to be down, and up again")
	}
	first, second := r.Between(dies, both), r.Between(both, lives)
	o := &outcome{run: r, groups: sites(r, "fra", "waw", "iad", "sin")}
	o.facts = []fact{
		{"answers that clients of Europe were told", fmt.Sprint(fenced)},
		{"new sessions sent to a dead endpoint while one site was dead", fmt.Sprintf("%d of %d", first.Wrong, first.Starts)},
		{"the same while both were", fmt.Sprintf("%d of %d", second.Wrong, second.Starts)},
		{"load outside of Europe before, and while both were dead", fmt.Sprintf("%.0f, %.0f sessions", r.Load(outside, dies),
			r.Load(outside, lives))},
	}
	o.marks = []mark{
		atLeast("answers told to clients of Europe", float64(fenced), 1, ""),
		atMost("of those, that led out of the fence", float64(left), 0, ""),
		within("until edges have heard that fra is down", one-dies, r.Down("de")),
		atLeast("sessions at waw while fra is dead", r.Load(waw, both), 1, ""),
		atLeast("new sessions that wait inside while both are dead", float64(second.Wrong), 1, ""),
		within("until edges have heard that fra is up again", back-lives, r.Up("de")),
		within("until the last session is sent to a dead endpoint", r.LastWrong-lives, r.Up("de")+r.Kept()),
	}
	return o, nil
}
