package store

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/storetest"
)

func regionOf(t testing.TB, s state.TenantState, name string) string {
	t.Helper()
	for key, v := range s.Resources.All() {
		if key.Kind == spec.KindSite && key.Name == name {
			return v.Resource.Spec.(*spec.Site).Region
		}
	}
	return ""
}

func TestCommitMakesGenerations(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	fra, nyc := storetest.Site("shop", "fra", "EU-DE"), storetest.Site("shop", "nyc", "NA-US")
	rec, err := c.Commit(ctx, Change{Tenant: "shop", Put: storetest.Resources(nyc, fra), Author: "ann", Message: "begin",
		Time: storetest.Time})
	if err != nil {
		t.Fatal(err)
	}
	want := state.Record{Tenant: "shop", Generation: 1, Time: storetest.Time, Author: "ann", Message: "begin",
		Put: []spec.Key{fra.Key, nyc.Key}}
	want.ID = rec.ID
	if rec.ID == "" || !reflect.DeepEqual(rec, want) {
		t.Errorf("record %+v, want %+v", rec, want)
	}
	mustCommit(t, c, Change{Tenant: "shop", Base: 1, Put: storetest.Resources(storetest.Site("shop", "fra", "EU-FR"))})
	mustCommit(t, c, Change{Tenant: "shop", Base: 2, Delete: []spec.Key{nyc.Key}})
	mustCommit(t, c, Change{Tenant: "other", Put: storetest.Resources(storetest.Site("other", "fra", "AF"))})

	for _, row := range []struct {
		at       state.Generation
		fra, nyc string
		head     state.Generation
	}{{1, "EU-DE", "NA-US", 1}, {2, "EU-FR", "NA-US", 2}, {3, "EU-FR", "", 3}, {0, "EU-FR", "", 3}} {
		s, err := c.Read(ctx, "shop", row.at)
		if err != nil || s.Head != row.head || regionOf(t, s, "fra") != row.fra || regionOf(t, s, "nyc") != row.nyc {
			t.Errorf("shop@%d: %+v, %v; want %+v", row.at, s, err, row)
		}
	}
	for _, row := range []struct {
		tenant string
		at     state.Generation
	}{{"shop", 4}, {"nobody", 0}} {
		if _, err := c.Read(ctx, row.tenant, row.at); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s@%d: %v, want ErrNotFound", row.tenant, row.at, err)
		}
	}
	heads, err := c.Heads(ctx)
	if err != nil || !reflect.DeepEqual(heads, map[string]state.Generation{"shop": 3, "other": 1}) {
		t.Errorf("heads %v, %v", heads, err)
	}
	history, err := c.History(ctx, "shop", 2)
	if err != nil || len(history) != 2 || history[0].Generation != 3 || history[1].Generation != 2 {
		t.Errorf("history %+v, %v", history, err)
	}
}

func TestCommitConflicts(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	a := storetest.Site("shop", "a", "EU")
	mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(a), Author: "ann"})
	mustCommit(t, c, Change{Tenant: "shop", Base: 1, Put: storetest.Resources(a), Author: "bob"})
	p := storetest.Site(spec.Platform, "p", "EU")
	mustCommit(t, c, Change{Tenant: spec.Platform, Put: storetest.Resources(p)})
	for _, row := range []struct {
		name       string
		ch         Change
		tenant     string
		want, have state.Generation
	}{
		{"moved on", Change{Tenant: "shop", Base: 1, Put: storetest.Resources(a)}, "shop", 1, 2},
		{"exists", Change{Tenant: "shop", Base: 0, Put: storetest.Resources(a)}, "shop", 0, 2},
		{"not yet", Change{Tenant: "new", Base: 3, Put: storetest.Resources(storetest.Site("new", "a", "EU"))}, "new", 3, 0},
		{"read moved", Change{Tenant: "shop", Base: 2, Reads: map[string]state.Generation{spec.Platform: 7}, Put: storetest.Resources(a)},
			spec.Platform, 7, 1},
		{"read must not exist", Change{Tenant: "shop", Base: 2, Reads: map[string]state.Generation{spec.Platform: 0},
			Put: storetest.Resources(a)}, spec.Platform, 0, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := c.Commit(ctx, row.ch)
			var e *ConflictError
			if !errors.As(err, &e) || e.Tenant != row.tenant || e.Want != row.want || e.Have != row.have {
				t.Fatalf("got %v (%+v)", err, e)
			}
			if e.Last.Generation != row.have {
				t.Errorf("last change is %+v", e.Last)
			}
		})
	}
	_, err := c.Commit(ctx, Change{Tenant: "shop", Base: 1, Put: storetest.Resources(a)})
	want := "shop is at generation 2, not 1: bob changed shop/Site/a at 2026-02-03 04:05:06Z; plan the change anew"
	if err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	if heads, _ := c.Heads(ctx); heads["shop"] != 2 || len(heads) != 2 {
		t.Errorf("refused changes left %v", heads)
	}
	mustCommit(t, c, Change{Tenant: "shop", Base: 2, Reads: map[string]state.Generation{spec.Platform: 1, "nobody": 0},
		Put: storetest.Resources(a)})
}

func TestCommitRefusesNonsense(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	a := storetest.Site("shop", "a", "EU")
	const once = "a change of shop holds each of that tenant's resources once at most" // etcd's own words for it name no resource
	for name, tc := range map[string]struct {
		ch   Change
		want string
	}{
		"no tenant":      {Change{Put: storetest.Resources(a)}, ""},
		"nothing":        {Change{Tenant: "shop"}, ""},
		"other tenant's": {Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("other", "a", "EU"))}, once},
		"twice":          {Change{Tenant: "shop", Put: storetest.Resources(a, a)}, once},
		"put and delete": {Change{Tenant: "shop", Put: storetest.Resources(a), Delete: []spec.Key{a.Key}}, once},
	} {
		if _, err := c.Commit(ctx, tc.ch); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
	if heads, err := c.Heads(ctx); err != nil || len(heads) != 0 {
		t.Errorf("heads %v, %v", heads, err)
	}
}

func TestOneOfManyConcurrentCommitsWins(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	const writers, rounds = 4, 5
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for won := 0; won < rounds; {
				heads, err := c.Heads(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				_, err = c.Commit(ctx, Change{Tenant: "shop", Base: heads["shop"],
					Put: storetest.Resources(storetest.Site("shop", fmt.Sprint(w), fmt.Sprint(won)))})
				var e *ConflictError
				switch {
				case err == nil:
					won++
				case !errors.As(err, &e):
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	history, err := c.History(ctx, "shop", 0)
	if err != nil || len(history) != writers*rounds {
		t.Errorf("%d generations (%v), want %d", len(history), err, writers*rounds)
	}
}

func TestThousandsOfResourcesInOneGeneration(t *testing.T) {
	t.Parallel()
	c, ctx := testClient(t), storetest.Context(t)
	c.link.Wait.Attempt, c.link.Wait.Call = storetest.Within/2, storetest.Within/2 // 12 MB take long on a busy machine
	var put []*spec.Resource
	for i := range 3000 {
		r := &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindMonitor, Name: fmt.Sprintf("m%04d", i)},
			Spec: &spec.Monitor{Type: "http", Body: strings.Repeat(fmt.Sprintf("%04d", i), 1000)}}
		put = append(put, r)
	}
	f := follow(t, c, nil)
	f.untilState(state.Current)
	mustCommit(t, c, Change{Tenant: "shop", Put: put})
	s, err := c.Read(ctx, "shop", 0)
	if err != nil || s.Resources.Len() != len(put) {
		t.Fatalf("%d resources, %v", s.Resources.Len(), err)
	}
	f.untilHead("shop", 1)
	for _, u := range f.told() {
		for _, tu := range u.Tenants {
			if tu.Head == 1 && len(tu.Put) != len(put) {
				t.Errorf("generation 1 came with %d of %d resources", len(tu.Put), len(put))
			}
		}
	}
}

func TestTooLargeAChange(t *testing.T) {
	t.Parallel()
	c, ctx := testClient(t), storetest.Context(t)
	many := make([]*spec.Resource, MaxChangeOps+1)
	for i := range many {
		many[i] = storetest.Site("shop", fmt.Sprint(i), "EU")
	}
	huge := storetest.Zone("big.example.", strings.Repeat("big.example.\t300\tIN\tTXT\t\"0123456789\"\n", MaxChangeBytes/37))
	huge.Spec.(*spec.Zone).Nameservers = []string{strings.Repeat("x", MaxChangeBytes)}
	for name, ch := range map[string]Change{
		"writes": {Tenant: "shop", Put: many},
		"bytes":  {Tenant: spec.Platform, Put: storetest.Resources(huge)},
	} {
		_, err := c.Commit(ctx, ch)
		var e *TooLargeError
		if !errors.As(err, &e) || e.MaxOps != MaxChangeOps || e.MaxBytes != MaxChangeBytes {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMuchZoneContentIsWrittenBefore has a zone come whose content any etcd would refuse in one transaction.
func TestMuchZoneContentIsWrittenBefore(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	want := storetest.ZoneText(40000, nil)
	if _, err := c.Commit(ctx, Change{Tenant: spec.Platform, Put: storetest.Resources(storetest.Zone("big.example.", want))}); err != nil {
		t.Fatal(err)
	}
	resp, err := c.link.Etcd.Get(ctx, c.keys.Join("config", ""), clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	sizes, heads := map[int64]int{}, map[int64]bool{}
	for _, kv := range resp.Kvs {
		sizes[kv.ModRevision] += len(kv.Key) + len(kv.Value)
		if strings.HasPrefix(string(kv.Key), c.keys.Heads()) {
			heads[kv.ModRevision] = true
		}
	}
	for rev, size := range sizes {
		if size > 1<<20+textBatch*128 {
			t.Errorf("revision %d has %d bytes", rev, size)
		}
		if rev > resp.Header.Revision || heads[rev] != (rev == resp.Header.Revision) {
			t.Errorf("revision %d of %d: head %v", rev, resp.Header.Revision, heads[rev])
		}
	}
	if len(sizes) < len(want)>>20 {
		t.Errorf("%d bytes in %d revisions", len(want), len(sizes))
	}
	state, err := c.Read(ctx, spec.Platform, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := state.Resources.Get(spec.Key{Tenant: spec.Platform, Kind: spec.KindZone,
		Name: "big.example."}); got.Resource.Spec.(*spec.Zone).Content != want {
		t.Error("other content came back")
	}
}

// TestZoneContentTakesNoRoomFromResources: where a generation's resources fit a transaction of etcd's defaults (128 writes, 1.5 MB),
// content that is new with them must not make it larger than that: a cluster with the defaults would refuse it.
func TestZoneContentTakesNoRoomFromResources(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	many := Change{Tenant: spec.Platform}
	for i := range 80 {
		many.Put = append(many.Put, storetest.Zone(fmt.Sprintf("many%d.example.", i),
			storetest.ZoneText(3, map[int]string{0: fmt.Sprint(i)})))
	}
	long := Change{Tenant: spec.Platform, Put: storetest.Resources(storetest.Zone("long.example.", storetest.ZoneText(8000, nil)))}
	for i := range 10 {
		long.Put = append(long.Put, storetest.Site(spec.Platform, fmt.Sprint(i), strings.Repeat("x", 100_000)))
	}
	for name, ch := range map[string]Change{"many zones": many, "long resources": long} {
		d, err := c.draft(ch, identity{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.addTexts(ctx, d); err != nil {
			t.Fatal(err)
		}
		if len(d.ops) > 128 || d.bytes > 3<<19 {
			t.Errorf("%s: a transaction of %d writes and %d bytes", name, len(d.ops), d.bytes)
		}
		if absent, err := c.missing(ctx, d.runs); err != nil || len(d.ops) == len(ch.Put)+2 && len(absent) > 0 {
			t.Errorf("%s: %d runs are neither written nor in the transaction, %v", name, len(absent), err)
		}
	}
}

func TestZoneContentIsStoredByDifference(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	texts := func() int64 {
		resp, err := c.link.Etcd.Get(ctx, c.keys.Join("config", "text", ""), clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			t.Fatal(err)
		}
		return resp.Count
	}
	first := storetest.ZoneText(20000, nil)
	mustCommit(t, c, Change{Tenant: spec.Platform, Put: storetest.Resources(storetest.Zone("big.example.", first))})
	before := texts()
	if before < 20 {
		t.Errorf("%d bytes in %d runs", len(first), before)
	}
	second := storetest.ZoneText(20000, map[int]string{7777: "192.0.2.1"})
	mustCommit(t, c, Change{Tenant: spec.Platform, Base: 1, Put: storetest.Resources(storetest.Zone("big.example.", second))})
	if now := texts(); now != before+1 {
		t.Errorf("one changed name wrote %d runs of %d", now-before, before)
	}
	for at, want := range map[state.Generation]string{1: first, 2: second} {
		// A client with an empty cache has to read the runs.
		fresh := openTest(t, Config{Endpoints: []string{sharedEndpoint(t)}, Prefix: c.cfg.Prefix})
		s, err := fresh.Read(ctx, spec.Platform, at)
		if err != nil {
			t.Fatal(err)
		}
		key := spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: "big.example."}
		v, _ := s.Resources.Get(key)
		if got := v.Resource.Spec.(*spec.Zone).Content; got != want {
			t.Errorf("generation %d: the content differs (%d bytes, want %d)", at, len(got), len(want))
		}
	}
}
