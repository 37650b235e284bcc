package retention

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/control/audit"
	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/gtmtest/etcds"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// TestTheStoreStaysFlat: of a thousand changes as many stay as the platform says, the audit log has all of them, and what the platform says
// next counts.
func TestTheStoreStaysFlat(t *testing.T) {
	endpoint := etcds.Start(t)
	var day atomic.Int64
	c, stop := start(t, store.Config{Endpoints: []string{endpoint}}, auditDir(t), func() time.Time { return at(int(day.Load())) })
	defer stop()
	ctx := within(t)
	plan, err := c.changer.Plan(ctx, change.Input{Put: []*spec.Resource{kept(20)}, Author: "alice"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.changer.Apply(ctx, plan); err != nil {
		t.Fatal(err)
	}
	for n := range 300 {
		day.Store(int64(n))
		if _, err := c.apply(ctx, "alice", n, nil); err != nil {
			t.Fatal(err)
		}
	}
	day.Add(3)
	oldestIs := func(want state.Generation) {
		t.Helper()
		gtmtest.Eventually(t, fmt.Sprintf("@%d is the oldest", want), func() error {
			if oldest, err := c.store.Oldest(ctx, spec.Platform); err != nil || oldest != want {
				return fmt.Errorf("it is @%d, %v", oldest, err)
			}
			return nil
		})
		wholeFrom(t, c.store)
	}
	oldestIs(301 - 20 + 1)
	records, err := c.store.History(ctx, spec.Platform, 0)
	if err != nil || len(records) != 20 {
		t.Errorf("%d records, %v", len(records), err)
	}
	gone := map[uint64]bool{}
	for _, e := range chained(t, c.audit) {
		for _, g := range e.Generations {
			if e.Act == chain.ActPrune && g.ID != "" && g.Author == "alice" {
				gone[g.Generation] = true
			}
		}
	}
	if len(gone) != 281 {
		t.Errorf("the audit log has %d of the generations that went", len(gone))
	}
	if s := c.keeper.Status(); !s.Pruner || s.Removed != 281 || s.Error != "" || s.Generations != 20 {
		t.Errorf("%+v", s)
	}
	in, err := c.changer.Rollback(ctx, spec.Platform, 100, false)
	var removed *store.RemovedError
	if !errors.As(err, &removed) {
		t.Errorf("a way back to what is gone: %v, %v", in, err)
	}
	if plan, err = c.changer.Plan(ctx, change.Input{Put: []*spec.Resource{kept(5)}, Author: "alice"}); err == nil {
		_, err = c.changer.Apply(ctx, plan)
	}
	if err != nil {
		t.Fatal(err)
	}
	oldestIs(302 - 5 + 1)
}

// TestAControlThatIsKilledLosesNothing: killed anywhere while it changes, notes and cleans up, again and again. No change is half there,
// each that was answered is there and in the audit log, each that is there was asked for in it, and the log is a whole chain.
func TestAControlThatIsKilledLosesNothing(t *testing.T) {
	endpoint, dir := etcds.Start(t), auditDir(t)
	rng := rand.New(rand.NewPCG(21, 22))
	answered := map[uint64]string{}
	next := 0
	client := etcds.Open(t, endpoint)
	{
		c := change.New(change.Config{Store: client})
		plan, err := c.Plan(within(t), change.Input{Put: []*spec.Resource{kept(10)}, Author: "alice"})
		if err == nil {
			_, err = c.Apply(within(t), plan)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	for range 12 {
		// The leases of who was killed are over.
		if _, err := etcd.Delete(within(t), store.DefaultPrefix+"world/prune/", clientv3.WithPrefix()); err != nil {
			t.Fatal(err)
		}
		next = oneLife(t, endpoint, dir, next, 5+rng.IntN(30), time.Duration(rng.IntN(15_000))*time.Microsecond, answered)
		wholeFrom(t, client)
	}
	l, err := audit.Open(audit.Config{Dir: dir, ID: "one"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ids, asked, done := map[uint64]string{}, 0, 0
	for _, e := range chained(t, l) {
		if e.Act == chain.ActChange && e.Outcome == chain.Asked {
			asked++
		}
		for _, g := range e.Generations {
			ids[g.Generation] = g.ID
			if e.Outcome == chain.Done {
				done++
			}
		}
	}
	for g, id := range answered {
		if ids[g] != id {
			t.Errorf("@%d was answered as %s, and is %q in the audit log", g, id, ids[g])
		}
	}
	oldest, head := wholeFrom(t, client)
	if asked < int(head)-1 || done < len(answered) || len(answered) < 100 {
		t.Errorf("%d changes were made, %d answered; the audit log has %d as asked for and %d as done", head, len(answered), asked, done)
	}
	if oldest < 50 {
		t.Errorf("the oldest is @%d of @%d: nothing was cleaned up meanwhile", oldest, head)
	}
	// What was begun is ended by the next one, for good.
	c, stop := start(t, store.Config{Endpoints: []string{endpoint}}, auditDir(t), func() time.Time { return at(1_000_000) })
	defer stop()
	gtmtest.Eventually(t, "what is old is gone", func() error {
		if now, err := c.store.Oldest(within(t), spec.Platform); err != nil || now != head-9 {
			return fmt.Errorf("@%d of @%d is the oldest, %v", now, head, err)
		}
		return nil
	})
	wholeFrom(t, client)
}

// oneLife has a control change until so many were answered, and some time later kills it.
func oneLife(t *testing.T, endpoint, dir string, from, lives int, then time.Duration, answered map[uint64]string) (next int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	process := exec.Command(self, victimWord, endpoint, dir, fmt.Sprint(from))
	var said strings.Builder
	process.Stderr = &said
	stdout, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	watch := time.AfterFunc(gtmtest.Patience, func() { _ = process.Process.Kill() })
	defer watch.Stop()
	next = from + 1
	lines, heard := bufio.NewScanner(stdout), 0
	for lines.Scan() {
		var n int
		var g uint64
		var id string
		if _, err := fmt.Sscan(lines.Text(), &n, &g, &id); err != nil {
			break // the end of a line that was torn
		}
		answered[g], next = id, n+2
		if heard++; heard == lives {
			time.Sleep(then) // anywhere in what comes next
			_ = process.Process.Kill()
		}
	}
	_, _ = io.Copy(io.Discard, stdout)
	_ = process.Wait()
	if heard < lives {
		t.Fatalf("it answered %d of %d changes: %s", heard, lives, said.String())
	}
	return next
}

// TestNothingGoesBySomethingOld: while control does not follow the store, what the platform says may be of before.
func TestNothingGoesBySomethingOld(t *testing.T) {
	endpoint := etcds.Start(t)
	c, stop := start(t, store.Config{Endpoints: []string{endpoint}}, auditDir(t), func() time.Time { return at(0) })
	stop()
	c.store = etcds.Open(t, endpoint)
	c.changer = change.New(change.Config{Store: c.store, Now: func() time.Time { return at(0) }})
	ctx := within(t)
	for n := range 60 {
		if _, err := c.apply(ctx, "alice", n, nil); err != nil {
			t.Fatal(err)
		}
	}
	mirror := state.NewMirror() // which knows of no retention but the default
	followed, end := context.WithCancel(ctx)
	defer end()
	go func() {
		_ = c.store.Follow(followed, store.FollowConfig{OnUpdate: func(u state.Update) error { mirror.Apply(u); return nil }})
	}()
	var looked, current atomic.Int64
	k, err := New(Config{ID: "one", Store: c.store, Mirror: mirror, Pace: quick, Now: func() time.Time { return at(100) },
		Removing: func([]state.Record) error { return nil },
		Current: func() bool {
			looked.Add(1)
			return current.Load() > 0 && mirror.Tenant(spec.Platform).Head == 60
		}})
	if err != nil {
		t.Fatal(err)
	}
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		k.Run(followed)
	}()
	defer func() { end(); <-kept }()
	gtmtest.Eventually(t, "it looked some times", func() error {
		if n := looked.Load(); n < 5 {
			return fmt.Errorf("%d times", n)
		}
		return nil
	})
	if oldest, err := c.store.Oldest(ctx, spec.Platform); err != nil || oldest != 1 {
		t.Errorf("@%d is the oldest, %v", oldest, err)
	}
	current.Store(1)
	gtmtest.Eventually(t, "what is old is gone", func() error {
		if oldest, err := c.store.Oldest(ctx, spec.Platform); err != nil || oldest != 11 { // 50 stay by default
			return fmt.Errorf("@%d is the oldest, %v", oldest, err)
		}
		return nil
	})
}

// TestWhatCannotBeRemovedIsTold, and it is tried again.
func TestWhatCannotBeRemovedIsTold(t *testing.T) {
	endpoint := etcds.Start(t)
	c, stop := start(t, store.Config{Endpoints: []string{endpoint}}, auditDir(t), func() time.Time { return at(100) })
	defer stop()
	ctx := within(t)
	past := change.New(change.Config{Store: c.store, Now: func() time.Time { return at(0) }})
	c.audit.Close() // so that no generation can be noted
	for n := range 55 {
		plan, err := past.Plan(ctx, change.Input{Put: []*spec.Resource{site("a", n), site("b", n)}, Author: "alice"})
		if err == nil {
			_, err = past.Apply(ctx, plan)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	gtmtest.Eventually(t, "it says so", func() error {
		if s := c.keeper.Status(); !strings.Contains(s.Error, "the audit log cannot be written") || s.Since.IsZero() {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	if oldest, err := c.store.Oldest(ctx, spec.Platform); err != nil || oldest != 1 {
		t.Errorf("@%d is the oldest, %v", oldest, err)
	}
}

// TestZoneContentThatNobodyNeedsGoes when it has been there for a while.
func TestZoneContentThatNobodyNeedsGoes(t *testing.T) {
	endpoint := etcds.Start(t)
	var days atomic.Int64
	c, stop := start(t, store.Config{Endpoints: []string{endpoint}}, auditDir(t), func() time.Time { return at(int(days.Load())) })
	defer stop()
	ctx := within(t)
	if _, err := c.apply(ctx, "alice", 1, nil); err != nil {
		t.Fatal(err)
	}
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	key := store.DefaultPrefix + "config/text/" + strings.Repeat("0", 64)
	if _, err := etcd.Put(ctx, key, "a.example.\t1\tIN\tA\t192.0.2.1\n"); err != nil {
		t.Fatal(err)
	}
	gtmtest.Eventually(t, "it is gone", func() error {
		days.Add(1)
		resp, err := etcd.Get(ctx, key, clientv3.WithCountOnly())
		if err == nil && resp.Count > 0 {
			err = errors.New("it is there")
		}
		return err
	})
	gtmtest.Eventually(t, "it says so", func() error {
		if s := c.keeper.Status(); s.Runs != 1 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

// TestATenantIsLookedAtAgain when it was changed, when what is kept is another, and when its next generation has become old.
func TestATenantIsLookedAtAgain(t *testing.T) {
	mirror := state.NewMirror()
	mirror.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 7}}})
	keep := spec.Retention{For: spec.Duration(48 * time.Hour), Generations: 50}
	for _, row := range []struct {
		what string
		seen seen
		want bool
	}{
		{"nothing happened", seen{7, at(9), keep}, true},
		{"there is no other", seen{7, time.Time{}, keep}, true},
		{"it was changed", seen{6, at(9), keep}, false},
		{"other generations are kept", seen{7, at(9), spec.Retention{For: keep.For, Generations: 5}}, false},
		{"it has become old", seen{7, at(8), keep}, false},
	} {
		k := &Keeper{cfg: Config{Mirror: mirror, Now: func() time.Time { return at(10) }}, seen: map[string]seen{"shop": row.seen}}
		if k.settled("shop", keep) != row.want {
			t.Errorf("%s: settled is %v", row.what, !row.want)
		}
		if k.settled("cafe", keep) {
			t.Error("who was never looked at is settled")
		}
	}
}
