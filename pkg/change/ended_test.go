package change

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/spec"
)

var later = clock.Add(time.Hour)

func overrideOf(name, target, rest string) string {
	pool, endpoint, ok := strings.Cut(target, "/")
	if ok {
		endpoint = ", endpoint: " + endpoint
	}
	return "kind: Override\ntenant: shop\nname: " + name + "\nspec: {pool: " + pool + endpoint + ", reason: x, " + rest + "}\n"
}

// An override that was over went on refusing every other one of its target, and deletions of its pool and its endpoint.
func TestExpiredOverridesGiveWay(t *testing.T) {
	old := overrideOf("old", "eu/a", `state: up, weight: 7, expires: "2026-01-02T03:04:06Z"`) // a second from now
	for _, c := range []struct {
		name   string
		in     func(t *testing.T) Input
		want   string // once it is over; before, the change is refused
		before string
	}{
		{"another one of the same", func(t *testing.T) Input { return Input{Put: decode(t, overrideOf("new", "eu/a", "state: down"))} },
			"shop@1 create Override/new delete Override/old\n", "already overridden by shop/Override/old"},
		{"a drain", func(*testing.T) Input {
			return Input{Edit: Drain(Target{"shop", "eu", "a"}, Hand{Reason: "r", Author: "ann"})}
		},
			"shop@1 create Override/drain-eu-a delete Override/old\n", "already overridden by shop/Override/old"},
		{"its endpoint goes", func(t *testing.T) Input {
			return Input{Put: decode(t, strings.Replace(poolOf("shop", "eu", "198.51.100.9"), "name: a", "name: b", 1))}
		},
			"shop@1 update Pool/eu delete Override/old reads platform\n", "endpoint a is gone, but shop/Override/old still refers to it"},
		{"its pool goes", func(*testing.T) Input { return Input{Delete: []spec.Key{key("shop/Service/web"), key("shop/Pool/eu")}} },
			"shop@1 delete Override/old delete Service/web delete Pool/eu reads platform\n", "shop/Override/old still refers to it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := clock
			m := newMemStore()
			ch := New(Config{Store: m, Now: func() time.Time { return now }})
			mustApply(t, ch, Input{Put: decode(t, join(platform, shop, old))})
			if _, err := ch.Plan(context.Background(), c.in(t)); err == nil || !strings.Contains(err.Error(), c.before) {
				t.Errorf("while it holds: %v", err)
			}
			now = clock.Add(time.Second)
			p := mustPlan(t, ch, c.in(t))
			if outline(p) != c.want {
				t.Errorf("got %s", outline(p))
			}
			if !strings.Contains(p.Warnings.Error(),
				"shop/Override/old: spec.expires: is over since 2026-01-02T03:04:06Z: the override gives way") {
				t.Errorf("warnings: %v", p.Warnings)
			}
			mustApply(t, ch, c.in(t))
		})
	}
}

// A file that still has an override which is over must not hinder what was made since, nor bring it back at every apply.
func TestAnExpiredOverrideThatIsNotThereIsLeftOut(t *testing.T) {
	c, _ := house(t)
	over := overrideOf("old", "eu/a", `state: up, expires: "2025-01-01T00:00:00Z"`)
	mustApply(t, c, Input{Edit: Drain(Target{"shop", "eu", "a"}, Hand{Reason: "r", Author: "ann", Expires: later})})
	p := mustPlan(t, c, Input{Put: decode(t, over)})
	if !p.Empty() || !strings.Contains(p.Warnings.Error(), "is over: the override is left out") {
		t.Errorf("got %s, %v", outline(p), p.Warnings)
	}
	// One that is there may be ended so.
	p = mustPlan(t, c, Input{Put: decode(t, overrideOf("drain-eu-a", "eu/a", `state: drain, expires: "2025-01-01T00:00:00Z"`))})
	if outline(p) != "shop@2 update Override/drain-eu-a\n" {
		t.Errorf("got %s", outline(p))
	}
}

// A drain took over the weight of an override that was over.
func TestADrainDoesNotBringBackAnExpiredWeight(t *testing.T) {
	now := clock
	m := newMemStore()
	c := New(Config{Store: m, Now: func() time.Time { return now }})
	mustApply(t, c, Input{Put: decode(t, join(platform, shop, overrideOf("half", "eu/a",
		`state: drain, weight: 2, expires: "2026-01-02T03:04:06Z"`)))})
	now = later
	mustApply(t, c, Input{Edit: Drain(Target{"shop", "eu", "a"}, Hand{Reason: "r", Author: "ann"})})
	o := at(m.states["shop"][m.head("shop")-1], key("shop/Override/half")).Spec.(*spec.Override)
	if o.Weight != nil || o.State != spec.StateDrain || !o.Expires.IsZero() {
		t.Errorf("got %+v", o)
	}
}

// A rollback took drains away, and brought old ones back.
func TestRollbackLeavesOverridesAlone(t *testing.T) {
	c, m := house(t)
	drain := func(pool, endpoint string) {
		mustApply(t, c, Input{Edit: Drain(Target{"shop", pool, endpoint}, Hand{Reason: "r", Author: "ann", Expires: later})})
	}
	drain("eu", "a")                                                             // shop@2
	mustApply(t, c, Input{Edit: Weights("shop", "eu", map[string]int{"a": 9})})  // shop@3
	mustApply(t, c, Input{Edit: Undrain(Target{"shop", "eu", "a"})})             // shop@4
	drain("eu", "b")                                                             // shop@5
	mustApply(t, c, Input{Put: decode(t, poolOf("shop", "us", "198.51.100.9"))}) // shop@6
	drain("us", "a")                                                             // shop@7
	in, err := c.Rollback(context.Background(), "shop", 2, false)
	if err != nil {
		t.Fatal(err)
	}
	if p := mustPlan(t, c, in); outline(p) != "shop@7 update Pool/eu delete Override/drain-us-a delete Pool/us reads platform\n" {
		t.Errorf("got %s", outline(p))
	}
	mustApply(t, c, in)
	s := m.states["shop"][m.head("shop")-1]
	if at(s, key("shop/Override/drain-eu-a")) != nil || at(s, key("shop/Override/drain-eu-b")) == nil {
		t.Error("want the drain of b, which is of now, and not that of a, which was of then")
	}
}

// Draining the last pool of a rule, and weights that are all 0, were done without a word.
func TestTheLastThatTakesClientsIsAskedFor(t *testing.T) {
	two := join(platform, shop, poolOf("shop", "us", "198.51.100.9"), poolOf("shop", "spare", "198.51.100.10"),
		"kind: Service\ntenant: shop\nname: api\nspec: {host: api.shop.gtm.example., "+
			"rules: [{name: r, pools: [us, {pool: eu, weight: 5}]}]}\n")
	drain := func(pool, endpoint string) Edit {
		return Drain(Target{"shop", pool, endpoint}, Hand{Reason: "r", Author: "ann", Expires: later})
	}
	usDown := func(k spec.Key) bool { return k.Name == "us" }
	for _, c := range []struct {
		name   string
		before []Edit
		edit   Edit
		pool   string
		down   func(spec.Key) bool
		want   string // empty: it is made
	}{
		{"the only pool of a rule", nil, drain("eu", ""), "eu", nil,
			"shop/eu is the last pool that takes clients of rule rest of service shop/web"},
		{"one pool of two", nil, drain("us", ""), "us", nil, ""},
		{"a pool that nothing uses", nil, drain("spare", ""), "spare", nil, ""},
		{"one endpoint of two", nil, drain("eu", "a"), "eu", nil, ""},
		{"the last endpoint", []Edit{drain("eu", "a")}, drain("eu", "b"), "eu", nil,
			"shop/eu is the last pool that takes clients of rule rest of service shop/web"},
		{"the last pool of two", []Edit{drain("eu", "")}, drain("us", ""), "us", nil,
			"shop/us is the last pool that takes clients of rule r of service shop/api"},
		{"the last that is not down", nil, drain("eu", ""), "eu", usDown, "of rule r of service shop/api (and of 1 more)"},
		{"again", []Edit{drain("eu", "")}, drain("eu", ""), "eu", nil, ""},
		{"all weights 0", nil, Weights("shop", "spare", map[string]int{"a": 0}), "spare", nil, "all weights of shop/spare would be 0"},
		{"one weight 0", nil, Weights("shop", "eu", map[string]int{"a": 0}), "eu", nil, ""},
		{"the last weight 0 beside a drain", []Edit{drain("eu", "b")}, Weights("shop", "eu", map[string]int{"a": 0}), "eu", nil,
			"shop/eu is the last pool"},
		{"weights of 0 that are so already", []Edit{Weights("shop", "spare", map[string]int{"a": 0})}, Weights("shop", "spare",
			map[string]int{"a": 0}), "spare", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			ch := New(Config{Store: newMemStore(), Now: func() time.Time { return clock }})
			mustApply(t, ch, Input{Put: decode(t, two)})
			for _, e := range c.before {
				mustApply(t, ch, Input{Edit: e})
			}
			_, err := ch.Plan(context.Background(), Input{Edit: Careful(c.edit, "shop", c.pool, c.down)})
			var ask *AskError
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (!errors.As(err, &ask) || !strings.Contains(err.Error(), c.want) ||
				!strings.Contains(err.Error(), "--force")):
				t.Errorf("got %v", err)
			}
			mustApply(t, ch, Input{Edit: c.edit, Author: "ann"}) // as with force
		})
	}
}

// gtmd --apply took back what an operator had changed since, and said nothing of it.
func TestWhatAFileSetsBackIsKnown(t *testing.T) {
	c, _ := house(t)
	files := Input{Put: decode(t, join(platform, shop, poolOf("shop", "us", "198.51.100.9"))), Author: "gtmd@one"}
	mustApply(t, c, files)
	told := func(in Input) string {
		var words []string
		for _, u := range c.SetBack(context.Background(), mustPlan(t, c, in), "gtmd@one") {
			words = append(words, u.Key.String()+" ("+u.Fields()+") by "+u.By.Author+": "+u.By.Message)
		}
		return strings.Join(words, "\n")
	}
	changed := files
	changed.Put = decode(t, join(platform, poolOf("shop", "us", "198.51.100.7")))
	if got := told(changed); got != "" {
		t.Errorf("files that changed set nothing back: %s", got)
	}
	mustApply(t, c, Input{Edit: Weights("shop", "eu", map[string]int{"a": 9}), Author: "bob", Message: "more"})
	mustApply(t, c, Input{Delete: []spec.Key{key("shop/Pool/us")}, Author: "eve", Message: "no more"})
	want := "shop/Pool/eu (spec.endpoints[a].weight) by bob: more\nshop/Pool/us (all: it was deleted) by eve: no more"
	if got := told(files); got != want {
		t.Errorf("got\n%s", got)
	}
	mustApply(t, c, files)
	if got := told(changed); got != "" {
		t.Errorf("set back already: %s", got)
	}
}
