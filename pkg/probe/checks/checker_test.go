package checks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/gti/gtm/pkg/probe"
)

// loopback opens what the servers of these tests listen on.
var loopback = Guard{Allow: prefixes("127.0.0.0/8", "::1/128")}

// web is what the test server answers, by path.
func web(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/status":
		var code int
		fmt.Sscan(r.URL.RawQuery, &code)
		w.Header().Set("Location", "/")
		w.WriteHeader(code)
	case "/early":
		w.Header().Set("Link", "</style>")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusNoContent)
	case "/far":
		io.WriteString(w, strings.Repeat("x", bodyLimit)+"needle")
	case "/near":
		io.WriteString(w, strings.Repeat("x", bodyLimit-6)+"needle")
	case "/break":
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "alive, and then no more")
	case "/hang":
		<-r.Context().Done()
	default:
		fmt.Fprintf(w, "%s %s host=%s agent=%s x=%s", r.Method, r.URL, r.Host, r.UserAgent(), r.Header.Get("X-Key"))
	}
}

// raw serves bytes that are written as they are to whoever connects.
func raw(t *testing.T, text string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serving(t, l, func(conn net.Conn) {
		buf := make([]byte, 16<<10)
		conn.Read(buf)
		io.WriteString(conn, text)
	})
}

// serving hands whoever connects on, until the test ends.
func serving(t *testing.T, l net.Listener, to func(net.Conn)) netip.AddrPort {
	t.Helper()
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				to(conn)
			}()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

// closed gives a port of loopback that nobody listens on.
func closed(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}

func addrOf(s *httptest.Server) netip.AddrPort {
	return netip.MustParseAddrPort(s.Listener.Addr().String())
}

// statuses are ranges of status codes, each by its first and last one.
func statuses(ends ...int) (all []probe.StatusRange) {
	for i := 0; i < len(ends); i += 2 {
		all = append(all, probe.StatusRange{First: ends[i], Last: ends[i+1]})
	}
	return all
}

// secrets are some, each by its header, its tenant and its name.
func secrets(words ...string) (all []probe.Secret) {
	for i := 0; i < len(words); i += 3 {
		all = append(all, probe.Secret{Header: words[i], Tenant: words[i+1], Name: words[i+2]})
	}
	return all
}

// httpCheck is a GET of path that wants 200-299.
func httpCheck(to netip.AddrPort, path string) probe.Check {
	return probe.Check{Type: "http", Addrs: []netip.AddrPort{to}, Interval: time.Minute, Timeout: 10 * time.Second,
		Path: path, Method: "GET", Status: statuses(200, 299)}
}

func wants(t *testing.T, r probe.Result, what string, o probe.Outcome, reason string) {
	t.Helper()
	if r.Outcome != o || r.Reason != reason {
		t.Errorf("%s: %s %q, want %s %q", what, r.Outcome, r.Reason, o, reason)
	}
}

func TestHTTP(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(web))
	defer server.Close()
	to := addrOf(server)
	k := Checker{Guard: loopback}
	for _, tc := range []struct {
		what   string
		check  func(*probe.Check)
		reason string // empty: passes
	}{
		{"200", func(c *probe.Check) {}, ""},
		{"503", func(c *probe.Check) { c.Path = "/status?503" }, "status 503, want 200-299"},
		{"a redirect is its status", func(c *probe.Check) { c.Path = "/status?302" }, "status 302, want 200-299"},
		{"an expected redirect", func(c *probe.Check) { c.Path = "/status?302"; c.Status = statuses(301, 302) }, ""},
		{"several ranges", func(c *probe.Check) { c.Path = "/status?500"; c.Status = statuses(200, 200, 300, 399) },
			"status 500, want 200, 300-399"},
		{"interim responses are passed over", func(c *probe.Check) { c.Path = "/early" }, ""},
		{"HEAD", func(c *probe.Check) { c.Method = "HEAD"; c.Path = "/far" }, ""},
		{"the request is as asked", func(c *probe.Check) {
			c.Name, c.Path, c.Headers = "web.example", "/p?q=1", map[string]string{"x-key": "v"}
			c.Body = "GET /p?q=1 host=web.example agent=gtm-probe x=v"
		}, ""},
		{"the Host header is the address otherwise", func(c *probe.Check) { c.Body = "host=" + to.String() + " " }, ""},
		{"the agent can be set", func(c *probe.Check) { c.Headers = map[string]string{"User-Agent": "me"}; c.Body = "agent=me " }, ""},
		{"body within 64 KiB", func(c *probe.Check) { c.Path, c.Body = "/near", "needle" }, ""},
		{"body behind 64 KiB", func(c *probe.Check) { c.Path, c.Body = "/far", "needle" },
			`body: its first 64 KiB do not contain "needle"`},
		{"a body that breaks off behind the text", func(c *probe.Check) { c.Path, c.Body = "/break", "alive" }, ""},
		{"a body that breaks off before it", func(c *probe.Check) { c.Path, c.Body = "/break", "dead" },
			"body: the connection was closed too early"},
		{"no answer in time", func(c *probe.Check) { c.Path, c.Timeout = "/hang", 30*time.Millisecond }, "response: timeout after 30ms"},
		{"nobody there", func(c *probe.Check) { c.Addrs = []netip.AddrPort{closed(t)} }, "connect: connection refused"},
		{"not HTTP", func(c *probe.Check) { c.Addrs = []netip.AddrPort{raw(t, "SSH-2.0-secret\r\n")} }, "response: not HTTP"},
		{"closed at once", func(c *probe.Check) { c.Addrs = []netip.AddrPort{raw(t, "")} },
			"response: the connection was closed too early"},
		{"headers without end", func(c *probe.Check) {
			c.Addrs = []netip.AddrPort{raw(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 1<<20))}
		}, "response: the connection was closed too early"},
		{"eight interim responses", func(c *probe.Check) {
			c.Addrs = []netip.AddrPort{raw(t, strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 8)+"HTTP/1.1 204 No Content\r\n\r\n")}
		}, ""},
		{"nine interim responses", func(c *probe.Check) {
			c.Addrs = []netip.AddrPort{raw(t, strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 9)+"HTTP/1.1 204 No Content\r\n\r\n")}
		}, "response: too many interim responses"},
		{"another protocol is no interim response", func(c *probe.Check) {
			c.Addrs = []netip.AddrPort{raw(t, "HTTP/1.1 101 Switching Protocols\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")}
		}, "status 101, want 200-299"},
		{"closed behind an interim response", func(c *probe.Check) { c.Addrs = []netip.AddrPort{raw(t, "HTTP/1.1 100 Continue\r\n\r\n")} },
			"response: the connection was closed too early"},
		{"interim responses without end", func(c *probe.Check) {
			c.Addrs = []netip.AddrPort{raw(t, strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 99))}
		}, "response: too many interim responses"},
	} {
		c := httpCheck(to, "/")
		tc.check(&c)
		want := probe.Passed
		if tc.reason != "" {
			want = probe.Failed
		}
		r := k.Check(context.Background(), c)
		wants(t, r, tc.what, want, tc.reason)
		if r.Latency <= 0 || r.At.IsZero() {
			t.Errorf("%s: latency %v, at %v", tc.what, r.Latency, r.At)
		}
	}
}

// No connection is kept: each check is a new one.
func TestConnectionsAreNotKept(t *testing.T) {
	var opened, shut atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(web))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			opened.Add(1)
		case http.StateClosed:
			shut.Add(1)
		}
	}
	server.Start()
	k := Checker{Guard: loopback}
	for range 3 {
		wants(t, k.Check(context.Background(), httpCheck(addrOf(server), "/")), "check", probe.Passed, "")
	}
	server.Close() // waits for all connections
	if opened.Load() != 3 || shut.Load() != 3 {
		t.Errorf("%d opened, %d closed", opened.Load(), shut.Load())
	}
}

func TestHTTPS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(web))
	var sni atomic.Value
	server.TLS = &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		sni.Store(h.ServerName)
		return nil, nil
	}}
	server.StartTLS() // its certificate is for example.com, 127.0.0.1 and ::1
	defer server.Close()
	plain := httptest.NewServer(http.HandlerFunc(web))
	defer plain.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	trusting, strict := Checker{Guard: loopback, Roots: roots}, Checker{Guard: loopback, Roots: x509.NewCertPool()}
	for _, tc := range []struct {
		what     string
		k        *Checker
		name     string
		insecure bool
		sni      string
		reason   string
	}{
		{"name in the certificate", &trusting, "example.com", false, "example.com", ""},
		{"address in the certificate", &trusting, "", false, "", ""},
		{"another name", &trusting, "evil.test", false, "evil.test",
			"certificate: certificate is valid for example.com, *.example.com, not evil.test"},
		{"unknown authority", &strict, "example.com", false, "example.com", "certificate: certificate signed by unknown authority"},
		{"insecure", &strict, "evil.test", true, "evil.test", ""},
	} {
		c := httpCheck(addrOf(server), "/")
		c.Type, c.Name, c.Insecure, c.Body = "https", tc.name, tc.insecure, "host="+tc.name
		want := probe.Passed
		if tc.reason != "" {
			want = probe.Failed
		}
		wants(t, tc.k.Check(context.Background(), c), tc.what, want, tc.reason)
		if sni.Load() != tc.sni {
			t.Errorf("%s: SNI %q, want %q", tc.what, sni.Load(), tc.sni)
		}
	}
	c := httpCheck(addrOf(plain), "/")
	c.Type = "https"
	wants(t, trusting.Check(context.Background(), c), "https to http", probe.Failed, "tls: the server does not speak TLS")
	c.Addrs = []netip.AddrPort{raw(t, "")}
	wants(t, trusting.Check(context.Background(), c), "closed in the handshake", probe.Failed, "tls: EOF")
}

func TestTCP(t *testing.T) {
	k := Checker{Guard: loopback}
	c := probe.Check{Type: "tcp", Addrs: []netip.AddrPort{raw(t, "")}, Timeout: 10 * time.Second}
	wants(t, k.Check(context.Background(), c), "open", probe.Passed, "")
	c.Addrs = []netip.AddrPort{closed(t)}
	wants(t, k.Check(context.Background(), c), "closed", probe.Failed, "connect: connection refused")
}

// All addresses of an endpoint must pass, since an answer hands all of them out; the reason names the one that did not.
func TestSeveralAddresses(t *testing.T) {
	open, shut := raw(t, ""), closed(t)
	banned := netip.MustParseAddrPort("169.254.169.254:80")
	k := Checker{Guard: loopback}
	for _, tc := range []struct {
		what   string
		addrs  []netip.AddrPort
		want   probe.Outcome
		reason string
	}{
		{"both open", []netip.AddrPort{open, open}, probe.Passed, ""},
		{"the second closed", []netip.AddrPort{open, shut}, probe.Failed, "127.0.0.1: connect: connection refused"},
		{"one that cannot be checked says nothing", []netip.AddrPort{banned, open}, probe.Passed, ""},
		{"nor does it hide a failure", []netip.AddrPort{banned, shut}, probe.Failed, "127.0.0.1: connect: connection refused"},
		{"none can be checked", []netip.AddrPort{banned, banned}, probe.Unable,
			"169.254.169.254: refused by the prober's networks"},
	} {
		c := probe.Check{Type: "tcp", Addrs: tc.addrs, Timeout: 10 * time.Second}
		wants(t, k.Check(context.Background(), c), tc.what, tc.want, tc.reason)
	}
}

func TestCancelledChecksSayNothing(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(web))
	defer server.Close()
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(10*time.Millisecond, cancel)
	k := Checker{Guard: loopback}
	wants(t, k.Check(ctx, httpCheck(addrOf(server), "/hang")), "cancelled", probe.Unable, "cancelled")
}

// An error of this machine says nothing of the target: here, an address family or network that it has no route to.
func TestNoRoute(t *testing.T) {
	to := netip.MustParseAddrPort("[2001:db8::1]:80")
	want := probe.Unable
	if conn, err := net.Dial("udp", to.String()); err == nil { // asks the routing table, sends nothing
		conn.Close()
		want = probe.Failed // there is a route to nowhere here
	}
	var k Checker
	r := k.Check(context.Background(), probe.Check{Type: "tcp", Addrs: []netip.AddrPort{to}, Timeout: 200 * time.Millisecond})
	if r.Outcome != want || !strings.HasPrefix(r.Reason, "connect: ") {
		t.Errorf("%+v, want %s", r, want)
	}
}

// TestOwnFaultsSayNothingOfTheTarget: what this machine lacks, a route among it, is no evidence; what the target or a router says is.
func TestOwnFaultsSayNothingOfTheTarget(t *testing.T) {
	near := net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:9"))         // there is a route to it
	nowhere := net.TCPAddrFromAddrPort(netip.MustParseAddrPort("[fe80::1%gone]:9")) // there is none: no such interface
	for _, tc := range []struct {
		errno syscall.Errno
		to    net.Addr
		want  probe.Outcome
	}{
		{syscall.EMFILE, near, probe.Unable}, {syscall.ENFILE, near, probe.Unable}, {syscall.ENOBUFS, near, probe.Unable},
		{syscall.ENOMEM, near, probe.Unable},
		{syscall.EADDRNOTAVAIL, near, probe.Unable}, {syscall.EAFNOSUPPORT, near, probe.Unable}, {syscall.EPERM, near, probe.Unable},
		{syscall.EACCES, near, probe.Unable},
		{syscall.ECONNREFUSED, near, probe.Failed}, {syscall.ECONNRESET, near, probe.Failed}, {syscall.EHOSTUNREACH, near, probe.Failed},
		{syscall.ENETUNREACH, near, probe.Failed}, // a router farther on says so
		{syscall.ENETUNREACH, nil, probe.Failed},
		{syscall.ENETUNREACH, nowhere, probe.Unable},
		{syscall.EHOSTUNREACH, nowhere, probe.Failed},
	} {
		err := &net.OpError{Op: "dial", Net: "tcp", Addr: tc.to, Err: os.NewSyscallError("connect", tc.errno)}
		wants(t, conclude(probe.Check{}, connectError(err)), fmt.Sprint(tc.errno, " to ", tc.to), tc.want, "connect: "+tc.errno.Error())
	}
}

// nameServer answers A queries for any name with the addresses in turn, one for each query, the last one for ever.
func nameServer(t *testing.T, addrs ...string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		name := q.Question[0].Name
		switch {
		case name == "gone.test.":
			m.Rcode = dns.RcodeNameError
		case q.Question[0].Qtype == dns.TypeA:
			i := min(int(asked.Add(1)), len(addrs)) - 1
			rr, _ := dns.NewRR(name + " 0 IN A " + addrs[i])
			m.Answer = append(m.Answer, rr)
		}
		w.WriteMsg(m)
	})}
	go server.ActivateAndServe()
	t.Cleanup(func() { server.Shutdown() })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// A name is resolved at each check, and what it resolves to is looked at each time: rebinding gains nothing.
func TestNames(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(web))
	defer server.Close()
	port := addrOf(server).Port()
	c := httpCheck(netip.AddrPort{}, "/")
	c.Addrs, c.Host, c.Port, c.Body = nil, "web.test", port, fmt.Sprintf("host=web.test:%d ", port)

	k := Checker{Guard: loopback, Resolver: nameServer(t, "127.0.0.1")}
	wants(t, k.Check(context.Background(), c), "allowed", probe.Passed, "")

	k = Checker{Resolver: nameServer(t, "127.0.0.1")}
	wants(t, k.Check(context.Background(), c), "loopback by a name", probe.Unable, "refused by the prober's networks")

	k = Checker{Guard: Guard{Allow: prefixes("127.0.0.1/32")}, Resolver: nameServer(t, "127.0.0.1", "169.254.169.254")}
	wants(t, k.Check(context.Background(), c), "first time", probe.Passed, "")
	wants(t, k.Check(context.Background(), c), "rebound", probe.Unable, "refused by the prober's networks")

	c.Host = "gone.test"
	wants(t, k.Check(context.Background(), c), "no such name", probe.Failed, "resolve: no such host")

	k = Checker{}
	c.Host = "localhost"
	if r := k.Check(context.Background(), c); r.Outcome != probe.Unable || r.Reason != errRefused.Error() ||
		!strings.HasSuffix(r.Detail, "it is loopback") {
		t.Errorf("localhost: %+v", r)
	}
}

// The refusal comes before the connect: the server never hears of it.
func TestRefusedBeforeConnect(t *testing.T) {
	var heard atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(web))
	server.Config.ConnState = func(net.Conn, http.ConnState) { heard.Add(1) }
	server.Start()
	var k Checker
	wants(t, k.Check(context.Background(), httpCheck(addrOf(server), "/")),
		"default guard", probe.Unable, "refused by the prober's networks")
	k = Checker{Guard: loopback}
	k.Guard.Own = []uint16{addrOf(server).Port()}
	r := k.Check(context.Background(), httpCheck(addrOf(server), "/"))
	if r.Outcome != probe.Unable || r.Reason != errRefused.Error() || !strings.Contains(r.Detail, "gtm's own port") {
		t.Errorf("own port: %+v", r)
	}
	server.Close()
	if heard.Load() != 0 {
		t.Error("the server was connected to")
	}
}

func TestClip(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                "plain",
		"two\nlines\x1b":       "two?lines?",
		"exactly ten":          "exactly te…",
		strings.Repeat("é", 9): "ééééé…",
	} {
		if got := clip(in, 10); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestHostHeader(t *testing.T) {
	for _, tc := range [][3]string{
		{"web.example", "http", "web.example"},
		{"web.example:80", "http", "web.example"},
		{"web.example:443", "https", "web.example"},
		{"web.example:443", "http", "web.example:443"},
		{"198.51.100.1:8080", "http", "198.51.100.1:8080"},
		{"[2001:db8::1]:80", "http", "[2001:db8::1]"},
		{"[2001:db8::1]:81", "http", "[2001:db8::1]:81"},
		{"2001:db8::1", "https", "[2001:db8::1]"},
	} {
		if got := hostHeader(tc[0], tc[1]); got != tc[2] {
			t.Errorf("%s %s: %q, want %q", tc[0], tc[1], got, tc[2])
		}
	}
}
