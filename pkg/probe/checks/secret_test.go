package checks

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/probe"
)

// TestSecretsInHeaders: they stood in the store, for everyone to read. Now they come from the tenant's own folder at the prober, and no
// reason tells what is in one, or where.
func TestSecretsInHeaders(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("shop/key", "HUSH\n", 0o600)
	write("shop/open", "HUSH\n", 0o644)
	write("shop/lines", "HUSH\nX-Key: HUSH\n", 0o600)
	write("shop/long", strings.Repeat("HUSH", secretLimit/4)+"H", 0o600)
	write("shop/full", strings.Repeat("HUSH", secretLimit/4), 0o600)
	write("shop/empty", "\n", 0o600)
	write("shop/folder/key", "HUSH\n", 0o600)
	write("other/key", "HUSH\n", 0o600)
	write("top", "HUSH\n", 0o600)
	for name, to := range map[string]string{"shop/out": "../other/key", "shop/in": "key"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(http.HandlerFunc(web))
	defer server.Close()
	const none = "is not to be had: the prober has none of this tenant by that name, or cannot read it"
	for _, tc := range []struct{ tenant, name, says string }{
		{"shop", "key", ""}, {"shop", "in", ""}, {"shop", "full", ""},
		{"shop", "gone", none}, {"shop", "out", none}, {"shop", "folder", none}, {"shop", "folder/key", none},
		{"shop", "../other/key", none},
		{"shop", filepath.Join(dir, "shop/key"), none}, {".", "top", none}, {"..", "key", none}, {"gone", "key", none}, {"", "top", none},
		{"shop", "open", "can be read by others at the prober; it needs mode 0600"},
		{"shop", "lines", "cannot be a header: it wants one line of at most 8 KiB"},
		{"shop", "long", "cannot be a header: it wants one line of at most 8 KiB"},
		{"shop", "empty", "cannot be a header: it wants one line of at most 8 KiB"},
	} {
		c := httpCheck(addrOf(server), "/")
		c.Body, c.Secrets = "x=HUSH", secrets("X-Key", tc.tenant, tc.name)
		r := (&Checker{Guard: loopback, Secrets: dir}).Check(context.Background(), c)
		if tc.says == "" {
			wants(t, r, tc.name, probe.Passed, "")
		} else {
			wants(t, r, tc.name, probe.Unable, clip("header X-Key: the secret "+tc.name+" "+tc.says, reasonLimit))
		}
		if strings.Contains(r.Reason, "HUSH") {
			t.Errorf("%s: the reason tells it: %s", tc.name, r.Reason)
		}
	}
	c := httpCheck(addrOf(server), "/")
	c.Secrets = secrets("X-Key", "shop", "key")
	wants(t, (&Checker{Guard: loopback}).Check(context.Background(), c), "no folder", probe.Unable,
		"header X-Key: the secret key is not to be had: the prober has no secrets")
	// A new value counts at once, and an answer that is not as wanted does not quote it.
	write("shop/key", "CHANGED", 0o600)
	c.Body = "x=CHANGED"
	wants(t, (&Checker{Guard: loopback, Secrets: dir}).Check(context.Background(), c), "changed", probe.Passed, "")
	c.Body = "nothing"
	wants(t, (&Checker{Guard: loopback, Secrets: dir}).Check(context.Background(), c), "echoed", probe.Failed,
		`body: its first 64 KiB do not contain "nothing"`)
}

// A private authority of the monitor is believed for it, and in the place of all others.
func TestPrivateAuthority(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(web))
	defer server.Close()
	own := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	c := httpCheck(addrOf(server), "/")
	c.Type, c.Name = "https", "example.com"
	k := Checker{Guard: loopback}
	wants(t, k.Check(context.Background(), c), "the system's", probe.Failed, "certificate: certificate signed by unknown authority")
	c.CA = own
	wants(t, k.Check(context.Background(), c), "its own", probe.Passed, "")
	c.Name = "evil.test"
	wants(t, k.Check(context.Background(), c), "its own, another name", probe.Failed,
		"certificate: certificate is valid for example.com, *.example.com, not evil.test")
}
