package snapshot

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/storetest"
)

func TestSnapshotOfAnotherSchemaIsWrittenAnew(t *testing.T) {
	dir := t.TempDir()
	s, _ := openSnapshot(t, dir)
	mustAppend(t, s, state.Update{Full: true, Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 1,
		Put: []state.Version{{Resource: storetest.Site("shop", "a", "EU"), Generation: 1, Digest: 7}}}}})
	s.Close()
	if _, u := openAndClose(t, dir); u.Tenants[0].Put[0].Digest != 7 {
		t.Errorf("the digest is lost: %+v", u.Tenants[0].Put[0])
	}
	file := filepath.Join(dir, "base")
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	raw = reframe(t, raw, func(b []byte) []byte { return bytes.Replace(b, []byte(spec.Schema()), []byte("older"), 1) })
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	s, u := openSnapshot(t, dir)
	if got := u.Tenants[0].Put[0]; got.Digest != 0 || got.Resource == nil {
		t.Errorf("a snapshot of another schema gives %+v", got)
	}
	mustAppend(t, s, state.Update{Cursor: 2, Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 2,
		Put: []state.Version{{Resource: storetest.Site("shop", "b", "EU"), Generation: 2, Digest: 8}}}}})
	s.Close()
	if raw, err = os.ReadFile(file); err != nil || !bytes.Contains(raw, []byte(spec.Schema())) {
		t.Errorf("the base was not written anew: %v", err)
	}
	if _, u := openAndClose(t, dir); len(u.Tenants[0].Put) != 2 || u.Tenants[0].Put[1].Digest != 8 {
		t.Errorf("holds %+v", u.Tenants)
	}
}
