package change

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/spec"
)

// hands is a house whose clock is set by hand, with a second pool and a rule of both.
type hands struct {
	t   *testing.T
	c   *Changer
	m   *memStore
	now time.Time
}

func newHands(t *testing.T, rule string) *hands {
	h := &hands{t: t, m: newMemStore(), now: clock}
	h.c = New(Config{Store: h.m, Now: func() time.Time { return h.now }})
	mustApply(t, h.c, Input{Put: decode(t, join(platform, shop, poolOf("shop", "us", "198.51.100.9"),
		"kind: Service\ntenant: shop\nname: api\nspec: {host: api.shop.gtm.example., rules: [{name: r, pools: ["+rule+"]}]}\n"))})
	return h
}

func (h *hands) put(yaml string) { mustApply(h.t, h.c, Input{Put: decode(h.t, yaml)}) }

// override gives what is stored, as JSON.
func (h *hands) override(name string) string {
	r := at(h.m.states["shop"][h.m.head("shop")-1], key("shop/Override/"+name))
	if r == nil {
		return "none"
	}
	data, err := r.SpecJSON()
	if err != nil {
		h.t.Fatal(err)
	}
	return string(data)
}

func (h *hands) refused(edit Edit, want string) {
	h.t.Helper()
	if _, err := h.c.Plan(context.Background(), Input{Edit: edit}); err == nil || !strings.Contains(err.Error(), want) {
		h.t.Errorf("got %v, want %s", err, want)
	}
}

func (h *hands) has(name, want string) {
	h.t.Helper()
	if got := h.override(name); got != want {
		h.t.Errorf("%s: %s\nwant %s", name, got, want)
	}
}

// TestARampBeginsWhenItIsDeclared, for all edges alike; declared again as it is, it goes on.
func TestARampBeginsWhenItIsDeclared(t *testing.T) {
	h := newHands(t, "eu, us")
	file := overrideOf("more", "eu/a", "weight: {to: 30, over: 20m}")
	h.put(file)
	h.has("more", `{"pool":"eu","endpoint":"a","weight":{"to":30,"over":"20m"},"starts":"2026-01-02T03:04:05Z","reason":"x"}`)
	h.now = h.now.Add(time.Minute)
	if p := mustPlan(t, h.c, Input{Put: decode(t, file)}); !p.Empty() {
		t.Errorf("the same again: %s", outline(p))
	}
	h.put(overrideOf("more", "eu/a", "weight: {to: 40, over: 20m}"))
	h.has("more", `{"pool":"eu","endpoint":"a","weight":{"to":40,"over":"20m"},"starts":"2026-01-02T03:05:05Z","reason":"x"}`)
	h.put(overrideOf("more", "eu/a", `weight: {to: 40, over: 20m}, starts: "2026-01-03T00:00:00Z"`))
	h.has("more", `{"pool":"eu","endpoint":"a","weight":{"to":40,"over":"20m"},"starts":"2026-01-03T00:00:00Z","reason":"x"}`)
	h.put(overrideOf("more", "eu/a", `weight: {to: 40, over: 20m}, schedule: {cron: "0 2 * * *", for: 1h}`))
	h.has("more", `{"pool":"eu","endpoint":"a","weight":{"to":40,"over":"20m"},"schedule":{"cron":"0 2 * * *","for":"1h"},"reason":"x"}`)
	h.put(overrideOf("more", "eu/a", "weight: 40"))
	h.has("more", `{"pool":"eu","endpoint":"a","weight":40,"reason":"x"}`)
}

// TestRampsFollowOneAnother: each begins where the one before has come to.
func TestRampsFollowOneAnother(t *testing.T) {
	h := newHands(t, "eu, us")
	target := Target{"shop", "eu", "a"} // 3 of 4
	ramp := func(to int, over time.Duration) {
		mustApply(t, h.c, Input{Edit: Ramp(target, to, Hand{Reason: "r", Author: "ann", Over: over})})
	}
	ramp(1, 25*time.Minute)
	h.has("ramp-eu-a", `{"pool":"eu","endpoint":"a","weight":{"to":1,"over":"25m"},"starts":"2026-01-02T03:04:05Z",`+
		`"reason":"r","author":"ann"}`)
	h.now = h.now.Add(15 * time.Minute) // 60 % of them now
	ramp(0, time.Minute)
	h.has("ramp-eu-a", `{"pool":"eu","endpoint":"a","weight":{"to":0,"over":"1m","from":1.5},"starts":"2026-01-02T03:19:05Z","reason":"r",`+
		`"author":"ann"}`)
	h.now = h.now.Add(time.Hour)
	ramp(3, time.Minute)
	h.has("ramp-eu-a", `{"pool":"eu","endpoint":"a","weight":{"to":3,"over":"1m","from":0},"starts":"2026-01-02T04:19:05Z","reason":"r",`+
		`"author":"ann"}`)
	ramp(7, 0)
	h.has("ramp-eu-a", `{"pool":"eu","endpoint":"a","weight":7,"reason":"r","author":"ann"}`)

	// A drain over a time begins there, too; behind it the weight is what it was.
	mustApply(t, h.c, Input{Edit: Drain(target, Hand{Reason: "d", Author: "bob", Over: time.Minute})})
	h.has("ramp-eu-a", `{"pool":"eu","endpoint":"a","state":"drain","weight":{"to":0,"over":"1m",`+
		`"from":7},"starts":"2026-01-02T04:19:05Z",`+
		`"reason":"d","author":"bob"}`)
	h.refused(Ramp(target, 1, Hand{Reason: "r"}),
		"shop/eu/a is in somebody's hands already: drain, d; end that first: gtmctl undrain shop/eu/a")
	mustApply(t, h.c, Input{Edit: Undrain(target)})
	h.has("ramp-eu-a", `{"pool":"eu","endpoint":"a","weight":7,"reason":"d","author":"bob"}`)
}

// TestADrainOverATime of an endpoint that nothing overrides is gone when it is undrained; a whole pool has no share of its own.
func TestADrainOverATime(t *testing.T) {
	h := newHands(t, "eu, us")
	target := Target{"shop", "eu", "a"}
	mustApply(t, h.c, Input{Edit: Drain(target, Hand{Reason: "d", Author: "bob", Over: time.Minute, Starts: h.now.Add(time.Hour),
		Expires: h.now.Add(2 * time.Hour)})})
	h.has("drain-eu-a", `{"pool":"eu","endpoint":"a","state":"drain","weight":{"to":0,"over":"1m"},"starts":"2026-01-02T04:04:05Z",`+
		`"reason":"d","author":"bob","expires":"2026-01-02T05:04:05Z"}`)
	mustApply(t, h.c, Input{Edit: Drain(target, Hand{Reason: "at once", Author: "bob"})})
	h.has("drain-eu-a", `{"pool":"eu","endpoint":"a","state":"drain","reason":"at once","author":"bob"}`)
	mustApply(t, h.c, Input{Edit: Undrain(target)})
	h.has("drain-eu-a", "none")
	h.refused(Drain(Target{Tenant: "shop", Pool: "eu"}, Hand{Reason: "d", Over: time.Minute}),
		"a whole pool is drained at once; take its share away first: gtmctl shift shop/SERVICE --rule RULE eu=0 --over 1m")
}

func TestShift(t *testing.T) {
	h := newHands(t, "{pool: eu, weight: 90}, {pool: us, weight: 10}")
	shift := func(rule string, us int, over time.Duration) {
		mustApply(t, h.c, Input{Edit: Shift("shop", "api", rule, map[string]int{"us": us}, Hand{Reason: "r", Author: "ann", Over: over})})
	}
	shift("r", 30, 20*time.Minute)
	h.has("shift-api-r-us", `{"service":"api","rule":"r","pool":"us","weight":{"to":30,"over":"20m"},"starts":"2026-01-02T03:04:05Z",`+
		`"reason":"r","author":"ann"}`)
	h.now = h.now.Add(time.Hour)
	shift("1", 60, 20*time.Minute) // the same, by its number
	h.has("shift-api-r-us", `{"service":"api","rule":"1","pool":"us","weight":{"to":60,"over":"20m",`+
		`"from":30},"starts":"2026-01-02T04:04:05Z",`+
		`"reason":"r","author":"ann"}`)
	shift("r", 0, 0)
	h.has("shift-api-r-us", `{"service":"api","rule":"r","pool":"us","weight":0,"reason":"r","author":"ann"}`)
	one := map[string]int{"us": 1}
	h.refused(Shift("shop", "ipa", "r", one, Hand{Reason: "r"}), "shop/Service/ipa: does not exist")
	h.refused(Shift("shop", "api", "s", one, Hand{Reason: "r"}), "service api has no rule s")
	h.refused(Shift("shop", "web", "rest", one, Hand{Reason: "r"}), "rule rest of service web has no pool us to give a weight")
}

// TestAShiftOfAFailover names all that are to share.
func TestAShiftOfAFailover(t *testing.T) {
	h := newHands(t, "eu, us")
	h.refused(Shift("shop", "api", "r", map[string]int{"us": 10}, Hand{Reason: "r"}), "gtmctl shift shop/api --rule r eu=90 us=10")
	mustApply(t, h.c, Input{Edit: Shift("shop", "api", "r", map[string]int{"us": 10, "eu": 90}, Hand{Reason: "r"})})
	h.has("shift-api-r-eu", `{"service":"api","rule":"r","pool":"eu","weight":90,"reason":"r"}`)
	h.has("shift-api-r-us", `{"service":"api","rule":"r","pool":"us","weight":10,"reason":"r"}`)
}

// TestExpiredShiftsGiveWay: one that is over stands in the way of no other one, nor of the end of its rule, its service or its pool.
func TestExpiredShiftsGiveWay(t *testing.T) {
	old := "kind: Override\ntenant: shop\nname: old\nspec: {service: api, rule: 1, pool: us, weight: 20, reason: x, expires: " +
		"\"2026-01-02T03:04:06Z\"}\n"
	api := func(rules string) string {
		return "kind: Service\ntenant: shop\nname: api\nspec: {host: api.shop.gtm.example., rules: [" + rules + "]}\n"
	}
	for name, in := range map[string]func(t *testing.T) Input{
		"another one": func(*testing.T) Input {
			return Input{Edit: Shift("shop", "api", "r", map[string]int{"us": 1}, Hand{Reason: "r"})}
		},
		"another name": func(t *testing.T) Input {
			return Input{Put: decode(t, strings.NewReplacer("old", "new", ", expires: \"2026-01-02T03:04:06Z\"", "", "rule: 1",
				"rule: r").Replace(old))}
		},
		"no such rule":    func(t *testing.T) Input { return Input{Put: decode(t, api("{name: r, pools: [eu]}"))} },
		"no such service": func(*testing.T) Input { return Input{Delete: []spec.Key{key("shop/Service/api")}} },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHands(t, "{pool: eu, weight: 90}, {pool: us, weight: 10}")
			h.put(old)
			if _, err := h.c.Plan(context.Background(), in(t)); err == nil && name != "another one" {
				t.Error("made while it holds")
			}
			h.now = h.now.Add(time.Second)
			mustApply(t, h.c, in(t))
			if got := h.override("old"); name != "another one" && got != "none" {
				t.Errorf("it is there still: %s", got)
			}
		})
	}
}

// TestRollbackTakesShiftsOfGoneRulesAway, and leaves the others.
func TestRollbackTakesShiftsOfGoneRulesAway(t *testing.T) {
	h := newHands(t, "{pool: eu, weight: 90}, {pool: us, weight: 10}") // shop@1
	h.put("kind: Service\ntenant: shop\nname: new\nspec: {host: new.shop.gtm.example., rules: [{pools: [{pool: eu, weight: 1}, {pool: " +
		"us, " +
		"weight: 1}]}]}\n")
	for _, service := range []string{"api", "new"} {
		mustApply(t, h.c, Input{Edit: Shift("shop", service, "1", map[string]int{"us": 5}, Hand{Reason: "r"})})
	}
	in, err := h.c.Rollback(context.Background(), "shop", 1, false)
	if err != nil {
		t.Fatal(err)
	}
	mustApply(t, h.c, in)
	if got := fmt.Sprintf("%v %s", h.override("shift-api-1-us") != "none", h.override("shift-new-1-us")); got != "true none" {
		t.Error(got)
	}
}

// TestRollbackOfOverrides takes back those that came since, and brings back those of then, where it is told so.
func TestRollbackOfOverrides(t *testing.T) {
	h := newHands(t, "eu, us")
	h.put("kind: Override\ntenant: shop\nname: then\nspec: {pool: eu, endpoint: a, state: drain, reason: r}\n") // shop@2
	mustApply(t, h.c, Input{Edit: Undrain(Target{"shop", "eu", "a"})})
	h.put("kind: Override\ntenant: shop\nname: now\nspec: {pool: us, state: drain, reason: r}\n")
	for _, c := range []struct {
		overrides bool
		want      string
	}{{false, "none true"}, {true, "true none"}} {
		in, err := h.c.Rollback(context.Background(), "shop", 2, c.overrides)
		if err != nil {
			t.Fatal(err)
		}
		mustApply(t, h.c, in)
		var got []string
		for _, name := range []string{"then", "now"} {
			word := "true"
			if h.override(name) == "none" {
				word = "none"
			}
			got = append(got, word)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("overrides %v: %v, want %s", c.overrides, got, c.want)
		}
	}
}

// TestRampsOfFamiliesApart: where families are apart an endpoint is two, and people name it as it was declared. What comes next begins
// where both have come to.
func TestRampsOfFamiliesApart(t *testing.T) {
	h := newHands(t, "eu, us")
	h.put("kind: Pool\ntenant: shop\nname: dual\nspec: {apart: true, endpoints: [{name: a, addresses: [198.51.100.10, " +
		"\"2001:db8::10\"]}, {name: b, addresses: [198.51.100.11, \"2001:db8::11\"]}]}\n")
	target := Target{"shop", "dual", "a"}
	mustApply(t, h.c, Input{Edit: Ramp(target, 3, Hand{Reason: "r", Author: "ann", Over: 25 * time.Minute})})
	h.now = h.now.Add(15 * time.Minute) // of each family 7 of 13 steps from 1/4 to 3/8 of all: 16.5 beside 9.5
	mustApply(t, h.c, Input{Edit: Ramp(target, 0, Hand{Reason: "r", Author: "ann", Over: time.Minute})})
	h.has("ramp-dual-a", `{"pool":"dual","endpoint":"a","weight":{"to":0,"over":"1m","from":1.7368421052631575},`+
		`"starts":"2026-01-02T03:19:05Z","reason":"r","author":"ann"}`)
}
