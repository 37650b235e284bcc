package serve

import (
	"crypto/tls"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// served gives the serial number of the certificate that a client gets.
func served(t *testing.T, s *Server, name string) string {
	t.Helper()
	conn := tls.Client(dial(t, "tcp", s.AddrsOf(TLS)[0]), &tls.Config{InsecureSkipVerify: true, ServerName: name})
	defer conn.Close()
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func TestCertificatesAreRenewed(t *testing.T) {
	var log lockedBuffer
	dir := t.TempDir()
	now := time.Now()
	reg := prometheus.NewRegistry()
	f := writeCertificate(t, dir, now.Add(time.Hour), "ns.example")
	s := startSecure(t, Config{Certificates: []CertificateFiles{f}, CertificateCheck: time.Millisecond, Logger: log.logger(), Registerer: reg}, echo)
	before := dialTLS(t, s)
	old := served(t, s, "ns.example")
	refused := func() float64 { return metric(t, reg, "gtm_serve_certificate_refused", "file="+f.Cert) }
	goodCert, err := os.ReadFile(f.Cert)
	if err != nil {
		t.Fatal(err)
	}

	if err := os.WriteFile(f.Cert, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "rubbish is refused", func() bool { return refused() == 1 })
	if got := served(t, s, "ns.example"); got != old {
		t.Error("rubbish replaced a certificate")
	}
	if err := os.WriteFile(f.Cert, goodCert, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the old one is good again", func() bool { return refused() == 0 })

	writeCertificate(t, dir, now.Add(-time.Hour), "ns.example") // over both files
	eventually(t, "an expired one is refused", func() bool { return refused() == 1 && strings.Contains(log.String(), "has expired") })
	if got := served(t, s, "ns.example"); got != old {
		t.Error("an expired certificate replaced one in use")
	}
	if err := os.Remove(f.Key); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a missing key is told of", func() bool { return strings.Contains(log.String(), "key can't be read") })

	writeCertificate(t, dir, now.Add(2*time.Hour), "ns.example")
	eventually(t, "the new one is in use", func() bool { return served(t, s, "ns.example") != old && refused() == 0 })
	if got := metric(t, reg, "gtm_serve_certificate_expiry_seconds", "file="+f.Cert); got != float64(now.Add(2*time.Hour).Unix()) {
		t.Errorf("expiry %v", got)
	}
	msg := query(1, "a.", 1)
	write(t, before, frame(msg)) // connections live on
	if _, err := readFrame(before); err != nil {
		t.Error(err)
	}
	for name, asker := range askers(t, s) { // all transports use the new one
		if asker(query(0, "a.", 1)) == nil {
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
	s := startSecure(t, Config{Certificates: []CertificateFiles{writeCertificate(t, dir, soon, "ns.example"),
		writeCertificate(t, dir, soon, "other.example", "*.wild.example")}}, echo)
	first, second := served(t, s, "ns.example"), served(t, s, "other.example")
	if first == second {
		t.Fatal("one certificate for both")
	}
	for name, want := range map[string]string{"a.wild.example": second, "unknown.example": first, "": first} {
		if got := served(t, s, name); got != want {
			t.Errorf("%q got the wrong certificate", name)
		}
	}
}

func TestExpiredCertificateAtTheStart(t *testing.T) {
	var log lockedBuffer
	f := writeCertificate(t, t.TempDir(), time.Now().Add(-time.Hour), "ns.example")
	k, err := newKeyring([]CertificateFiles{f}, log.logger(), time.Now)
	if err != nil || !strings.Contains(log.String(), "has expired") {
		t.Fatal(err, log.String())
	}
	k.refresh() // it is not the worse for having been in use
	if k.status()[0].refused != 0 {
		t.Error("refused")
	}
	if _, err := newKeyring([]CertificateFiles{{Cert: "/dev/null", Key: f.Key}}, slog.New(slog.DiscardHandler), time.Now); err == nil {
		t.Error("no error for an empty file")
	}
}
