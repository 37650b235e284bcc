package main

import (
	"fmt"
	"math"
	"time"

	"github.com/gti/gtm/bench/simulate/sim"
)

var ramp = scenario{"ramp", "an endpoint goes from 0 to 30 % of its pool within 20 minutes", playRamp}

const oldAndNew = `
kind: Pool
tenant: shop
name: eu
spec:
  site: fra
  monitor: ok
  endpoints:
    - {name: old, addresses: [192.0.2.1], weight: 10000}
    - {name: new, addresses: [192.0.2.2], weight: 0}
---
kind: Service
tenant: shop
name: live
spec:
  host: live.shop.gtm.example.
  ttl: 20s
  rules: [{name: all, pools: [eu]}]
`

func playRamp(f form) (*outcome, error) {
	const to, over = 0.30, 20 * time.Minute
	c := f.config(oldAndNew)
	c.Length = time.Hour
	begins := 10 * time.Minute
	r, err := sim.New(c)
	if err != nil {
		return nil, err
	}
	r.At(begins-time.Minute, func() { // nothing is written after that
		r.Declare(fmt.Sprintf("kind: Override\ntenant: shop\nname: ramp\n"+
			"spec: {pool: eu, endpoint: new, weight: {to: %.0f, over: %s}, starts: %s, reason: test}\n",
			10000*to/(1-to), over, c.Start.Add(begins).Format(time.RFC3339)))
	})
	new := r.Of("eu", "new")
	var answered []float64 // second by second, its part of what gtm answers
	for at := time.Duration(0); at < c.Length; at += time.Second {
		r.At(at, func() { answered = append(answered, r.Shares()[new[0]]) })
	}
	if err := r.Play(); err != nil {
		return nil, err
	}
	step, bent := 0.0, 0.0
	for i, is := range answered {
		straight := to * min(1, max(0, float64(time.Duration(i)*time.Second-begins)/float64(over)))
		step, bent = max(step, math.Abs(is-answered[max(0, i-1)])), max(bent, math.Abs(is-straight))
	}
	off, chance := 0.0, 0.0
	for at := begins; at < c.Length; at += time.Minute {
		mean := 0.0
		for _, is := range answered[at/time.Second : (at+time.Minute)/time.Second] {
			mean += is / 60
		}
		off = max(off, math.Abs(r.Share(new, at, at+time.Minute)-mean))
		chance = max(chance, r.Chance(to, at, at+time.Minute))
	}
	end := begins + over + time.Minute
	last := r.Share(new, end, c.Length)
	late := to * float64(r.Kept()) / float64(over) // what resolvers keep was answered before
	o := &outcome{run: r, groups: []group{{"old", r.Of("eu", "old")}, {"new", new}}}
	o.facts = []fact{
		{"its part of new sessions when the ramp is over", percent(last)},
		{"standard deviation of a minute's part, at most", percent(chance)},
	}
	o.marks = []mark{
		atMost("sessions at it before the ramp", r.Load(new, begins), 0, ""),
		atMost("largest step of its part of what gtm answers", 100*step, 1.01, "points"),
		atMost("that part, most beside a straight line", 100*bent, 1.01, "points"),
		atMost("that part in the end, beside what was wanted", 100*math.Abs(answered[len(answered)-1]-to), 0.01, "points"),
		atMost("its part of a minute's new sessions, most beside that", 100*off, 100*(late+4*chance), "points"),
		atMost("its part of new sessions in the end, beside what was wanted", 100*math.Abs(last-to), 400*r.Chance(to, end, c.Length),
			"points"),
		atMost("sessions cut", float64(r.Between(0, c.Length).Cut), 0, ""),
	}
	return o, nil
}
