package store

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// settled gives the state of the store, as a consumer's snapshot has it.
func settled(t *testing.T, c *Client) *state.Update {
	t.Helper()
	f := follow(t, c, nil)
	f.untilState(state.Current)
	f.stop()
	dir := t.TempDir()
	s, _ := openSnapshot(t, dir)
	mustAppend(t, s, f.mirror.Full())
	s.Close()
	_, u := openAndClose(t, dir)
	return u
}

// putVerdicts writes verdicts past the election.
func putVerdicts(t *testing.T, c *Client, verdicts ...health.Verdict) {
	t.Helper()
	for _, v := range verdicts {
		value, err := state.MarshalPlain(v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.etcd.Put(testContext(t), c.keys.verdict(v.Pool), string(value)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFollowTellsWhatTheConsumerLacks(t *testing.T) {
	c := testClient(t)
	putVerdicts(t, c, verdictOf("shop", "p1", 1), verdictOf("shop", "p2", 1))
	mustCommit(t, c, Change{Tenant: "shop", Put: resources(site("shop", "a", "EU"), site("shop", "b", "EU"), site("shop", "gone", "EU"))})
	mustCommit(t, c, Change{Tenant: "other", Put: resources(site("other", "a", "EU"))})
	has := settled(t, c)

	same := followFrom(t, c, has.Position(), has)
	same.untilState(state.Current)
	same.sameAsRead(c)
	if told := same.told(); len(told) != 0 {
		t.Errorf("nothing has changed, and it was told %+v", told)
	}
	same.stop()

	mustCommit(t, c, Change{Tenant: "shop", Base: 1, Put: resources(site("shop", "b", "AS"), site("shop", "c", "AF")), Delete: []spec.Key{site("shop", "gone", "").Key}})
	putVerdicts(t, c, verdictOf("shop", "p2", 0.5))
	f := followFrom(t, c, has.Position(), has)
	f.untilState(state.Current)
	f.sameAsRead(c)
	want := []state.Update{{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 2,
		Put:     []state.Version{{Resource: site("shop", "b", "AS"), Generation: 2}, {Resource: site("shop", "c", "AF"), Generation: 2}},
		Deleted: []spec.Key{site("shop", "gone", "").Key}}}, Verdicts: []health.Verdict{verdictOf("shop", "p2", 0.5)}}}
	told := f.told()
	for i := range told {
		told[i].Cursor, told[i].Cluster = 0, 0
	}
	if diff := cmp.Diff(want, told, noDigest); diff != "" {
		t.Errorf("-want +told:\n%s", diff)
	}
	mustCommit(t, c, Change{Tenant: "shop", Base: 2, Put: resources(site("shop", "d", "AS"))})
	f.untilHead("shop", 3)
	f.sameAsRead(c)
}

// What stands under a generation is no longer what the snapshot has of it: as after a restored backup that nobody noticed.
func TestFollowNoticesAnotherFormOfAGeneration(t *testing.T) {
	c := testClient(t)
	mustCommit(t, c, Change{Tenant: "shop", Put: resources(site("shop", "a", "EU"), site("shop", "b", "EU"))})
	has := settled(t, c)
	value, _, err := encodeVersion(site("shop", "a", "AS"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.etcd.Put(testContext(t), c.keys.version(site("shop", "a", "").Key, 1), string(value)); err != nil {
		t.Fatal(err)
	}
	f := followFrom(t, c, has.Position(), has)
	f.untilState(state.Current)
	f.sameAsRead(c)
	if told := f.told(); len(told) != 1 || told[0].Full || len(told[0].Tenants) != 1 || len(told[0].Tenants[0].Put) != 1 {
		t.Errorf("told %+v, want one version", told)
	}
}

// A snapshot of a program that reads resources otherwise is served, but everything is read anew.
func TestForeignSnapshotIsReadAnew(t *testing.T) {
	c := testClient(t)
	mustCommit(t, c, Change{Tenant: "shop", Put: resources(site("shop", "a", "EU"), site("shop", "b", "EU"))})
	has := settled(t, c)
	for i := range has.Tenants[0].Put {
		if has.Tenants[0].Put[i].Digest == 0 {
			t.Error("a snapshot of our own has no digests")
		}
		has.Tenants[0].Put[i].Digest = 0
	}
	f := followFrom(t, c, has.Position(), has)
	f.untilState(state.Current)
	f.sameAsRead(c)
	if told := f.told(); len(told) != 1 || told[0].Full || len(told[0].Tenants[0].Put) != 2 {
		t.Errorf("told %+v, want both versions", told)
	}
}

func TestSnapshotOfAnotherSchemaIsWrittenAnew(t *testing.T) {
	dir := t.TempDir()
	s, _ := openSnapshot(t, dir)
	mustAppend(t, s, state.Update{Full: true, Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 1, Put: []state.Version{{Resource: site("shop", "a", "EU"), Generation: 1, Digest: 7}}}}})
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
	mustAppend(t, s, state.Update{Cursor: 2, Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 2, Put: []state.Version{{Resource: site("shop", "b", "EU"), Generation: 2, Digest: 8}}}}})
	s.Close()
	if raw, err = os.ReadFile(file); err != nil || !bytes.Contains(raw, []byte(spec.Schema())) {
		t.Errorf("the base was not written anew: %v", err)
	}
	if _, u := openAndClose(t, dir); len(u.Tenants[0].Put) != 2 || u.Tenants[0].Put[1].Digest != 8 {
		t.Errorf("holds %+v", u.Tenants)
	}
}
