package serve

import (
	"crypto/tls"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/serve/servetest"
)

// served gives the serial number of the certificate that a client gets.
func servedName(t *testing.T, s *Server, name string) string {
	t.Helper()
	conn := tls.Client(servetest.Dial(t, "tcp", s.AddrsOf(TLS)[0]), &tls.Config{InsecureSkipVerify: true, ServerName: name})
	defer conn.Close()
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func TestCertificatesAreRenewed(t *testing.T) {
	var log servetest.LockedBuffer
	dir := t.TempDir()
	now := time.Now()
	reg := prometheus.NewRegistry()
	f := servetest.WriteCertificate(t, dir, now.Add(time.Hour), "ns.example")
	s := startSecure(t, Config{Certificates: []CertificateFiles{f}, CertificateCheck: time.Millisecond, Logger: log.Logger(),
		Registerer: reg}, servetest.Echo)
	before := servetest.DialTLS(t, s)
	old := servedName(t, s, "ns.example")
	refused := func() float64 { return metric(t, reg, "gtm_serve_certificate_refused", "file="+f.Cert) }
	goodCert, err := os.ReadFile(f.Cert)
	if err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(f.Cert, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	servetest.Eventually(t, "rubbish is refused", func() bool { return refused() == 1 })
	if got := servedName(t, s, "ns.example"); got != old {
		t.Error("rubbish replaced a certificate")
	}
	if err := os.WriteFile(f.Cert, goodCert, 0o600); err != nil {
		t.Fatal(err)
	}
	servetest.Eventually(t, "the old one is good again", func() bool { return refused() == 0 })

	servetest.WriteCertificate(t, dir, now.Add(-time.Hour), "ns.example") // over both files
	servetest.Eventually(t, "an expired one is refused", func() bool {
		return refused() == 1 && strings.Contains(log.String(),
			"has expired")
	})
	if got := servedName(t, s, "ns.example"); got != old {
		t.Error("an expired certificate replaced one in use")
	}
	if err := os.Remove(f.Key); err != nil {
		t.Fatal(err)
	}
	servetest.Eventually(t, "a missing key is told of", func() bool { return strings.Contains(log.String(), "key can't be read") })

	servetest.WriteCertificate(t, dir, now.Add(2*time.Hour), "ns.example")
	servetest.Eventually(t, "the new one is in use", func() bool { return servedName(t, s, "ns.example") != old && refused() == 0 })
	if got := metric(t, reg, "gtm_serve_certificate_expiry_seconds", "file="+f.Cert); got != float64(now.Add(2*time.Hour).Unix()) {
		t.Errorf("expiry %v", got)
	}
	msg := servetest.Query(1, "a.", 1)
	servetest.Write(t, before, servetest.Frame(msg)) // connections live on
	if _, err := servetest.ReadFrame(before); err != nil {
		t.Error(err)
	}
	for name, asker := range servetest.Askers(t, s) { // all transports use the new one
		if asker(servetest.Query(0, "a.", 1)) == nil {
			t.Errorf("%s: no answer", name)
		}
	}
	if n := strings.Count(log.String(), "rubbish") + strings.Count(log.String(), "belong together"); n > 3 {
		t.Errorf("the same was said %d times:\n%s", n, log.String())
	}
}

func TestCertificateByName(t *testing.T) {
	dir := t.TempDir()
	soon := time.Now().Add(time.Hour)
	s := startSecure(t, Config{Certificates: []CertificateFiles{servetest.WriteCertificate(t, dir, soon, "ns.example"),
		servetest.WriteCertificate(t, dir, soon, "other.example", "*.wild.example")}}, servetest.Echo)
	first, second := servedName(t, s, "ns.example"), servedName(t, s, "other.example")
	if first == second {
		t.Fatal("one certificate for both")
	}
	for name, want := range map[string]string{"a.wild.example": second, "unknown.example": first, "": first} {
		if got := servedName(t, s, name); got != want {
			t.Errorf("%q got the wrong certificate", name)
		}
	}
}
