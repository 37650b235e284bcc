package servetest

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
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/gti/gtm/pkg/serve/cert"
	"github.com/gti/gtm/pkg/serve/seam"
)

// What clients say (RFC 7858, 9250 and 8484).
const (
	ProtocolDoT = "dot"
	ProtocolDoQ = "doq"
	DNSPath     = "/dns-query"
	DNSType     = "application/dns-message"
)

// Served is what serves, for clients: where, and with which certificates.
type Served interface {
	AddrsOf(t seam.Transport) []netip.AddrPort
	CertificateFiles() []cert.Files
}

// WriteCertificate makes a certificate of its own for names, and writes it to a folder.
func WriteCertificate(t testing.TB, dir string, until time.Time, names ...string) cert.Files {
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
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	f := cert.Files{Cert: filepath.Join(dir, names[0]+".crt"), Key: filepath.Join(dir, names[0]+".key")}
	for name, block := range map[string]*pem.Block{f.Cert: {Type: "CERTIFICATE", Bytes: der}, f.Key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// ClientTLS trusts the server's certificates as they are now.
func ClientTLS(t testing.TB, s Served, protocols ...string) *tls.Config {
	t.Helper()
	roots := x509.NewCertPool()
	for _, f := range s.CertificateFiles() {
		cert, err := os.ReadFile(f.Cert)
		if err != nil || !roots.AppendCertsFromPEM(cert) {
			t.Fatal("no certificate in ", f.Cert, err)
		}
	}
	return &tls.Config{RootCAs: roots, ServerName: "ns.example", NextProtos: protocols}
}

// Within gives a context that ends when patience does.
func Within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// Target is an address at which clients reach a server.
func Target(s Served, transport seam.Transport) netip.AddrPort {
	a := s.AddrsOf(transport)[0]
	if !a.Addr().IsUnspecified() {
		return a
	}
	if a.Addr().Is4() {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), a.Port())
	}
	return netip.AddrPortFrom(netip.IPv6Loopback(), a.Port())
}

// DialTLS connects by TLS until the end of the test.
func DialTLS(t testing.TB, s Served) *tls.Conn {
	t.Helper()
	conn := tls.Client(Dial(t, "tcp", Target(s, seam.TLS)), ClientTLS(t, s, ProtocolDoT))
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return conn
}

// DialQUIC connects by DNS over QUIC until the end of the test.
func DialQUIC(t testing.TB, s Served) *quic.Conn {
	t.Helper()
	conn, err := quic.DialAddr(Within(t), Target(s, seam.QUIC).String(), ClientTLS(t, s, ProtocolDoQ), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	return conn
}

// ExchangeQUIC sends framed in a stream of its own and gives all that comes back.
func ExchangeQUIC(t testing.TB, conn *quic.Conn, framed []byte) ([]byte, error) {
	str, err := conn.OpenStreamSync(Within(t))
	if err != nil {
		return nil, err
	}
	if err := str.SetDeadline(time.Now().Add(Patience)); err != nil {
		return nil, err
	}
	if _, err := str.Write(framed); err != nil {
		return nil, err
	}
	_ = str.Close() // the server may have given it up already; reading tells
	return io.ReadAll(str)
}

// WebClients gives an HTTP client of each version.
func WebClients(t testing.TB, s Served) map[string]*http.Client {
	t.Helper()
	one := &http.Transport{TLSClientConfig: ClientTLS(t, s, "http/1.1"), TLSNextProto: map[string]func(string,
		*tls.Conn) http.RoundTripper{}}
	two := &http.Transport{TLSClientConfig: ClientTLS(t, s), ForceAttemptHTTP2: true}
	three := &http3.Transport{TLSClientConfig: ClientTLS(t, s)}
	t.Cleanup(func() { one.CloseIdleConnections(); two.CloseIdleConnections(); three.Close() })
	return map[string]*http.Client{
		"HTTP/1.1": {Transport: one, Timeout: Patience},
		"HTTP/2.0": {Transport: two, Timeout: Patience},
		"HTTP/3.0": {Transport: three, Timeout: Patience},
	}
}

// WebURL gives where DNS is asked for by HTTPS.
func WebURL(s Served) string { return "https://" + Target(s, seam.HTTPS).String() + DNSPath }

// Post sends a query by HTTPS, and gives the reply if the status is 200.
func Post(c *http.Client, url string, query []byte) ([]byte, error) {
	r, err := c.Post(url, DNSType, bytes.NewReader(query))
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

// Askers gives a way to ask by each transport, over one connection each: by name, "udp", "tls", "HTTP/2.0". An
// asker gives nil where there is no reply.
func Askers(t testing.TB, s Served) map[string]func(msg []byte) []byte {
	t.Helper()
	secure, quick := DialTLS(t, s), DialQUIC(t, s)
	all := map[string]func([]byte) []byte{
		"tls": func(msg []byte) []byte {
			Write(t, secure, Frame(msg))
			got, err := ReadFrame(secure)
			if err != nil {
				return nil
			}
			return got
		},
		"quic": func(msg []byte) []byte {
			got, err := ExchangeQUIC(t, quick, Frame(msg))
			if err != nil || len(got) < 2 {
				return nil
			}
			return got[2:]
		},
	}
	if len(s.AddrsOf(seam.UDP)) > 0 {
		for _, network := range []string{"udp", "tcp"} {
			conn := Dial(t, network, Target(s, seam.UDP))
			all[network] = func(msg []byte) []byte { return Ask(t, conn, msg) }
		}
	}
	for version, client := range WebClients(t, s) {
		all[version] = func(msg []byte) []byte {
			got, err := Post(client, WebURL(s), msg)
			if err != nil {
				return nil
			}
			return got
		}
	}
	return all
}

// ClientHello is the first thing that a client of TLS says.
func ClientHello(t testing.TB, s Served) []byte {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	go func() { _ = tls.Client(there, ClientTLS(t, s, ProtocolDoT)).Handshake() }() // ends in failure
	buf := make([]byte, 4096)
	n, err := here.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}
