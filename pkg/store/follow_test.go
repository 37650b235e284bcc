package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/link"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/storetest"
)

// sameAsRead compares what was followed with what a plain read gives, which is the oracle.
func (f *following) sameAsRead(c *Client) {
	f.t.Helper()
	ctx := storetest.Context(f.t)
	heads, err := c.Heads(ctx)
	if err != nil {
		f.t.Fatal(err)
	}
	for tenant, head := range heads {
		f.untilHead(tenant, head)
		want, err := c.Read(ctx, tenant, 0)
		if err != nil {
			f.t.Fatal(err)
		}
		if diff := cmp.Diff(storetest.Plain(want), storetest.Plain(f.mirror.Tenant(tenant)), noDigest); diff != "" {
			f.t.Errorf("%s (-read +followed):\n%s", tenant, diff)
		}
	}
}

func put(t testing.TB, c *Client, key, value string) {
	t.Helper()
	if _, err := c.link.Etcd.Put(storetest.Context(t), key, value); err != nil {
		t.Fatal(err)
	}
}

func compact(t testing.TB, c *Client) {
	t.Helper()
	ctx := storetest.Context(t)
	resp, err := c.link.Etcd.Get(ctx, "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.link.Etcd.Compact(ctx, resp.Header.Revision); err != nil {
		t.Fatal(err)
	}
}

func TestFollowTellsEverythingAndThenChanges(t *testing.T) {
	c := testClient(t)
	mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU"), storetest.Site("shop", "b", "EU"))})
	mustCommit(t, c, Change{Tenant: "shop", Base: 1, Delete: []spec.Key{storetest.Site("shop", "b", "").Key}})
	f := follow(t, c, nil)
	f.untilState(state.Current)
	mustCommit(t, c, Change{Tenant: "shop", Base: 2, Put: storetest.Resources(storetest.Site("shop", "c", "AF")),
		Delete: []spec.Key{storetest.Site("shop", "a", "").Key}})
	f.untilHead("shop", 3)
	told := f.told()
	for i := range told {
		told[i].Cursor, told[i].Cluster = 0, 0
	}
	want := []state.Update{
		{Full: true, Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 2,
			Put: []state.Version{{Resource: storetest.Site("shop", "a", "EU"), Generation: 1}}}}},
		{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 3, Put: []state.Version{{Resource: storetest.Site("shop", "c", "AF"),
			Generation: 3}}, Deleted: []spec.Key{storetest.Site("shop", "a", "").Key}}}},
	}
	if diff := cmp.Diff(want, told, noDigest); diff != "" {
		t.Errorf("-want +told:\n%s", diff)
	}
}

func TestFollowAgainstReadingOverRandomChanges(t *testing.T) {
	c := testClient(t)
	f := follow(t, c, nil)
	f.untilState(state.Current)
	rng := rand.New(rand.NewPCG(3, 4))
	heads := map[string]state.Generation{}
	for i := range 150 {
		tenant := fmt.Sprint("t", rng.IntN(3))
		ch := Change{Tenant: tenant, Base: heads[tenant]}
		for _, n := range rng.Perm(8)[:1+rng.IntN(4)] {
			if rng.IntN(3) == 0 {
				ch.Delete = append(ch.Delete, storetest.Site(tenant, fmt.Sprint(n), "").Key)
			} else {
				ch.Put = append(ch.Put, storetest.Site(tenant, fmt.Sprint(n), fmt.Sprint(i)))
			}
		}
		heads[tenant] = mustCommit(t, c, ch).Generation
		if i%40 == 20 {
			f.stop()
			f = follow(t, c, nil)
		}
		if i%50 == 30 {
			compact(t, c)
		}
	}
	f.sameAsRead(c)
}

func TestFollowHoldsZonesAndVerdicts(t *testing.T) {
	c := testClient(t)
	f := follow(t, c, nil)
	f.untilState(state.Current)
	mustCommit(t, c, Change{Tenant: spec.Platform, Put: storetest.Resources(storetest.Zone("big.example.", storetest.ZoneText(3000, nil)))})
	mustCommit(t, c, Change{Tenant: spec.Platform, Base: 1, Put: storetest.Resources(storetest.Zone("big.example.",
		storetest.ZoneText(3000, map[int]string{5: "192.0.2.9"})))})
	f.untilHead(spec.Platform, 2)
	f.sameAsRead(c)

	v := storetest.VerdictOf("shop", "eu", 0.5)
	value, _ := state.MarshalPlain(v)
	put(t, c, c.keys.Verdict(v.Pool), string(value))
	f.until("the verdict", func() bool { return f.mirror.Verdicts()[v.Pool].Judge == "p1" })
	put(t, c, c.keys.Verdict(v.Pool), "{broken")
	put(t, c, c.keys.Verdict(health.PoolID{Tenant: "shop", Pool: "us"}), string(value)) // another pool's
	w := storetest.VerdictOf("shop", "sg", 1)
	value, _ = state.MarshalPlain(w)
	put(t, c, c.keys.Verdict(w.Pool), string(value))
	f.until("the next verdict", func() bool { return len(f.mirror.Verdicts()) == 2 })
	if diff := cmp.Diff(map[health.PoolID]health.Verdict{v.Pool: v, w.Pool: w}, f.mirror.Verdicts()); diff != "" {
		t.Errorf("-want +held:\n%s", diff)
	}
	if _, err := c.link.Etcd.Delete(storetest.Context(t), c.keys.Verdict(v.Pool)); err != nil {
		t.Fatal(err)
	}
	f.until("the verdict's end", func() bool { return len(f.mirror.Verdicts()) == 1 })
}

func TestBrokenResourceHarmsNothingElse(t *testing.T) {
	c := testClient(t)
	a, b := storetest.Site("shop", "a", "EU"), storetest.Site("shop", "b", "EU")
	mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(a, b)})
	f := follow(t, c, nil)
	f.untilState(state.Current)
	broken := func(n int) func() bool {
		return func() bool {
			last := f.all[len(f.all)-1]
			return len(last.Tenants) == 1 && len(last.Tenants[0].Broken) == n && last.Tenants[0].Broken[0].Key == a.Key
		}
	}
	put(t, c, c.keys.Version(a.Key, 1), `{"resource": {"kind": nonsense`) // over what is in force
	f.until("a broken version", broken(1))
	if got := regionOf(t, f.mirror.Tenant("shop"), "a"); got != "EU" {
		t.Errorf("the broken resource is held as %q", got)
	}
	// By hand, in two steps: a version that waits for its head, and is another resource's.
	put(t, c, c.keys.Version(a.Key, 2), `{"resource":{"kind":"Site","tenant":"shop","name":"zzz","spec":{}}}`)
	put(t, c, c.keys.Head("shop"), "2")
	f.untilHead("shop", 2)
	f.until("another broken version", broken(1))
	put(t, c, c.keys.Version(spec.Key{Tenant: "shop", Kind: "Gizmo", Name: "g"}, 2),
		`{"resource":{"kind":"Gizmo","tenant":"shop","name":"g","spec":{}}}`)
	put(t, c, c.keys.Join("config", "res", "shop", "Site", "odd"), "x")
	mustCommit(t, c, Change{Tenant: "shop", Base: 2, Put: storetest.Resources(storetest.Site("shop", "b", "AF"))})
	f.untilHead("shop", 3)
	if s := f.mirror.Tenant("shop"); regionOf(t, s, "a") != "EU" || regionOf(t, s, "b") != "AF" {
		t.Errorf("held: %+v", s)
	}
	if _, err := c.Read(storetest.Context(t), "shop", 0); err == nil || !strings.Contains(err.Error(), "shop/") {
		t.Errorf("Read of a broken state: %v", err)
	}
	again := follow(t, c, nil)
	again.untilState(state.Current)
	if full := again.told()[0]; len(full.Tenants) != 1 || len(full.Tenants[0].Broken) != 1 || len(full.Tenants[0].Put) != 2 {
		t.Errorf("a fresh start is told %+v", full.Tenants)
	}
	mustCommit(t, c, Change{Tenant: "shop", Base: 3, Put: storetest.Resources(storetest.Site("shop", "a", "AS"))})
	f.untilHead("shop", 4)
	if got := regionOf(t, f.mirror.Tenant("shop"), "a"); got != "AS" {
		t.Errorf("after the repair: %q", got)
	}
}

// While the follower is cut off, resources are changed and deleted and the history is compacted away.
func TestCompactionUnderTheWatch(t *testing.T) {
	direct := testClient(t)
	p := newProxy(t, strings.TrimPrefix(sharedEndpoint(t), "unix://"))
	c := openTest(t, Config{Endpoints: []string{"http://" + p.addr}, Prefix: direct.cfg.Prefix})
	a, b := storetest.Site("shop", "a", "EU"), storetest.Site("shop", "b", "EU")
	mustCommit(t, direct, Change{Tenant: "shop", Put: storetest.Resources(a, b, storetest.Site("shop", "c", "EU"))})
	gone := storetest.VerdictOf("shop", "gone", 1)
	value, _ := state.MarshalPlain(gone)
	put(t, direct, direct.keys.Verdict(gone.Pool), string(value))
	f := follow(t, c, nil)
	f.untilState(state.Current)
	p.blackhole()
	f.untilState(state.Stale)
	mustCommit(t, direct, Change{Tenant: "shop", Base: 1, Put: storetest.Resources(storetest.Site("shop", "a", "AF")),
		Delete: []spec.Key{b.Key}})
	mustCommit(t, direct, Change{Tenant: "shop", Base: 2, Put: storetest.Resources(storetest.Site("shop", "a", "AS"))})
	if _, err := direct.link.Etcd.Delete(storetest.Context(t), direct.keys.Verdict(gone.Pool)); err != nil {
		t.Fatal(err)
	}
	compact(t, direct)
	p.open()
	f.untilHead("shop", 3)
	f.untilState(state.Current)
	f.sameAsRead(direct)
	if n := len(f.mirror.Verdicts()); n != 0 {
		t.Errorf("%d verdicts are held, want none", n)
	}
	delta := f.told()[1]
	if want := (state.TenantUpdate{Tenant: "shop", Head: 3, Put: []state.Version{{Resource: storetest.Site("shop", "a", "AS"),
		Generation: 3}}, Deleted: []spec.Key{b.Key}}); delta.Full || !cmp.Equal(delta.Tenants, []state.TenantUpdate{want}, noDigest) {
		t.Errorf("told %+v, want %+v", delta, want)
	}
}

func TestBlackholedConnectionIsNoticedAndSurvived(t *testing.T) {
	t.Parallel()
	direct := testClient(t)
	p := newProxy(t, strings.TrimPrefix(sharedEndpoint(t), "unix://"))
	c := openTest(t, Config{Endpoints: []string{"http://" + p.addr}, Prefix: direct.cfg.Prefix})
	mustCommit(t, direct, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU"))})
	f := follow(t, c, nil)
	f.untilState(state.Current)
	p.blackhole()
	if s := f.untilState(state.Stale); !strings.Contains(s.Err, "no sign of life") || !strings.Contains(s.Err, p.addr) {
		t.Errorf("status %+v", s)
	}
	mustCommit(t, direct, Change{Tenant: "shop", Base: 1, Put: storetest.Resources(storetest.Site("shop", "a", "AF"))})
	p.open()
	f.untilHead("shop", 2)
	f.untilState(state.Current)
	if told := f.told(); len(told) != 2 || told[1].Full {
		t.Errorf("it was told anew what it knew: %+v", told)
	}
}

// The same data folder, with older content: same cluster, lower revision.
func TestRestoredStoreIsRefusedUntilAccepted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	live, old := filepath.Join(dir, "live"), filepath.Join(dir, "old")
	child := startTestChild(t, live)
	c := openTest(t, Config{Endpoints: []string{child.Endpoint()}})
	mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU"))})
	child.Stop()
	storetest.CopyDir(t, live, old)
	child = startTestChild(t, live)
	mustCommit(t, c, Change{Tenant: "shop", Base: 1, Put: storetest.Resources(storetest.Site("shop", "a", "AF"),
		storetest.Site("shop", "b", "AF"))})
	f := follow(t, c, nil)
	f.untilHead("shop", 2)
	full := f.told()[0]
	child.Stop()
	f.untilState(state.Stale)
	if err := copyDirOver(t, old, live); err != nil {
		t.Fatal(err)
	}
	startTestChild(t, live)
	s := f.untilState(state.Refused)
	if !strings.Contains(s.Err, "shop is at generation 1, but was at 2") || !strings.Contains(s.Err, "gtmctl store accept") {
		t.Errorf("status %+v", s)
	}
	late := follow(t, c, full.Position()) // as after a restart, from a snapshot
	late.untilState(state.Refused)
	if n := len(f.told()); n != 1 {
		t.Errorf("%d updates were told, want the first alone", n)
	}
	if err := c.Accept(storetest.Context(t), "ann"); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*following{f, late} {
		f.untilState(state.Current)
		told := f.told()
		if last := told[len(told)-1]; !last.Full || last.Epoch == 0 || len(last.Tenants) != 1 || last.Tenants[0].Head != 1 {
			t.Errorf("accepted: %+v", last)
		}
	}
	f.sameAsRead(c)
	mustCommit(t, c, Change{Tenant: "shop", Base: 1, Put: storetest.Resources(storetest.Site("shop", "a", "OC"))})
	f.sameAsRead(c)
}

func copyDirOver(t *testing.T, from, to string) error {
	t.Helper()
	if err := removeAll(filepath.Join(to, "member")); err != nil {
		return err
	}
	storetest.CopyDir(t, filepath.Join(from, "member"), filepath.Join(to, "member"))
	return nil
}

// TestTheToldCursorMoves with every change, and with what happens elsewhere in etcd.
func TestTheToldCursorMoves(t *testing.T) {
	c := testClient(t)
	f := follow(t, c, nil)
	first := f.untilState(state.Current)
	reaches := func(what string, rev int64) {
		t.Helper()
		f.until(what, func() bool {
			last := f.status[len(f.status)-1]
			return last.Cursor >= rev && last.State == state.Current
		})
	}
	mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU"))})
	f.untilHead("shop", 1)
	told := f.told()
	reaches("the cursor of the change", told[len(told)-1].Cursor)
	resp, err := c.link.Etcd.Put(storetest.Context(t), c.keys.Join("elsewhere"), "x")
	if err != nil {
		t.Fatal(err)
	}
	reaches("the cursor of what is not followed", resp.Header.Revision)
	if last := f.untilState(state.Current); !last.Since.Equal(first.Since) {
		t.Errorf("current since %v, but it was since %v", last.Since, first.Since)
	}
}

func TestHeadThatGoesBackUnderTheWatch(t *testing.T) {
	t.Parallel()
	c := testClient(t)
	mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU"))})
	mustCommit(t, c, Change{Tenant: "shop", Base: 1, Put: storetest.Resources(storetest.Site("shop", "a", "AF"))})
	f := follow(t, c, nil)
	f.untilState(state.Current)
	put(t, c, c.keys.Head("shop"), "1")
	f.untilState(state.Refused)
	if err := c.Accept(storetest.Context(t), "ann"); err != nil {
		t.Fatal(err)
	}
	f.untilState(state.Current)
	f.sameAsRead(c)
	if _, err := c.link.Etcd.Delete(storetest.Context(t), c.keys.Head("shop")); err != nil {
		t.Fatal(err)
	}
	f.untilState(state.Refused)
}

// TestAnEmptyStoreIsNotToBeAccepted: the advice for it is to fill it, since whoever takes it answers nothing more.
func TestAnEmptyStoreIsNotToBeAccepted(t *testing.T) {
	known := &state.Cursor{Epoch: 5, Heads: map[string]state.Generation{"shop": 3}}
	for _, epoch := range []int64{0, 5} {
		err := checkBack(known, epoch, nil)
		if err == nil || strings.Contains(err.Error(), "accept") || !strings.Contains(err.Error(),
			"it is empty; if it is the right one, fill it: gtmctl store rebuild") {
			t.Errorf("epoch %d: %v", epoch, err)
		}
	}
}

func TestCheckBack(t *testing.T) {
	known := &state.Cursor{Cluster: 7, Revision: 100, Epoch: 5, Heads: map[string]state.Generation{"shop": 3}}
	heads := func(g state.Generation) map[string]state.Generation {
		return map[string]state.Generation{"shop": g, "new": 1}
	}
	for _, row := range []struct {
		name   string
		known  *state.Cursor
		here   link.Mark
		epoch  int64
		heads  map[string]state.Generation
		refuse bool
	}{
		{"nothing known", nil, link.Mark{Cluster: 7, Rev: 1}, 0, nil, false},
		{"as it was", known, link.Mark{Cluster: 7, Rev: 100}, 5, heads(3), false},
		{"went on", known, link.Mark{Cluster: 7, Rev: 101}, 5, heads(4), false},
		{"lower head", known, link.Mark{Cluster: 7, Rev: 200}, 5, heads(2), true},
		{"no head", known, link.Mark{Cluster: 7, Rev: 200}, 5, nil, true},
		{"lower revision, of which nothing is followed", known, link.Mark{Cluster: 7, Rev: 99}, 5, heads(3), false},
		{"another cluster, lower revision", known, link.Mark{Cluster: 8, Rev: 9}, 5, heads(3), false},
		{"another cluster, lower head", known, link.Mark{Cluster: 8, Rev: 900}, 5, heads(2), true},
		{"lower epoch", known, link.Mark{Cluster: 7, Rev: 200}, 4, heads(3), true},
		{"accepted", known, link.Mark{Cluster: 7, Rev: 9}, 6, nil, false},
	} {
		if err := checkBack(row.known, row.epoch, row.heads); (err != nil) != row.refuse {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

func TestAcceptIsNewerThanAnyEpochBefore(t *testing.T) {
	c := testClient(t)
	put(t, c, c.keys.Epoch(), "not JSON")
	for range 2 {
		if err := c.Accept(storetest.Context(t), "ann"); err != nil {
			t.Fatal(err)
		}
	}
	epoch, err := c.reader(c.link.Etcd).epoch(storetest.Context(t))
	if err != nil || epoch <= c.cfg.Now().AddDate(-1, 0, 0).UnixMilli() {
		t.Errorf("epoch %d, %v", epoch, err)
	}
}

func TestConsumersErrorEndsFollow(t *testing.T) {
	c := testClient(t)
	stop := errors.New("enough")
	err := c.Follow(storetest.Context(t), FollowConfig{OnUpdate: func(state.Update) error { return stop }})
	if !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(storetest.Context(t))
	err = c.Follow(ctx, FollowConfig{OnUpdate: func(state.Update) error { cancel(); return nil }})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestWatchOfBurstsIsWhole(t *testing.T) {
	t.Parallel()
	c := testClient(t)
	f := follow(t, c, nil)
	f.untilState(state.Current)
	const rounds, size = 20, 200
	for g := range rounds {
		var puts []*spec.Resource
		for i := range size {
			puts = append(puts, storetest.Site("shop", fmt.Sprint(i), fmt.Sprint(g)))
		}
		mustCommit(t, c, Change{Tenant: "shop", Base: state.Generation(g), Put: puts})
	}
	f.untilHead("shop", rounds)
	for _, u := range f.told()[1:] {
		for _, tu := range u.Tenants {
			if len(tu.Put) != size {
				t.Errorf("shop@%d came with %d resources", tu.Head, len(tu.Put))
			}
			for _, v := range tu.Put {
				if v.Generation != tu.Head {
					t.Errorf("shop@%d came with %s@%d", tu.Head, v.Resource.Key, v.Generation)
				}
			}
		}
	}
}
