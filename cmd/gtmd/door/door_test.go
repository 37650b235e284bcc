package door

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/gti/gtm/pkg/control/identity"
	"github.com/gti/gtm/pkg/control/secure"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
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
		{"127.0.0.1:8053", "--http-private", true, false, ""},
		{"127.0.0.1:8053", "--http-private", false, false, "goes with the role control"},
		{"127.0.0.1:8053", "--metrics-open", true, false, ""},
		{"127.0.0.1:8053", "--metrics-open", false, false, "goes with the role control"},
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

// TestMetricsAreForThePlatform: they are told to this machine, to named networks, and to who has a role in the platform, unless
// --metrics-open says otherwise; what else tells of all tenants is likewise with --http-private.
func TestMetricsAreForThePlatform(t *testing.T) {
	mirror := state.NewMirror()
	access := func(tenant, subject string) state.TenantUpdate {
		return state.TenantUpdate{Tenant: tenant, Head: 1, Put: []state.Version{{Generation: 1, Resource: &spec.Resource{
			Key: spec.Key{Tenant: tenant, Kind: spec.KindAccess, Name: "a"}, Spec: &spec.Access{Role: "viewer",
				Subjects: []string{subject}}}}}}
	}
	mirror.Apply(state.Update{Full: true, Tenants: []state.TenantUpdate{access("platform", "cert:CN=sre"), access("shop", "cert:CN=shop")}})
	book := identity.NewBook(identity.Config{Token: func() string { return "a-token-for-tests-only" }, Mirror: mirror, Now: time.Now})
	inner := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	networks := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
	for _, c := range []struct {
		from, token, name string
		private           bool
		code              int
	}{
		{"192.0.2.1:1", "", "", false, 200}, {"192.0.2.1:1", "", "", true, 401}, {"192.0.2.1:1", "wrong", "", true, 401},
		{"127.0.0.1:1", "", "", true, 200}, {"192.0.2.7:9", "", "", true, 200}, {"[::1]:1", "", "", true, 200}, {"10.0.0.9:1", "", "", true,
			200},
		{"[::ffff:10.0.0.9]:1", "", "", true, 200}, {"10.0.1.9:1", "", "", true, 401}, {"", "", "", true, 401},
		{"192.0.2.1:1", "a-token-for-tests-only", "", true, 200}, {"192.0.2.1:1", "", "sre", true, 200},
		{"192.0.2.1:1", "", "shop", true, 403}, {"192.0.2.1:1", "", "other", true, 403},
	} {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		own := &net.TCPAddr{IP: net.ParseIP("192.0.2.7"), Port: 8053}
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, own))
		r.RemoteAddr = c.from
		if c.token != "" {
			r.Header.Set("Authorization", "Bearer "+c.token)
		}
		if c.name != "" {
			leaf := &x509.Certificate{Subject: pkix.Name{CommonName: c.name}}
			r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf}}}
		}
		for what, h := range map[string]http.Handler{"private": (&Config{private: c.private}).Private(inner, book, networks),
			"metrics": (&Config{open: !c.private}).Metrics(inner, book, networks)} {
			rec := httptest.NewRecorder()
			if h.ServeHTTP(rec, r); rec.Code != c.code {
				t.Errorf("%s %+v: %d %s", what, c, rec.Code, rec.Body)
			}
		}
		rec := httptest.NewRecorder()
		if (&Config{}).Metrics(inner, nil, networks).ServeHTTP(rec, r); rec.Code != 200 {
			t.Errorf("metrics of an edge: %d %s", rec.Code, rec.Body)
		}
	}
}
