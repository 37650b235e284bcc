package compile

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/names"
	"github.com/gti/gtm/pkg/table/rr"
	"github.com/gti/gtm/pkg/zone"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// world is the built-in geography, opened once for all tests.
var world = func() *geo.Atlas {
	a, err := geo.Open()
	if err != nil {
		panic(err)
	}
	return a
}()

const testZone = `kind: Zone
tenant: platform
name: gtm.example.
spec:
  nameservers: [ns1.gtm.example.]
  contact: hostmaster.gtm.example.
  grants: {shop: [shop.gtm.example.], other: [other.gtm.example.]}
`

const testPools = `
---
kind: Pool
tenant: shop
name: eu
spec:
  minHealthy: 50%
  endpoints:
    - {name: a, addresses: [198.51.100.1, "2001:db8:1::1"], weight: 3}
    - {name: b, addresses: [198.51.100.2, "2001:db8:1::2"], weight: 1}
---
kind: Pool
tenant: shop
name: us
spec: {endpoints: [{name: a, addresses: [192.0.2.1, "2001:db8:2::1"]}, {name: b, addresses: [192.0.2.2]}]}
---
kind: Pool
tenant: shop
name: sg
spec: {endpoints: [{name: a, addresses: [203.0.113.1]}]}
`

func service(name, more string) string {
	return fmt.Sprintf("\n---\nkind: Service\ntenant: shop\nname: %s\nspec:\n  host: %s.shop.gtm.example.\n%s", name, name, more)
}

// harness is a compiler fed with YAML.
type harness struct {
	t    *testing.T
	c    *Compiler
	gen  uint64
	view *table.View
	last []Broken
	next time.Time
}

func newHarness(t *testing.T, yaml ...string) *harness {
	t.Helper()
	h := &harness{t: t, c: New(Config{Seed: 1, Workers: 1}, world)}
	h.put(yaml...)
	return h
}

// decode reads YAML; a zone's content is made canonical as pkg/change does.
func decode(t testing.TB, gen uint64, yaml string) map[string][]Item {
	t.Helper()
	res, err := spec.Decode("test.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]Item{}
	for _, r := range res {
		if z, ok := r.Spec.(*spec.Zone); ok {
			eff := z.Effective()
			text, _, err := zone.Canonical(r.Name, r.Name, z.Content, zone.Defaults{Nameservers: eff.Nameservers, Contact: eff.Contact})
			if err != nil {
				t.Fatal(err)
			}
			z.Content = text
		}
		out[r.Tenant] = append(out[r.Tenant], Item{r, gen})
	}
	return out
}

func (h *harness) put(yaml ...string) {
	h.t.Helper()
	h.gen++
	var ch Change
	for tenant, list := range decode(h.t, h.gen, strings.Join(yaml, "")) {
		ch.Tenants = append(ch.Tenants, TenantChange{Tenant: tenant, Head: h.gen, Put: list})
	}
	h.apply(ch)
}

func (h *harness) apply(ch Change) {
	h.c.Apply(ch)
	h.compile(noon)
}

func (h *harness) compile(now time.Time) { h.view, h.last, h.next = h.c.Compile(now) }

func (h *harness) delete(keys ...spec.Key) {
	h.gen++
	for _, k := range keys {
		h.c.Apply(Change{Tenants: []TenantChange{{Tenant: k.Tenant, Head: h.gen, Deleted: []spec.Key{k}}}})
	}
	h.compile(noon)
}

// verdict says which endpoints of a pool of shop are down; the others are up.
func (h *harness) verdict(pool string, down ...string) {
	h.t.Helper()
	v := health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: pool}, Endpoints: map[string]health.Finding{}}
	for _, e := range []string{"a", "b"} {
		v.Endpoints[e] = health.Finding{State: health.Up, Score: 1}
	}
	for _, e := range down {
		v.Endpoints[e] = health.Finding{State: health.Down, Reason: "connect: refused"}
	}
	h.apply(Change{Verdicts: []health.Verdict{v}})
}

func (h *harness) service(host string) *table.Service {
	h.t.Helper()
	s := h.view.FindService(host)
	if s == nil {
		h.t.Fatalf("no service at %s; broken: %v", host, h.last)
	}
	return s
}

// clientAt gives a client that is known by its network, or as in "resolver 192.0.2.53" by its resolver alone.
func clientAt(addr string) *table.Client {
	if resolver, ok := strings.CutPrefix(addr, "resolver "); ok {
		return &table.Client{Resolver: table.HostNet(netip.MustParseAddr(resolver))}
	}
	p := netip.MustParsePrefix(addr)
	return &table.Client{Has: true, Subnet: table.NetOf(p.Addr(), uint8(p.Bits())),
		Resolver: table.NetOf(netip.MustParseAddr("127.0.0.1"), 32)}
}

// ask gives the records that a client may get, over many draws, with their shares.
func (h *harness) ask(host, subnet string, f rr.Family) (map[string]float64, table.Decision) {
	h.t.Helper()
	const draws = 20000
	s, c, out := h.service(host), clientAt(subnet), map[string]float64{}
	rnd := rand.New(rand.NewPCG(1, 2))
	var d table.Decision
	for range draws {
		h.view.Decide(&d, s, f, c, h.view.Classify(s, c), rnd.Uint64())
		e := table.Explanation{Decision: d, Family: f, Service: s}
		for _, r := range e.Example() {
			out[r] += 1.0 / draws
		}
	}
	return out, d
}

func near(a, b float64) bool { return a-b < 0.01 && b-a < 0.01 }

func (h *harness) expect(host, subnet string, f rr.Family, want map[string]float64) table.Decision {
	h.t.Helper()
	got, d := h.ask(host, subnet, f)
	for r, share := range want {
		if !near(got[r], share) {
			h.t.Errorf("%s from %s: %s has share %.3f, want %.3f (all: %v)", host, subnet, r, got[r], share, got)
		}
	}
	for r := range got {
		if _, ok := want[r]; !ok {
			h.t.Errorf("%s from %s: unexpected %s (all: %v)", host, subnet, r, got)
		}
	}
	return d
}

const (
	berlin   = "91.198.174.0/24" // a network that the built-in database places in Europe
	beijing  = "202.108.22.0/24"
	kansas   = "8.8.8.0/24"
	privates = "10.1.2.0/24"
)

const webRules = `  ttl: 5s
  rules:
    - {name: europe, when: {geo: [EU]}, pools: [eu, us]}
    - {name: asia, when: {geo: [AS, OC]}, pools: [sg, us]}
    - {name: rest, pools: [us, eu]}
`

func TestRulesChooseByPlaceAndFailOver(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", webRules))
	d := h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.1": .75, "198.51.100.2": .25})
	if d.Index != 0 || d.Scope == 0 || d.Fallback != table.Normal {
		t.Errorf("decision %+v", d)
	}
	h.expect("web.shop.gtm.example.", beijing, rr.IPv4, map[string]float64{"203.0.113.1": 1})
	h.expect("web.shop.gtm.example.", kansas, rr.IPv4, map[string]float64{"192.0.2.1": .5, "192.0.2.2": .5})

	h.verdict("eu", "b") // one of two is healthy: enough for 50%
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.1": 1})
	h.verdict("eu", "a", "b")
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"192.0.2.1": .5, "192.0.2.2": .5})
	h.verdict("eu")
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.1": .75, "198.51.100.2": .25})
}

func TestAllDown(t *testing.T) {
	for _, tc := range []struct {
		name, more string
		want       map[string]float64
		fallback   table.Fallback
	}{
		{"as if up", "  rules: [{pools: [eu]}]\n", map[string]float64{"198.51.100.1": .75, "198.51.100.2": .25}, table.AsIfUp},
		{"last resort up", "  rules: [{pools: [eu]}]\n  lastResort: [sg]\n", map[string]float64{"203.0.113.1": 1}, table.LastResort},
		{"last resort down", "  rules: [{pools: [eu]}]\n  lastResort: [us]\n", map[string]float64{"192.0.2.1": .5, "192.0.2.2": .5},
			table.AsIfUp},
		{"servfail", "  rules: [{pools: [eu]}]\n  allDown: servfail\n", map[string]float64{}, table.Refuse},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t, testZone, testPools, service("web", tc.more))
			h.verdict("eu", "a", "b")
			h.verdict("us", "a", "b")
			if d := h.expect("web.shop.gtm.example.", berlin, rr.IPv4, tc.want); d.Fallback != tc.fallback {
				t.Errorf("fallback %d, want %d", d.Fallback, tc.fallback)
			}
		})
	}
}

// TestSwappedAddressesNeverNameTheDeadOne, whether the configuration or the verdict comes first.
func TestSwappedAddressesNeverNameTheDeadOne(t *testing.T) {
	well := map[string]float64{"198.51.100.2": 1}
	of := [2]string{"198.51.100.1 2001:db8:1::1", "198.51.100.2 2001:db8:1::2"}
	verdict := func(dead, up string) Change {
		return Change{Verdicts: []health.Verdict{{Pool: health.PoolID{Tenant: "shop", Pool: "eu"}, Endpoints: map[string]health.Finding{
			dead: {State: health.Down, Of: of[0]}, up: {State: health.Up, Score: 1, Of: of[1]}}}}}
	}
	swapped := strings.NewReplacer("name: a, addresses: [198.51", "name: b, addresses: [198.51", "name: b, addresses: [198.51",
		"name: a, addresses: [198.51").Replace(testPools)[5:]
	for _, configFirst := range []bool{true, false} {
		h := newHarness(t, testZone, testPools, service("web", "  rules: [{pools: [eu]}]\n"))
		h.apply(verdict("a", "b"))
		h.expect("web.shop.gtm.example.", berlin, rr.IPv4, well)
		if configFirst {
			h.put(swapped)
		} else {
			h.apply(verdict("b", "a"))
		}
		h.expect("web.shop.gtm.example.", berlin, rr.IPv4, well)
		h.put(swapped)
		h.apply(verdict("b", "a"))
		h.expect("web.shop.gtm.example.", berlin, rr.IPv4, well)
	}
}

func TestSplitByWeight(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", "  rules: [{pools: [{pool: sg, weight: 70}, {pool: us, weight: 30}, eu]}]\n"))
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"203.0.113.1": .7, "192.0.2.1": .15, "192.0.2.2": .15})
	h.verdict("us", "a", "b")
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"203.0.113.1": 1})
	h.verdict("sg", "a")
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.1": .75, "198.51.100.2": .25})
}

func TestFamiliesBelongToTheService(t *testing.T) {
	h := newHarness(t, testZone, testPools,
		service("v4", "  rules: [{when: {geo: [EU]}, pools: [eu]}, {pools: [sg]}]\n"),
		service("both", "  rules: [{pools: [us, eu]}]\n"))
	if s := h.service("v4.shop.gtm.example."); !s.Serves(rr.IPv4) || s.Serves(rr.IPv6) {
		t.Error("a rule without IPv6 must keep AAAA from existing for anyone")
	}
	if s := h.service("both.shop.gtm.example."); !s.Serves(rr.IPv6) {
		t.Error("AAAA must exist: every rule has a pool with IPv6")
	}
	h.expect("both.shop.gtm.example.", berlin, rr.IPv6, map[string]float64{"2001:db8:2::1": 1})
	h.verdict("us", "a") // the pool is up by b, which has no IPv6 address: IPv6 goes on to the next pool
	h.expect("both.shop.gtm.example.", berlin, rr.IPv6, map[string]float64{"2001:db8:1::1": .75, "2001:db8:1::2": .25})
	h.expect("both.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"192.0.2.2": 1})
}

// decide classifies and decides, for IPv4.
func decide(v *table.View, d *table.Decision, s *table.Service, c *table.Client, r uint64) {
	v.Decide(d, s, rr.IPv4, c, v.Classify(s, c), r)
}

func TestSpecialPurposeClientsUseTheResolver(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", webRules))
	s := h.service("web.shop.gtm.example.")
	c := clientAt(privates)
	c.Resolver = table.NetOf(netip.MustParseAddr("91.198.174.1"), 32)
	var d table.Decision
	decide(h.view, &d, s, c, 1)
	if d.Index != 0 || d.Scope != 8 || !d.Resolver {
		t.Errorf("10.1.2.0/24 asked through a European resolver: %+v, want rule 0, scope 8", d)
	}
}

func TestOverrides(t *testing.T) {
	drain := func(more string) string {
		return "kind: Override\ntenant: shop\nname: o1\nspec: {pool: eu, " + more + ", reason: test}\n"
	}
	for _, tc := range []struct {
		name, spec string
		want       map[string]float64
	}{
		{"drain one", drain("endpoint: a, state: drain"), map[string]float64{"198.51.100.2": 1}},
		{"drain pool", drain("state: drain"), map[string]float64{"192.0.2.1": .5, "192.0.2.2": .5}},
		{"down one", drain("endpoint: b, state: down"), map[string]float64{"198.51.100.1": 1}},
		{"weight", drain("endpoint: b, weight: 3"), map[string]float64{"198.51.100.1": .5, "198.51.100.2": .5}},
		{"ended", drain("endpoint: a, state: drain, expires: \"2026-11-23T11:00:00Z\""),
			map[string]float64{"198.51.100.1": .75, "198.51.100.2": .25}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t, testZone, testPools, service("web", webRules))
			h.put(tc.spec)
			h.expect("web.shop.gtm.example.", berlin, rr.IPv4, tc.want)
			h.delete(spec.Key{Tenant: "shop", Kind: spec.KindOverride, Name: "o1"})
			h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.1": .75, "198.51.100.2": .25})
		})
	}
}

// TestAnOverrideThatMovesLeavesItsPool: declared anew for another pool, it does not hold on for the first.
func TestAnOverrideThatMovesLeavesItsPool(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", webRules))
	h.put("kind: Override\ntenant: shop\nname: o\nspec: {pool: eu, endpoint: a, state: drain, reason: test}\n")
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.2": 1})
	h.put("kind: Override\ntenant: shop\nname: o\nspec: {pool: us, endpoint: a, state: drain, reason: test}\n")
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.1": .75, "198.51.100.2": .25})
	h.expect("web.shop.gtm.example.", kansas, rr.IPv4, map[string]float64{"192.0.2.2": 1})
}

// TestWhatIsDrainedInOneFamilyIsNotNamedInIt, though the pool is up by the other family.
func TestWhatIsDrainedInOneFamilyIsNotNamedInIt(t *testing.T) {
	mixed := "\n---\nkind: Pool\ntenant: shop\nname: mixed\nspec: {endpoints: [{name: four, addresses: [192.0.2.44]}, " +
		"{name: six, addresses: [\"2001:db8::66\"]}]}\n"
	h := newHarness(t, testZone, testPools, mixed, service("web", "  rules: [{pools: [mixed, us]}]\n"))
	h.put("kind: Override\ntenant: shop\nname: o\nspec: {pool: mixed, endpoint: six, state: drain, reason: test}\n")
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"192.0.2.44": 1})
	h.expect("web.shop.gtm.example.", berlin, rr.IPv6, map[string]float64{"2001:db8:2::1": 1})
}

func TestOverrideEndsByItself(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", webRules))
	h.put("kind: Override\ntenant: shop\nname: o1\nspec: {pool: eu, endpoint: a, state: drain, reason: r, expires: " +
		"\"2026-11-23T12:30:00Z\"}\n")
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.2": 1})
	if want := noon.Add(30 * time.Minute); !h.next.Equal(want) {
		t.Errorf("next compile at %v, want %v", h.next, want)
	}
	h.compile(h.next)
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.1": .75, "198.51.100.2": .25})
	if !h.next.IsZero() {
		t.Errorf("another compile at %v, want none", h.next)
	}
}

func TestABrokenResourceHarmsOnlyItself(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", webRules), service("good", webRules))
	h.put(service("web", "  rules: [{pools: [nowhere]}]\n")[5:])
	if len(h.last) != 1 || !strings.Contains(h.last[0].Err.Error(), "nowhere") {
		t.Fatalf("broken: %v", h.last)
	}
	want := map[string]float64{"198.51.100.1": .75, "198.51.100.2": .25}
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, want) // the last good form
	h.expect("good.shop.gtm.example.", berlin, rr.IPv4, want)
	h.verdict("eu", "b") // and it still follows health
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.1": 1})
	h.put(strings.Replace(testPools[5:], "name: eu", "name: nowhere", 1))
	if len(h.last) != 0 {
		t.Fatalf("still broken after the pool appeared: %v", h.last)
	}
}

func TestBrokenServices(t *testing.T) {
	for _, tc := range []struct{ name, yaml, want string }{
		{"outside the grants", "kind: Service\ntenant: shop\nname: x\nspec: {host: web.other.gtm.example., rules: [{pools: [eu]}]}\n",
			"grants to tenant shop (shop.gtm.example.)"},
		{"no zone", "kind: Service\ntenant: shop\nname: x\nspec: {host: web.elsewhere.example., rules: [{pools: [eu]}]}\n",
			"lies in no zone"},
		{"host taken", "kind: Service\ntenant: shop\nname: x\nspec: {host: web.shop.gtm.example., rules: [{pools: [eu]}]}\n",
			"already belongs to shop/Service/web"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t, testZone, testPools, service("web", webRules))
			h.put(tc.yaml)
			if len(h.last) != 1 || !strings.Contains(h.last[0].Err.Error(), tc.want) {
				t.Fatalf("broken: %v, want %q", h.last, tc.want)
			}
			h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.1": .75, "198.51.100.2": .25})
		})
	}
}

// TestAServiceThatCannotMoveStays: it was taken out of its place before its new one was found to be taken.
func TestAServiceThatCannotMoveStays(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", webRules), service("two", "  rules: [{pools: [sg]}]\n"))
	h.put(strings.Replace(service("two", "  rules: [{pools: [sg]}]\n"), "host: two", "host: web", 1)[5:])
	if len(h.last) != 1 || !strings.Contains(h.last[0].Err.Error(), "already belongs to") {
		t.Fatalf("broken: %v", h.last)
	}
	h.expect("two.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"203.0.113.1": 1})
}

// TestABrokenMapHarmsOnlyItself: an empty network, which the store can hold, made every changed service fail.
func TestABrokenMapHarmsOnlyItself(t *testing.T) {
	office := "---\nkind: Map\ntenant: platform\nname: office\nspec: {networks: [8.8.8.0/24]}\n"
	rules := "  rules: [{when: {map: office}, pools: [sg]}, {pools: [us]}]\n"
	h := newHarness(t, testZone, testPools, office, service("web", rules), service("plain", webRules))
	bad := Item{&spec.Resource{Key: spec.Key{Tenant: "platform", Kind: spec.KindMap, Name: "office"},
		Spec: &spec.Map{Networks: []netip.Prefix{{}}}}, 9}
	h.apply(Change{Tenants: []TenantChange{{Tenant: "platform", Head: 9, Put: []Item{bad}}}})
	h.put(service("plain", "  ttl: 7s\n"+webRules[len("  ttl: 5s\n"):])[5:])
	if len(h.last) != 1 || h.last[0].Key.Kind != spec.KindMap {
		t.Fatalf("broken: %v", h.last)
	}
	if ttl := h.ttl("plain.shop.gtm.example."); ttl != 7 {
		t.Errorf("another service's change was not taken: TTL %d", ttl)
	}
	h.expect("web.shop.gtm.example.", kansas, rr.IPv4, map[string]float64{"203.0.113.1": 1}) // the map's last good form
}

// TestAnEmptyAddressIsBroken: the zero address counted as IPv6.
func TestAnEmptyAddressIsBroken(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", webRules))
	bad := Item{&spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "us"},
		Spec: &spec.Pool{Endpoints: []spec.Endpoint{{Name: "a", Addresses: []netip.Addr{{}}}}}}, 9}
	h.apply(Change{Tenants: []TenantChange{{Tenant: "shop", Head: 9, Put: []Item{bad}}}})
	if len(h.last) == 0 || h.last[0].Key.Kind != spec.KindPool {
		t.Fatalf("broken: %v", h.last)
	}
	h.expect("web.shop.gtm.example.", kansas, rr.IPv4, map[string]float64{"192.0.2.1": .5, "192.0.2.2": .5})
}

// TestServicesFollowTheFamiliesOfTheirPools when these appear, gain or lose one, and not where they are declared with a fault.
func TestServicesFollowTheFamiliesOfTheirPools(t *testing.T) {
	const host = "web.shop.gtm.example."
	pool := func(endpoint string) string {
		return "kind: Pool\ntenant: shop\nname: late\nspec: {endpoints: [{name: a, " + endpoint + "}]}\n"
	}
	h := newHarness(t, testZone, service("web", "  rules: [{pools: [late]}]\n"))
	if len(h.last) != 1 {
		t.Fatalf("a service without its pool is served: %v", h.last)
	}
	for _, tc := range []struct {
		endpoint string
		want     []rr.Family
	}{
		{"addresses: [192.0.2.1]", []rr.Family{rr.IPv4}},
		{`addresses: [192.0.2.1, "2001:db8::1"]`, []rr.Family{rr.IPv4, rr.IPv6}},
		{`addresses: ["2001:db8::1"]`, []rr.Family{rr.IPv6}},
		{"host: a.example.net.", []rr.Family{rr.CNAME}},
		{"addresses: [192.0.2.1]", []rr.Family{rr.IPv4}},
	} {
		h.put(pool(tc.endpoint))
		for f := range rr.Families {
			if got, want := h.service(host).Serves(f), slices.Contains(tc.want, f); got != want {
				t.Errorf("%s: %s is served: %v, want %v", tc.endpoint, f.Noun(), got, want)
			}
		}
	}
	bad := Item{&spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "late"},
		Spec: &spec.Pool{Endpoints: []spec.Endpoint{{Name: "a", Addresses: []netip.Addr{netip.MustParseAddr("2001:db8::1"), {}}}}}}, 99}
	h.apply(Change{Tenants: []TenantChange{{Tenant: "shop", Head: 99, Put: []Item{bad}}}})
	h.put(service("web", "  ttl: 7s\n  rules: [{pools: [late]}]\n")[5:])
	if s, ttl := h.service(host), h.ttl(host); ttl != 7 || !s.Serves(rr.IPv4) || s.Serves(rr.IPv6) {
		t.Errorf("the pool is broken, and served in its last good form: TTL %d, %v", ttl, s.Families())
	}
}

func TestAHostMovesBetweenServices(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", webRules))
	h.put(service("web", strings.Replace(webRules, "  ttl", "  metrics: false\n  ttl", 1))[5:],
		strings.Replace(service("two", "  rules: [{pools: [sg]}]\n"), "host: two", "host: moved", 1))
	h.expect("moved.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"203.0.113.1": 1})
	// web takes the host of two, and two that of web, in one change
	h.put(strings.Replace(service("web", webRules), "host: web", "host: moved", 1)[5:],
		strings.Replace(service("two", "  rules: [{pools: [sg]}]\n"), "host: two", "host: web", 1))
	if len(h.last) != 0 {
		t.Fatalf("broken: %v", h.last)
	}
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"203.0.113.1": 1})
	h.expect("moved.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.1": .75, "198.51.100.2": .25})
	h.delete(spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "two"})
	if s := h.view.FindService("web.shop.gtm.example."); s != nil {
		t.Error("a deleted service still stands")
	}
}

func TestZonesAppearAndGo(t *testing.T) {
	h := newHarness(t, testPools[5:], service("web", webRules))
	if len(h.last) != 1 {
		t.Fatalf("a service without a zone must be broken: %v", h.last)
	}
	h.put(testZone)
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.1": .75, "198.51.100.2": .25})
	// a nearer zone takes the service over
	h.put("kind: Zone\ntenant: platform\nname: shop.gtm.example.\nspec: {nameservers: [ns1.gtm.example.], contact: h.gtm.example., " +
		"grants: {shop: [shop.gtm.example.]}}\n")
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.1": .75, "198.51.100.2": .25})
	h.delete(spec.Key{Tenant: "platform", Kind: spec.KindZone, Name: "shop.gtm.example."})
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.1": .75, "198.51.100.2": .25})
	h.delete(spec.Key{Tenant: "platform", Kind: spec.KindZone, Name: "gtm.example."})
	if h.view.FindService("web.shop.gtm.example.") != nil || len(h.view.Zones()) != 0 {
		t.Error("the zone is gone, but answers remain")
	}
}

func TestFullChangeForgetsWhatItDoesNotName(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", webRules), service("gone", webRules))
	h.verdict("eu", "a", "b")
	ch := Change{Full: true}
	for tenant, list := range decode(t, 9, testZone+testPools+service("web", webRules)) {
		ch.Tenants = append(ch.Tenants, TenantChange{Tenant: tenant, Head: 9, Put: list})
	}
	h.apply(ch)
	if h.view.FindService("gone.shop.gtm.example.") != nil {
		t.Error("a service that the full state does not name is still there")
	}
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.1": .75, "198.51.100.2": .25})
	if h.view.Heads["shop"] != 9 {
		t.Errorf("heads: %v", h.view.Heads)
	}
}

func TestHostNameServicesAnswerCNAME(t *testing.T) {
	h := newHarness(t, testZone, "---\nkind: Pool\ntenant: shop\nname: cdn\nspec: {endpoints: [{name: a, host: a.cdn.example.}, {name: "+
		"b, host: b.cdn.example.}]}\n",
		service("web", "  rules: [{pools: [cdn]}]\n"))
	s := h.service("web.shop.gtm.example.")
	if !s.Serves(rr.CNAME) || s.Serves(rr.IPv4) {
		t.Fatal("a service of host names serves CNAME alone")
	}
	h.expect("web.shop.gtm.example.", berlin, rr.CNAME, map[string]float64{"a.cdn.example.": .5, "b.cdn.example.": .5})
}

// TestIncrementalEqualsFresh compares a compiler that lived through random changes with one that is told the outcome at once.
func TestIncrementalEqualsFresh(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	pools := []string{"p0", "p1", "p2", "p3"}
	pool := func(name string) string {
		var b strings.Builder
		fmt.Fprintf(&b, "---\nkind: Pool\ntenant: shop\nname: %s\nspec:\n  endpoints:\n", name)
		for i := range 1 + rnd.IntN(3) {
			six := ""
			if rnd.IntN(2) == 0 {
				six = fmt.Sprintf(", \"2001:db8::%s%d\"", name[1:], i)
			}
			fmt.Fprintf(&b, "    - {name: e%d, addresses: [192.0.2.1%s%d%s], weight: %d}\n", i, name[1:], i, six, 1+rnd.IntN(4))
		}
		return b.String()
	}
	svc := func(name string) string {
		geos := []string{"EU", "AS", "NA", "EU-DE", "AS-CN"}
		a, b := pools[rnd.IntN(4)], pools[rnd.IntN(4)]
		pick := []string{"weighted", "sticky", "all"}[rnd.IntN(3)]
		return service(name, fmt.Sprintf("  pick: %s\n  answers: %d\n  rules: [{when: {geo: [%s]}, pools: [%s]}, {pools: [%s, %s]}]\n",
			pick, 1+rnd.IntN(2), geos[rnd.IntN(len(geos))], a, a, b))[1:]
	}
	now := map[string]string{"zone": testZone}
	for _, p := range pools {
		now[p] = pool(p)
	}
	h := newHarness(t, now["zone"], now["p0"], now["p1"], now["p2"], now["p3"])
	names := []string{"s0", "s1", "s2", "s3", "s4"}
	for range 150 {
		switch name := names[rnd.IntN(len(names))]; rnd.IntN(3) {
		case 0:
			p := pools[rnd.IntN(4)]
			now[p] = pool(p)
			h.put(now[p])
		case 1:
			now[name] = svc(name)
			h.put(now[name])
		case 2:
			if now[name] != "" {
				delete(now, name)
				h.delete(spec.Key{Tenant: "shop", Kind: spec.KindService, Name: name})
			}
		}
	}
	var all []string
	for _, k := range sortedKeys(now) {
		all = append(all, "\n"+now[k])
	}
	for i := range aheadLeast { // so many that they are compiled ahead
		all = append(all, service(fmt.Sprint("filler", i), "  rules: [{pools: [p0, p1]}]\n")[1:])
	}
	fresh := newHarness(t, strings.Join(all, "\n---\n"))
	if len(h.last) != 0 || len(fresh.last) != 0 {
		t.Fatalf("broken: %v, %v", h.last, fresh.last)
	}
	for _, name := range names {
		host := name + ".shop.gtm.example."
		a, b := h.view.FindService(host), fresh.view.FindService(host)
		if (a == nil) != (b == nil) {
			t.Fatalf("%s: incremental %v, fresh %v", name, a != nil, b != nil)
		}
		if a == nil {
			continue
		}
		for _, subnet := range []string{berlin, beijing, kansas} {
			for _, f := range []rr.Family{rr.IPv4, rr.IPv6} {
				if a.Serves(f) != b.Serves(f) {
					t.Fatalf("%s family %d: incremental %v, fresh %v", name, f, a.Serves(f), b.Serves(f))
				}
				for r := uint64(1); a.Serves(f) && r != 0; r <<= 3 {
					x, y := h.view.Explain(a, f, clientAt(subnet), r*0x9e3779b97f4a7c15),
						fresh.view.Explain(b, f, clientAt(subnet), r*0x9e3779b97f4a7c15)
					if fmt.Sprint(x.Example(), x.Scope, x.Rule) != fmt.Sprint(y.Example(), y.Scope, y.Rule) {
						t.Fatalf("%s from %s: incremental %v, fresh %v", name, subnet, x.Example(), y.Example())
					}
				}
			}
		}
	}
}

func TestOldViewsDoNotChange(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", webRules))
	old := h.view
	h.verdict("eu", "a", "b")
	h.put(service("more", webRules)[5:])
	now := h.view
	h.view = old
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.1": .75, "198.51.100.2": .25})
	if old.FindService("more.shop.gtm.example.") != nil {
		t.Error("an old view knows a new service")
	}
	h.view = now
	h.expect("web.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{"192.0.2.1": .5, "192.0.2.2": .5})
}

func TestDecideDoesNotAllocate(t *testing.T) {
	h := newHarness(t, testZone, testPools, service("web", webRules), service("sticky", "  pick: sticky\n"+webRules))
	for _, host := range []string{"web.shop.gtm.example.", "sticky.shop.gtm.example."} {
		s, c := h.service(host), clientAt(berlin)
		var d table.Decision
		var r uint64
		if n := testing.AllocsPerRun(1000, func() { r += 0x9e3779b97f4a7c15; decide(h.view, &d, s, c, r) }); n != 0 {
			t.Errorf("%s: %v allocations", host, n)
		}
	}
	var q dnswire.Query
	msg := append([]byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}, "\x03web\x04shop\x03gtm\x07example\x00\x00\x01\x00\x01"...)
	q.Parse(msg)
	var hashes names.Hashes
	if n := testing.AllocsPerRun(1000, func() { h.view.Find(&q, &hashes).Lookup(&q, &hashes) }); n != 0 {
		t.Errorf("lookup: %v allocations", n)
	}
}

func TestSettledViewAnswersTheSame(t *testing.T) {
	for _, answers := range []int{1, 2} {
		settledAnswersTheSame(t, answers)
	}
}

func settledAnswersTheSame(t *testing.T, answers int) {
	h := newHarness(t, testZone, testPools,
		service("web", fmt.Sprintf("  pick: sticky\n  answers: %d\n  rules: [{pools: [eu]}]\n", answers)))
	s := h.service("web.shop.gtm.example.")
	filled := func() bool {
		return inside(h.view.Nodes.Ref(s.Steps[0].Node).Draw.From(rr.IPv4, false), "table", "filled", "v").Pointer() != 0
	}
	ask := func() (all []byte) {
		var room []byte
		for i := range 500 {
			var d table.Decision
			decide(h.view, &d, s, clientAt(fmt.Sprintf("81.2.%d.0/24", i%256)), uint64(i))
			records, _ := d.Records(&room)
			all = append(all, records...)
		}
		return all
	}
	if filled() {
		t.Fatal("the table of a new draw is filled")
	}
	before := ask()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if h.view.FillTables(ended, nil); filled() {
		t.Error("settling does not end with its context")
	}
	if h.view.FillTables(t.Context(), h.view); filled() {
		t.Error("what was settled before is settled again")
	}
	if h.view.FillTables(t.Context(), nil); !filled() {
		t.Error("the table is not filled")
	}
	if after := ask(); !slices.Equal(before, after) {
		t.Errorf("before %v, after %v", before, after)
	}
}
