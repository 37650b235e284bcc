package compile

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table/rr"
	"github.com/gti/gtm/pkg/table/zones"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

func (h *harness) serial() uint32 { h.t.Helper(); return h.view.Zones()[0].Serial }

// rises runs f and tells what the serial of the only zone did.
func (h *harness) rises(what string, want bool, f func()) {
	h.t.Helper()
	before := h.serial()
	f()
	switch after := h.serial(); {
	case want && int32(after-before) <= 0:
		h.t.Errorf("%s: the serial went from %d to %d; it must rise", what, before, after)
	case !want && after != before:
		h.t.Errorf("%s: the serial went from %d to %d, but a secondary gets the same", what, before, after)
	}
	z := h.view.Zones()[0]
	if got := rr.Uint32(z.SOARecord().Data[0][len(z.SOARecord().Data[0])-20:]); got != z.Serial {
		h.t.Errorf("%s: the SOA record says %d, the zone %d", what, got, z.Serial)
	}
	if soa := z.SOA().Wire; rr.Uint32(soa[len(soa)-20:]) != z.Serial {
		h.t.Errorf("%s: negative answers have another serial than %d", what, z.Serial)
	}
}

func TestSerialRisesWithWhatSecondariesGet(t *testing.T) {
	web := service("web", "  rules: [{name: far, when: {geo: [EU]}, pools: [sg]}, {name: rest, pools: [eu, us]}]\n")
	h := newHarness(t, testZone+testPools+web)
	h.rises("nothing", false, func() { h.compile(noon) })
	h.rises("a verdict", false, func() { h.verdict("eu", "a", "b") })
	h.rises("a new day, unsigned", false, func() { h.compile(noon.Add(24 * time.Hour)) })
	h.rises("a pool that is not the default", false, func() {
		h.put("kind: Pool\ntenant: shop\nname: sg\nspec: {endpoints: [{name: a, addresses: [203.0.113.9]}]}\n")
	})
	h.rises("an override", false, func() {
		h.put("kind: Override\ntenant: shop\nname: o\nspec: {pool: eu, endpoint: a, state: drain, reason: test}\n")
	})
	h.rises("a weight", false, func() {
		h.put("kind: Pool\ntenant: shop\nname: eu\nspec: {endpoints: [{name: a, addresses: [198.51.100.1, \"2001:db8:1::1\"], weight: " +
			"9}, {name: b, addresses: [198.51.100.2, \"2001:db8:1::2\"]}]}\n")
	})
	h.rises("the default pool's addresses", true, func() {
		h.put("kind: Pool\ntenant: shop\nname: eu\nspec: {endpoints: [{name: a, addresses: [198.51.100.7]}]}\n")
	})
	h.rises("the service's rules", true, func() { h.put(service("web", "  rules: [{pools: [us]}]\n")) })
	h.rises("the service's TTL", true, func() { h.put(service("web", "  ttl: 10s\n  rules: [{pools: [us]}]\n")) })
	h.rises("another service", true, func() { h.put(service("two", "  rules: [{pools: [us]}]\n")) })
	h.rises("a service less", true, func() { h.delete(spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "two"}) })
	h.rises("the zone", true, func() { h.put(testZone) })
}

func TestSerialOfSignedZoneTurnsWithTheDay(t *testing.T) {
	h := newHarness(t, testZone)
	key, err := dnssec.Generate(dnssec.Ed25519, false)
	if err != nil {
		t.Fatal(err)
	}
	keys := func(serial uint64) func() {
		return func() {
			h.c.SetKeys("gtm.example.", &zones.ZoneKeys{Keys: []*dnssec.Key{key}, Serial: serial})
			h.compile(noon)
		}
	}
	h.rises("keys", true, keys(1))
	h.rises("other keys", true, keys(2))
	h.rises("the same keys", false, keys(2))
	h.rises("no keys", true, func() { h.c.SetKeys("gtm.example.", nil); h.put(testZone) })
	h.rises("keys again", true, keys(3))
	midnight := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	if !h.next.Equal(midnight) {
		t.Errorf("the zone is to be compiled next at %v, want %v", h.next.UTC(), midnight)
	}
	z := h.view.Zones()[0]
	when := &zones.When{Now: uint32(noon.Unix()), Slow: true}
	before, _ := z.Signature(z.SOA(), z.Apex(), when)
	h.rises("midnight", true, func() { h.compile(midnight) })
	h.rises("a clock that went back", false, func() { h.compile(noon) })
	z = h.view.Zones()[0]
	if after, ok := z.Signature(z.SOA(), z.Apex(), when); !ok || string(after.Wire) == string(before.Wire) {
		t.Errorf("the SOA record with a new serial has the signature of the old one")
	}
}

func TestRecordsHoldDefaultAnswers(t *testing.T) {
	zone := testZone + "  content: |\n    $TTL 60\n    @ SOA ns1 hostmaster 0 1 1 1 60\n    @ NS ns1\n    ns1 A 192.0.2.53\n    a.b A " +
		"192.0.2.1\n    sub NS ns.sub\n    ns.sub A 192.0.2.2\n    *.w TXT \"anyone\"\n    shop MX 5 ns1\n"
	h := newHarness(t, zone+testPools+service("web",
		"  rules: [{name: far, when: {geo: [EU]}, pools: [sg]}, {name: rest, pools: [eu, us]}]\n")+
		service("last", "  families: [ipv4]\n  rules: [{when: {geo: [EU]}, pools: [eu]}]\n  lastResort: [us]\n"))
	h.verdict("eu", "a", "b") // does not matter
	var got []string
	for _, s := range h.view.Records(h.view.Zones()[0]) {
		line := fmt.Sprintf("%s %d %s", dnswire.NameString(s.Owner), s.TTL, dnswire.TypeString(s.Type))
		for _, d := range s.Data {
			if a, ok := netip.AddrFromSlice(d); ok {
				line += " " + a.String()
			}
		}
		got = append(got, line)
	}
	want := []string{
		"gtm.example. 60 NS", "gtm.example. 60 SOA",
		"a.b.gtm.example. 60 A 192.0.2.1",
		"ns1.gtm.example. 60 A 192.0.2.53",
		"shop.gtm.example. 60 MX",
		"last.shop.gtm.example. 30 A 192.0.2.1 192.0.2.2",
		"web.shop.gtm.example. 30 A 198.51.100.1 198.51.100.2",
		"sub.gtm.example. 60 NS",
		"ns.sub.gtm.example. 60 A 192.0.2.2",
		"*.w.gtm.example. 60 TXT",
	}
	if !slices.Equal(got, want) {
		t.Errorf("records:\n%q\nwant\n%q", got, want)
	}
}

func TestSerialRisesWithWhatAnAliasIsResolvedTo(t *testing.T) {
	h := newHarness(t, testZone+"  aliases: [{name: www, to: www.outside.test.}]\n")
	target := Target{Host: "www.outside.test."}
	resolve := func(address string) func() {
		return func() {
			h.c.SetResolved(target, &Resolved{TTL: 60, Addresses: []netip.Addr{netip.MustParseAddr(address)}})
			h.compile(noon)
		}
	}
	h.rises("the first answer", true, resolve("192.0.2.1"))
	h.rises("the same", false, resolve("192.0.2.1"))
	h.rises("another", true, resolve("192.0.2.2"))
	h.rises("another again", true, resolve("192.0.2.3"))
	h.rises("a change", true, func() {
		h.put(testZone + "  aliases: [{name: www, to: www.outside.test.}, {name: w, to: www.outside.test.}]\n")
	})
}
