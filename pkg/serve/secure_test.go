package serve

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/serve/seam"
	"github.com/gti/gtm/pkg/serve/servetest"
)

// startSecure serves h by every transport, each at 127.0.0.1 where cfg says nothing, until the end of the test.
func startSecure(t testing.TB, cfg Config, h func(*Request) (int, Action)) *Server {
	t.Helper()
	return start(t, secured(t, cfg), h)
}

// secured gives cfg addresses for every transport, and a certificate.
func secured(t testing.TB, cfg Config) Config {
	t.Helper()
	local := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	for _, list := range []*[]netip.AddrPort{&cfg.TLS, &cfg.HTTPS, &cfg.QUIC} {
		if *list == nil {
			*list = local
		}
	}
	if cfg.Certificates == nil {
		cfg.Certificates = []CertificateFiles{servetest.WriteCertificate(t, t.TempDir(), time.Now().Add(time.Hour), "ns.example")}
	}
	cfg.Workers = 1
	return cfg
}

func TestEveryTransport(t *testing.T) {
	var mu sync.Mutex
	var last Request
	s := startSecure(t, Config{IdleTimeout: 20 * time.Second}, func(r *Request) (int, Action) {
		mu.Lock()
		last = *r
		mu.Unlock()
		return servetest.Echo(r)
	})
	for name, want := range map[string]struct {
		transport Transport
		room      int
		protocol  string
		keepAlive uint16
	}{
		"udp": {UDP, 4096, "", 0}, "tcp": {TCP, 65535, "", 200}, "tls": {TLS, 65535, "dot", 200}, "quic": {QUIC, 65535, "doq", 0},
		"HTTP/1.1": {HTTPS, 65535, "http/1.1", 0}, "HTTP/2.0": {HTTPS, 65535, "h2", 0}, "HTTP/3.0": {HTTPS, 65535, "h3", 0},
	} {
		asker := servetest.Askers(t, s)[name]
		for i := range 3 {
			msg := servetest.Query(0, fmt.Sprintf("n%d.example.", i), 1)
			if got := asker(msg); !bytes.Equal(got, servetest.Reply(msg)) {
				t.Errorf("%s: got %x, want %x", name, got, servetest.Reply(msg))
			}
			mu.Lock()
			if last.Transport != want.transport || len(last.Buf) != want.room || last.KeepAlive != want.keepAlive || last.Slow ||
				!last.Source.Addr().IsLoopback() || !last.Source.Addr().Is4() || last.Source.Port() == 0 {
				t.Errorf("%s: request %+v", name, last)
			}
			if got := ""; last.Peer == nil != (want.protocol == "") {
				t.Errorf("%s: peer %v", name, last.Peer)
			} else if last.Peer != nil {
				if got = last.Peer.NegotiatedProtocol; got != want.protocol || !last.Peer.HandshakeComplete ||
					last.Peer.ServerName != "ns.example" {
					t.Errorf("%s: protocol %q, peer %+v", name, got, last.Peer)
				}
			}
			mu.Unlock()
		}
	}
}

// TestLargestMessages lets queries and replies of 65535 bytes pass by every transport that can.
func TestLargestMessages(t *testing.T) {
	s := startSecure(t, Config{}, servetest.Echo)
	for name, asker := range servetest.Askers(t, s) {
		if name == "udp" {
			continue
		}
		for _, size := range []int{seam.HeaderSize, 511, 512, 513, 2048, 2049, 65535} {
			msg := append(servetest.Query(0, "a.", 1), make([]byte, 65535)...)[:size]
			if got := asker(msg); !bytes.Equal(got, servetest.Reply(msg)) {
				t.Errorf("%s, %d bytes: got %d", name, size, len(got))
			}
		}
	}
}

// TestOtherAddresses serves IPv6, and whatever addresses there are.
func TestOtherAddresses(t *testing.T) {
	for _, address := range []string{"[::1]:0", "0.0.0.0:0", "[::]:0"} {
		bound := []netip.AddrPort{netip.MustParseAddrPort(address)}
		six := bound[0].Addr().Is6()
		s := startSecure(t, Config{Addrs: bound, TLS: bound, HTTPS: bound, QUIC: bound}, func(r *Request) (int, Action) {
			if r.Source.Addr().Is6() != six {
				return 0, Drop
			}
			return servetest.Echo(r)
		})
		for name, asker := range servetest.Askers(t, s) {
			if msg := servetest.Query(0, "a.", 1); !bytes.Equal(asker(msg), servetest.Reply(msg)) {
				t.Errorf("%s: no answer by %s", address, name)
			}
		}
		if a, b := s.AddrsOf(TCP), s.Addrs(); len(a) != 1 || a[0] != b[0] {
			t.Errorf("%v, %v", a, b)
		}
	}
}

func TestMoreConfigErrors(t *testing.T) {
	local := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	dir := t.TempDir()
	good := servetest.WriteCertificate(t, dir, time.Now().Add(time.Hour), "good")
	other := servetest.WriteCertificate(t, dir, time.Now().Add(time.Hour), "other")
	taken := start(t, Config{}, servetest.Echo).Addrs()
	for _, tc := range []struct {
		cfg  Config
		want string
	}{
		{Config{TLS: local}, "need a certificate"},
		{Config{QUIC: make([]netip.AddrPort, 1), Certificates: []CertificateFiles{good}}, "address 1 of Config.QUIC"},
		{Config{HTTPS: local, Certificates: []CertificateFiles{good, good}}, "named twice"},
		{Config{TLS: local, Certificates: []CertificateFiles{{Cert: dir + "/missing", Key: good.Key}}}, "missing"},
		{Config{TLS: local, Certificates: []CertificateFiles{{Cert: good.Cert, Key: dir + "/missing"}}}, "missing"},
		{Config{TLS: local, Certificates: []CertificateFiles{{Cert: good.Cert, Key: other.Key}}}, "belong together"},
		{Config{TLS: taken, Certificates: []CertificateFiles{good}}, "as in --tls 127.0.0.1:"},
		{Config{QUIC: taken, Certificates: []CertificateFiles{good}}, "as in --quic 127.0.0.1:"},
		{Config{HTTPS: taken, Certificates: []CertificateFiles{good}}, "as in --https 127.0.0.1:"},
		{Config{Addrs: local, RateLimit: &RateLimit{}}, "rate of 1 or more"},
		{Config{Addrs: local, RateLimit: &RateLimit{Rate: 1, IPv4: []PrefixRate{{Bits: 33, Rate: 1}}}}, "from 1 to 32"},
		{Config{Addrs: local, RateLimit: &RateLimit{Rate: 1, IPv6: make([]PrefixRate, 17)}}, "give 16 at most"},
		{Config{Addrs: local, RateLimit: &RateLimit{Rate: 1, Slip: -1}}, "slip -1"},
	} {
		tc.cfg.NewHandler = func() Handler { return servetest.HandlerFunc(servetest.Echo) }
		s, err := Listen(tc.cfg)
		if err == nil {
			stop(t, s)
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("got %v, want an error with %q", err, tc.want)
		}
	}
}
