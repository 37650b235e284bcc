package compile

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/rr"
)

// aliasZone is testZone with content and aliases.
func aliasZone(aliases string) string {
	return `kind: Zone
tenant: platform
name: gtm.example.
spec:
  nameservers: [ns1.gtm.example.]
  contact: hostmaster.gtm.example.
  content: |
    static 20 IN A 192.0.2.80
    static 20 IN AAAA 2001:db8::80
    text IN TXT none
    given IN NS ns.elsewhere.example.
  grants: {shop: [shop.gtm.example.], other: [other.gtm.example.]}
  aliases:
` + aliases
}

const apexAlias = `    - {name: "@", to: web.shop.gtm.example.}
`

var apexKey = spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: "gtm.example."}

func addresses(list ...string) (out []netip.Addr) {
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func (h *harness) resolve(t Target, r *Resolved) {
	h.c.SetResolved(t, r)
	h.compile(noon)
}

func (h *harness) broken(want ...string) {
	h.t.Helper()
	if len(h.last) != len(want) {
		h.t.Fatalf("broken: %v, want %d", h.last, len(want))
	}
	for i, w := range want {
		if got := fmt.Sprint(h.last[i].Key, " ", h.last[i].Err, " serves ", h.last[i].Serves); !strings.Contains(got, w) {
			h.t.Errorf("broken: %s, want %q in it", got, w)
		}
	}
}

// ttl is that of a host's answer.
func (h *harness) ttl(host string) uint32 {
	h.t.Helper()
	var d table.Decision
	decide(h.view, &d, h.service(host), clientAt(berlin), 1)
	return d.TTL
}

func TestAliasAnswersAsTheServiceDoes(t *testing.T) {
	h := newHarness(t, aliasZone(apexAlias), testPools, service("web", webRules+"  https: {alpn: [h2]}\n  svcb: {}\n"),
		service("short", "  alias: {to: web.shop.gtm.example}\n  ttl: 2s\n"))
	h.broken()
	for _, host := range []string{"gtm.example.", "short.shop.gtm.example."} {
		d := h.expect(host, berlin, rr.IPv4, map[string]float64{"198.51.100.1": .75, "198.51.100.2": .25})
		_, same := h.ask("web.shop.gtm.example.", berlin, rr.IPv4)
		if d.Class != same.Class || d.Scope != same.Scope || d.Scope == 0 {
			t.Errorf("%s: %+v, the service itself: %+v", host, d, same)
		}
		h.expect(host, kansas, rr.IPv6, map[string]float64{"2001:db8:2::1": 1})
		if s := h.service(host); !s.Serves(rr.HTTPS) || s.Serves(rr.SVCB) || s.AliasOf != "shop/web" {
			t.Errorf("%s serves %v as alias of %q", host, s.Families(), s.AliasOf)
		}
	}
	if at, short := h.ttl("gtm.example."), h.ttl("short.shop.gtm.example."); at != 5 || short != 2 {
		t.Errorf("TTLs %d and %d, want 5 and 2", at, short)
	}
	h.verdict("eu", "a", "b")
	h.expect("gtm.example.", berlin, rr.IPv4, map[string]float64{"192.0.2.1": .5, "192.0.2.2": .5})
}

func TestAliasFollowsTheService(t *testing.T) {
	h := newHarness(t, aliasZone(apexAlias), testPools, service("web", webRules))
	h.put(service("web", "  rules: [{pools: [sg]}]\n")[5:])
	h.expect("gtm.example.", berlin, rr.IPv4, map[string]float64{"203.0.113.1": 1})
	h.put(service("web", "  rules: [{pools: [nowhere]}]\n")[5:]) // the alias keeps the last good form too
	h.expect("gtm.example.", berlin, rr.IPv4, map[string]float64{"203.0.113.1": 1})
	h.broken("pool shop/nowhere does not exist")

	web := spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "web"}
	h.delete(web)
	h.broken("platform/Zone/gtm.example. alias gtm.example.: alias: zone gtm.example. has neither a service nor addresses at " +
		"web.shop.gtm.example. serves lastGood")
	h.expect("gtm.example.", berlin, rr.IPv4, map[string]float64{"203.0.113.1": 1})
	h.put(service("web", webRules)[5:])
	h.broken()
	h.expect("gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.1": .75, "198.51.100.2": .25})

	h.put(aliasZone("    - {name: www, to: web.shop.gtm.example.}\n"))
	h.broken()
	if h.view.FindService("gtm.example.") != nil {
		t.Error("the apex is steered still")
	}
	h.expect("www.gtm.example.", berlin, rr.IPv4, map[string]float64{"198.51.100.1": .75, "198.51.100.2": .25})
}

func TestAliasesThatLeadNowhere(t *testing.T) {
	for _, tc := range []struct{ name, aliases, more, want string }{
		{"chain", apexAlias + `    - {name: www, to: gtm.example.}` + "\n", "",
			"alias www.gtm.example.: alias: gtm.example. is an alias itself: name web.shop.gtm.example. in its place"},
		{"itself", `    - {name: www, to: www.gtm.example.}` + "\n", "", "alias www.gtm.example.:"},
		{"no addresses", `    - {name: www, to: text.gtm.example.}` + "\n", "", "neither a service nor addresses at text.gtm.example."},
		{"other tenant", "    []\n", "\n---\nkind: Service\ntenant: other\nname: o\nspec: {host: o.other.gtm.example., alias: {to: " +
			"web.shop.gtm.example.}}\n",
			"other/Service/o alias: web.shop.gtm.example. belongs to shop/Service/web"},
		{"host names", `    - {name: www, to: names.shop.gtm.example.}` + "\n",
			"\n---\nkind: Pool\ntenant: shop\nname: cdn\nspec: {endpoints: [{name: a, host: a.cdn.example.}]}\n" +
				service("names", "  rules: [{pools: [cdn]}]\n"), "has no addresses"},
		{"taken", `    - {name: web.shop, to: static.gtm.example.}` + "\n", "", "already belongs to"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := newHarness(t, aliasZone(tc.aliases), testPools, service("web", webRules), tc.more)
			h.broken(tc.want)
		})
	}
}

func TestAliasToContent(t *testing.T) {
	h := newHarness(t, aliasZone(`    - {name: "@", to: static.gtm.example.}`+"\n"))
	h.broken()
	h.expect("gtm.example.", berlin, rr.IPv4, map[string]float64{"192.0.2.80": 1})
	h.expect("gtm.example.", berlin, rr.IPv6, map[string]float64{"2001:db8::80": 1})
	if ttl := h.ttl("gtm.example."); ttl != 20 {
		t.Errorf("TTL %d, want the set's", ttl)
	}
	h.put(strings.ReplaceAll(aliasZone(`    - {name: "@", to: static.gtm.example.}`+"\n"), "192.0.2.80", "192.0.2.81"))
	h.expect("gtm.example.", berlin, rr.IPv4, map[string]float64{"192.0.2.81": 1})
	h.put(testZone)
	if n := len(h.c.alias.pools) + len(h.c.alias.ttls) + len(h.c.alias.leads) + len(h.c.alias.followers) + len(h.c.alias.declared) + len(
		h.c.pools); n != 0 {
		t.Errorf("%d things are left behind: %+v", n, h.c.alias)
	}
}

var elsewhere = Target{Host: "www.cdn.example."}

const outsideAlias = `    - {name: "@", to: www.cdn.example, ttl: 60s}
`

func TestAliasOutside(t *testing.T) {
	h := newHarness(t, aliasZone(outsideAlias))
	h.broken()
	if got := h.c.Targets(); len(got) != 1 || got[0] != elsewhere {
		t.Fatalf("targets %v", got)
	}
	s := h.service("gtm.example.")
	var d table.Decision
	if decide(h.view, &d, s, clientAt(berlin), 1); d.Fallback != table.Refuse || !s.Is.Has(table.Pending) || !s.Serves(rr.IPv6) {
		t.Errorf("before any result: %+v, pending %v, %v", d, s.Is.Has(table.Pending), s.Families())
	}
	h.resolve(elsewhere, &Resolved{TTL: 300, Addresses: addresses("203.0.113.7", "203.0.113.8")})
	h.expect("gtm.example.", berlin, rr.IPv4, map[string]float64{"203.0.113.7": 1, "203.0.113.8": 1})
	if s = h.service("gtm.example."); s.Serves(rr.IPv6) || h.ttl("gtm.example.") != 60 || s.Is.Has(table.Pending) {
		t.Errorf("serves %v, TTL %d", s.Families(), h.ttl("gtm.example."))
	}
	if _, d := h.ask("gtm.example.", berlin, rr.IPv4); d.Scope != 0 {
		t.Errorf("scope %d for an answer that is the same for all", d.Scope)
	}
	h.resolve(elsewhere, &Resolved{TTL: 7, Addresses: addresses("203.0.113.9", "2001:db8::9")})
	h.expect("gtm.example.", berlin, rr.IPv4, map[string]float64{"203.0.113.9": 1})
	h.expect("gtm.example.", berlin, rr.IPv6, map[string]float64{"2001:db8::9": 1})
	if ttl := h.ttl("gtm.example."); ttl != 7 {
		t.Errorf("TTL %d, want that of the result", ttl)
	}
	h.put(aliasZone(`    - {name: "@", to: deep.given.gtm.example.}` + "\n"))
	if got := h.c.Targets(); len(got) != 1 || got[0].Host != "deep.given.gtm.example." {
		t.Errorf("below a delegation: targets %v", got)
	}
	h.resolve(elsewhere, nil)
	h.delete(apexKey)
	if n := len(h.c.pools) + len(h.c.alias.pools) + len(h.c.alias.ttls) + len(h.c.alias.places) + len(h.c.alias.resolved) + len(
		h.c.Targets()); n != 0 {
		t.Errorf("%d things are left behind: %+v", n, h.c.alias)
	}
}

func TestAliasOutsideByContinent(t *testing.T) {
	target := Target{elsewhere.Host, spec.ByContinent}
	h := newHarness(t, aliasZone(`    - {name: "@", to: www.cdn.example., by: continent}`+"\n"))
	places := func(eu, as []netip.Addr) *Resolved {
		return &Resolved{TTL: 30, Addresses: addresses("203.0.113.7", "2001:db8::7"),
			Places: []PlaceResult{{"AF", nil}, {"AS", as}, {"EU", eu}}}
	}
	h.resolve(target, places(addresses("203.0.113.1"), nil))
	d := h.expect("gtm.example.", berlin, rr.IPv4, map[string]float64{"203.0.113.1": 1})
	h.expect("gtm.example.", berlin, rr.IPv6, map[string]float64{"2001:db8::7": 1}) // what a place lacks comes from everywhere
	h.expect("gtm.example.", beijing, rr.IPv4, map[string]float64{"203.0.113.7": 1})
	h.expect("gtm.example.", kansas, rr.IPv4, map[string]float64{"203.0.113.7": 1})
	if d.Index != 2 || d.Scope == 0 {
		t.Errorf("decision %+v", d)
	}
	part := h.view.PartList[h.service("gtm.example.").Part]
	h.resolve(target, places(addresses("203.0.113.1"), addresses("203.0.113.2")))
	h.expect("gtm.example.", beijing, rr.IPv4, map[string]float64{"203.0.113.2": 1})
	if h.view.PartList[h.service("gtm.example.").Part] != part {
		t.Error("another result made another partition")
	}
	e := h.view.Explain(h.service("gtm.example."), rr.IPv4, clientAt(berlin), 1)
	if e.Rule != "EU" || e.Matched != "geo EU" || len(e.Pools) != 2 || !slices.Equal(e.Example(), []string{"203.0.113.1"}) {
		t.Errorf("explanation %+v", e)
	}
}

func TestAliasesShareDraws(t *testing.T) {
	h := newHarness(t, aliasZone(outsideAlias+`    - {name: www, to: www.cdn.example.}`+"\n"))
	h.resolve(elsewhere, &Resolved{TTL: 30, Addresses: addresses("203.0.113.7")})
	p := h.c.pools[health.PoolID{Tenant: "alias of www.cdn.example.", Pool: everywhere}]
	if p == nil || len(p.draws) != 1 || len(p.users) != 2 {
		t.Errorf("pool %+v", p)
	}
	for _, host := range []string{"gtm.example.", "www.gtm.example."} {
		h.expect(host, berlin, rr.IPv4, map[string]float64{"203.0.113.7": 1})
	}
	h.put(testZone)
	if n := len(h.c.Targets()); n != 0 {
		t.Errorf("%d targets are left", n)
	}
}

// TestWhatIsResolvedBreaksAndMends: no tenant's change comes with it, and yet the list of what is broken is made anew.
func TestWhatIsResolvedBreaksAndMends(t *testing.T) {
	h := newHarness(t, aliasZone("    - {name: www, to: www.cdn.example.}\n"))
	target := Target{Host: "www.cdn.example."}
	h.resolve(target, &Resolved{TTL: 60, Addresses: addresses("192.0.2.1")})
	h.broken()
	h.resolve(target, &Resolved{TTL: 60, Addresses: []netip.Addr{{}}})
	h.broken("is no address serves lastGood")
	h.resolve(target, &Resolved{TTL: 60, Addresses: addresses("192.0.2.2")})
	h.broken()
	h.expect("www.gtm.example.", berlin, rr.IPv4, map[string]float64{"192.0.2.2": 1})
}

// TestSecondariesGetTheTTLOfAnAlias: of default answers, too, the least TTL along the nodes counts, and a new one is a new serial.
func TestSecondariesGetTheTTLOfAnAlias(t *testing.T) {
	h := newHarness(t, aliasZone(outsideAlias))
	told := func() (ttl, serial uint32) {
		for _, s := range h.view.Records(h.view.Zones()[0]) {
			if s.Type == dnswire.TypeA && string(s.Owner) == string(h.view.Zones()[0].Apex()) {
				return s.TTL, h.view.Zones()[0].Serial
			}
		}
		t.Fatal("no default answer")
		return 0, 0
	}
	was, last := uint32(1), uint32(0)
	for _, tc := range []struct{ resolved, want uint32 }{{300, 60}, {7, 7}, {7, 7}, {0, 0}, {59, 59}} {
		h.resolve(elsewhere, &Resolved{TTL: tc.resolved, Addresses: addresses("203.0.113.7")})
		ttl, serial := told()
		if ttl != tc.want || h.ttl("gtm.example.") != tc.want {
			t.Errorf("resolved for %d: secondaries get %d, clients %d, want %d", tc.resolved, ttl, h.ttl("gtm.example."), tc.want)
		}
		if (serial > last) != (ttl != was) {
			t.Errorf("resolved for %d: the serial is %d, before %d", tc.resolved, serial, last)
		}
		was, last = ttl, serial
	}
}
