package answer

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/gti/gtm/pkg/serve"
)

// waysTime bounds how long a client of the tests waits; only a failing test reaches it.
const waysTime = 20 * time.Second

// A way is one of the transports, with a client for it.
type way struct {
	name      string
	transport serve.Transport
	keepAlive bool // it has idle timeouts of RFC 7828
	// connect opens a connection to at, and gives how to ask by it.
	connect func(t *testing.T, at string, trust *tls.Config) func(query []byte) ([]byte, error)
}

func (w way) encrypted() bool { return w.transport != serve.UDP && w.transport != serve.TCP }

// ways lists all transports but AF_XDP.
var ways = []way{
	{"UDP", serve.UDP, false, connectUDP},
	{"TCP", serve.TCP, true, connectTCP},
	{"TLS", serve.TLS, true, connectTLS},
	{"HTTP/1.1", serve.HTTPS, false, connectWeb1},
	{"HTTP/2", serve.HTTPS, false, connectWeb2},
	{"HTTP/3", serve.HTTPS, false, connectWeb3},
	{"QUIC", serve.QUIC, false, connectQUIC},
}

func dialed(t *testing.T, conn net.Conn, err error) net.Conn {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(waysTime)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func connectUDP(t *testing.T, at string, _ *tls.Config) func([]byte) ([]byte, error) {
	conn, err := net.Dial("udp", at)
	conn = dialed(t, conn, err)
	return func(query []byte) ([]byte, error) {
		if _, err := conn.Write(query); err != nil {
			return nil, err
		}
		reply := make([]byte, 65535)
		n, err := conn.Read(reply)
		return reply[:n], err
	}
}

func connectTCP(t *testing.T, at string, _ *tls.Config) func([]byte) ([]byte, error) {
	conn, err := net.Dial("tcp", at)
	return overStream(dialed(t, conn, err))
}

func connectTLS(t *testing.T, at string, trust *tls.Config) func([]byte) ([]byte, error) {
	trust = trust.Clone()
	trust.NextProtos = []string{"dot"}
	conn, err := tls.Dial("tcp", at, trust)
	return overStream(dialed(t, conn, err))
}

func framed(query []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)
}

func readFramed(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	reply := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(r, reply)
	return reply, err
}

func overStream(conn net.Conn) func([]byte) ([]byte, error) {
	return func(query []byte) ([]byte, error) {
		if _, err := conn.Write(framed(query)); err != nil {
			return nil, err
		}
		return readFramed(conn)
	}
}

func connectQUIC(t *testing.T, at string, trust *tls.Config) func([]byte) ([]byte, error) {
	trust = trust.Clone()
	trust.NextProtos = []string{"doq"}
	ctx, cancel := context.WithTimeout(t.Context(), waysTime)
	t.Cleanup(cancel)
	conn, err := quic.DialAddr(ctx, at, trust, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseWithError(0, "") })
	return func(query []byte) ([]byte, error) {
		stream, err := conn.OpenStreamSync(ctx)
		if err != nil {
			return nil, err
		}
		if _, err := stream.Write(framed(query)); err != nil {
			return nil, err
		}
		if err := stream.Close(); err != nil {
			return nil, err
		}
		return readFramed(stream)
	}
}

func connectWeb1(t *testing.T, at string, trust *tls.Config) func([]byte) ([]byte, error) {
	trust = trust.Clone()
	trust.NextProtos = []string{"http/1.1"}
	none := map[string]func(string, *tls.Conn) http.RoundTripper{} // so that it does not speak HTTP/2
	client := &http.Transport{TLSClientConfig: trust, TLSNextProto: none}
	t.Cleanup(client.CloseIdleConnections)
	return overWeb(client, at, 1)
}

func connectWeb2(t *testing.T, at string, trust *tls.Config) func([]byte) ([]byte, error) {
	client := &http.Transport{TLSClientConfig: trust.Clone(), ForceAttemptHTTP2: true}
	t.Cleanup(client.CloseIdleConnections)
	return overWeb(client, at, 2)
}

func connectWeb3(t *testing.T, at string, trust *tls.Config) func([]byte) ([]byte, error) {
	client := &http3.Transport{TLSClientConfig: trust.Clone()}
	t.Cleanup(func() { client.Close() })
	return overWeb(client, at, 3)
}

func overWeb(by http.RoundTripper, at string, version int) func([]byte) ([]byte, error) {
	client := &http.Client{Transport: by, Timeout: waysTime}
	return func(query []byte) ([]byte, error) {
		r, err := client.Post("https://"+at+"/dns-query", "application/dns-message", bytes.NewReader(query))
		if err != nil {
			return nil, err
		}
		defer r.Body.Close()
		reply, err := io.ReadAll(r.Body)
		if r.StatusCode != http.StatusOK || r.ProtoMajor != version {
			return nil, fmt.Errorf("%s %s: %s", r.Proto, r.Status, reply)
		}
		return reply, err
	}
}

// selfSigned writes a certificate for 127.0.0.1, and gives what trusts it.
func selfSigned(t *testing.T) (serve.CertificateFiles, *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir, roots := t.TempDir(), x509.NewCertPool()
	files := serve.CertificateFiles{Cert: filepath.Join(dir, "ns.crt"), Key: filepath.Join(dir, "ns.key")}
	for name, block := range map[string]*pem.Block{files.Cert: {Type: "CERTIFICATE", Bytes: cert},
		files.Key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	return files, &tls.Config{RootCAs: roots}
}

// listen has h serve one transport until the end of the test, and gives the address.
func listen(t *testing.T, h *sharing, transport serve.Transport, files serve.CertificateFiles) string {
	t.Helper()
	cfg := serve.Config{Workers: 1, Certificates: []serve.CertificateFiles{files}, NewHandler: func() serve.Handler { return h }}
	at := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	switch transport {
	case serve.TLS:
		cfg.TLS = at
	case serve.HTTPS:
		cfg.HTTPS = at
	case serve.QUIC:
		cfg.QUIC = at
	default:
		cfg.Addrs = at
	}
	served, err := serve.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waysTime)
		defer cancel()
		if err := served.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return served.AddrsOf(transport)[0].String()
}

// sharing fits two Answerers to all workers of a server, as pkg/edge fits one to each: so it does not matter for the draws which
// of them gets a query.
type sharing struct {
	mu            sync.Mutex
	quick, slow   *Answerer // the slow one gets what has been put off
	ahead, putOff int       // queries that were prefetched, and that were put off
}

var _ serve.Prefetcher = (*sharing)(nil)

func (h *sharing) Handle(r *serve.Request) (int, serve.Action) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.quick
	if r.Slow {
		a = h.slow
		h.putOff++
	}
	if r.Prefetched > 0 {
		h.ahead++
	}
	o := a.Answer(r.Buf, r.N, &Meta{Source: r.Source, Stream: r.Transport != serve.UDP, QUIC: r.Transport == serve.QUIC,
		Encrypted: r.Transport != serve.UDP && r.Transport != serve.TCP, Slow: r.Slow, Resume: r.Resume, KeepAlive: r.KeepAlive,
		Prefetched: r.Prefetched})
	r.Exempt = o.Exempt
	switch o.Kind {
	case Defer, DeferKnown:
		r.Preferred, r.Resume = o.Kind == DeferKnown, a.Resume()
		return 0, serve.Defer
	case Close:
		return 0, serve.Close
	case Drop:
		return 0, serve.Drop
	}
	if o.Truncated {
		return o.Size, serve.Truncate
	}
	return o.Size, serve.Send
}

// counts gives how many queries were prefetched, and how many were put off.
func (h *sharing) counts() (ahead, putOff int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ahead, h.putOff
}

func (h *sharing) Parse(i int, msg []byte, source netip.AddrPort) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.quick.Parse(i, msg, source)
}

func (h *sharing) Prefetch(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.quick.Prefetch(n)
}

func (h *sharing) Flush() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.quick.Flush()
	h.slow.Flush()
}
