package sim

import (
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

const testResources = `
kind: Zone
tenant: platform
name: gtm.example.
spec: {nameservers: [ns1.example.net.], contact: hostmaster.example.net., grants: {shop: [shop.gtm.example.]}}
---
kind: Site
tenant: platform
name: fra
spec: {location: {lat: 50.11, lon: 8.68}, region: EU-DE}
---
kind: Monitor
tenant: shop
name: ok
spec: {type: tcp, port: 80, interval: 5s, timeout: 2s, rise: 2, fall: 2}
---
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
name: web
spec: {host: web.shop.gtm.example., ttl: 20s, rules: [{name: all, pools: [eu]}]}
`

var land = sync.OnceValues(func() (*Land, error) {
	atlas, err := geo.Open()
	if err != nil {
		return nil, err
	}
	return Survey(atlas), nil
})

// small gives a run of a few minutes, with a few clients.
func small(t *testing.T, seed uint64, resources string) *Run {
	t.Helper()
	built, err := land()
	if err != nil {
		t.Fatal(err)
	}
	r, err := New(Config{
		Seed: seed, Land: built, Resources: resources, Host: "web.shop.gtm.example.",
		Start: time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC), Length: 10 * time.Minute,
		Audience: Audience{Countries: Countries, PerSecond: 20, Networks: 2000, V6: 0.3, Resolvers: 300, Public: 0.3, Nodes: 2,
			Stretch: 0.05, Least: 30 * time.Second},
		Sessions: Sessions{Mean: time.Minute, Most: 3 * time.Minute},
		Health: Health{Vantages: []Vantage{{Name: "ams", At: spec.Location{Lat: 52, Lon: 5}},
			{Name: "sjc", At: spec.Location{Lat: 37, Lon: -122}}, {Name: "nrt", At: spec.Location{Lat: 36, Lon: 140}}},
			Lost: 0.001, Report: 50 * time.Millisecond, Publish: 50 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func play(t *testing.T, r *Run) {
	t.Helper()
	if err := r.Play(); err != nil {
		t.Fatal(err)
	}
}

// TestSameSeedSameRun plays a failure twice, and with another seed.
func TestSameSeedSameRun(t *testing.T) {
	of := func(seed uint64) Record {
		r := small(t, seed, testResources)
		r.At(2*time.Minute, func() { r.Fail(r.Of("eu", "b")...) })
		r.At(5*time.Minute, func() { r.Heal(r.Of("eu", "b")...) })
		play(t, r)
		return r.Record
	}
	if !reflect.DeepEqual(of(1), of(1)) {
		t.Error("two runs with the same seed differ")
	}
	if reflect.DeepEqual(of(1), of(2)) {
		t.Error("two runs with different seeds are the same")
	}
}

// TestSessionsAreAccountedFor looks, each second of a run in which endpoints die and live again, whether every session and every waiting
// client is where it belongs.
func TestSessionsAreAccountedFor(t *testing.T) {
	r := small(t, 1, testResources)
	sum := func() (c Counts, begun uint32) {
		c = r.Between(0, r.Now())
		for i := range r.counts.Begun { // and what is not yet in a step
			begun += c.Begun[i] + r.counts.Begun[i]
		}
		c.Starts, c.Cut, c.Wrong = c.Starts+r.counts.Starts, c.Cut+r.counts.Cut, c.Wrong+r.counts.Wrong
		return c, begun
	}
	most := 0
	for at := time.Second; at < r.Length; at += time.Second {
		r.At(at, func() {
			c, begun := sum()
			held := make([]uint32, len(r.Endpoints))
			for _, slot := range r.sessions.slots {
				for _, s := range slot {
					held[s.endpoint]++
				}
			}
			waiting := 0
			for _, slot := range r.waiting.slots {
				waiting += len(slot)
			}
			most = max(most, waiting)
			for i := range r.Endpoints {
				if e := &r.Endpoints[i]; e.active != held[i] || !e.alive && held[i] > 0 {
					t.Errorf("at %s %s counts %d sessions and has %d; alive: %v", r.Now(), e.Name, e.active, held[i], e.alive)
				}
			}
			if want := int(c.Starts + c.Cut - begun); waiting != want {
				t.Errorf("at %s %d clients wait; %d sessions were wanted, %d cut, and %d began", r.Now(), waiting, c.Starts, c.Cut, begun)
			}
		})
	}
	r.At(2*time.Minute, func() { r.Fail(r.Of("eu", "b", "c")...) })
	r.At(5*time.Minute, func() { r.Heal(r.Of("eu", "b", "c")...) })
	play(t, r)
	c, _ := sum()
	if c.Cut == 0 || c.Wrong == 0 || most == 0 {
		t.Errorf("%d sessions were cut, %d went wrong, %d waited at most: nothing was tried", c.Cut, c.Wrong, most)
	}
	if last := r.Load(r.Of("eu"), r.Length); math.Abs(last/(20*60*r.rateNow())-1) > 0.15 {
		t.Errorf("%.0f sessions in the end; so many begin a second as should give %.0f", last, 20*60*r.rateNow())
	}
}

// rateNow is how many times the day's average begin a second now. A minute's mean cut at three is 0.95 minutes.
func (r *Run) rateNow() float64 {
	return r.arrivals.demand.rate(r.clock.now) / r.PerSecond * (1 - math.Exp(-3))
}

// TestNobodyLeavesADrainedEndpointEarly drains one, whose last client goes no later than what was resolved before allows.
func TestNobodyLeavesADrainedEndpointEarly(t *testing.T) {
	r := small(t, 1, testResources)
	drained := r.Of("eu", "a")
	began := 3 * time.Minute
	r.At(began, func() {
		r.Declare("kind: Override\ntenant: shop\nname: drain\nspec: {pool: eu, endpoint: a, state: drain, reason: test}\n")
	})
	play(t, r)
	if cut := r.Between(0, r.Length).Cut; cut != 0 {
		t.Errorf("%d sessions were cut", cut)
	}
	gone, idle := r.Idle(drained)
	if least, most := began+r.Most-10*time.Second, began+r.Publish+r.Kept()+r.Most+time.Second; !idle || gone < least || gone > most {
		t.Errorf("the last client was gone at %s (%v), not between %s and %s", gone, idle, least, most)
	}
}

// TestBrakeHolds has all endpoints die at once: there is nowhere else to go, so they answer on. A tenant without a brake has them down.
func TestBrakeHolds(t *testing.T) {
	for _, c := range []struct {
		name, more string
		down       bool
	}{
		{"brake", "", false},
		{"no brake", "---\nkind: Tenant\ntenant: shop\nname: shop\nspec: {brake: {mode: \"off\"}}\n", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := small(t, 1, testResources+c.more)
			r.At(time.Minute, func() { r.Fail(r.Of("eu")...) })
			play(t, r)
			at, down := r.Judged(r.Of("eu"), health.Down, 0)
			if down != c.down || down && (at-time.Minute > r.Down("eu") || at-time.Minute < 5*time.Second) { // two checks must fail
				t.Errorf("down: %v, at %s", down, at)
			}
			if r.Between(2*time.Minute, r.Length).Bad == 0 {
				t.Error("nothing was answered while all was down")
			}
		})
	}
}

// TestChecksGoSoFar has a vantage look that is so far away that a check takes longer than it may, and one that loses half of its checks.
func TestChecksGoSoFar(t *testing.T) {
	far := Vantage{Name: "nrt", At: spec.Location{Lat: 36, Lon: 140}} // 141 ms there and back, and that twice: a connection, and a request
	for _, c := range []struct {
		name, timeout string
		lost          float64
		down          bool
	}{
		{"in time", "300ms", 0, false},
		{"too late", "250ms", 0, true},
		{"lost", "300ms", 0.5, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := small(t, 1, strings.Replace(testResources, "timeout: 2s", "timeout: "+c.timeout, 1)).Config
			config.Vantages, config.Lost = []Vantage{far}, c.lost
			r, err := New(config)
			if err != nil {
				t.Fatal(err)
			}
			play(t, r)
			if down := len(r.Record.Verdicts) > 0; down != c.down {
				t.Errorf("verdicts: %v", r.Record.Verdicts)
			}
		})
	}
}

// TestClientsAreInTheirCountries looks up every client network and resolver.
func TestClientsAreInTheirCountries(t *testing.T) {
	r := small(t, 1, testResources)
	v6, public := 0, 0
	for i, country := range r.Countries {
		for at := r.crowd.first[i]; at < r.crowd.first[i+1]; at++ {
			c := &r.crowd.clients[at]
			if own := r.crowd.countryOf(uint32(at)); own != i {
				t.Fatalf("client %d is of country %d, not of %d", at, own, i)
			}
			place, within := r.Land.atlas.Lookup(c.subnet().net().Addr())
			if place.Country != country.Code || within.Bits() > int(c.length) {
				t.Errorf("%s of %s is in %s, which has %s", c.subnet().net().Prefix(), country.Code, place, within)
			}
			its := &r.crowd.resolvers[c.resolver]
			near, _ := r.Land.atlas.Lookup(its.addr.net().Addr())
			if its.many == nil && near.Country != country.Code || near.Continent != place.Continent {
				t.Errorf("a client of %s has a resolver in %s", place, near)
			}
			if !c.v4 {
				v6++
			}
			if its.many != nil {
				public++
			}
		}
	}
	for what, part := range map[string]float64{"of IPv6": float64(v6), "of the public resolver": float64(public)} {
		if part /= float64(len(r.crowd.clients)); math.Abs(part-0.3) > 0.05 {
			t.Errorf("%.2f of the networks are %s, not 0.3", part, what)
		}
	}
}

// TestDemandFollowsTheSun checks the day's mean, and that a country's peak is in its evening.
func TestDemandFollowsTheSun(t *testing.T) {
	start := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
	d := newDemand(Countries, 1000, start)
	mean := 0.0
	for minute := range 24 * 60 {
		mean += d.rate(time.Duration(minute)*time.Minute) / (24 * 60)
	}
	if math.Abs(mean-1000) > 1e-6 {
		t.Errorf("%.3f sessions begin a second on average, not 1000", mean)
	}
	alone := Audience{Countries: []Country{{"JP", 1, 9}}, PerSecond: 1}
	if at := start.Add(Peak(alone, start)).Add(9 * time.Hour); at.Hour() != 20 {
		t.Errorf("the peak of Japan is at %s there", at.Format("15:04"))
	}
}

// TestMinutesTurn has a minute end before all have come that were drawn for it: they are drawn anew.
func TestMinutesTurn(t *testing.T) {
	a := small(t, 1, testResources).arrivals
	for minute := range time.Duration(50) {
		now := minute * time.Minute / 100
		a.turnMinute(now)
		was := now
		for range 40 {
			if at := a.next().at; at < was || at > was+2*time.Second { // forty of a second
				t.Fatalf("at %s somebody comes at %s", was, at)
			}
			was = a.next().at
			a.take()
		}
	}
}

// TestMistakesOfScenariosAreTold gives what would be refused, or cannot be played.
func TestMistakesOfScenariosAreTold(t *testing.T) {
	c := small(t, 1, testResources).Config
	c.Resources = strings.Replace(testResources, "pools: [eu]", "pools: [us]", 1)
	if _, err := New(c); err == nil || !strings.Contains(err.Error(), "us") {
		t.Errorf("a rule that leads nowhere: %v", err)
	}
	c.Resources = strings.Replace(testResources, "192.0.2.2", "192.0.2.1", 1)
	if _, err := New(c); err == nil || !strings.Contains(err.Error(), "192.0.2.1") {
		t.Errorf("one address twice: %v", err)
	}
	c.Resources = testResources
	c.Countries = []Country{{"QQ", 1, 0}}
	if _, err := New(c); err == nil || !strings.Contains(err.Error(), "QQ") {
		t.Errorf("no country: %v", err)
	}
	r := small(t, 1, testResources)
	r.At(time.Minute, func() { r.Fail(r.Of("eu", "z")...) })
	if err := r.Play(); err == nil {
		t.Error("an endpoint that does not exist can fail")
	}
}
