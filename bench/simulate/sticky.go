package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/gti/gtm/bench/simulate/sim"
	"github.com/gti/gtm/pkg/health"
)

var sticky = scenario{"sticky", "a sticky service loses one of ten endpoints, and gets it back", playSticky}

// tenEndpoints is a pool of ten endpoints of unlike weights, and a service that is sticky by network.
func tenEndpoints() string {
	var b strings.Builder
	b.WriteString("kind: Pool\ntenant: shop\nname: eu\nspec:\n  site: fra\n  monitor: ok\n  endpoints:\n")
	for i := range 10 {
		fmt.Fprintf(&b, "    - {name: e%d, addresses: [192.0.2.%d], weight: %d}\n", i, i+1, 1+i%3)
	}
	b.WriteString("---\nkind: Service\ntenant: shop\nname: live\n" +
		"spec: {host: live.shop.gtm.example., ttl: 20s, pick: sticky, rules: [{name: all, pools: [eu]}]}\n")
	return b.String()
}

func playSticky(f form) (*outcome, error) {
	c := f.config(tenEndpoints())
	const window = 20 * time.Minute // in which clients are looked at, before and after
	dies, lives := window, 2*window+2*time.Minute
	c.Length = lives + window + 2*time.Minute
	r, err := sim.New(c)
	if err != nil {
		return nil, err
	}
	lost := r.Of("eu", "e4")
	var before, during, after sim.Assignment
	r.At(dies, func() {
		before = r.Assigned()
		r.Fail(lost...)
	})
	r.At(lives, func() {
		during = r.Assigned()
		r.Heal(lost...)
	})
	if err := r.Play(); err != nil {
		return nil, err
	}
	after = r.Assigned()
	moved, least, clients := sim.Moved(before, during, window, lost)
	home, _, returned := sim.Moved(before, after, window, lost)
	judged, ok := r.Judged(lost, health.Down, dies)
	if !ok {
		return nil, fmt.Errorf("the lost endpoint was not judged to be down")
	}
	o := &outcome{run: r}
	for _, name := range []string{"e3", "e4", "e5"} {
		o.groups = append(o.groups, group{name, r.Of("eu", name)})
	}
	o.facts = []fact{
		{"client networks compared", fmt.Sprintf("%d, and %d after it was back", clients, returned)},
		{"part of them that had to move", percent(least)},
		{"part that moved", percent(moved)},
		{"part that is elsewhere than in the beginning when it is back", percent(home)},
	}
	o.marks = []mark{
		atLeast("client networks that had to move", least*float64(clients), 1, ""),
		atMost("moved, of the least that had to", moved/least, 1.1, "times"),
		atLeast("moved, of the least that had to", moved/least, 1, "times"),
		atMost("elsewhere than in the beginning when it is back", 100*home, 0, "%"),
		within("until edges have heard that it is down", judged-dies, r.Down("eu")),
		within("until the last session is sent to it", r.LastWrong-dies, r.Down("eu")+r.Kept()),
	}
	return o, nil
}
