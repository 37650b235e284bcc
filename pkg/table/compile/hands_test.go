package compile

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/rr"
)

func override(name, body string) string {
	return "\n---\nkind: Override\ntenant: shop\nname: " + name + "\nspec: {" + body + ", reason: test}\n"
}

// poolShares gives each pool's part of what the first step of a service's row gives.
func (h *harness) poolShares(host string, row int) map[string]float64 {
	h.t.Helper()
	s := h.service(host)
	at, _ := s.Row(row)
	n := h.view.Nodes.Ref(s.Steps[at].Node)
	out := map[string]float64{}
	if n.Kind == table.LeafNode {
		out[n.Draw.Pool.ID.Pool] = 1
		return out
	}
	total := 0.0
	for _, a := range *n.Arms {
		total += float64(a.Weight)
	}
	for _, a := range *n.Arms {
		out[h.view.Nodes.Ref(a.Node).Draw.Pool.ID.Pool] += float64(a.Weight) / total
	}
	return out
}

// endpointShares gives each endpoint's part of a pool's answers.
func (h *harness) endpointShares(host string, row int) map[string]float64 {
	h.t.Helper()
	s := h.service(host)
	at, _ := s.Row(row)
	out, total := map[string]float64{}, 0.0
	candidates := h.view.Nodes.Ref(s.Steps[at].Node).Draw.Pool.Candidates
	for i := range candidates {
		total += candidates[i].Effective
	}
	for i := range candidates {
		out[candidates[i].Endpoint.Name] = candidates[i].Effective / total
	}
	return out
}

// TestAnswersFollowARamp with nothing written: by the time alone, in steps of at most one answer of a hundred, until all is there; and then
// back to what is declared when the override ends.
func TestAnswersFollowARamp(t *testing.T) {
	const over = 20 * time.Minute
	times := `starts: "2026-11-23T12:10:00Z", expires: "2026-11-23T13:00:00Z"`
	split := "  rules: [{pools: [{pool: eu, weight: 90}, {pool: us, weight: 10}]}]\n"
	for _, c := range []struct {
		name, override, rules, of string
		shares                    func(h *harness) map[string]float64
		from, to                  float64
		steps                     int
	}{
		{"an endpoint", "pool: eu, endpoint: b, weight: {to: 9, over: 20m}, " + times, "  rules: [{pools: [eu, us]}]\n", "b",
			func(h *harness) map[string]float64 { return h.endpointShares("web.shop.gtm.example.", 0) }, .25, .75, 50},
		{"a drain", "pool: eu, endpoint: b, state: drain, weight: {to: 0, over: 20m}, " + times, "  rules: [{pools: [eu, us]}]\n", "b",
			func(h *harness) map[string]float64 { return h.endpointShares("web.shop.gtm.example.", 0) }, .25, 0, 25},
		{"a pool of a rule", "service: web, rule: 1, pool: us, weight: {to: 60, over: 20m}, " + times, split, "us",
			func(h *harness) map[string]float64 { return h.poolShares("web.shop.gtm.example.", 0) }, .1, .4, 30},
		{"away from a pool of a rule", "service: web, rule: 1, pool: us, weight: {to: 0, over: 20m}, " + times, split, "us",
			func(h *harness) map[string]float64 { return h.poolShares("web.shop.gtm.example.", 0) }, .1, 0, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t, testZone, testPools, service("web", c.rules))
			h.put(override("o", c.override))
			serial := h.serial()
			last, steps := c.from, 0
			for now := noon; ; now = h.next {
				h.compile(now)
				share := c.shares(h)[c.of]
				if moved := math.Abs(share - last); moved > .01+1e-4 && now.Before(noon.Add(time.Hour)) {
					t.Errorf("at %v a step from %v to %v", now, last, share)
				} else if moved > 1e-6 {
					steps++
				}
				part := min(1, max(0, now.Sub(noon.Add(10*time.Minute)).Seconds()/over.Seconds()))
				want := c.from + (c.to-c.from)*part
				if !now.Before(noon.Add(time.Hour)) {
					want = c.from
				}
				if math.Abs(share-want) > .01 {
					t.Errorf("at %v %s has %v, want %v", now, c.of, share, want)
				}
				if h.next.IsZero() {
					break
				}
				if !h.next.After(now) {
					t.Fatalf("at %v the next is %v", now, h.next)
				}
				last = share
			}
			if steps != c.steps+1 { // and back
				t.Errorf("%d steps, want %d", steps, c.steps+1)
			}
			if h.serial() != serial {
				t.Error("secondaries were told")
			}
		})
	}
}

// TestARampInASplit of a service that goes by a policy.
func TestARampInASplit(t *testing.T) {
	h := newHarness(t, testZone, testPools,
		service("web", "  rules: [{pools: [{split: [{pool: us, weight: 90}, {pool: sg, weight: 10}]}, eu]}]\n"))
	h.put(override("o", `service: web, rule: 1, pool: sg, weight: {to: 60, over: 30m}, starts: "2026-11-23T12:10:00Z"`))
	for _, c := range []struct {
		after time.Duration
		sg    float64
	}{{0, .1}, {10 * time.Minute, .1}, {25 * time.Minute, .25}, {40 * time.Minute, .4}, {24 * time.Hour, .4}} {
		h.compile(noon.Add(c.after))
		h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"203.0.113.1": c.sg, "192.0.2.1": (1 - c.sg) / 2,
			"192.0.2.2": (1 - c.sg) / 2})
	}
}

// TestAShiftOfAFailover makes one split of its pools, as long as it holds, and what stands behind them stays there.
func TestAShiftOfAFailover(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", "  rules: [{name: r, pools: [sg, us, eu]}]\n"))
	h.put(override("x", "service: web, rule: r, pool: sg, weight: 3"), override("y", "service: web, rule: r, pool: us, weight: 1"))
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"203.0.113.1": .75, "192.0.2.1": .125, "192.0.2.2": .125})
	h.verdict("sg", "a", "b")
	h.verdict("us", "a", "b")
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.1": .75, "198.51.100.2": .25})
	h.verdict("sg")
	h.verdict("us")
	h.put(override("y", "service: web, rule: 1, pool: eu, weight: 1")) // it moves to another pool, by the rule's number
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"203.0.113.1": 1})
	h.put(override("y", "service: other, rule: r, pool: us, weight: 1"))
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"203.0.113.1": 1})
	h.put(override("y", "service: web, rule: r, pool: us, weight: 3"))
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"203.0.113.1": .5, "192.0.2.1": .25, "192.0.2.2": .25})
	h.delete(spec.Key{Tenant: "shop", Kind: spec.KindOverride, Name: "y"}, spec.Key{Tenant: "shop", Kind: spec.KindOverride, Name: "x"})
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"203.0.113.1": 1})
}

// TestAPoolOfWeight0 takes clients when the others are down; what secondaries get goes on as it is declared.
func TestAPoolOfWeight0(t *testing.T) {
	for name, pools := range map[string]string{"plain": testSites, "regions": regional(testSites)} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, testZone, pools, service("web",
				"  rules: [{when: {geo: [AS]}, pools: [eu]}, {pools: [{pool: us, weight: 9}, {pool: sg, weight: 1}]}]\n"))
			h.rises("a shift", false, func() { h.put(override("x", "service: web, rule: 2, pool: us, weight: 0")) })
			h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"203.0.113.1": 1})
			list := h.view.Records(h.view.Zones()[0])
			if i := slices.IndexFunc(list, func(s table.RRset) bool { return s.Type == dnswire.TypeA }); !slices.EqualFunc(list[i].Data,
				[]string{"192.0.2.1"}, func(data []byte, want string) bool { return net.IP(data).String() == want }) {
				t.Errorf("secondaries get %v", list[i].Data)
			}
			h.verdict("sg", "a")
			h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"192.0.2.1": 1})
		})
	}
}

// TestAnAliasFollowsAShift of what it leads to.
func TestAnAliasFollowsAShift(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", "  rules: [{pools: [{pool: us, weight: 1}, {pool: sg, weight: 1}]}]\n"),
		"\n---\nkind: Service\ntenant: shop\nname: old\nspec: {host: old.shop.gtm.example., alias: {to: web.shop.gtm.example.}}\n")
	h.put(override("x", `service: web, rule: 1, pool: us, weight: 0, starts: "2026-11-23T12:30:00Z"`))
	h.expect("old.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"203.0.113.1": .5, "192.0.2.1": .25, "192.0.2.2": .25})
	h.compile(h.next)
	h.expect("old.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"203.0.113.1": 1})
}

// TestAnOverrideRecurs by a clock in Shanghai, where it is 20:00 at noon.
func TestAnOverrideRecurs(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", "  rules: [{pools: [sg, us]}]\n"))
	h.put(override("x", `pool: sg, state: drain, schedule: {cron: "30 20 * * *", zone: Asia/Shanghai, for: 1h}`))
	for _, c := range []struct {
		at   time.Duration
		want map[string]float64
	}{
		{30 * time.Minute, map[string]float64{"203.0.113.1": 1}},
		{90 * time.Minute, map[string]float64{"192.0.2.1": .5, "192.0.2.2": .5}},
		{24*time.Hour + 30*time.Minute, map[string]float64{"203.0.113.1": 1}},
		{25*time.Hour + 30*time.Minute, map[string]float64{"192.0.2.1": .5, "192.0.2.2": .5}},
	} {
		h.expect("web.shop.gtm.example.", berlin, rr.IPv4, c.want)
		if want := noon.Add(c.at); !h.next.Equal(want) {
			t.Fatalf("the next compile at %v, want %v", h.next, want)
		}
		h.compile(h.next)
	}
}

// TestOverridesLeaveNoServiceAnswerless, whatever they are, whenever it is and whatever is down.
func TestOverridesLeaveNoServiceAnswerless(t *testing.T) {
	rnd := gtmtest.Random(t)
	rules := []string{"{pools: [eu, us, sg]}", "{pools: [{pool: eu, weight: 90}, {pool: us, weight: 10}, sg]}",
		"{pools: [sg, {split: [{pool: eu, weight: 1}, {pool: us, weight: 1}]}]}"}
	for range 30 {
		h := newHarness(t, testZone, testPools, service("web", "  rules: ["+rules[rnd.IntN(len(rules))]+"]\n"))
		var all []string
		for i := range rnd.IntN(8) {
			all = append(all, override(fmt.Sprint("o", i), randomBody(rnd)))
		}
		if len(all) > 0 {
			h.put(strings.Join(all, ""))
		}
		for _, pool := range []string{"eu", "us", "sg"} {
			if down := []string{"a", "b"}; rnd.IntN(2) == 0 {
				h.verdict(pool, down[:1+rnd.IntN(2)]...)
			}
		}
		for i, now := 0, noon; i < 20 && now.Sub(noon) < 48*time.Hour; i++ {
			h.compile(now)
			if len(h.last) > 0 {
				t.Fatalf("%v: %v", all, h.last)
			}
			if got, d := h.ask("web.shop.gtm.example.", berlin, rr.IPv4); len(got) == 0 {
				t.Fatalf("no answer at %v: %+v\n%s", now, d, strings.Join(all, ""))
			}
			if now = h.next; now.IsZero() {
				break
			}
		}
	}
}

func randomBody(rnd *rand.Rand) string {
	pool := []string{"eu", "us", "sg"}[rnd.IntN(3)]
	weight := fmt.Sprint(rnd.IntN(2) * rnd.IntN(100))
	if rnd.IntN(2) == 0 {
		weight = "{to: " + weight + ", over: 20m}"
	}
	times := []string{"", `, starts: "2026-11-23T12:30:00Z"`, `, expires: "2026-11-23T12:40:00Z"`,
		`, schedule: {cron: "15 * * * *", for: 30m}`}[rnd.IntN(4)]
	switch rnd.IntN(4) {
	case 0:
		return "pool: " + pool + ", state: " + []string{"up", "down", "drain"}[rnd.IntN(3)] + times
	case 1:
		return "pool: " + pool + ", endpoint: a, weight: " + weight + times
	case 2:
		return "pool: " + pool + ", endpoint: a, state: drain, weight: {to: 0, over: 20m}" + times
	}
	return "service: web, rule: 1, pool: " + pool + ", weight: " + weight + times
}
