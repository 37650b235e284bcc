package snapshot

import (
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/storetest"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// TestSnapshotOfBeforeKindsIsRead: testdata/before-kinds was written when verdicts and keysets were fields, and what the journal deletes
// stood among the others.
func TestSnapshotOfBeforeKindsIsRead(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/before-kinds")); err != nil {
		t.Fatal(err)
	}
	_, u := openAndClose(t, dir)
	if u.Cursor != 9 || u.Cluster != 3 || u.Epoch != 2 || len(u.Tenants) != 2 || u.Tenants[1].ID != "s3" || u.Tenants[1].Head != 3 {
		t.Errorf("read %+v", u)
	}
	var names []string
	for _, v := range u.Tenants[1].Put {
		names = append(names, v.Resource.Name)
	}
	if !slices.Equal(names, []string{"b", "c"}) {
		t.Errorf("of shop there are %v", names)
	}
	wantVerdicts := []health.Verdict{storetest.VerdictOf("shop", "p2", 0.5), storetest.VerdictOf("shop", "p3", 0)}
	if diff := cmp.Diff(wantVerdicts, state.Verdicts.In(*u).Put); diff != "" {
		t.Errorf("verdicts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]dnssec.Keyset{storetest.KeysetOf("z.", 2)}, state.Keysets.In(*u).Put); diff != "" {
		t.Errorf("keysets (-want +got):\n%s", diff)
	}
}
