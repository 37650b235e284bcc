package answer

import (
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/table/compile"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// TestAnswersHaveTheTTLOfTheirRule: alone or looked ahead at, signed or not; a signature covers the TTL (RFC 4034, 3.1.4), so the one pool
// of both rules is signed once for each. The explanation tells which rule it was.
func TestAnswersHaveTheTTLOfTheirRule(t *testing.T) {
	s := newServer(t)
	s.Put(`
kind: Service
tenant: shop
name: web
spec:
  host: "web.shop.gtm.example."
  ttl: 5s
  rules:
    - {name: europe, when: {geo: [EU]}, ttl: 20s, pools: [eu, us]}
    - {name: asia, when: {geo: [AS]}, ttl: 10m, pools: [eu, us]}
    - {name: rest, pools: [us, eu]}
`)
	keys := s.sign(dnssec.ECDSAP256)
	for _, c := range []struct {
		subnet string
		ttl    uint32
		told   string
	}{
		{"91.198.174.0/24", 20, "rule europe (geo EU), scope /20, ttl 20s (rule europe)"},
		{"202.108.22.0/24", 600, ", ttl 600s (rule asia)"},
		{"8.8.8.0/24", 5, ", ttl 5s (service)"},
	} {
		ask := func(opts ...string) *dns.Msg {
			return query(t, "web.shop.gtm.example.", "A", append(opts, "ecs="+c.subnet)...)
		}
		packed, err := ask().Pack()
		if err != nil {
			t.Fatal(err)
		}
		ahead := new(dns.Msg)
		if err := ahead.Unpack(s.prefetched(packed, Meta{})); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time, the signature is there
			signed := s.askSigned(ask("do"))
			verify(t, signed.Answer, keys, time.Unix(int64(s.now), 0))
			for _, rr := range append(append(signed.Answer, s.ask(ask(), false).Answer...), ahead.Answer...) {
				if sig, ok := rr.(*dns.RRSIG); rr.Header().Ttl != c.ttl || ok && sig.OrigTtl != c.ttl {
					t.Errorf("%s: %v, want the TTL %d", c.subnet, rr, c.ttl)
				}
			}
			if len(signed.Answer) != 2 || len(ahead.Answer) != 1 {
				t.Errorf("%s: %v\n%v", c.subnet, signed, ahead)
			}
		}
		got := text(s.ask(query(t, "web.shop.gtm.example._explain.gtm.example.", "TXT", "ecs="+c.subnet), true).Answer)
		if !strings.Contains(got, c.told) {
			t.Errorf("%s\nlacks %q", got, c.told)
		}
	}
}

// TestUnsurePoolsAreSignedForTheirTTL: an answer of an unsure pool has the shorter TTL on each way, and a signature that covers it; both
// signatures are kept as the pool turns unsure and sure again.
func TestUnsurePoolsAreSignedForTheirTTL(t *testing.T) {
	s := newServer(t)
	s.Put(`
kind: Service
tenant: shop
name: web
spec: {host: "web.shop.gtm.example.", ttl: 60s, ttlUnsure: 5s, rules: [{pools: [us]}]}
`)
	keys := s.sign(dnssec.ECDSAP256)
	made := map[uint32]string{}
	for turn := range 4 {
		want := uint32(60)
		if turn%2 == 1 {
			want = 5
		}
		v := health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: "us"}, Endpoints: map[string]health.Finding{
			"a": {State: health.Up, Score: 1, Unsure: want == 5}}}
		s.Change(compile.Change{Verdicts: []health.Verdict{v}})
		packed, err := query(t, "web.shop.gtm.example.", "A").Pack()
		if err != nil {
			t.Fatal(err)
		}
		ahead := new(dns.Msg)
		if err := ahead.Unpack(s.prefetched(packed, Meta{})); err != nil {
			t.Fatal(err)
		}
		signed := s.askSigned(query(t, "web.shop.gtm.example.", "A", "do"))
		verify(t, signed.Answer, keys, time.Unix(int64(s.now), 0))
		for _, rr := range append(signed.Answer, ahead.Answer...) {
			sig, ok := rr.(*dns.RRSIG)
			if rr.Header().Ttl != want || ok && sig.OrigTtl != want {
				t.Errorf("%v, want the TTL %d", rr, want)
			}
			if ok && made[want] != "" && made[want] != sig.Signature {
				t.Errorf("signed anew for TTL %d", want)
			} else if ok {
				made[want] = sig.Signature
			}
		}
	}
}
