package secure

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/identity"
	"github.com/gti/gtm/pkg/store/state"
)

func open(t *testing.T, cfg Config) *Server {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serve serves h by TLS as s shows it.
func serve(t *testing.T, s *Server, h http.HandlerFunc) string {
	t.Helper()
	web := httptest.NewUnstartedServer(h)
	web.Listener = tls.NewListener(web.Listener, s.TLS())
	web.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	web.Start()
	t.Cleanup(web.Close)
	return strings.Replace(web.URL, "http:", "https:", 1)
}

func get(t *testing.T, at string, c *tls.Config) (string, error) {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: c, DisableKeepAlives: true}}
	r, err := client.Get(at)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return string(text), err
}

// TestOwnCertificate: it is made once, is its owner's alone, and a client with its pin believes it and nobody else.
func TestOwnCertificate(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Config{Dir: dir, Names: []string{"localhost"}})
	pin, own := s.Pin()
	if err := CheckPin(pin); err != nil || !own {
		t.Fatalf("%v, own %v", err, own)
	}
	if again, _ := open(t, Config{Dir: dir}).Pin(); again != pin {
		t.Errorf("after a restart: %s, before %s", again, pin)
	}
	if in, err := PinOf(filepath.Join(dir, CertFile)); in != pin || err != nil {
		t.Errorf("in the file: %s, %v", in, err)
	}
	at := serve(t, s, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	if text, err := get(t, at, Pinned(pin)); text != "ok" {
		t.Errorf("by its pin: %q, %v", text, err)
	}
	if _, err := get(t, at, Pinned(strings.ToUpper(pin[:10])+pin[10:])); err != nil {
		t.Errorf("in capital letters: %v", err)
	}
	other, _ := open(t, Config{Dir: t.TempDir()}).Pin()
	var odd *PinError
	if _, err := get(t, at, Pinned(other)); !errors.As(err, &odd) || odd.Have != pin {
		t.Errorf("by another pin: %v", err)
	}
	if _, err := get(t, at, &tls.Config{}); err == nil {
		t.Error("nobody signed it, and it was believed")
	}
	if err := os.Chmod(filepath.Join(dir, keyFile), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir, Logger: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read: %v", err)
	}
	for _, bad := range []string{"", "sha256:", "sha256:zz", pin + "00", strings.TrimPrefix(pin, "sha256:")} {
		if CheckPin(bad) == nil {
			t.Errorf("%q is taken for a pin", bad)
		}
	}
}

// authority signs certificates.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.cert = &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) pem() []byte {
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func (a *authority) client(name string, uris ...string) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	for _, u := range uris {
		parsed, err := url.Parse(u)
		if err != nil {
			a.t.Fatal(err)
		}
		c.URIs = append(c.URIs, parsed)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestClientCertificates: one that the authority signed says who asks; another one does not come in; the authority's file is read again.
func TestClientCertificates(t *testing.T) {
	ours, theirs, file := newAuthority(t), newAuthority(t), filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, ours.pem(), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, Config{Dir: t.TempDir(), ClientCA: file})
	pin, _ := s.Pin()
	book := identity.NewBook(identity.Config{Token: func() string { return "a-token-for-tests-only" }, Mirror: state.NewMirror(),
		Now: time.Now})
	at := serve(t, s, func(w http.ResponseWriter, r *http.Request) {
		who, err := book.Of(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, who.Name)
	})
	with := func(certs ...tls.Certificate) (string, error) {
		c := Pinned(pin)
		c.Certificates = certs
		return get(t, at, c)
	}
	for want, c := range map[string][]tls.Certificate{
		"cert:CN=deploy":                  {ours.client("deploy")},
		"spiffe://example.org/a/b":        {ours.client("x", "spiffe://example.org/a/b")},
		"the token is missing or wrong\n": nil,
		"the client certificate has 2 URIs: one with a SPIFFE ID has no other\n": {ours.client("x", "spiffe://example.org/a",
			"https://example.org/b")},
	} {
		if text, err := with(c...); text != want {
			t.Errorf("got %q, %v, want %q", text, err, want)
		}
	}
	if text, err := with(theirs.client("deploy")); err == nil && !strings.Contains(text, "missing") {
		t.Errorf("another authority's is taken: %q", text)
	}
	if err := os.WriteFile(file, theirs.pem(), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Refresh()
	if text, err := with(theirs.client("deploy")); text != "cert:CN=deploy" {
		t.Errorf("after the file changed: %q, %v", text, err)
	}
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Refresh()
	if text, err := with(theirs.client("deploy")); text != "cert:CN=deploy" {
		t.Errorf("a file that is no good took the authorities away: %q, %v", text, err)
	}
}
