package checks

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/probe"
)

// endless writes a body without end, and tells when it was stopped.
func endless(stopped chan<- struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(stopped)
		for block := make([]byte, 64<<10); ; {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
}

// server is a TLS server of the versions of HTTP that are named, with certificates of an authority.
func server(t *testing.T, ca *authority, h http.Handler, protocols ...string) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(t, 30*day)}, NextProtos: protocols}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = protocols[0] == "h2"
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestRequestsAndBodies(t *testing.T) {
	ca := newAuthority(t)
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, `{"method": "%s", "proto": "%s", "host": "%s", "sni": "%s", "x": "%s", "sent": %q, "n": 1e3, "ok": true, "no": null,
			"list": [{"a/b": "c"}]}`, r.Method, r.Proto, r.Host, r.TLS.ServerName, r.Header.Get("X"), sent)
	})
	both := map[string]netip.AddrPort{
		"http/1.1": addrOf(server(t, ca, answer, "http/1.1")), "h2": addrOf(server(t, ca, answer, "h2", "http/1.1")),
	}
	k := Checker{Guard: loopback}
	for _, tc := range []struct {
		what   string
		check  func(*probe.Check)
		reason string
	}{
		{"any body", func(c *probe.Check) {}, ""},
		{"Host, SNI and headers", func(c *probe.Check) {
			c.Name, c.ServerName, c.Headers = "web.example", "example.com", map[string]string{"X": "y"}
			c.JSON = map[string]string{"/host": "web.example", "/sni": "example.com", "/x": "y"}
		}, ""},
		{"POST", func(c *probe.Check) {
			c.Method, c.Send, c.JSON = "POST", "hello", map[string]string{"/method": "POST", "/sent": "hello"}
		}, ""},
		{"an expression", func(c *probe.Check) { c.Match = `"n": \d+e3, "ok"` }, ""},
		{"an expression that matches nothing", func(c *probe.Check) { c.Match = `"n": \d+,` },
			`body: nothing in its first 64 KiB matches "\"n\": \\d+,"`},
		{"fields", func(c *probe.Check) {
			c.JSON = map[string]string{"/n": "1e3", "/ok": "true", "/no": "null", "/list/0/a~1b": "c"}
		}, ""},
		{"another value", func(c *probe.Check) { c.JSON = map[string]string{"/ok": "false"} }, `json: /ok is not "false"`},
		{"no such field", func(c *probe.Check) { c.JSON = map[string]string{"/ok/x": "false"} }, `json: there is no /ok/x`},
		{"no such item", func(c *probe.Check) { c.JSON = map[string]string{"/list/1": "x"} }, `json: there is no /list/1`},
		{"a script", func(c *probe.Check) {
			c.Script = `status == 200 && json.ok && json.n == 1000 && headers["content-type"].contains("text") && time < duration("10s")`
		}, ""},
		{"a script that is not true", func(c *probe.Check) { c.Script = `json.n > 1000` }, "script: not true: json.n > 1000"},
		{"a script of something else", func(c *probe.Check) { c.Script = `json.m > 1000` },
			"script: it speaks of something that the answer does not have; has(json.field) says whether that is there"},
		{"a script makes nothing up for the rest", func(c *probe.Check) { c.Body, c.Script = "nowhere", "status == 200" },
			`body: its first 64 KiB do not contain "nowhere"`},
		{"all must be there, and the script is one of them", func(c *probe.Check) { c.Body, c.Script = "sni", "time < duration('0s')" },
			"script: not true: time < duration('0s')"},
		{"all must be there", func(c *probe.Check) { c.Body, c.Match, c.JSON = "sni", "proto", map[string]string{"/x": "?"} },
			`json: /x is not "?"`},
		{"a name that is not in the certificate", func(c *probe.Check) { c.ServerName = "evil.test" },
			"certificate: certificate is valid for example.com, not evil.test"},
		{"a certificate that holds too short", func(c *probe.Check) { c.ValidFor = 60 * day }, "certificate: valid for 29d, want 60d"},
	} {
		for protocol, to := range both {
			c := httpCheck(to, "/")
			c.Type, c.Protocol, c.CA, c.Name = "https", protocol, ca.pem, "example.com"
			tc.check(&c)
			want := probe.Passed
			if tc.reason != "" {
				want = probe.Failed
			}
			wants(t, k.Check(context.Background(), c), tc.what+" over "+protocol, want, tc.reason)
		}
	}
}

// TestServersThatMisbehave: whatever comes over either version, the check ends in time, and reads little.
func TestServersThatMisbehave(t *testing.T) {
	ca := newAuthority(t)
	k := Checker{Guard: loopback}
	protocols := map[string][]string{"http/1.1": {"http/1.1"}, "h2": {"h2", "http/1.1"}}
	check := func(to netip.AddrPort, protocol string) probe.Check {
		c := httpCheck(to, "/")
		c.Type, c.Protocol, c.CA = "https", protocol, ca.pem
		return c
	}
	for protocol, speaks := range protocols {
		t.Run(protocol, func(t *testing.T) {
			stopped := make(chan struct{})
			c := check(addrOf(server(t, ca, endless(stopped), speaks...)), protocol)
			c.Body = "needle"
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			wants(t, k.Check(context.Background(), c), "a body without end", probe.Failed, `body: its first 64 KiB do not contain "needle"`)
			runtime.ReadMemStats(&after)
			if read := after.TotalAlloc - before.TotalAlloc; read > 32<<20 {
				t.Errorf("%d MiB were taken for it", read>>20)
			}
			<-stopped // the server is told that nobody reads on

			hops := 0
			c = check(addrOf(server(t, ca, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				hops++
				http.Redirect(w, r, "/", http.StatusFound)
			}), speaks...)), protocol)
			wants(t, k.Check(context.Background(), c), "a loop of redirects", probe.Failed, "status 302, want 200-299")
			if hops != 1 {
				t.Errorf("%d requests", hops)
			}

			hang := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
			c = check(addrOf(server(t, ca, http.HandlerFunc(hang), speaks...)), protocol)
			c.Timeout = 200 * time.Millisecond
			wants(t, k.Check(context.Background(), c), "no answer", probe.Failed, "response: timeout after 200ms")

			stalls := func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "begun")
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			}
			c = check(addrOf(server(t, ca, http.HandlerFunc(stalls), speaks...)), protocol)
			c.Timeout, c.Body = 200*time.Millisecond, "ended"
			wants(t, k.Check(context.Background(), c), "half a body", probe.Failed, "body: timeout after 200ms")

			long := func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<20)) }
			c = check(addrOf(server(t, ca, http.HandlerFunc(long), speaks...)), protocol)
			if r := k.Check(context.Background(), c); r.Outcome != probe.Failed || strings.Contains(r.Reason, "xx") {
				t.Errorf("headers without end: %+v", r)
			}

			c = check(mute(t), protocol)
			c.Timeout = 100 * time.Millisecond
			wants(t, k.Check(context.Background(), c), "half-open", probe.Failed, "tls: timeout after 100ms")
		})
	}
	wants(t, k.Check(context.Background(), check(addrOf(server(t, ca, http.HandlerFunc(web), "http/1.1")), "h2")), "no HTTP/2",
		probe.Failed, "tls: no application protocol")
	silent := secured(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, day)}})
	wants(t, k.Check(context.Background(), check(silent, "h2")), "says nothing of HTTP/2",
		probe.Failed, "tls: the server does not speak h2")
}

// TestSlowHeaders: one byte at a time is no way to keep a check.
func TestSlowHeaders(t *testing.T) {
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		text := "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20)
		for i := range text {
			if _, err := conn.Write([]byte{text[i]}); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}))
	defer slow.Close()
	c := httpCheck(addrOf(slow), "/")
	c.Timeout = 200 * time.Millisecond
	wants(t, (&Checker{Guard: loopback}).Check(context.Background(), c), "slow headers", probe.Failed, "response: timeout after 200ms")
}
