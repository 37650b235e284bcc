package compile

import (
	"net/netip"
	"testing"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/rr"
)

const ownResolvers = `
---
kind: Map
tenant: platform
name: own
spec: {networks: [202.108.22.5/32, 10.7.0.0/24]}
`

const resolverRules = `  rules:
    - {name: own, when: {resolver: own}, pools: [sg]}
    - {name: rest, pools: [us]}
`

var (
	fromSingapore = map[string]float64{"203.0.113.1": 1}
	fromUS        = map[string]float64{"192.0.2.1": .5, "192.0.2.2": .5}
)

// TestResolverRulesAreForClientsWithoutSubnet: those of the map's resolvers, private ones among them, and nobody who tells a network of
// use. What such a network gets is the same everywhere, and has scope 0 where no special-purpose block is near.
func TestResolverRulesAreForClientsWithoutSubnet(t *testing.T) {
	h := newHarness(t, testZone, testPools, ownResolvers, service("web", resolverRules))
	const host = "web.shop.gtm.example."
	for _, client := range []string{"resolver 202.108.22.5", "resolver 10.7.0.9"} {
		if d := h.expect(host, client, rr.IPv4, fromSingapore); !d.Resolver || d.Scope != 0 {
			t.Errorf("%s: %+v", client, d)
		}
	}
	for _, client := range []string{"resolver 202.108.22.6", "resolver 10.8.0.9", "resolver 81.2.69.7", berlin, "202.108.22.5/32",
		"2001:db8::/48"} {
		h.expect(host, client, rr.IPv4, fromUS)
	}
	s := h.service(host)
	special := &table.Client{Has: true, Subnet: table.NetOf(netip.MustParseAddr("10.7.0.0"), 24),
		Resolver: table.HostNet(netip.MustParseAddr("202.108.22.5"))}
	if class := h.view.Classify(s, special); class != (table.Class{Index: 0, Scope: 8, Resolver: true}) {
		t.Errorf("a private subnet behind a resolver of the map: %+v", class)
	}
	if class := h.view.Classify(s, clientAt("10.7.0.0/24")); class != (table.Class{Index: 1, Scope: 8, Resolver: true}) {
		t.Errorf("behind another: %+v", class)
	}
	e := h.view.Explain(s, rr.IPv4, clientAt("resolver 202.108.22.5"), 1)
	if e.Matched != "resolver own" || e.Rule != "own" {
		t.Errorf("explained by rule %q (%s)", e.Rule, e.Matched)
	}
}

// TestResolverScopesAreExact: a client's network has the class and scope that it has without the rules for resolvers, but that private
// networks stay apart.
func TestResolverScopesAreExact(t *testing.T) {
	const rest = `    - {when: {geo: [EU]}, pools: [eu]}
    - {when: {geo: [NA-US, AS-CN]}, pools: [us]}
    - {pools: [sg]}
`
	h := newHarness(t, testZone, testPools, ownResolvers, service("web", "  rules:\n    - {when: {resolver: own}, pools: [sg]}\n"+rest),
		service("plain", "  rules:\n"+rest))
	s, plain := h.service("web.shop.gtm.example."), h.service("plain.shop.gtm.example.")
	for i := range uint32(1 << 12) {
		v := i * 0x9E3779B1
		c := &table.Client{Has: true, Subnet: table.HostNet(netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})),
			Resolver: table.HostNet(netip.MustParseAddr("202.108.22.5"))}
		got, want := h.view.Classify(s, c), h.view.Classify(plain, c)
		if want.Index++; want.Resolver {
			want.Index = 0
		}
		if got != want {
			t.Fatalf("%s: %+v, want %+v", c.Subnet.Addr(), got, want)
		}
	}
}

// TestSubnetsThatAreOff: whatever a query tells, the resolver decides rule and hash, with scope 0. So it is with what leads there.
func TestSubnetsThatAreOff(t *testing.T) {
	const rules = "  rules:\n    - {when: {geo: [EU]}, pools: [eu]}\n    - {when: {resolver: own}, pools: [sg]}\n    - {pools: [us]}\n"
	h := newHarness(t, testZone, testPools, ownResolvers, service("web", "  ecs: off\n"+rules),
		service("sticky", "  ecs: off\n  pick: sticky\n  rules: [{pools: [eu]}]\n"), service("on", "  ecs: on\n"+rules),
		"---\nkind: Service\ntenant: shop\nname: led\nspec: {host: led.shop.gtm.example., alias: {to: web.shop.gtm.example}}\n")
	for _, host := range []string{"web.shop.gtm.example.", "led.shop.gtm.example."} {
		s := h.service(host)
		for subnet, resolver := range map[string]string{berlin: "202.108.22.5", beijing: "81.2.69.7", "10.1.0.0/16": "8.8.8.8",
			"2a02:ec80:300::/48": "8.8.8.8", "0.0.0.0/1": "2a02:ec80:300::1"} {
			c, alone := clientAt(subnet), clientAt("resolver "+resolver)
			c.Resolver = alone.Resolver
			got, want := h.view.Classify(s, c), h.view.Classify(s, alone)
			if got != want || !got.Resolver || got.Scope != 0 {
				t.Errorf("%s: %s behind %s: %+v, want %+v", host, subnet, resolver, got, want)
			}
			if e := h.view.Explain(s, rr.IPv4, c, 1); e.Asker != alone.Resolver || !e.NoSubnets() {
				t.Errorf("%s: explained by %s", host, e.Asker.Prefix())
			}
		}
	}
	on := h.service("on.shop.gtm.example.")
	if class := h.view.Classify(on, clientAt(berlin)); class.Resolver || class.Scope == 0 {
		t.Errorf("on: %+v", class)
	}
	s, sets := h.service("sticky.shop.gtm.example."), map[int]bool{}
	for i := range 64 {
		var byResolver, bySubnet table.Decision
		c := clientAt(berlin)
		c.Resolver = table.HostNet(netip.AddrFrom4([4]byte{81, 2, byte(i), 7}))
		h.view.Decide(&bySubnet, s, rr.IPv4, c, h.view.Classify(s, c), 1)
		c.Has = false
		h.view.Decide(&byResolver, s, rr.IPv4, c, h.view.Classify(s, c), 1)
		if bySubnet.Set != byResolver.Set || bySubnet.Scope != 0 {
			t.Fatalf("sticky behind %s: %+v, want %+v", c.Resolver.Addr(), bySubnet, byResolver)
		}
		sets[bySubnet.Set] = true
	}
	if len(sets) < 2 {
		t.Error("resolvers are not told apart")
	}
}

// TestPartitionsOfAskersAreShared: services have one partition unless their rules tell askers apart, equal ones share theirs, and
// what nobody uses is given back.
func TestPartitionsOfAskersAreShared(t *testing.T) {
	h := newHarness(t, testZone, testPools, ownResolvers, service("plain", "  rules: [{pools: [us]}]\n"))
	parts := func(want int) {
		t.Helper()
		if n, _ := h.view.Parts(); n != want || len(h.c.parts) != want {
			t.Errorf("%d partitions in the view, %d known, want %d", n, len(h.c.parts), want)
		}
	}
	differ := func(host string, want bool) {
		t.Helper()
		if s := h.service(host); (s.Part != s.ResolverPart) != want {
			t.Errorf("%s: partitions %d and %d", host, s.Part, s.ResolverPart)
		}
	}
	differ("plain.shop.gtm.example.", false)
	parts(1)
	h.put(service("off", "  ecs: off\n  rules: [{pools: [eu]}]\n"))
	differ("off.shop.gtm.example.", true)
	parts(2) // for resolvers it is that of plain
	h.put(service("web", resolverRules), service("too", resolverRules))
	differ("too.shop.gtm.example.", true)
	parts(4)
	h.put(service("web", "  rules: [{pools: [eu]}]\n"), service("off", "  rules: [{pools: [eu]}]\n"))
	differ("web.shop.gtm.example.", false)
	parts(3)
	h.put(service("too", "  rules: [{pools: [eu]}]\n"))
	parts(1)
	if p := h.c.services[spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "too"}].part; p.refs != 4 {
		t.Errorf("%d services have it, want 4", p.refs)
	}
}

// TestSubnetsThatAreOffGoWithPolicies: the resolver's place makes the row, and two such services share what they do not look at.
func TestSubnetsThatAreOffGoWithPolicies(t *testing.T) {
	const nearest = "  ecs: off\n  rules: [{pools: [{nearest: [us, sg, eu]}]}]\n"
	h := newHarness(t, testZone, testSites, service("web", nearest), service("too", nearest), service("on", nearest[len("  ecs: off\n"):]))
	s, on := h.service("web.shop.gtm.example."), h.service("on.shop.gtm.example.")
	c := clientAt(berlin)
	c.Resolver = clientAt("resolver 8.8.8.8").Resolver
	var d table.Decision
	h.view.Decide(&d, s, rr.IPv4, c, h.view.Classify(s, c), 1)
	if e := (&table.Explanation{Decision: d, Family: rr.IPv4, Service: s}); !d.Resolver || d.Scope != 0 || e.Example()[0] != atUS {
		t.Errorf("by the resolver: %v from %v", d.Class, e.Example())
	}
	if e := h.view.Explain(s, rr.IPv4, c, 1); e.Asker != c.Resolver || e.Rule != "1" {
		t.Errorf("explained by %s, rule %q", e.Asker.Prefix(), e.Rule)
	}
	h.expect("on.shop.gtm.example.", berlin, rr.IPv4, map[string]float64{atEU: 1})
	if s.ResolverPart != on.Part || on.Part != on.ResolverPart || s.Part == s.ResolverPart {
		t.Errorf("partitions %d and %d, of the other %d and %d", s.Part, s.ResolverPart, on.Part, on.ResolverPart)
	}
	h.put(service("web", nearest[len("  ecs: off\n"):]), service("too", nearest[len("  ecs: off\n"):]))
	if n, _ := h.view.Parts(); n != 1 {
		t.Errorf("%d partitions are left, want 1", n)
	}
}
