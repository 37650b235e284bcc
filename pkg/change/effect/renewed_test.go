package effect

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// endpointsOf is a pool eu of endpoints that are written as NAME=ADDRESS[*WEIGHT].
func endpointsOf(words ...string) string {
	var list []string
	for _, w := range words {
		name, rest, _ := strings.Cut(w, "=")
		address, weight, weighs := strings.Cut(rest, "*")
		one := fmt.Sprintf("{name: %s, addresses: [%s]", name, strings.ReplaceAll(address, "+", ", "))
		if weighs {
			one += ", weight: " + weight
		}
		list = append(list, one+"}")
	}
	at := strings.Index(ground, "{site: fra")
	end := at + strings.Index(ground[at:], "\n")
	return ground[:at] + "{site: fra, endpoints: [" + strings.Join(list, ", ") + "]}" + ground[end:] + service("rules: [{pools: [eu, us]}]")
}

// TestAddressesThatAreNewToAPool: the answers of a pool move to where it sent nobody before.
func TestAddressesThatAreNewToAPool(t *testing.T) {
	var ten []string
	for i := range 10 {
		ten = append(ten, fmt.Sprintf("e%d=192.0.2.%d", i, i))
	}
	drained := override("d", "pool: eu, endpoint: a, state: drain")
	for _, c := range []struct {
		name, before, after string
		want                float64
	}{
		{"all replaced", endpointsOf("a=192.0.2.1", "b=192.0.2.2"), endpointsOf("a=192.0.2.3", "b=192.0.2.4"), 1},
		{"half replaced", endpointsOf("a=192.0.2.1", "b=192.0.2.2"), endpointsOf("a=192.0.2.1", "b=192.0.2.4"), 0.5},
		{"by weight", endpointsOf("a=192.0.2.1*3", "b=192.0.2.2"), endpointsOf("a=192.0.2.9*3", "b=192.0.2.2"), 0.75},
		{"renamed", endpointsOf("a=192.0.2.1", "b=192.0.2.2"), endpointsOf("x=192.0.2.2", "y=192.0.2.1"), 0},
		{"one comes to ten", endpointsOf(ten...), endpointsOf(append(ten, "e10=192.0.2.10")...), 1.0 / 11},
		{"one of ten goes", endpointsOf(ten...), endpointsOf(ten[1:]...), 0},
		{"one of its addresses", endpointsOf("a=192.0.2.1+192.0.2.2"), endpointsOf("a=192.0.2.1+192.0.2.3"), 0.5},
		{"other weights", endpointsOf("a=192.0.2.1", "b=192.0.2.2"), endpointsOf("a=192.0.2.1*9", "b=192.0.2.2"), 0},
		{"one family", endpointsOf("a=192.0.2.1+2001:db8::1"), endpointsOf("a=192.0.2.1+2001:db8::2"), 1},
		{"comes without weight", endpointsOf("a=192.0.2.1"), endpointsOf("a=192.0.2.1", "b=192.0.2.2*0"), 0},
		{"and gets some", endpointsOf("a=192.0.2.1", "b=192.0.2.2*0"), endpointsOf("a=192.0.2.1", "b=192.0.2.2"), 0.5},
		{"and gets some by an override", endpointsOf("a=192.0.2.1", "b=192.0.2.2*0"), endpointsOf("a=192.0.2.1", "b=192.0.2.2*0") +
			override("w", "pool: eu, endpoint: b, weight: 3"), 0.75},
		{"a weight of 0 by an override is taken back", endpointsOf("a=192.0.2.1", "b=192.0.2.2") +
			override("w", "pool: eu, endpoint: b, weight: 0"), endpointsOf("a=192.0.2.1", "b=192.0.2.2"), 0},
		{"a weight by an override is declared", endpointsOf("a=192.0.2.1", "b=192.0.2.2*0") +
			override("w", "pool: eu, endpoint: b, weight: 3"), endpointsOf("a=192.0.2.1", "b=192.0.2.2*3"), 0},
		{"drained", endpointsOf("a=192.0.2.1", "b=192.0.2.2"), endpointsOf("a=192.0.2.1", "b=192.0.2.2") + drained, 0},
		{"a drain is taken back", endpointsOf("a=192.0.2.1", "b=192.0.2.2") + drained, endpointsOf("a=192.0.2.1", "b=192.0.2.2"), 0},
		{"comes drained", endpointsOf("b=192.0.2.2"), endpointsOf("a=192.0.2.1", "b=192.0.2.2") + drained, 0.5},
		{"comes beside one that is drained", endpointsOf("a=192.0.2.1") + drained + override("u", "pool: us, state: drain"),
			endpointsOf("a=192.0.2.1", "b=192.0.2.2") + drained + override("u", "pool: us, state: drain"), 1},
		{"comes as the other is drained", endpointsOf("a=192.0.2.1"), endpointsOf("a=192.0.2.1", "b=192.0.2.2") + drained, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := effectOf(t, world(t), c.before, c.after)
			moved, within := 0.0, 0.0
			for _, s := range e.All() {
				moved, within = s.Moved, s.Within
				if len(s.Moves) == 1 && s.Moved > 0 && (s.Moves[0] != Move{"eu", "eu", s.Moves[0].Share} ||
					math.Abs(s.Moves[0].Share-s.Moved) > 1e-9) {
					t.Errorf("moves %+v", s.Moves)
				}
			}
			if math.Abs(moved-c.want) > 1e-9 || moved != within {
				t.Errorf("%v moves, %v of it within, want %v", moved, within, c.want)
			}
		})
	}
}

// TestWhatMovesBetweenPoolsAndWithinThem adds up to no more than all.
func TestWhatMovesBetweenPoolsAndWithinThem(t *testing.T) {
	before := strings.Replace(endpointsOf("a=192.0.2.1"), "[eu, us]", "[{pool: eu, weight: 50}, {pool: us, weight: 50}]", 1)
	after := strings.Replace(endpointsOf("a=192.0.2.9"), "[eu, us]", "[{pool: eu, weight: 60}, {pool: ap, weight: 40}]", 1)
	e := effectOf(t, world(t), before, after)
	s := e.All()[0]
	if math.Abs(s.Moved-1) > 1e-9 || math.Abs(s.Within-0.5) > 1e-9 {
		t.Errorf("%v moves, %v of it within", s.Moved, s.Within)
	}
	got := map[string]float64{}
	for _, m := range s.Moves {
		got[m.From+">"+m.To] = math.Round(m.Share*1000) / 1000
	}
	if want := (map[string]float64{"eu>eu": 0.5, "us>eu": 0.1, "us>ap": 0.4}); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestHostsThatAreNewToAPool count as addresses do, however they are written.
func TestHostsThatAreNewToAPool(t *testing.T) {
	of := func(hosts ...string) string {
		var list []string
		for i, h := range hosts {
			list = append(list, fmt.Sprintf("{name: e%d, host: %s}", i, h))
		}
		return ground + "kind: Pool\ntenant: shop\nname: cdn\nspec: {endpoints: [" + strings.Join(list, ", ") + "]}\n---\n" +
			service("rules: [{pools: [cdn]}]")
	}
	for _, c := range []struct {
		before, after string
		want          float64
	}{
		{of("a.example.net.", "b.example.net."), of("B.example.net.", "a.example.net."), 0},
		{of("a.example.net.", "b.example.net."), of("c.example.net.", "a.example.net."), 0.5},
	} {
		moved := 0.0
		for _, s := range effectOf(t, world(t), c.before, c.after).All() {
			moved = s.Moved
		}
		if math.Abs(moved-c.want) > 1e-9 {
			t.Errorf("%v moves, want %v", moved, c.want)
		}
	}
}

// TestNewAddressesOfARuleThatNoCountryIsIn are noted, as what moves between pools is.
func TestNewAddressesOfARuleThatNoCountryIsIn(t *testing.T) {
	rules := func(address string) string {
		return strings.Replace(endpointsOf("a="+address), "rules: [{pools: [eu, us]}]",
			"rules: [{name: net, when: {asn: [64500]}, pools: [eu]}, {name: rest, pools: [us]}]", 1)
	}
	e := effectOf(t, world(t), rules("192.0.2.1"), rules("192.0.2.2"))
	if len(e.All()) != 1 || len(e.All()[0].Notes) != 1 || !strings.Contains(e.All()[0].Notes[0], "100% move") {
		t.Errorf("got %+v", e.All())
	}
}
