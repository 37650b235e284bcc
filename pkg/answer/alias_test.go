package answer

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/table/compile"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

const aliases = `
kind: Service
tenant: platform
name: apex
spec: {host: gtm.example., alias: {to: web.shop.gtm.example.}}
---
kind: Service
tenant: platform
name: outside
spec: {host: beyond.gtm.example., alias: {to: www.cdn.example., by: continent}}
`

var outside = compile.Target{Host: "www.cdn.example.", By: spec.ByContinent}

// withAliases adds aliases to a server.
func withAliases(t *testing.T) *server {
	t.Helper()
	s := newServer(t)
	s.Put(aliases)
	return s
}

func (s *server) resolve(addresses, european string) {
	s.t.Helper()
	s.resolveFor(20, addresses, european)
}

// resolveFor says what outside was resolved to, for so many seconds.
func (s *server) resolveFor(ttl uint32, addresses, european string) {
	parse := func(text string) (out []netip.Addr) {
		for _, a := range strings.Fields(text) {
			out = append(out, netip.MustParseAddr(a))
		}
		return out
	}
	places := []compile.PlaceResult{{Place: "EU", Addresses: parse(european)}}
	s.SetResolved(outside, &compile.Resolved{TTL: ttl, Addresses: parse(addresses), Places: places})
	s.Change(compile.Change{})
}

// european is a network of Europe.
const european = "81.2.69.0/24"

func TestAliasAtTheApex(t *testing.T) {
	s := withAliases(t)
	for _, typ := range []string{"A", "AAAA"} {
		of := s.ask(query(t, "gtm.example.", typ, "ecs="+european), false)
		want := s.ask(query(t, "web.shop.gtm.example.", typ, "ecs="+european), false)
		if len(of.Answer) == 0 || len(of.Answer) != len(want.Answer) || of.Answer[0].Header().Name != "gtm.example." || !of.Authoritative {
			t.Errorf("%s: %v, want as %v", typ, of, want)
		}
		if a, b := ecsOf(of), ecsOf(want); a == nil || a.SourceScope != b.SourceScope || a.SourceScope == 0 {
			t.Errorf("%s: subnet %v, want %v", typ, a, b)
		}
	}
	for _, typ := range []string{"SOA", "NS"} {
		if r := s.ask(query(t, "gtm.example.", typ), false); len(r.Answer) == 0 {
			t.Errorf("%s beside the alias: %v", typ, r)
		}
	}
	r := s.ask(query(t, "gtm.example._explain.gtm.example.", "TXT", "ecs="+european), true)
	if !strings.Contains(text(r.Answer), "alias of shop/web") {
		t.Errorf("explanation: %v", text(r.Answer))
	}
}

func TestAliasBeforeItIsResolved(t *testing.T) {
	s := withAliases(t)
	for _, typ := range []string{"A", "AAAA"} {
		r := s.ask(query(t, "beyond.gtm.example.", typ, "edns"), false)
		e, n := option[*dns.EDNS0_EDE](r)
		if r.Rcode != dns.RcodeServerFailure || n != 1 || e.InfoCode != dns.ExtendedErrorCodeNotReady ||
			!strings.Contains(e.ExtraText, "not been resolved") {
			t.Errorf("%s: %v", typ, r)
		}
	}
	if r := s.ask(query(t, "beyond.gtm.example.", "MX"), false); r.Rcode != dns.RcodeSuccess || len(r.Answer) != 0 || len(r.Ns) != 1 {
		t.Errorf("MX: %v", r)
	}
	r := s.ask(query(t, "beyond.gtm.example._explain.gtm.example.", "TXT"), true)
	if got := text(r.Answer); !strings.Contains(got, "alias of www.cdn.example. outside") || !strings.Contains(got, "not resolved yet") {
		t.Errorf("explanation: %v", got)
	}
	s.resolve("203.0.113.7", "")
	if r := s.ask(query(t, "beyond.gtm.example.", "A", "edns"), false); len(r.Answer) != 1 || r.Answer[0].Header().Ttl != 20 {
		t.Errorf("resolved: %v", r)
	}
	if r := s.ask(query(t, "beyond.gtm.example.", "AAAA"), false); r.Rcode != dns.RcodeSuccess || len(r.Answer) != 0 || len(r.Ns) != 1 {
		t.Errorf("a family that the target has not: %v", r)
	}
}

func TestAliasesAreSigned(t *testing.T) {
	s := withAliases(t)
	keys := s.sign(dnssec.ECDSAP256)
	at := time.Unix(int64(s.now), 0)
	nsec := func(r *dns.Msg) string {
		for _, rr := range r.Ns {
			if n, ok := rr.(*dns.NSEC); ok {
				return n.String()
			}
		}
		return ""
	}
	r := s.askSigned(query(t, "beyond.gtm.example.", "MX", "do"))
	verify(t, r.Ns, keys, at)
	if got := nsec(r); !strings.Contains(got, " A AAAA ") {
		t.Errorf("before it is resolved the proof denies a family: %s", got)
	}
	s.resolve("203.0.113.7 203.0.113.8", "203.0.113.1")
	for _, q := range []struct {
		name, subnet string
		records      int
	}{{"gtm.example.", european, 2}, {"beyond.gtm.example.", european, 2}, {"beyond.gtm.example.", "8.8.8.0/24", 3}} {
		r := s.askSigned(query(t, q.name, "A", "do", "ecs="+q.subnet))
		verify(t, r.Answer, keys, at)
		if len(r.Answer) != q.records {
			t.Errorf("%s for %s: %v", q.name, q.subnet, r.Answer)
		}
	}
	r = s.askSigned(query(t, "beyond.gtm.example.", "AAAA", "do"))
	verify(t, r.Ns, keys, at)
	if got := nsec(r); strings.Contains(got, "AAAA") || !strings.Contains(got, " A ") {
		t.Errorf("proof of a family that does not exist: %s", got)
	}
}

// TestSignaturesAreOfOneTTL: what an alias was resolved to gets another TTL, and its records stay. The signature of before was of the
// TTL of before, and is not handed out with the new one, in whichever way the query is answered.
func TestSignaturesAreOfOneTTL(t *testing.T) {
	s := withAliases(t)
	keys := s.sign(dnssec.ECDSAP256)
	at := time.Unix(int64(s.now), 0)
	q := query(t, "beyond.gtm.example.", "A", "do")
	msg, err := q.Pack()
	if err != nil {
		t.Fatal(err)
	}
	unsigned, err := query(t, "beyond.gtm.example.", "A").Pack()
	if err != nil {
		t.Fatal(err)
	}
	for _, ttl := range []uint32{20, 7, 15, 20} {
		s.resolveFor(ttl, "203.0.113.7", "203.0.113.7")
		straight, bare := new(dns.Msg), new(dns.Msg)
		if err := bare.Unpack(s.prefetched(unsigned, Meta{})); err != nil || len(bare.Answer) != 1 || bare.Answer[0].Header().Ttl != ttl {
			t.Errorf("without signatures: %v %v, want TTL %d", err, bare.Answer, ttl)
		}
		long := s.askSigned(q)
		if err := straight.Unpack(s.prefetched(msg, Meta{})); err != nil {
			t.Fatal(err)
		}
		if _, direct := s.a.queries[0].path.Direct(); !direct {
			t.Error("the path does not lead straight to the records")
		}
		for _, r := range []*dns.Msg{long, straight} {
			if verify(t, r.Answer, keys, at); len(r.Answer) != 2 || r.Answer[0].Header().Ttl != ttl {
				t.Errorf("%v, want TTL %d", r.Answer, ttl)
			}
		}
	}
}
