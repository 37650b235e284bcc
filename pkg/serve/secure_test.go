package serve

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// writeCertificate makes a certificate of its own for names, and writes it to a folder.
func writeCertificate(t testing.TB, dir string, until time.Time, names ...string) CertificateFiles {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: until.Add(-24 * time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	f := CertificateFiles{Cert: filepath.Join(dir, names[0]+".crt"), Key: filepath.Join(dir, names[0]+".key")}
	for name, block := range map[string]*pem.Block{f.Cert: {Type: "CERTIFICATE", Bytes: cert}, f.Key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

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
		cfg.Certificates = []CertificateFiles{writeCertificate(t, t.TempDir(), time.Now().Add(time.Hour), "ns.example")}
	}
	cfg.Workers = 1
	return cfg
}

// clientTLS trusts the server's certificates as they are now.
func clientTLS(t testing.TB, s *Server, protocols ...string) *tls.Config {
	t.Helper()
	roots := x509.NewCertPool()
	for _, f := range s.cfg.Certificates {
		cert, err := os.ReadFile(f.Cert)
		if err != nil || !roots.AppendCertsFromPEM(cert) {
			t.Fatal("no certificate in ", f.Cert, err)
		}
	}
	return &tls.Config{RootCAs: roots, ServerName: "ns.example", NextProtos: protocols}
}

// within gives a context that ends when patience does.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// target is an address at which clients reach a server.
func target(s *Server, transport Transport) netip.AddrPort {
	a := s.AddrsOf(transport)[0]
	if !a.Addr().IsUnspecified() {
		return a
	}
	if a.Addr().Is4() {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
	}
	return netip.AddrPortFrom(netip.IPv6Loopback(), a.Port())
}

func dialTLS(t testing.TB, s *Server) *tls.Conn {
	t.Helper()
	conn := tls.Client(dial(t, "tcp", target(s, TLS)), clientTLS(t, s, alpnTLS))
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return conn
}

func dialQUIC(t testing.TB, s *Server) *quic.Conn {
	t.Helper()
	conn, err := quic.DialAddr(within(t), target(s, QUIC).String(), clientTLS(t, s, alpnQUIC), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	return conn
}

// exchangeQUIC sends framed in a stream of its own and gives all that comes back.
func exchangeQUIC(t testing.TB, conn *quic.Conn, framed []byte) ([]byte, error) {
	str, err := conn.OpenStreamSync(within(t))
	if err != nil {
		return nil, err
	}
	if err := str.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := str.Write(framed); err != nil {
		return nil, err
	}
	_ = str.Close() // the server may have given it up already; reading tells
	return io.ReadAll(str)
}

// webClients gives an HTTP client of each version.
func webClients(t testing.TB, s *Server) map[string]*http.Client {
	t.Helper()
	one := &http.Transport{TLSClientConfig: clientTLS(t, s, "http/1.1"), TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}
	two := &http.Transport{TLSClientConfig: clientTLS(t, s), ForceAttemptHTTP2: true}
	three := &http3.Transport{TLSClientConfig: clientTLS(t, s)}
	t.Cleanup(func() { one.CloseIdleConnections(); two.CloseIdleConnections(); three.Close() })
	return map[string]*http.Client{
		"HTTP/1.1": {Transport: one, Timeout: patience},
		"HTTP/2.0": {Transport: two, Timeout: patience},
		"HTTP/3.0": {Transport: three, Timeout: patience},
	}
}

func webURL(s *Server) string { return "https://" + target(s, HTTPS).String() + webPath }

// post sends a query by HTTPS, and gives the reply if the status is 200.
func post(c *http.Client, url string, query []byte) ([]byte, error) {
	r, err := c.Post(url, webType, bytes.NewReader(query))
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if r.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %s: %s", r.Status, body)
	}
	return body, err
}

// askers gives a way to ask by each transport, over one connection each: by name, "udp", "tls", "HTTP/2.0". An
// asker gives nil where there is no reply.
func askers(t testing.TB, s *Server) map[string]func(msg []byte) []byte {
	t.Helper()
	secure, quick := dialTLS(t, s), dialQUIC(t, s)
	all := map[string]func([]byte) []byte{
		"tls": func(msg []byte) []byte {
			write(t, secure, frame(msg))
			got, err := readFrame(secure)
			if err != nil {
				return nil
			}
			return got
		},
		"quic": func(msg []byte) []byte {
			got, err := exchangeQUIC(t, quick, frame(msg))
			if err != nil || len(got) < 2 {
				return nil
			}
			return got[2:]
		},
	}
	if len(s.Addrs()) > 0 {
		for _, network := range []string{"udp", "tcp"} {
			conn := dial(t, network, target(s, UDP))
			all[network] = func(msg []byte) []byte { return ask(t, conn, msg) }
		}
	}
	for version, client := range webClients(t, s) {
		all[version] = func(msg []byte) []byte {
			got, err := post(client, webURL(s), msg)
			if err != nil {
				return nil
			}
			return got
		}
	}
	return all
}

func TestEveryTransport(t *testing.T) {
	var mu sync.Mutex
	var last Request
	s := startSecure(t, Config{IdleTimeout: 20 * time.Second}, func(r *Request) (int, Action) {
		mu.Lock()
		last = *r
		mu.Unlock()
		return echo(r)
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
		asker := askers(t, s)[name]
		for i := range 3 {
			msg := query(0, fmt.Sprintf("n%d.example.", i), 1)
			if got := asker(msg); !bytes.Equal(got, reply(msg)) {
				t.Errorf("%s: got %x, want %x", name, got, reply(msg))
			}
			mu.Lock()
			if last.Transport != want.transport || len(last.Buf) != want.room || last.KeepAlive != want.keepAlive || last.Slow ||
				!last.Source.Addr().IsLoopback() || !last.Source.Addr().Is4() || last.Source.Port() == 0 {
				t.Errorf("%s: request %+v", name, last)
			}
			if got := ""; last.Peer == nil != (want.protocol == "") {
				t.Errorf("%s: peer %v", name, last.Peer)
			} else if last.Peer != nil {
				if got = last.Peer.NegotiatedProtocol; got != want.protocol || !last.Peer.HandshakeComplete || last.Peer.ServerName != "ns.example" {
					t.Errorf("%s: protocol %q, peer %+v", name, got, last.Peer)
				}
			}
			mu.Unlock()
		}
	}
}

// TestLargestMessages lets queries and replies of 65535 bytes pass by every transport that can.
func TestLargestMessages(t *testing.T) {
	s := startSecure(t, Config{}, echo)
	for name, asker := range askers(t, s) {
		if name == "udp" {
			continue
		}
		for _, size := range []int{headerSize, 511, 512, 513, smallMessage, smallMessage + 1, 65535} {
			msg := append(query(0, "a.", 1), make([]byte, 65535)...)[:size]
			if got := asker(msg); !bytes.Equal(got, reply(msg)) {
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
			return echo(r)
		})
		for name, asker := range askers(t, s) {
			if msg := query(0, "a.", 1); !bytes.Equal(asker(msg), reply(msg)) {
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
	good := writeCertificate(t, dir, time.Now().Add(time.Hour), "good")
	other := writeCertificate(t, dir, time.Now().Add(time.Hour), "other")
	taken := start(t, Config{}, echo).Addrs()
	for _, tc := range []struct {
		cfg  Config
		want string
	}{
		{Config{TLS: local}, "need a certificate"},
		{Config{QUIC: make([]netip.AddrPort, 1), Certificates: []CertificateFiles{good}}, "address 1 of Config.QUIC"},
		{Config{HTTPS: local, Certificates: []CertificateFiles{good, good}}, "named twice"},
		{Config{TLS: local, Certificates: []CertificateFiles{{dir + "/missing", good.Key}}}, "missing"},
		{Config{TLS: local, Certificates: []CertificateFiles{{good.Cert, dir + "/missing"}}}, "missing"},
		{Config{TLS: local, Certificates: []CertificateFiles{{good.Cert, other.Key}}}, "belong together"},
		{Config{TLS: taken, Certificates: []CertificateFiles{good}}, "as in --tls 127.0.0.1:"},
		{Config{QUIC: taken, Certificates: []CertificateFiles{good}}, "as in --quic 127.0.0.1:"},
		{Config{HTTPS: taken, Certificates: []CertificateFiles{good}}, "as in --https 127.0.0.1:"},
		{Config{Addrs: local, RateLimit: &RateLimit{}}, "rate of 1 or more"},
		{Config{Addrs: local, RateLimit: &RateLimit{Rate: 1, IPv4: []PrefixRate{{33, 1}}}}, "from 1 to 32"},
		{Config{Addrs: local, RateLimit: &RateLimit{Rate: 1, IPv6: make([]PrefixRate, 17)}}, "give 16 at most"},
		{Config{Addrs: local, RateLimit: &RateLimit{Rate: 1, Slip: -1}}, "slip -1"},
	} {
		tc.cfg.NewHandler = func() Handler { return handlerFunc(echo) }
		s, err := Listen(tc.cfg)
		if err == nil {
			stop(t, s)
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("got %v, want an error with %q", err, tc.want)
		}
	}
}
