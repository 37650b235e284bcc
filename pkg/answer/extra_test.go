package answer

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

func TestRecordsMadeFromPools(t *testing.T) {
	s := newServer(t)
	for _, tc := range []struct{ name, qname, qtype, want string }{
		{"SRV", "_sip._tcp.shop.gtm.example.", "SRV",
			"_sip._tcp.shop.gtm.example. 30 SRV 1 1 5060 sip-b.example.net.\n_sip._tcp.shop.gtm.example. 30 SRV 1 3 5060 " +
				"sip-a.example.net."},
		{"MX", "mail.shop.gtm.example.", "MX",
			"mail.shop.gtm.example. 30 MX 10 sip-a.example.net.\nmail.shop.gtm.example. 30 MX 10 sip-b.example.net."},
		{"no CNAME beside SRV", "_sip._tcp.shop.gtm.example.", "A", ""},
		{"no HTTPS unless asked for", "web.shop.gtm.example.", "HTTPS", ""},
	} {
		if got := text(s.ask(query(t, tc.qname, tc.qtype), false).Answer); got != tc.want {
			t.Errorf("%s:\n%s\nwant\n%s", tc.name, got, tc.want)
		}
	}
}

// svcb gives the one HTTPS or SVCB record of a reply.
func svcb(t *testing.T, r *dns.Msg) *dns.SVCB {
	t.Helper()
	if len(r.Answer) != 1 {
		t.Fatalf("answer %v", r.Answer)
	}
	switch rr := r.Answer[0].(type) {
	case *dns.HTTPS:
		return &rr.SVCB
	case *dns.SVCB:
		return rr
	}
	t.Fatalf("answer %v", r.Answer)
	return nil
}

func TestHTTPSNamesTheEndpointsOfTheSamePool(t *testing.T) {
	s := newServer(t)
	pools := map[string]bool{}
	for i := range 60 {
		ecs := fmt.Sprintf("ecs=91.198.%d.0/24", i)
		a := s.ask(query(t, "https.shop.gtm.example.", "A", ecs), false).Answer[0].(*dns.A)
		aaaa := s.ask(query(t, "https.shop.gtm.example.", "AAAA", ecs), false).Answer[0].(*dns.AAAA)
		https := svcb(t, s.ask(query(t, "https.shop.gtm.example.", "HTTPS", ecs), false))
		if https.Priority != 1 || https.Target != "." {
			t.Fatalf("%v", https)
		}
		got := map[dns.SVCBKey]string{}
		for _, v := range https.Value {
			got[v.Key()] = v.String()
		}
		if got[dns.SVCB_ALPN] != "h2,h3" || got[dns.SVCB_PORT] != "8443" || got[dns.SVCB_ECHCONFIG] != "AAT+DQAA" {
			t.Errorf("parameters %v", https)
		}
		pool := func(addr string) string {
			p := netip.MustParseAddr(addr)
			if p.Is4() {
				return map[byte]string{198: "eu", 192: "us"}[p.As4()[0]]
			}
			return map[byte]string{1: "eu", 2: "us"}[p.As16()[5]]
		}
		want := pool(a.A.String())
		for _, addr := range []string{aaaa.AAAA.String(), got[dns.SVCB_IPV4HINT], got[dns.SVCB_IPV6HINT]} {
			if pool(addr) != want {
				t.Fatalf("A is %s, and %s is of another pool", a.A, addr)
			}
		}
		pools[want] = true
	}
	if len(pools) != 2 {
		t.Errorf("only pools %v were chosen", pools)
	}
	if r := s.ask(query(t, "https.shop.gtm.example.", "SVCB"), false); svcb(t, r).Priority != 2 {
		t.Errorf("%v", r)
	}
	r := s.ask(query(t, "https.shop.gtm.example.", "A", "ecs=91.198.7.0/24"), false)
	if ecsOf(r).SourceScope != 24 {
		t.Errorf("the client's network chose the pool, but the scope is %d", ecsOf(r).SourceScope)
	}
}
