package keys

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

func TestDamagedFiles(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(w.dir, w.files()[0])
	for _, tc := range []struct {
		what, text string
		mode       os.FileMode
	}{{"another key", "", 0o600}, {"not the key-signing key", "nonsense", 0o600}, {"chmod", "nonsense", 0o644}} {
		text := []byte(tc.text)
		if tc.text == "" {
			k, err := dnssec.Generate(dnssec.Ed25519, true)
			if err != nil {
				t.Fatal(err)
			}
			text, _ = k.MarshalText()
		}
		if err := errors.Join(os.Remove(path), os.WriteFile(path, text, tc.mode)); err != nil {
			t.Fatal(err)
		}
		if err := w.Roll(t.Context(), "example.", false); err == nil || !strings.Contains(err.Error(), tc.what) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", tc.what, err)
		}
	}
}

func TestFolderThatOthersRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := New(Config{Store: &memory{}, Mirror: store.NewMirror(), Dir: dir, Identity: identity(t)})
	if err == nil || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("error %v", err)
	}
	if _, err := New(Config{}); err == nil {
		t.Error("a manager of nothing was made")
	}
}

func TestLoadIdentity(t *testing.T) {
	path := filepath.Join(t.TempDir(), "identity")
	first, err := LoadIdentity(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadIdentity(path)
	if err != nil || again.String() != first.String() {
		t.Errorf("another identity: %v", err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadIdentity(path); err == nil || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("one that others can read: %v", err)
	}
	for _, text := range []string{"", "nonsense\n", first.String() + "\n" + identity(t).String() + "\n"} {
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.Chmod(path, 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadIdentity(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
