package compile

import (
	"net/netip"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table"
	"github.com/gti/gtm/pkg/table/rr"
	"github.com/gti/gtm/pkg/table/zones"
)

// ttlRules has a rule with a shorter TTL than the service, one with a longer TTL, and one without.
const ttlRules = `  ttl: 60s
  rules:
    - {name: europe, when: {geo: [EU]}, ttl: 20s, pools: [eu, us]}
    - {name: china, when: {geo: [AS-CN]}, ttl: 5m, pools: [{pool: eu, weight: 1}, {pool: us, weight: 1}]}
    - {pools: [us]}
  lastResort: [sg]
  families: [ipv4]
`

// expectTTL asks a host for a client, and holds TTL and its origin against what is wanted.
func (h *harness) expectTTL(host, subnet string, ttl uint32, from string) {
	h.t.Helper()
	e := h.view.Explain(h.service(host), rr.IPv4, clientAt(subnet), 1)
	if e.TTL != ttl || e.TTLFrom != from {
		h.t.Errorf("%s from %s: TTL %d (%s), want %d (%s)", host, subnet, e.TTL, e.TTLFrom, ttl, from)
	}
}

// TestARuleHasItsOwnTTL: it takes the place of the service's for whatever the rule's pools answer, and of nothing else.
func TestARuleHasItsOwnTTL(t *testing.T) {
	const web = "web.shop.gtm.example."
	h := newHarness(t, testZone, testPools, service("web", ttlRules))
	h.expectTTL(web, berlin, 20, "rule europe")
	h.expectTTL(web, beijing, 300, "rule china")
	h.expectTTL(web, kansas, 60, "service")
	h.verdict("eu", "a", "b")
	h.expectTTL(web, berlin, 20, "rule europe") // from its second pool
	h.verdict("us", "a", "b")
	h.expectTTL(web, berlin, 60, "service") // from lastResort
	h.verdict("sg", "a")
	h.expectTTL(web, berlin, 60, "service") // as if lastResort were up

	h = newHarness(t, testZone, testPools, service("web", "  rules: [{ttl: 20s, pools: [sg]}]\n"))
	h.verdict("sg", "a")
	h.expectTTL(web, berlin, 20, "rule 1") // as if the rule's pool were up
	h.put(service("web", "  allDown: servfail\n  rules: [{ttl: 20s, pools: [sg]}]\n")[5:])
	h.expectTTL(web, berlin, 0, "")
}

// TestAnAliasBoundsTheTTLOfRules: its own TTL is the most that answers have, whichever rule of the service gives them.
func TestAnAliasBoundsTheTTLOfRules(t *testing.T) {
	h := newHarness(t, aliasZone(outsideAlias), testPools, service("web", ttlRules),
		service("same", "  alias: {to: web.shop.gtm.example}\n"), service("short", "  alias: {to: web.shop.gtm.example}\n  ttl: 30s\n"))
	h.resolve(elsewhere, &Resolved{TTL: 40, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.7")}})
	h.broken()
	h.expectTTL("same.shop.gtm.example.", beijing, 300, "rule china")
	h.expectTTL("short.shop.gtm.example.", berlin, 20, "rule europe")
	h.expectTTL("short.shop.gtm.example.", beijing, 30, "alias")
	h.expectTTL("short.shop.gtm.example.", kansas, 30, "alias")
	h.expectTTL("gtm.example.", berlin, 40, "what the alias leads to")
	h.resolve(elsewhere, &Resolved{TTL: 90, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.7")}})
	h.expectTTL("gtm.example.", berlin, 60, "service")
}

// TestSecondariesGetTheTTLOfARule: a default answer has the TTL of the rule that it is taken from, and a new one is a new serial.
func TestSecondariesGetTheTTLOfARule(t *testing.T) {
	rules := func(ttl string) string {
		return "  rules: [{when: {geo: [EU]}, ttl: 7s, pools: [eu]}, {ttl: " + ttl + ", pools: [us]}]\n"
	}
	h := newHarness(t, testZone+testPools+service("web", rules("20s")))
	told := func() (ttl, serial uint32) {
		for _, s := range h.view.Records(h.view.Zones()[0]) {
			if s.Type == dnswire.TypeA && dnswire.NameString(s.Owner) == "web.shop.gtm.example." {
				return s.TTL, h.view.Zones()[0].Serial
			}
		}
		t.Fatal("no default answer")
		return 0, 0
	}
	ttl, before := told()
	h.put(service("web", rules("40s"))[5:])
	if now, serial := told(); ttl != 20 || now != 40 || serial == before {
		t.Errorf("TTL %d, then %d, want 20, 40; serial %d, then %d", ttl, now, before, serial)
	}
}

// TestSignaturesOutliveAllButTheirTTLs: signatures of a service go when a TTL comes or goes that its answers may have, and stay otherwise.
func TestSignaturesOutliveAllButTheirTTLs(t *testing.T) {
	s := func(ttls ...uint32) *table.Service {
		out := &table.Service{}
		for i, ttl := range ttls {
			out.Steps = append(out.Steps, table.Step{Node: uint32(i), TTL: ttl})
		}
		return out
	}
	z := zones.NewSigner([]byte("\x00"), nil, 1)
	old := (*zones.SteeredSigs)(nil).KeptFor(z, "host", s(20, 60).TTLs())
	for _, c := range []struct {
		now  *table.Service
		same bool
	}{{s(20, 60), true}, {s(60, 20, 20), true}, {s(20), false}, {s(20, 60, 0), false}, {s(40, 40), false}, {s(), false}} {
		if same := old.KeptFor(z, "host", c.now.TTLs()) == old; same != c.same {
			t.Errorf("%v: the same signatures %v, want %v", c.now.Steps, same, c.same)
		}
	}
	unsure := func(ttl time.Duration) *table.Service {
		out := s(20, 60)
		d := spec.Duration(ttl)
		out.ServiceInfo = &table.ServiceInfo{Spec: &spec.Service{TTLUnsure: &d}}
		return out
	}
	five := unsure(5 * time.Second).TTLs()
	if five == s(20, 60).TTLs() || five == unsure(6*time.Second).TTLs() || five != unsure(5*time.Second).TTLs() {
		t.Error("signatures of what was the TTL of unsure pools are kept")
	}
	if old.KeptFor(nil, "host", s(20, 60).TTLs()) != nil {
		t.Error("a zone that is not signed has signatures")
	}
}
