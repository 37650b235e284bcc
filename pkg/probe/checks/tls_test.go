package checks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/probe"
)

// secured serves TLS handshakes, and nothing behind them.
func secured(t *testing.T, config *tls.Config) netip.AddrPort {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	return serving(t, l, func(conn net.Conn) { io.Copy(io.Discard, conn) })
}

// mute takes connections and never says a word.
func mute(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return netip.MustParseAddrPort(l.Addr().String())
}

func TestTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	with := func(pair tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{pair}} }
	long, short := ca.issue(t, 30*day+time.Hour), ca.issue(t, 5*day+time.Hour)
	gone := ca.issue(t, -3*day-time.Hour)
	goesFirst := with(long)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "shop/client"), ca.issue(t, 30*day))
	write(t, filepath.Join(dir, "shop/foreign"), other.issue(t, 30*day))
	if err := os.WriteFile(filepath.Join(dir, "shop/bad"), []byte("HUSH"), 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "shop/large"), ca.issue(t, 30*day))
	large, err := os.OpenFile(filepath.Join(dir, "shop/large"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer large.Close()
	if _, err := large.WriteString(strings.Repeat("x", pairLimit)); err != nil {
		t.Fatal(err)
	}
	asks := with(long)
	asks.ClientAuth, asks.ClientCAs, asks.MaxVersion = tls.RequireAndVerifyClientCert, ca.pool(), tls.VersionTLS12
	client := func(name string) probe.Secret { return probe.Secret{Tenant: "shop", Name: name} }
	for _, tc := range []struct {
		what   string
		server netip.AddrPort
		check  probe.Check
		want   probe.Outcome
		reason string
	}{
		{"valid", secured(t, goesFirst), probe.Check{CA: ca.pem}, probe.Passed, ""},
		{"valid for long enough", secured(t, with(long)), probe.Check{CA: ca.pem, ValidFor: 30 * day}, probe.Passed, ""},
		{"by its name", secured(t, with(long)), probe.Check{CA: ca.pem, ServerName: "example.com"}, probe.Passed, ""},
		{"by another name", secured(t, with(long)), probe.Check{CA: ca.pem, ServerName: "evil.test"}, probe.Failed,
			"certificate: certificate is valid for example.com, not evil.test"},
		{"not for long enough", secured(t, with(short)), probe.Check{CA: ca.pem, ValidFor: 14 * day}, probe.Failed,
			"certificate: valid for 5d, want 14d"},
		{"not even unverified", secured(t, with(short)), probe.Check{Insecure: true, ValidFor: 14 * day}, probe.Failed,
			"certificate: valid for 5d, want 14d"},
		{"expired, unverified", secured(t, with(gone)), probe.Check{Insecure: true, ValidFor: day}, probe.Failed,
			"certificate: expired for 3d, want 24h"},
		{"of another authority", secured(t, with(long)), probe.Check{CA: other.pem}, probe.Failed,
			"certificate: certificate signed by unknown authority"},
		{"it may be anybody", secured(t, with(gone)), probe.Check{Insecure: true}, probe.Passed, ""},
		{"never answers", mute(t), probe.Check{CA: ca.pem, Timeout: 100 * time.Millisecond}, probe.Failed, "tls: timeout after 100ms"},
		{"not TLS", raw(t, "SSH-2.0-secret\r\n"), probe.Check{CA: ca.pem}, probe.Failed, "tls: the server does not speak TLS"},
		{"nobody there", closed(t), probe.Check{CA: ca.pem}, probe.Failed, "connect: connection refused"},
		{"shows a certificate", secured(t, asks), probe.Check{CA: ca.pem, Client: client("client")}, probe.Passed, ""},
		{"shows none", secured(t, asks), probe.Check{CA: ca.pem}, probe.Failed, "tls: handshake failure"},
		{"shows a foreign one", secured(t, asks), probe.Check{CA: ca.pem, Client: client("foreign")}, probe.Failed,
			"tls: unknown certificate authority"},
		{"has none to show", secured(t, asks), probe.Check{CA: ca.pem, Client: client("gone")}, probe.Unable,
			"client certificate: the secret gone is not to be had: the prober has none of this tenant by that name, or cannot read it"},
		{"has one that is too large", secured(t, asks), probe.Check{CA: ca.pem, Client: client("large")}, probe.Unable,
			"client certificate: the secret large is not a certificate and its key, in PEM form, of at most 64 KiB"},
		{"has something else", secured(t, asks), probe.Check{CA: ca.pem, Client: client("bad")}, probe.Unable,
			"client certificate: the secret bad is not a certificate and its key, in PEM form, of at most 64 KiB"},
	} {
		c := tc.check
		c.Type, c.Addrs = "tls", []netip.AddrPort{tc.server}
		if c.Timeout == 0 {
			c.Timeout = 10 * time.Second
		}
		k := Checker{Guard: loopback, Secrets: dir}
		wants(t, k.Check(context.Background(), c), tc.what, tc.want, tc.reason)
	}
}

// TestExpiredCertificate has the words of crypto/x509, which name the moment.
func TestExpiredCertificate(t *testing.T) {
	ca := newAuthority(t)
	to := secured(t, &tls.Config{Certificates: []tls.Certificate{ca.issue(t, -time.Hour)}})
	c := probe.Check{Type: "tls", Addrs: []netip.AddrPort{to}, CA: ca.pem, Timeout: 10 * time.Second}
	r := (&Checker{Guard: loopback}).Check(context.Background(), c)
	if r.Outcome != probe.Failed || r.Reason[:53] != "certificate: certificate has expired or is not yet va" {
		t.Errorf("%+v", r)
	}
}

// TestTheLongestChainCounts: an old cross-signature in a chain ends nobody's certificate.
func TestTheLongestChainCounts(t *testing.T) {
	cert := func(holds time.Duration) *x509.Certificate {
		return &x509.Certificate{NotAfter: time.Now().Add(holds + time.Hour)}
	}
	leaf := cert(60 * day)
	for _, tc := range []struct {
		chains [][]*x509.Certificate
		want   string
	}{
		{[][]*x509.Certificate{{leaf, cert(3 * day)}, {leaf, cert(100 * day)}}, ""},
		{[][]*x509.Certificate{{leaf, cert(3 * day)}, {leaf, cert(7 * day)}}, "valid for 7d, want 14d"},
		{[][]*x509.Certificate{{leaf, cert(100 * day), cert(2 * day)}}, "valid for 2d, want 14d"},
	} {
		a := attempt{&probe.Check{ValidFor: 14 * day}, &Checker{}, "", time.Now()}
		got := ""
		if err := a.verifyDates(tls.ConnectionState{VerifiedChains: tc.chains}); err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
}
