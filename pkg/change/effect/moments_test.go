package effect

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/spec"
)

// laterOf gives what is worse at another moment; of several, as they come.
func laterOf(e *Effect) string {
	var words []string
	later := e.Later()
	for i := range later {
		s := &later[i]
		words = append(words, fmt.Sprintf("%s %.2f of it within %.2f, capacity %.2f -> %.2f, sites %v", s.At.Sub(clock), s.Moved, s.Within,
			s.Capacity.Before, s.Capacity.After, s.SitesUp))
	}
	return strings.Join(words, "; ")
}

// hidden is a change beneath overrides.
type hidden struct {
	name, before, after string
	moved               float64 // at At
	later               string
}

func hiddenChanges() []hidden {
	const (
		hour   = "expires: 2026-01-02T04:04:05Z"
		twoToo = "expires: 2026-01-02T05:04:05Z"
		split  = "rules: [{name: r, pools: [{pool: eu, weight: %d}, {pool: us, weight: %d}]}]"
	)
	other := strings.NewReplacer("198.51.100.1]", "203.0.113.1]", "198.51.100.2]", "203.0.113.2]").Replace(ground)
	weights := func(eu, us int) string { return ground + service(fmt.Sprintf(split, eu, us)) }
	failover := "rules: [{pools: [eu, us, ap]}]"
	drain := override("d", "pool: eu, state: drain, "+hour)
	nightly := override("n", "pool: eu, state: drain, schedule: {cron: 0 2 * * *, for: 1h}")
	return []hidden{
		{"weights under a drain", weights(80, 20) + drain, weights(10, 90) + drain, 0,
			"1h0m0s 0.70 of it within 0.00, capacity 1.00 -> 1.00, sites [2 2]"},
		{"weights under a shift", weights(80, 20) + override("s", "service: web, rule: r, pool: us, weight: 1000, "+hour),
			weights(10, 20) + override("s", "service: web, rule: r, pool: us, weight: 1000, "+hour), 0.06,
			"1h0m0s 0.47 of it within 0.00, capacity 1.00 -> 1.00, sites [2 2]"},
		{"a pool that goes from a rule", weights(80, 20) + drain, ground + service("rules: [{name: r, pools: [us]}]") + drain, 0,
			"1h0m0s 0.80 of it within 0.00, capacity 1.00 -> 0.50, sites [2 1]"},
		{"addresses under a drain", weights(80, 20) + drain, other + service(fmt.Sprintf(split, 80, 20)) + drain, 0,
			"1h0m0s 0.80 of it within 0.80, capacity 1.00 -> 1.00, sites [2 2]"},
		{"no override", weights(80, 20), weights(70, 30), 0.1, ""},
		{"one that stays", weights(80, 20) + override("d", "pool: eu, state: drain"), weights(10, 90) +
			override("d", "pool: eu, state: drain"), 0, ""},
		{"one of a pool of nobody's", weights(80, 20) + override("d", "pool: ap, state: drain, "+hour), weights(70, 30) +
			override("d", "pool: ap, state: drain, "+hour), 0.1, ""},
		{"by hand: a drain that is planned", weights(80, 20), weights(80, 20) + drain, 0.8, ""},
		{"by hand: a drain that is prolonged", weights(80, 20) + drain,
			weights(80, 20) + override("d", "pool: eu, state: drain, "+twoToo), 0,
			"1h0m0s 0.00 of it within 0.00, capacity 1.00 -> 0.50, sites [2 1]"},
		{"by hand: a drain that is to stay", weights(80, 20) + drain, weights(80, 20) + override("d", "pool: eu, state: drain"), 0,
			"1h0m0s 0.00 of it within 0.00, capacity 1.00 -> 0.50, sites [2 1]"},
		{"by hand: weights under a drain", weights(80, 20) + drain, weights(80, 20) + drain +
			override("s", "service: web, rule: r, pool: us, weight: 720"), 0,
			"1h0m0s 0.10 of it within 0.00, capacity 1.00 -> 1.00, sites [2 2]"},
		{"an override that comes with the change", weights(80, 20), weights(10, 90) +
			override("s", "service: web, rule: r, pool: us, weight: 3, "+hour), 0.03,
			"1h0m0s 0.70 of it within 0.00, capacity 1.00 -> 1.00, sites [2 2]"},
		{"a site under a drain", weights(80, 20) + drain, strings.Replace(weights(80, 20), "site: fra", "site: iad", 1) + drain, 0,
			"1h0m0s 0.00 of it within 0.00, capacity 1.00 -> 1.00, sites [2 1]"},
		{"of two ends alike the first", weights(80, 20) + drain + override("a", "pool: us, endpoint: a, state: up, "+twoToo),
			weights(10, 90) + drain + override("a", "pool: us, endpoint: a, state: up, "+twoToo), 0,
			"1h0m0s 0.70 of it within 0.00, capacity 1.00 -> 1.00, sites [2 2]"},
		{"what a schedule brings", ground + service("rules: [{pools: [eu, us]}]") + nightly,
			ground + service("rules: [{pools: [eu, ap]}]") + nightly, 0,
			"22h55m55s 1.00 of it within 0.00, capacity 0.50 -> 0.25, sites [1 1]"},
		{"between two ends", ground + service(failover) + override("u", "pool: us, state: drain, "+hour) +
			override("d", "pool: eu, state: drain, "+twoToo),
			strings.Replace(ground, "198.51.100.12]", "203.0.113.12]", 1) + service(failover) +
				override("u", "pool: us, state: drain, "+hour) + override("d", "pool: eu, state: drain, "+twoToo), 0,
			"1h0m0s 0.75 of it within 0.75, capacity 0.60 -> 0.60, sites [2 2]"},
	}
}

// TestWhatOverridesHide: what is declared beneath an override counts when that has ended, or another has begun.
func TestWhatOverridesHide(t *testing.T) {
	for _, c := range hiddenChanges() {
		t.Run(c.name, func(t *testing.T) {
			e := Of(Input{Before: setOf(t, c.before), After: setOf(t, c.after), Services: []spec.Key{web}, World: world(t), At: clock,
				ByHand: strings.HasPrefix(c.name, "by hand: ")})
			moved := 0.0
			for _, s := range e.All() {
				moved = s.Moved
			}
			if math.Abs(moved-c.moved) > 0.005 {
				t.Errorf("%.4f moves now", moved)
			}
			if got := laterOf(e); got != c.later {
				t.Errorf("later\n%s, want\n%s", got, c.later)
			}
			warned := strings.Contains(e.Warnings().Error(), "when overrides of now have changed")
			if moves := len(e.Later()) > 0 && e.Later()[0].Moved > 0.01; warned != moves {
				t.Errorf("warned of %s", e.Warnings())
			}
		})
	}
}

// TestWhatMovesByHandIsComparedWithNow: a drain gives way to another one, by which answers stay where they are not now.
func TestWhatMovesByHandIsComparedWithNow(t *testing.T) {
	rules := service("rules: [{name: r, pools: [{pool: eu, weight: 80}, {pool: us, weight: 20}]}]")
	e := Of(Input{Before: setOf(t, ground+rules+override("d", "pool: eu, state: drain, expires: 2026-01-02T04:04:05Z")),
		After: setOf(t, ground+rules+override("d", "pool: us, state: drain")), Services: []spec.Key{web}, World: world(t), At: clock,
		ByHand: true})
	var got []string
	for _, at := range e.Shifts() {
		got = append(got, fmt.Sprintf("%.2f of %.2f", at[web].Moved, at[web].Apart))
	}
	if text := strings.Join(got, ", "); text != "1.00 of 1.00, 0.20 of 0.20" {
		t.Errorf("moves %s", text)
	}
}

// TestWhatARampHidesUntilItHasComeAbout: a change is told as of when its ramps are at their ends, and looked at as of now, too.
func TestWhatARampHidesUntilItHasComeAbout(t *testing.T) {
	soon := override("d", "pool: eu, state: drain, starts: 2026-01-02T03:14:05Z")
	rules := service("rules: [{pools: [eu, us]}]")
	other := strings.NewReplacer("198.51.100.1]", "203.0.113.1]", "198.51.100.2]", "203.0.113.2]").Replace(ground)
	in := Input{Before: setOf(t, ground+rules+soon), After: setOf(t, other+rules+soon), Services: []spec.Key{web}, World: world(t),
		At: clock.Add(time.Hour), Now: clock}
	e := Of(in)
	if len(e.All()) != 0 {
		t.Errorf("got %+v", e.All())
	}
	if got, want := laterOf(e), "0s 1.00 of it within 1.00, capacity 1.00 -> 1.00, sites [2 2]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestMomentsAreFew: the soonest, and the last, by which everything that ends has ended.
func TestMomentsAreFew(t *testing.T) {
	all := ground + service("rules: [{pools: [eu, us]}]")
	for n := range 9 {
		all += override(fmt.Sprint("o", n), fmt.Sprintf("pool: %s, endpoint: %s, weight: 3, expires: 2026-01-02T04:0%d:00Z",
			[]string{"eu", "us", "eu"}[n%3], []string{"a", "b"}[n%2], n))
	}
	set := setOf(t, all)
	told := func(in Input, services int) string {
		var words []string
		for _, m := range moments(&in, set, set, services) {
			words = append(words, m.Format("15:04"))
		}
		return strings.Join(words, " ")
	}
	for _, c := range []struct {
		in       Input
		services int
		want     string
	}{
		{Input{At: clock}, 1, "03:04 04:00 04:01 04:02 04:08"},
		{Input{At: clock}, manyServices + 1, "03:04 04:08"},
		{Input{At: clock, Now: clock}, 1, "03:04 04:00 04:01 04:02 04:08"},
		{Input{At: clock.Add(58 * time.Minute), Now: clock}, 1, "03:04 04:00 04:01 04:02 04:02 04:08"},
		{Input{At: clock.Add(time.Hour)}, 1, "04:04 04:05 04:06 04:07 04:08"},
		{Input{At: clock.Add(24 * time.Hour)}, 1, "03:04"},
	} {
		if got := told(c.in, c.services); got != c.want {
			t.Errorf("%v of %d services: %s, want %s", c.in.At, c.services, got, c.want)
		}
	}
}
