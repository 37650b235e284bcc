package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/embedded"
	"github.com/gti/gtm/pkg/store/link"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/storetest"
)

// backedUp is an etcd of which there is a backup: its data folder, so that a restored one has the same cluster and member.
type backedUp struct {
	t       *testing.T
	live    string
	old     string
	child   *embedded.Child
	c       *Client
	proxied *Client // the same, through a door that can be shut
	door    *proxy
}

func backUp(t *testing.T, before func(c *Client)) *backedUp {
	t.Helper()
	dir := t.TempDir()
	b := &backedUp{t: t, live: filepath.Join(dir, "live"), old: filepath.Join(dir, "old")}
	b.child = startTestChild(t, b.live)
	b.c = openTest(t, Config{Endpoints: []string{b.child.Endpoint()}})
	b.door = newProxy(t, strings.TrimPrefix(b.child.Endpoint(), "unix://"))
	b.proxied = openTest(t, Config{Endpoints: []string{"http://" + b.door.addr}})
	before(b.c)
	b.child.Stop()
	storetest.CopyDir(t, b.live, b.old)
	b.child = startTestChild(t, b.live)
	return b
}

func (b *backedUp) restore() {
	b.t.Helper()
	b.child.Stop()
	if err := copyDirOver(b.t, b.old, b.live); err != nil {
		b.t.Fatal(err)
	}
	b.child = startTestChild(b.t, b.live)
}

// restart lets every connection begin anew, as a change of the leader does.
func (b *backedUp) restart() {
	b.t.Helper()
	b.child.Stop()
	b.child = startTestChild(b.t, b.live)
}

func (b *backedUp) accept() {
	b.t.Helper()
	if err := b.c.Accept(storetest.Context(b.t), "ann"); err != nil {
		b.t.Fatal(err)
	}
}

// pass writes n keys that nobody follows.
func pass(t *testing.T, c *Client, n int) (rev int64) {
	t.Helper()
	for i := range n {
		resp, err := c.link.Etcd.Put(storetest.Context(t), c.keys.Join("world", "elsewhere"), fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		rev = resp.Header.Revision
	}
	return rev
}

func (f *following) untilCursor(rev int64) {
	f.t.Helper()
	f.until(fmt.Sprintf("cursor %d", rev), func() bool {
		last := f.status[len(f.status)-1]
		return last.State == state.Current && last.Cursor >= rev
	})
}

// isBackAfter does something that interrupts, and waits until that is over, which it may be at once.
func (f *following) isBackAfter(interrupt func()) {
	f.t.Helper()
	f.mu.Lock()
	before := len(f.status)
	f.mu.Unlock()
	interrupt()
	f.until("current again", func() bool {
		since := f.status[before:]
		return slices.ContainsFunc(since, func(s state.FollowStatus) bool { return s.State == state.Stale }) &&
			since[len(since)-1].State == state.Current
	})
}

func (f *following) untilRegion(tenant, name, region string) {
	f.t.Helper()
	f.until(tenant+"/"+name+" in "+region, func() bool { return regionOf(f.t, f.mirror.Tenant(tenant), name) == region })
}

func (f *following) wasRefused() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.status {
		if s.State == state.Refused {
			return true
		}
	}
	return false
}

// After a restore was accepted, what was followed of the old store must not make followers wait for revisions that the restored one
// will have much later.
func TestRestoreOlderThanTheCursorIsHeard(t *testing.T) {
	t.Parallel()
	b := backUp(t, func(c *Client) {
		mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU"))})
	})
	f := follow(t, b.c, nil)
	for g := range state.Generation(5) {
		mustCommit(t, b.c, Change{Tenant: "shop", Base: 1 + g, Put: storetest.Resources(storetest.Site("shop", "a", fmt.Sprint("old", g)))})
	}
	f.untilHead("shop", 6)
	f.untilCursor(pass(t, b.c, 100))
	b.restore()
	f.untilState(state.Refused)
	b.accept()
	f.untilState(state.Current)
	f.untilRegion("shop", "a", "EU")
	f.untilCursor(pass(t, b.c, 1)) // it watches: one that is still about to would meet the restarted etcd first, and have nothing to tell
	f.isBackAfter(b.restart)
	mustCommit(t, b.c, Change{Tenant: "shop", Base: 1, Put: storetest.Resources(storetest.Site("shop", "a", "new"))})
	f.untilRegion("shop", "a", "new")
	f.sameAsRead(b.c)
}

// A backup that lacks nothing but what nobody follows has not gone back, and the watch must not wait for the revision that was told.
func TestBackupThatLacksOnlyWhatNobodyFollows(t *testing.T) {
	t.Parallel()
	b := backUp(t, func(c *Client) {
		mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU"))})
	})
	f, cut := follow(t, b.c, nil), follow(t, b.proxied, nil)
	rev := pass(t, b.c, 100)
	f.untilCursor(rev)
	cut.untilCursor(rev)
	b.door.blackhole()
	f.isBackAfter(b.restore)
	mustCommit(t, b.c, Change{Tenant: "shop", Base: 1, Put: storetest.Resources(storetest.Site("shop", "a", "AF"))})
	pass(t, b.c, 200) // past what cut was told, which so cannot see by the revision that it was another history
	b.door.open()
	for _, f := range []*following{f, cut} {
		f.untilRegion("shop", "a", "AF")
		f.sameAsRead(b.c)
		if f.wasRefused() {
			t.Error("it was refused")
		}
	}
}

// Numbers that have caught up must not make a store that went back the one that was known: not for a follower that was cut off
// meanwhile, not for one that starts from its snapshot, not for a change that was planned on the old one.
func TestStoreThatWentBackAndCaughtUpIsRefused(t *testing.T) {
	t.Parallel()
	change := func(c *Client, base state.Generation, region, author string) state.Record {
		return mustCommit(t, c, Change{Tenant: "shop", Base: base, Put: storetest.Resources(storetest.Site("shop", "a", region)),
			Author: author})
	}
	b := backUp(t, func(c *Client) { change(c, 0, "EU", "ann") })
	lost := change(b.c, 1, "AF", "ann")
	has := settled(t, b.c)
	f := follow(t, b.proxied, nil)
	f.untilHead("shop", 2)
	pass(t, b.c, 3)
	b.door.blackhole()
	b.restore()
	for g, region := range []string{"AS", "OC", "SA"} {
		change(b.c, state.Generation(g)+1, region, "bob")
	}
	pass(t, b.c, 10)
	b.door.open()
	late := followFrom(t, b.c, has.Position(), has)
	for _, f := range []*following{f, late} {
		const why = "shop@2 in the store is not the shop@2 that was known: it was changed by bob at 2026-02-03 04:05:06Z"
		if s := f.untilState(state.Refused); !strings.Contains(s.Err, why) {
			t.Errorf("status %+v", s)
		}
		if got := regionOf(t, f.mirror.Tenant("shop"), "a"); got != "AF" {
			t.Errorf("what went back was taken: %s", got)
		}
	}
	ids := map[string]string{"shop": lost.ID}
	_, err := b.c.Commit(storetest.Context(t), Change{Tenant: "shop", Base: 2, IDs: ids,
		Put: storetest.Resources(storetest.Site("shop", "a", "NA"))})
	var back *state.WentBackError
	if !errors.As(err, &back) {
		t.Errorf("a change that was planned on the lost generation: %v", err)
	}
	_, err = b.c.Commit(storetest.Context(t), Change{Tenant: "other", Reads: map[string]state.Generation{"shop": 2}, IDs: ids,
		Put: storetest.Resources(storetest.Site("other", "a", "NA"))})
	if !errors.As(err, &back) {
		t.Errorf("a change that relies on the lost generation: %v", err)
	}
	b.accept()
	for _, f := range []*following{f, late} {
		f.untilState(state.Current)
		f.untilRegion("shop", "a", "SA")
		f.sameAsRead(b.c)
	}
}

// A connection that breaks is made anew at once, by etcd's client itself. A store that was restored meanwhile and has come as far again is
// noticed all the same.
func TestAWatchIsNotResumedInARestoredStore(t *testing.T) {
	t.Parallel()
	b := backUp(t, func(c *Client) {
		mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU"))})
	})
	mustCommit(t, b.c, Change{Tenant: "shop", Base: 1, Put: storetest.Resources(storetest.Site("shop", "b", "AF"))})
	b.proxied.link.Wait.Stall = storetest.Within // silence would tell as well
	f := follow(t, b.proxied, nil)
	f.untilHead("shop", 2)
	b.door.close()
	b.restore()
	for g := range state.Generation(3) {
		mustCommit(t, b.c, Change{Tenant: "shop", Base: g + 1, Put: storetest.Resources(storetest.Site("shop", "a", "AS")), Author: "bob"})
	}
	b.door.open()
	f.untilState(state.Refused)
	if got := regionOf(t, f.mirror.Tenant("shop"), "a"); got != "EU" {
		t.Errorf("a change of the restored store was taken: %s", got)
	}
}

// Verdicts have no generations: where the store lost some, followers take what it has, whatever revisions say.
func TestVerdictsOfAStoreThatWentBack(t *testing.T) {
	t.Parallel()
	up, down, gone := storetest.VerdictOf("shop", "w1", 1), storetest.VerdictOf("shop", "w1", 0), storetest.VerdictOf("shop", "w2", 1)
	b := backUp(t, func(c *Client) {
		mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU"))})
		putVerdicts(t, c, up)
	})
	f := follow(t, b.proxied, nil)
	f.untilState(state.Current)
	putVerdicts(t, b.c, down, gone)
	f.until("both verdicts", func() bool { return len(f.mirror.Verdicts()) == 2 && f.mirror.Verdicts()[up.Pool].Equal(down) })
	b.door.blackhole()
	b.restore()
	pass(t, b.c, 20)
	b.door.open()
	f.until("the store's verdicts", func() bool { return len(f.mirror.Verdicts()) == 1 && f.mirror.Verdicts()[up.Pool].Equal(up) })
	if f.wasRefused() {
		t.Error("it was refused")
	}
}

// A pulse is like no other, also where everything else in two histories is the same.
func TestPulseTellsHistoriesApart(t *testing.T) {
	t.Parallel()
	v := storetest.VerdictOf("shop", "w1", 0)
	pulse := func(c *Client, nonce string) {
		put(t, c, c.keys.Pulse(), fmt.Sprintf(`{"judge":"p1","nonce":%q}`, nonce))
	}
	b := backUp(t, func(c *Client) {
		mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU"))})
	})
	f := follow(t, b.proxied, nil)
	f.untilState(state.Current)
	putVerdicts(t, b.c, v)
	pulse(b.c, "one")
	putVerdicts(t, b.c, storetest.VerdictOf("shop", "w9", 1))
	f.until("the verdicts", func() bool { return len(f.mirror.Verdicts()) == 2 })
	b.door.blackhole()
	b.restore()
	pass(t, b.c, 1) // where w1's verdict was
	pulse(b.c, "two")
	putVerdicts(t, b.c, storetest.VerdictOf("shop", "w9", 1))
	b.door.open()
	f.until("the loss of w1's verdict", func() bool { return len(f.mirror.Verdicts()) == 1 })
}

func TestIDsCoverAllThatLedToAGeneration(t *testing.T) {
	t.Parallel()
	ids := map[string]bool{}
	for _, first := range []string{"EU", "EU", "AF"} {
		c := testClient(t)
		one := mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "b", first))})
		two := mustCommit(t, c, Change{Tenant: "shop", Base: 1, Put: storetest.Resources(storetest.Site("shop", "a", "EU"))})
		ids[one.ID], ids[two.ID] = true, true
		state, err := c.Read(storetest.Context(t), "shop", 0)
		if err != nil || state.ID != two.ID {
			t.Errorf("Read gives the ID %q, want %q (%v)", state.ID, two.ID, err)
		}
		history, err := c.History(storetest.Context(t), "shop", 0)
		if err != nil || history[0].ID != two.ID || history[1].ID != one.ID {
			t.Errorf("history %+v, %v", history, err)
		}
		f := follow(t, c, nil)
		f.untilHead("shop", 2)
		if got := f.mirror.Tenant("shop").ID; got != two.ID {
			t.Errorf("the whole state comes with %q, want %q", got, two.ID)
		}
		three := mustCommit(t, c, Change{Tenant: "shop", Base: 2, Put: storetest.Resources(storetest.Site("shop", "a", "AS"))})
		f.untilHead("shop", 3)
		if got := f.mirror.Tenant("shop").ID; got != three.ID {
			t.Errorf("a change comes with %q, want %q", got, three.ID)
		}
		if got := settled(t, c).Position().IDs["shop"]; got != three.ID {
			t.Errorf("the snapshot holds %q, want %q", got, three.ID)
		}
	}
	if len(ids) != 4 || ids[""] {
		t.Errorf("IDs %v, want two of each of two histories", ids)
	}
}

// Records of older programs have digests that cover nothing before, or none.
func TestRecordsWithoutIDs(t *testing.T) {
	c := testClient(t)
	mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU"))})
	put(t, c, c.keys.Record("shop", 1), `{"tenant":"shop","generation":1,"time":"2026-02-03T04:05:06Z","author":"ann"}`)
	has := settled(t, c)
	if id := has.Position().IDs["shop"]; id != "" {
		t.Errorf("ID %q", id)
	}
	mustCommit(t, c, Change{Tenant: "shop", Base: 1, Put: storetest.Resources(storetest.Site("shop", "a", "AF"))})
	f := followFrom(t, c, has.Position(), has)
	f.untilHead("shop", 2)
	if f.mirror.Tenant("shop").ID == "" || f.wasRefused() {
		t.Error("the next generation has no ID, or the store was refused")
	}
}

// As long as etcd shows the witnesses, a lost connection costs no reading of everything.
func TestResumingReadsNothingAnew(t *testing.T) {
	t.Parallel()
	direct := testClient(t)
	p := newProxy(t, strings.TrimPrefix(sharedEndpoint(t), "unix://"))
	c := openTest(t, Config{Endpoints: []string{"http://" + p.addr}, Prefix: direct.cfg.Prefix})
	mustCommit(t, direct, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU"))})
	f := follow(t, c, nil)
	f.untilState(state.Current)
	putVerdicts(t, direct, storetest.VerdictOf("shop", "gone", 1), storetest.VerdictOf("shop", "w1", 1))
	f.until("the verdicts", func() bool { return len(f.mirror.Verdicts()) == 2 })
	if _, err := direct.link.Etcd.Delete(storetest.Context(t),
		direct.keys.Verdict(health.PoolID{Tenant: "shop", Pool: "gone"})); err != nil {
		t.Fatal(err)
	}
	f.until("the end of one", func() bool { return len(f.mirror.Verdicts()) == 1 })
	p.blackhole()
	f.untilState(state.Stale)
	mustCommit(t, direct, Change{Tenant: "shop", Base: 1, Put: storetest.Resources(storetest.Site("shop", "a", "AF"))})
	putVerdicts(t, direct, storetest.VerdictOf("shop", "w2", 1))
	p.open()
	f.untilHead("shop", 2)
	f.until("the verdict", func() bool { return len(f.mirror.Verdicts()) == 2 })
	f.sameAsRead(direct)
	if got := testutil.ToFloat64(c.metrics.resyncs); got != 1 {
		t.Errorf("everything was read %v times, want once", got)
	}
}

// An epoch that is written again as it was, or that is garbage, changes nothing, and freezes nobody.
func TestEpochRewrittenWithEqualValue(t *testing.T) {
	c := testClient(t)
	mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "0"))})
	put(t, c, c.keys.Epoch(), `{"epoch":7}`)
	f := follow(t, c, nil)
	f.untilState(state.Current)
	for i, epoch := range []string{`{"epoch":7}`, `{"epoch":7,"author":"ann"}`, `{"ep`, `{"epoch":-3}`, "", `{"epoch":7}`} {
		put(t, c, c.keys.Epoch(), epoch)
		region := fmt.Sprint(i + 1)
		mustCommit(t, c, Change{Tenant: "shop", Base: state.Generation(i) + 1,
			Put: storetest.Resources(storetest.Site("shop", "a", region))})
		f.untilRegion("shop", "a", region)
	}
	if got := testutil.ToFloat64(c.metrics.resyncs); got != 1 {
		t.Errorf("everything was read %v times, want once", got)
	}
	put(t, c, c.keys.Epoch(), "garbage")
	again := follow(t, c, nil)
	again.untilState(state.Current)
	late := followFrom(t, c, settled(t, c).Position(), nil)
	late.untilState(state.Current)
	if err := c.Accept(storetest.Context(t), "ann"); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*following{f, again, late} {
		f.until("the accepted state", func() bool { u := f.all[len(f.all)-1]; return u.Full && u.Epoch > 7 })
	}
}

// Whatever leads to reading anew again and again without getting on is told, instead of "current".
func TestReadingAnewWithoutEndIsTold(t *testing.T) {
	t.Parallel()
	c := testClient(t)
	from, to := c.keys.Followed()
	put(t, c, c.keys.Epoch(), "first")
	resp, err := c.link.Etcd.Get(storetest.Context(t), c.keys.Epoch())
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, c.keys.Epoch(), "second")
	at := link.Mark{Cluster: resp.Header.ClusterId, Rev: resp.Header.Revision}
	states := make(chan state.FollowStatus, 1000)
	lost := 0
	fd := &link.Feed{Link: c.link, From: from, To: to,
		Begin:  func(context.Context, *clientv3.Client) (link.Mark, error) { return at, nil },
		Events: func(context.Context, []*clientv3.Event) error { return link.ErrReadAnew },
		Lost:   func() { lost++ },
		Status: func(now string, err error) {
			s := state.FollowStatus{State: now}
			if err != nil {
				s.Err = err.Error()
			}
			states <- s
		}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- fd.Run(ctx) }()
	stale := 0
	for timeout := time.After(storetest.Within); stale < 3; {
		select {
		case s := <-states:
			switch {
			case s.State == state.Stale && strings.Contains(s.Err, link.ErrReadAnew.Error()):
				stale++
			case stale > 0 && s.State != state.Stale: // a slow etcd has other reasons to be stale
				t.Errorf("it is %s again: %s", s.State, s.Err)
			}
		case <-timeout:
			t.Fatal("it is never told")
		}
	}
	cancel()
	<-done
	if lost <= 5 {
		t.Errorf("everything was to be compared %d times", lost)
	}
}

// A head that is gone is one that went back, not one that is damaged; and the right store is taken again without an acceptance.
func TestHeadThatIsGoneIsNoDamage(t *testing.T) {
	c := testClient(t)
	mustCommit(t, c, Change{Tenant: "other", Put: storetest.Resources(storetest.Site("other", "a",
		"EU"))}) // without it the store would be called empty
	mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU"))})
	f := follow(t, c, nil)
	f.untilState(state.Current)
	if _, err := c.link.Etcd.Delete(storetest.Context(t), c.keys.Head("shop")); err != nil {
		t.Fatal(err)
	}
	if s := f.untilState(state.Refused); !strings.Contains(s.Err, "shop is at generation 0, but was at 1") {
		t.Errorf("status %+v", s)
	}
	put(t, c, c.keys.Head("shop"), "1") // it is the right store after all: no acceptance is needed
	f.untilState(state.Current)
	if _, ok := f.mirror.Tenant("shop").Resources.Get(spec.Key{Tenant: "shop", Kind: spec.KindSite, Name: "a"}); !ok {
		t.Error("the resource is gone")
	}
}
