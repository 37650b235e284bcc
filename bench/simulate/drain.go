package main

import (
	"fmt"
	"math"
	"time"

	"github.com/gti/gtm/bench/simulate/sim"
)

var drain = scenario{"drain", "an endpoint with long sessions is drained", playDrain}

const fourEndpoints = `
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
kind: Service
tenant: shop
name: live
spec:
  host: live.shop.gtm.example.
  ttl: 20s
  rules: [{name: all, pools: [eu]}]
`

func playDrain(f form) (*outcome, error) {
	c := f.config(fourEndpoints)
	c.Sessions = sim.Sessions{Mean: 20 * time.Minute, Most: 30 * time.Minute}
	c.Length = time.Hour
	begins := 10 * time.Minute
	r, err := sim.New(c)
	if err != nil {
		return nil, err
	}
	drained := r.Of("eu", "a")
	r.At(begins, func() {
		r.Declare("kind: Override\ntenant: shop\nname: drain\nspec: {pool: eu, endpoint: a, state: drain, reason: test}\n")
	})
	if err := r.Play(); err != nil {
		return nil, err
	}
	o := &outcome{run: r}
	for _, name := range []string{"a", "b", "c", "d"} {
		o.groups = append(o.groups, group{name, r.Of("eu", name)})
	}
	gone, idle := r.Idle(drained)
	if !idle {
		gone = c.Length
	}
	tail := 0 * time.Second
	for at := begins; at < c.Length; at += sim.Step {
		if r.Share(drained, at, at+sim.Step) > 0 {
			tail = at + sim.Step - begins
		}
	}
	uneven := 0.0
	for _, g := range o.groups[1:] {
		uneven = max(uneven, math.Abs(r.Share(g.endpoints, begins+time.Minute, c.Length)-1.0/3))
	}
	all := r.Between(0, c.Length)
	o.facts = []fact{
		{"sessions at it when the drain began", fmt.Sprint(r.Load(drained, begins))},
		{"of those, still there after 5, 10, 20 minutes", fmt.Sprintf("%.0f, %.0f, %.0f", r.Load(drained, begins+5*time.Minute),
			r.Load(drained, begins+10*time.Minute), r.Load(drained, begins+20*time.Minute))},
		{"last client gone after", (gone - begins).Round(time.Second).String()},
	}
	o.marks = []mark{
		atLeast("sessions at it when the drain began", r.Load(drained, begins), 1, ""),
		atMost("sessions cut", float64(all.Cut), 0, ""),
		atMost("sessions sent to a dead endpoint", float64(all.Wrong), 0, ""),
		within("until the last session begins at it", tail, r.Publish+r.Kept()+sim.Step),
		within("until the last client is gone", gone-begins, r.Publish+r.Kept()+r.Most+time.Second),
		atMost("part of the others, most beside a third", 100*uneven, 2, "points"),
	}
	return o, nil
}
