package identity

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/store/state"
)

func TestCreateToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	token, err := CreateToken(path)
	if err != nil || len(token) < MinToken {
		t.Fatalf("token %q, error %v", token, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
	if again, err := CreateToken(path); again != token || err != nil {
		t.Errorf("second time %q, error %v", again, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateToken(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by others: %v", err)
	}
	short := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(short, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateToken(short); err == nil {
		t.Error("a short token is taken")
	}
	if _, err := CreateToken(filepath.Join(t.TempDir(), "no", "token")); err == nil {
		t.Error("no folder, and no error")
	}
}

// TestANewAdminTokenIsTakenAtOnce: whoever is locked out makes one on the machine, and the one before opens nothing more.
func TestANewAdminTokenIsTakenAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	file, err := OpenToken(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	before := file.Token()
	if err := ReplaceToken(path); err != nil {
		t.Fatal(err)
	}
	after := file.Token()
	if after == before || len(after) < MinToken {
		t.Errorf("before %q, after %q", before, after)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := file.Token(); got != after {
		t.Errorf("a file that holds no token gave %q", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got := file.Token(); got != after {
		t.Errorf("no file gave %q", got)
	}
}

// TestWhatGoesOnEndsWithTheAdminToken: who came by the one before is not still somebody.
func TestWhatGoesOnEndsWithTheAdminToken(t *testing.T) {
	token := "the-first-admin-token"
	b := NewBook(Config{Token: func() string { return token }, Mirror: state.NewMirror(), Now: time.Now})
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	who, err := b.Of(r)
	if err != nil || !b.Still(who) {
		t.Fatalf("%+v, %v", who, err)
	}
	token = "the-second-admin-token"
	if b.Still(who) {
		t.Error("a token that was replaced still holds")
	}
	if token = ""; b.Still(who) {
		t.Error("a token that is gone still holds")
	}
}
