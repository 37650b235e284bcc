package door

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/gti/gtm/pkg/control/secure"
	"github.com/gti/gtm/pkg/serve/servetest"
)

func TestFlagsSayWhenThereIsTLS(t *testing.T) {
	for _, c := range []struct {
		http, flags string
		control     bool
		tls         bool
		says        string
	}{
		{"127.0.0.1:8053", "", true, false, ""},
		{"[::1]:8053", "", true, false, ""},
		{"localhost:8053", "", true, false, ""},
		{"10.0.0.1:8053", "", true, true, ""},
		{":8053", "", true, true, ""},
		{"0.0.0.0:8053", "", true, true, ""},
		{"gtm.example.org:8053", "", true, true, ""},
		{"10.0.0.1:8053", "", false, false, ""},
		{"10.0.0.1:8053", "--http-plain", true, false, ""},
		{"127.0.0.1:8053", "--http-cert c --http-key k", true, true, ""},
		{"10.0.0.1:8053", "--http-cert c --http-key k", false, true, ""},
		{"10.0.0.1:8053", "--http-cert c", true, true, "--http-cert and --http-key go together"},
		{"10.0.0.1:8053", "--http-cert c --http-key k --http-plain", true, true, "--http-plain does not go with --http-cert"},
		{"127.0.0.1:8053", "--http-client-ca c", true, false, "client certificates come by TLS alone"},
		{"127.0.0.1:8053", "--oidc-issuer https://a.example", true, false, "--oidc-issuer needs --oidc-client-id"},
		{"127.0.0.1:8053", "--oidc-issuer http://a.example --oidc-client-id x", true, false, "is not a URL as in https://"},
		{"127.0.0.1:8053", "--oidc-issuer http://127.0.0.1:9/x --oidc-client-id x", true, false, ""},
		{"127.0.0.1:8053", "--oidc-client-id x", true, false, "go with --oidc-issuer"},
		{"127.0.0.1:8053", "--oidc-issuer https://a.example --oidc-client-id x --oidc-user-claim=", true, false, "cannot be empty"},
	} {
		var f Flags
		set := pflag.NewFlagSet("gtmd", pflag.ContinueOnError)
		f.Register(set)
		if err := set.Parse(strings.Fields(c.flags)); err != nil {
			t.Fatal(err)
		}
		var said []string
		got := f.Check(c.http, c.control, func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })
		if text := strings.Join(said, "; "); got.TLS != c.tls || (c.says == "") != (text == "") || !strings.Contains(text, c.says) {
			t.Errorf("--http %s %s: TLS %v, %q", c.http, c.flags, got.TLS, text)
		}
	}
}

// TestControlsArePinned: an edge believes a control by the pin in its URL, and no other server there.
func TestControlsArePinned(t *testing.T) {
	shows, err := secure.Open(secure.Config{Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	at := web.Listener.Addr().(*net.TCPAddr)
	web.Listener = tls.NewListener(web.Listener, shows.TLS())
	web.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	web.Start()
	defer web.Close()
	pin, _ := shows.Pin()
	for given, known := range map[string]bool{pin: true, "sha256:" + strings.Repeat("0", 64): false, "": false} {
		urls, client, err := Pinned([]string{"https://" + at.String() + "#" + given})
		if err != nil || urls[0] != "https://"+at.String() {
			t.Fatalf("%v, %v", urls, err)
		}
		r, err := client.Get(urls[0])
		if err == nil {
			r.Body.Close()
		}
		if (err == nil) != known {
			t.Errorf("by %q: %v", given, err)
		}
	}
	for _, bad := range []string{"10.0.0.1:8053", "ftp://a", "https://a#sha256:1", "http://a#" + pin, "https://"} {
		if _, _, err := Pinned([]string{bad}); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// TestARenewedClientCertificateIsShown: the next connection shows it; files that belong not together leave the one before in use.
func TestARenewedClientCertificateIsShown(t *testing.T) {
	dir := t.TempDir()
	first := servetest.WriteCertificate(t, dir, time.Now().Add(time.Hour), "a.example")
	show, err := ClientCertificate(first.Cert, first.Key)
	if err != nil {
		t.Fatal(err)
	}
	name := func() string {
		c, err := show(nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Leaf.DNSNames[0]
	}
	if got := name(); got != "a.example" {
		t.Errorf("at first: %s", got)
	}
	second := servetest.WriteCertificate(t, t.TempDir(), time.Now().Add(time.Hour), "b.example")
	for _, move := range [][2]string{{second.Cert, first.Cert}, {second.Key, first.Key}} {
		if err := os.Rename(move[0], move[1]); err != nil {
			t.Fatal(err)
		}
		want := "b.example"
		if move[0] == second.Cert {
			want = "a.example"
		}
		if got := name(); got != want {
			t.Errorf("with %s: %s, want %s", move[0], got, want)
		}
	}
	if _, err := ClientCertificate("none", "none"); err == nil {
		t.Error("no files, and no error")
	}
}
