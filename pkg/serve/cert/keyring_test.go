package cert_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/serve/cert"
	"github.com/gti/gtm/pkg/serve/servetest"
)

func TestExpiredCertificateAtTheStart(t *testing.T) {
	var log servetest.LockedBuffer
	f := servetest.WriteCertificate(t, t.TempDir(), time.Now().Add(-time.Hour), "ns.example")
	k, err := cert.New([]cert.Files{f}, log.Logger(), time.Now)
	if err != nil || !strings.Contains(log.String(), "has expired") {
		t.Fatal(err, log.String())
	}
	k.Refresh() // it is not the worse for having been in use
	if k.Status()[0].Refused != 0 {
		t.Error("refused")
	}
	if _, err := cert.New([]cert.Files{{Cert: "/dev/null", Key: f.Key}}, slog.New(slog.DiscardHandler), time.Now); err == nil {
		t.Error("no error for an empty file")
	}
}
