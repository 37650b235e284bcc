package keys

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/spec"
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

// A control that was started since the store was lost still has the keyset that the parent's DS belongs to.
func TestCopiesOfKeysets(t *testing.T) {
	w := newWorld(t)
	w.to(4 * time.Hour)
	last := w.keyset("example.")
	w.store.Mirror = store.NewMirror() // an empty store
	w.start()
	w.look()
	kept, err := w.Kept()
	if err != nil || len(kept) != 1 || kept["example."].Serial != last.Serial || len(kept["example."].ZSKs) == 0 {
		t.Fatalf("kept %+v, %v; the last was %d", kept, err, last.Serial)
	}
	// A store that went back does not take the newer copy away.
	old := last
	old.Serial--
	w.store.Apply(store.Update{Keysets: []dnssec.Keyset{old}})
	w.look()
	if kept, _ := w.Kept(); kept["example."].Serial != last.Serial {
		t.Errorf("the copy is that of serial %d", kept["example."].Serial)
	}
	w.store.Apply(store.Update{KeysetsDeleted: []string{"example."}})
	w.store.Apply(store.Update{Keysets: []dnssec.Keyset{kept["example."]}})
	w.store.declare(map[string]*spec.Zone{"example.": signed()})
	w.look()
	if now := w.keyset("example."); now.Serial != last.Serial && !shareKeys(now, last) {
		t.Errorf("other keys: %+v", now.State.Keys)
	}
	w.verify(w.keyset("example."))
	if info, err := os.Stat(w.folder.keptPath("example.")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := w.folder.forgetKept("example."); err != nil {
		t.Error(err)
	}
	if kept, err := w.Kept(); err != nil || len(kept) != 0 {
		t.Errorf("forgotten: %v, %v", kept, err)
	}
}
