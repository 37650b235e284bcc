package session

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestALoginIsItsServersAndItsOwners: it is kept for one server and scheme, and not read where others can.
func TestALoginIsItsServersAndItsOwners(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gtm")
	s := New(dir, "https://gtm.example.org:8053")
	s.ID, s.Pin = "id", "sha256:00"
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	if got, err := Load(dir, s.Server); err != nil || !got.LoggedIn() || got.Pin != s.Pin {
		t.Errorf("%+v, %v", got, err)
	}
	for _, other := range []string{"http://gtm.example.org:8053", "https://gtm.example.org", "https://other.example.org:8053"} {
		if got, err := Load(dir, other); err != nil || got.LoggedIn() {
			t.Errorf("%s has the login of %s: %v", other, s.Server, err)
		}
	}
	if err := os.Chmod(s.Path(), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, s.Server); err == nil {
		t.Error("a login that others can read is taken")
	}
	if err := os.WriteFile(s.Path(), []byte("{"), 0o600); err != nil || os.Chmod(s.Path(), 0o600) != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, s.Server); err == nil || !strings.Contains(err.Error(), "gtmctl login") {
		t.Errorf("a damaged login: %v", err)
	}
}

// TestABrowserThatComesBack: the one with the state is taken, once; what else comes is sent away.
func TestABrowserThatComesBack(t *testing.T) {
	w := &waiting{state: "s", came: make(chan arrival, 1)}
	for _, c := range []struct {
		at   string
		code int
		came bool
	}{
		{"/callback?state=x&code=c", 404, false}, {"/callback?code=c", 404, false}, {"/other?state=s&code=c", 404, false},
		{"/callback?state=s&code=c", 200, true}, {"/callback?state=s&error=access_denied", 403, true}, {"/callback?state=s", 403, true},
	} {
		rec := httptest.NewRecorder()
		w.ServeHTTP(rec, httptest.NewRequest("GET", c.at, nil))
		came := len(w.came) == 1
		if rec.Code != c.code || came != c.came {
			t.Errorf("%s: %d, taken: %v", c.at, rec.Code, came)
		}
		if came {
			if got := <-w.came; (got.err == nil) != (c.code == 200) {
				t.Errorf("%s: %+v", c.at, got)
			}
		}
	}
}
