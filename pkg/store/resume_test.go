package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/layout"
	"github.com/gti/gtm/pkg/store/snapshot"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/storetest"
)

// settled gives the state of the store, as a consumer's snapshot has it.
func settled(t *testing.T, c *Client) *state.Update {
	t.Helper()
	f := follow(t, c, nil)
	f.untilState(state.Current)
	f.stop()
	dir := t.TempDir()
	s, _, err := snapshot.Open(dir, nil)
	if err == nil {
		err = s.Append(f.mirror.Full())
	}
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	s, u, err := snapshot.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
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
		if _, err := c.link.Etcd.Put(storetest.Context(t), c.keys.Verdict(v.Pool), string(value)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFollowTellsWhatTheConsumerLacks(t *testing.T) {
	c := testClient(t)
	putVerdicts(t, c, storetest.VerdictOf("shop", "p1", 1), storetest.VerdictOf("shop", "p2", 1))
	mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU"), storetest.Site("shop", "b", "EU"),
		storetest.Site("shop", "gone", "EU"))})
	mustCommit(t, c, Change{Tenant: "other", Put: storetest.Resources(storetest.Site("other", "a", "EU"))})
	has := settled(t, c)

	same := followFrom(t, c, has.Position(), has)
	same.untilState(state.Current)
	same.sameAsRead(c)
	if told := same.told(); len(told) != 0 {
		t.Errorf("nothing has changed, and it was told %+v", told)
	}
	same.stop()

	mustCommit(t, c, Change{Tenant: "shop", Base: 1, Put: storetest.Resources(storetest.Site("shop", "b", "AS"),
		storetest.Site("shop", "c", "AF")), Delete: []spec.Key{storetest.Site("shop", "gone", "").Key}})
	putVerdicts(t, c, storetest.VerdictOf("shop", "p2", 0.5))
	f := followFrom(t, c, has.Position(), has)
	f.untilState(state.Current)
	f.sameAsRead(c)
	want := []state.Update{{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 2,
		Put: []state.Version{{Resource: storetest.Site("shop", "b", "AS"), Generation: 2},
			{Resource: storetest.Site("shop", "c", "AF"), Generation: 2}},
		Deleted: []spec.Key{storetest.Site("shop", "gone", "").Key}}}, Values: state.Verdicts.Put(storetest.VerdictOf("shop", "p2", 0.5))}}
	told := f.told()
	for i := range told {
		told[i].Cursor, told[i].Cluster = 0, 0
	}
	if diff := cmp.Diff(want, told, noDigest); diff != "" {
		t.Errorf("-want +told:\n%s", diff)
	}
	mustCommit(t, c, Change{Tenant: "shop", Base: 2, Put: storetest.Resources(storetest.Site("shop", "d", "AS"))})
	f.untilHead("shop", 3)
	f.sameAsRead(c)
}

// What stands under a generation is no longer what the snapshot has of it: as after a restored backup that nobody noticed.
func TestFollowNoticesAnotherFormOfAGeneration(t *testing.T) {
	c := testClient(t)
	mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU"), storetest.Site("shop", "b", "EU"))})
	has := settled(t, c)
	value, _, err := layout.EncodeVersion(storetest.Site("shop", "a", "AS"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.link.Etcd.Put(storetest.Context(t), c.keys.Version(storetest.Site("shop", "a", "").Key, 1), string(value)); err != nil {
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
	mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU"), storetest.Site("shop", "b", "EU"))})
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
