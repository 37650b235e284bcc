package main

import (
	"fmt"
	"time"

	"github.com/gti/gtm/bench/simulate/sim"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// What the brake must tell apart, each with 1, 3 and 5 vantages.
var (
	regionDies = scenario{"region-dies",
		"a region that holds most of a tenant dies, and its prober with it; another service has only that pool", playRegionDies}
	poolAlone    = scenario{"pool-alone", "five of eight endpoints die, and there is no other pool", playPoolAlone}
	observerDies = scenario{"observer-blind", "a prober goes blind, and sees again later", playObserverBlind}
	cableCut     = scenario{"cable-cut", "probers of Europe and America do not reach Asia any more, where all is well", playCableCut}
)

// europeMost has most of a tenant in Europe, and a name for that site alone.
const europeMost = `
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
    - {name: e, addresses: [192.0.2.5]}
    - {name: f, addresses: [192.0.2.6]}
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
    - {name: europe, when: {geo: [EU, AF]}, pools: [eu, us]}
    - {name: asia-pacific, when: {geo: [AS, OC]}, pools: [sg, us]}
    - {name: rest, pools: [us, eu]}
---
kind: Service
tenant: shop
name: fra
spec:
  host: fra.shop.gtm.example.
  rules: [{pools: [eu]}]
`

// allVantages are those of which the scenarios take the first.
var allVantages = []sim.Vantage{
	{Name: "ams", At: spec.Location{Lat: 52.37, Lon: 4.90}, Region: "EU-NL", Network: "AS64501"},
	{Name: "sjc", At: spec.Location{Lat: 37.36, Lon: -121.93}, Region: "NA-US", Network: "AS64502"},
	{Name: "nrt", At: spec.Location{Lat: 35.76, Lon: 140.39}, Region: "AS-JP", Network: "AS64503"},
	{Name: "hkg", At: spec.Location{Lat: 22.31, Lon: 113.92}, Region: "AS-HK", Network: "AS64504"},
	{Name: "gru", At: spec.Location{Lat: -23.43, Lon: -46.47}, Region: "SA-BR", Network: "AS64505"},
}

// happens and ends are when the fault of such a scenario does.
const happens, ends = 5 * time.Minute, 10 * time.Minute

// withVantages plays the same with 1, 3 and 5 vantages, and gathers the marks. The last run is the one that is drawn. Few clients
// are enough: what is asked is whether any is told the wrong thing.
func withVantages(f form, resources string, play func(r *sim.Run, vantages int),
	marks func(r *sim.Run, vantages int) []mark) (*outcome, error) {
	o := &outcome{}
	for _, n := range []int{1, 3, 5} {
		c := f.config(resources)
		c.PerSecond, c.Networks, c.Resolvers = 100, 20_000, 4000
		c.Warm, c.Length, c.Vantages = 20*time.Minute, 15*time.Minute, allVantages[:n]
		r, err := sim.New(c)
		if err != nil {
			return nil, err
		}
		play(r, n)
		if err := r.Play(); err != nil {
			return nil, err
		}
		for _, m := range marks(r, n) {
			m.what = fmt.Sprintf("%d: %s", n, m.what)
			o.marks = append(o.marks, m)
		}
		o.run = r
	}
	o.facts = []fact{{"each mark begins with", "the number of vantages"}}
	return o, nil
}

// window is the brake's, after which what stands proves what is held.
const window = time.Minute

// moved counts verdicts of endpoints that went down or came up.
func moved(r *sim.Run) float64 { return float64(len(r.Verdicts)) }

func playRegionDies(f form) (*outcome, error) {
	o, err := withVantages(f, europeMost, func(r *sim.Run, n int) {
		r.At(happens, func() {
			r.Fail(r.AtSite("fra")...)
			if n > 1 { // a prober alone lives elsewhere
				r.Silence("ams")
			}
		})
		r.At(ends, func() { r.Heal(r.AtSite("fra")...) })
	}, func(r *sim.Run, n int) []mark {
		down, _ := r.Judged(r.AtSite("fra"), health.Down, happens)
		up, _ := r.Judged(r.AtSite("fra"), health.Up, ends)
		return []mark{
			within("until edges have heard that all of it is down", down-happens, r.Down("eu")),
			atLeast("answers that named it", float64(r.Between(happens, ends).Bad), 1, ""),
			within("until the last answer that names it", r.LastBad-happens, r.Down("eu")),
			within("until edges have heard that all of it is up again", up-ends, r.Up("eu")),
		}
	})
	return grouped(o, err, "fra", "iad", "sin")
}

// grouped adds the groups of a picture.
func grouped(o *outcome, err error, names ...string) (*outcome, error) {
	if err == nil {
		o.groups = sites(o.run, names...)
	}
	return o, err
}

func playPoolAlone(f form) (*outcome, error) {
	dead := []string{"a", "b", "c", "d", "e"}
	o, err := withVantages(f, eightAlone, func(r *sim.Run, n int) {
		r.At(happens, func() { r.Fail(r.Of("all", dead...)...) })
		r.At(ends, func() { r.Heal(r.Of("all", dead...)...) })
	}, func(r *sim.Run, n int) []mark {
		down, _ := r.Judged(r.Of("all", dead...), health.Down, happens)
		limit := r.Down("all")
		if n == 1 { // its word alone is held until the rest has stood
			limit += window + time.Second
		}
		marks := []mark{
			within("until edges have heard that the five are down", down-happens, limit),
			within("until the last answer that names one", r.LastBad-happens, limit),
		}
		if n == 1 {
			marks = append(marks, atLeast("seconds that they are held", (down-happens).Seconds(), window.Seconds(), "s"))
		}
		return marks
	})
	return grouped(o, err, "fra")
}

const eightAlone = `
kind: Pool
tenant: shop
name: all
spec:
  site: fra
  monitor: ok
  endpoints:
    - {name: a, addresses: [192.0.2.1]}
    - {name: b, addresses: [192.0.2.2]}
    - {name: c, addresses: [192.0.2.3]}
    - {name: d, addresses: [192.0.2.4]}
    - {name: e, addresses: [192.0.2.5]}
    - {name: f, addresses: [192.0.2.6]}
    - {name: g, addresses: [192.0.2.7]}
    - {name: h, addresses: [192.0.2.8]}
---
kind: Service
tenant: shop
name: live
spec: {host: live.shop.gtm.example., ttl: 20s, rules: [{pools: [all]}]}
`

func playObserverBlind(f form) (*outcome, error) {
	o, err := withVantages(f, europeMost, func(r *sim.Run, n int) {
		r.At(happens, func() { r.Blind("ams") })
		r.At(ends, func() { r.See("ams") })
	}, func(r *sim.Run, n int) []mark {
		lost, back := happens, ends // when the last verdict changed after each
		for _, v := range r.Verdicts {
			if v.At < ends {
				lost = max(lost, v.At)
			}
			back = max(back, v.At)
		}
		europe := r.AtSite("fra")
		before, while := r.Share(europe, happens-4*time.Minute, happens), r.Share(europe, ends-3*time.Minute, ends)
		marks := []mark{
			atMost("sessions sent to a dead endpoint, or without an answer", float64(r.Between(0, r.Length).Wrong), 0, ""),
			atMost("how far the part of fra is from what it was, two minutes later", 100*abs(while-before), 5, "%"),
		}
		if n == 1 {
			return append(marks, atLeast("verdicts that went down or up", moved(r), 1, ""),
				within("until nothing moves any more", lost-happens, r.Down("eu")),
				within("until nothing moves any more when it sees again", back-ends, r.Up("eu")))
		}
		return append(marks, atMost("verdicts that went down or up", moved(r), 0, ""))
	})
	return grouped(o, err, "fra", "iad", "sin")
}

func abs(x float64) float64 { return max(x, -x) }

func playCableCut(f form) (*outcome, error) {
	o, err := withVantages(f, europeMost, func(r *sim.Run, n int) {
		r.At(happens, func() {
			r.Blind("ams", "sin")
			if n > 1 {
				r.Blind("sjc", "sin")
			}
		})
		r.At(ends, func() {
			r.See("ams")
			if n > 1 {
				r.See("sjc")
			}
		})
	}, func(r *sim.Run, n int) []mark {
		asia := r.AtSite("sin")
		down, is := r.Judged(asia, health.Down, happens)
		up, _ := r.Judged(asia, health.Up, ends)
		marks := []mark{
			atMost("sessions sent to a dead endpoint, or without an answer", float64(r.Between(0, r.Length).Wrong), 0, ""),
		}
		if n == 5 { // two of five are no quorum
			return append(marks, atMost("verdicts that went down or up", moved(r), 0, ""))
		}
		if !is {
			down = -1
		}
		return append(marks, atLeast("seconds until its clients go to the next site", (down-happens).Seconds(), 0, "s"),
			within("the same", down-happens, r.Down("sg")), within("until they are back, after it ended", up-ends, r.Up("sg")))
	})
	return grouped(o, err, "fra", "iad", "sin")
}
