package keys

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/store"
)

func TestEdgesGetKeys(t *testing.T) {
	w := newWorld(t)
	one, two := identity(t), identity(t)
	w.store.edges = []store.Edge{{ID: "a", Alive: true, Recipient: one.Recipient().String()}, {ID: "b", Alive: true},
		{ID: "c", Alive: true, Recipient: "nonsense"}}
	w.to(time.Hour)
	ks := w.keyset("example.")
	if _, err := ks.Open(one); err != nil || ks.Serial != 2 {
		t.Errorf("serial %d: %v", ks.Serial, err)
	}
	w.store.edges = []store.Edge{{ID: "a", Recipient: one.Recipient().String()},
		{ID: "d", Alive: true, Recipient: two.Recipient().String()}}
	w.to(2 * time.Hour)
	ks = w.keyset("example.")
	for _, id := range []*age.X25519Identity{one, two, w.identity} {
		if _, err := ks.Open(id); err != nil {
			t.Error(err)
		}
	}
	if z := w.status("example."); z.Recipients != 3 {
		t.Errorf("%d recipients", z.Recipients)
	}
	// A stolen edge, which is not there any more, does not get the next key, nor did it have it before.
	if err := w.Roll(t.Context(), "example.", false); err != nil {
		t.Fatal(err)
	}
	ks = w.keyset("example.")
	if _, err := ks.ZSKs[1].Open(two); err == nil || ks.ZSKs[1].Active {
		t.Error("an edge has a key before it signs")
	}
	w.to(5 * time.Hour)
	ks = w.keyset("example.")
	if _, err := ks.Open(one); err == nil {
		t.Error("the stolen edge has the new key")
	}
	if _, err := ks.Open(two); err != nil {
		t.Error(err)
	}
}

func TestRecipientsFile(t *testing.T) {
	w := newWorld(t)
	listed, told := identity(t), identity(t)
	file := filepath.Join(t.TempDir(), "recipients")
	w.store.edges = []store.Edge{{ID: "a", Alive: true, Recipient: told.Recipient().String()}}
	w.startWith(Config{Recipients: file})
	w.check()
	if !strings.Contains(w.log.String(), file) {
		t.Errorf("a missing file is not told of: %s", w.log)
	}
	if err := os.WriteFile(file, []byte("# group eu\n"+listed.Recipient().String()+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	w.to(time.Hour)
	ks := w.keyset("example.")
	if _, err := ks.Open(listed); err != nil {
		t.Error(err)
	}
	if _, err := ks.Open(told); err == nil {
		t.Error("keys were sealed for an edge that is not in the file")
	}
}

func TestLostIdentity(t *testing.T) {
	w := newWorld(t)
	w.to(29*day + 12*time.Hour)
	w.is("waits for its DS, active, published")
	w.identity = identity(t)
	w.start()
	w.check()
	if z := w.status("example."); z.State != api.ZoneFailing || !strings.Contains(z.Error, "share one identity") {
		t.Errorf("status %+v", z)
	}
	lost := w.keyset("example.").State.Keys[2].Tag
	w.to(30*day + time.Hour)
	w.is("waits for its DS, active, published")
	if next := w.keyset("example.").State.Keys[2].Tag; next == lost {
		t.Error("a key that nobody can open is still to sign")
	}
	w.to(31 * day)
	w.is("waits for its DS, active")
	ks := w.keyset("example.")
	if _, err := ks.Open(w.identity); err != nil || w.status("example.").Error != "" {
		t.Errorf("%v, status %+v", err, w.status("example."))
	}
	w.verify(ks)
}
