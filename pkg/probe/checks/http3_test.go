package checks

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/gti/gtm/pkg/probe"
)

// overQUIC is an HTTP/3 server.
func overQUIC(t *testing.T, ca *authority, h http.Handler) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http3.Server{Handler: h, TLSConfig: &tls.Config{Certificates: []tls.Certificate{ca.issue(t, 5*day+time.Hour)}}}
	go s.Serve(conn)
	t.Cleanup(func() { s.Close(); conn.Close() })
	return netip.MustParseAddrPort(conn.LocalAddr().String())
}

func TestHTTP3(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/hang":
			<-r.Context().Done()
		case "/stall":
			io.WriteString(w, "begun")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "/endless":
			for block := make([]byte, 64<<10); ; {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		case "/headers":
			w.Header().Set("X", strings.Repeat("x", 1<<20))
		default:
			sent, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %s host=%s sni=%s sent=%s", r.Method, r.Proto, r.Host, r.TLS.ServerName, sent)
		}
	})
	to := overQUIC(t, ca, handler)
	onlyTCP := addrOf(server(t, ca, handler, "h2", "http/1.1"))
	silent, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	doq := &tls.Config{Certificates: []tls.Certificate{ca.issue(t, day)}, NextProtos: []string{"doq"}}
	foreign, err := quic.ListenAddr("127.0.0.1:0", doq, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	k := Checker{Guard: loopback}
	for _, tc := range []struct {
		what   string
		check  func(*probe.Check)
		reason string
	}{
		{"a request", func(c *probe.Check) {
			c.Method, c.Send, c.Name, c.ServerName = "POST", "hi", "web.example", "example.com"
			c.Body = "POST HTTP/3.0 host=web.example sni=example.com sent=hi"
		}, ""},
		{"a loop of redirects", func(c *probe.Check) { c.Path = "/loop" }, "status 302, want 200-299"},
		{"never answers", func(c *probe.Check) { c.Path, c.Timeout = "/hang", 300*time.Millisecond }, "response: timeout after 300ms"},
		{"half a body", func(c *probe.Check) { c.Path, c.Body, c.Timeout = "/stall", "ended", 300*time.Millisecond },
			"body: timeout after 300ms"},
		{"a body without end", func(c *probe.Check) { c.Path, c.Body = "/endless", "needle" },
			`body: its first 64 KiB do not contain "needle"`},
		{"headers without end", func(c *probe.Check) { c.Path = "/headers" }, "response: the server breaks the protocol"},
		{"another authority", func(c *probe.Check) { c.CA = other.pem }, "certificate: certificate signed by unknown authority"},
		{"another name", func(c *probe.Check) { c.Name = "evil.test" },
			"certificate: certificate is valid for example.com, not evil.test"},
		{"a certificate that ends soon", func(c *probe.Check) { c.ValidFor = 14 * day }, "certificate: valid for 5d, want 14d"},
		// It answers over TCP at the same port, and that is not what was asked for.
		{"no HTTP/3", func(c *probe.Check) { c.Addrs = []netip.AddrPort{onlyTCP} }, "connect: connection refused"},
		{"another protocol", func(c *probe.Check) { c.Addrs = []netip.AddrPort{netip.MustParseAddrPort(foreign.Addr().String())} },
			"tls: no application protocol"},
		{"never says a word", func(c *probe.Check) {
			c.Addrs, c.Timeout = []netip.AddrPort{netip.MustParseAddrPort(silent.LocalAddr().String())}, 300*time.Millisecond
		}, "quic: timeout after 300ms"},
	} {
		c := httpCheck(to, "/")
		c.Type, c.Protocol, c.CA = "https", "h3", ca.pem
		tc.check(&c)
		want := probe.Passed
		if tc.reason != "" {
			want = probe.Failed
		}
		wants(t, k.Check(context.Background(), c), tc.what, want, tc.reason)
	}
	c := httpCheck(to, "/")
	c.Type, c.Protocol = "https", "h3"
	wants(t, new(Checker).Check(context.Background(), c), "guarded", probe.Unable, errRefused.Error())
}
