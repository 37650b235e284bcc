package checks

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/probe"
)

// nameServers answer by UDP, TCP and TLS, by the first label of the name.
func nameServers(t *testing.T, pair tls.Certificate) map[string]netip.AddrPort {
	t.Helper()
	answer := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		add := func(texts ...string) {
			for _, text := range texts {
				rr, err := dns.NewRR(q.Question[0].Name + " 60 IN " + text)
				if err != nil {
					t.Error(err)
				}
				m.Answer = append(m.Answer, rr)
			}
		}
		switch name, _, _ := strings.Cut(q.Question[0].Name, "."); name {
		case "www":
			add("CNAME web.example.", "A 192.0.2.1", "A 192.0.2.2")
		case "mail":
			add("MX 10 MX.example.")
		case "text":
			add(`TXT "v=spf1 -all"`)
		case "gone":
			m.Rcode = dns.RcodeNameError
		case "refused":
			m.Rcode = dns.RcodeRefused
		case "large":
			add(`TXT "` + strings.Repeat("x", 200) + `"`)
			m.Truncated = w.LocalAddr().Network() == "udp"
			if m.Truncated {
				m.Answer = nil
			}
		case "other": // as if it answered someone else
			m.Question[0].Name = "else.example."
			for range 2 * strayMax {
				w.WriteMsg(m)
			}
			return
		case "late": // after a reply that was not asked for, which anybody can send
			stray := *m
			stray.Id++
			w.WriteMsg(&stray)
			add("A 192.0.2.1")
		case "echo":
			m = q
		case "junk":
			w.Write([]byte("SECRET"))
			return
		case "mute":
			return
		}
		w.WriteMsg(m)
	})
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secure, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{PacketConn: packets}, {Listener: plain}, {Listener: secure}} {
		s.Handler = answer
		go s.ActivateAndServe()
		t.Cleanup(func() { s.Shutdown() })
	}
	return map[string]netip.AddrPort{"udp": netip.MustParseAddrPort(packets.LocalAddr().String()),
		"tcp": netip.MustParseAddrPort(plain.Addr().String()), "tls": netip.MustParseAddrPort(secure.Addr().String())}
}

func TestDNS(t *testing.T) {
	ca := newAuthority(t)
	servers := nameServers(t, ca.issue(t, 30*day))
	all := []string{"udp", "tcp", "tls"}
	for _, tc := range []struct {
		query  probe.Query
		over   []string
		reason string
	}{
		{probe.Query{Name: "www.example"}, all, ""},
		{probe.Query{Name: "www.example", Answers: []string{"192.0.2.2", "192.0.2.1"}}, all, ""},
		{probe.Query{Name: "www.example", Answers: []string{"192.0.2.3"}}, all, "answer: there is no A 192.0.2.3"},
		{probe.Query{Name: "www.example", Type: "CNAME", Answers: []string{"WEB.example"}}, all, ""},
		{probe.Query{Name: "www.example", Answers: []string{"web.example"}}, all, "answer: there is no A web.example"},
		{probe.Query{Name: "mail.example", Type: "MX", Answers: []string{"10  mx.example"}}, all, ""},
		{probe.Query{Name: "mail.example", Type: "MX", Answers: []string{"20 mx.example"}}, all, "answer: there is no MX 20 mx.example"},
		{probe.Query{Name: "text.example", Type: "TXT", Answers: []string{"v=spf1 -all"}}, all, ""},
		{probe.Query{Name: "gone.example"}, all, "rcode NXDOMAIN, want NOERROR"},
		{probe.Query{Name: "gone.example", Rcode: "NXDOMAIN"}, all, ""},
		{probe.Query{Name: "refused.example"}, all, "rcode REFUSED, want NOERROR"},
		{probe.Query{Name: "large.example", Type: "TXT"}, all, ""},
		{probe.Query{Name: "large.example", Type: "TXT", Answers: []string{strings.Repeat("x", 200)}}, []string{"tcp", "tls"}, ""},
		{probe.Query{Name: "large.example", Type: "TXT", Answers: []string{strings.Repeat("x", 200)}}, []string{"udp"},
			"answer: it is truncated; use transport tcp"},
		{probe.Query{Name: "other.example"}, all, "response: the server answers other questions"},
		{probe.Query{Name: "late.example", Answers: []string{"192.0.2.1"}}, all, ""},
		{probe.Query{Name: "echo.example"}, all, "response: timeout after 300ms"},
		{probe.Query{Name: "junk.example"}, all, "response: not DNS"},
		{probe.Query{Name: "mute.example"}, all, "response: timeout after 300ms"},
	} {
		for _, over := range tc.over {
			q := tc.query
			q.Transport = over
			if q.Type == "" {
				q.Type = "A"
			}
			if q.Rcode == "" {
				q.Rcode = "NOERROR"
			}
			c := probe.Check{Type: "dns", Addrs: []netip.AddrPort{servers[over]}, DNS: &q, CA: ca.pem, Timeout: 10 * time.Second}
			if strings.Contains(tc.reason, "300ms") {
				c.Timeout = 300 * time.Millisecond
			}
			want := probe.Passed
			if tc.reason != "" {
				want = probe.Failed
			}
			wants(t, (&Checker{Guard: loopback}).Check(context.Background(), c), q.Name+" over "+over, want, tc.reason)
		}
	}
	// Nobody there: the system hears of it also where datagrams are sent.
	c := probe.Check{Type: "dns", Addrs: []netip.AddrPort{closed(t)}, DNS: &probe.Query{Name: "www.example", Type: "A", Transport: "udp"},
		Timeout: 10 * time.Second}
	wants(t, (&Checker{Guard: loopback}).Check(context.Background(), c), "nobody there", probe.Failed, "response: connection refused")
	wants(t, new(Checker).Check(context.Background(), c), "guarded", probe.Unable, errRefused.Error())
}
