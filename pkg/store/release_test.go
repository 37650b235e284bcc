package store

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store/storetest"
)

// waiting gives the condition that just these releases wait, as in "shop/eu shop/".
func waiting(want string) func(ObservationUpdate) bool {
	return func(u ObservationUpdate) bool {
		var words []string
		for _, r := range u.Releases {
			words = append(words, r.Tenant+"/"+r.Pool)
		}
		return u.ReleasesChanged && strings.Join(words, " ") == want
	}
}

// A release is told to whoever follows observations, until the leader takes it, someone withdraws it, or it runs out.
func TestReleasesAreFollowed(t *testing.T) {
	t.Parallel()
	c, ctx := testClient(t), storetest.Context(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	one := Release{Tenant: "shop", Time: storetest.Time, Author: "alice", Reason: "x" + strings.Repeat("é", maxReleaseText)}
	must(c.PutRelease(ctx, one, time.Minute))
	put(t, c, c.keys.Release("a/b", "p"), "{broken")
	o := observe(t, c)
	u := o.until(t, "everything", func(u ObservationUpdate) bool { return u.Full && waiting("shop/")(u) })
	if got := u.Releases[0]; got.Author != "alice" || !got.Time.Equal(storetest.Time) || len(got.Reason) != maxReleaseText-1 ||
		got.rev == 0 {
		t.Errorf("told %+v", got)
	}
	must(c.PutRelease(ctx, Release{Tenant: "shop", Pool: "e/u", Reason: "y"}, time.Minute))
	u = o.until(t, "another", waiting("shop/ shop/e/u"))
	taken := u.Releases[1]
	if !taken.Covers(health.PoolID{Tenant: "shop", Pool: "e/u"}) || taken.Covers(health.PoolID{Tenant: "shop", Pool: "us"}) ||
		!u.Releases[0].Covers(health.PoolID{Tenant: "shop", Pool: "us"}) {
		t.Errorf("covers something else: %+v", u.Releases)
	}
	if err := c.TakeRelease(ctx, taken); !errors.Is(err, ErrNotLeader) {
		t.Errorf("taken by nobody: %v", err)
	}
	must(c.PutRelease(ctx, Release{Tenant: "shop", Pool: "e/u", Reason: "z"}, time.Minute))
	newer := o.until(t, "a newer one", waiting("shop/ shop/e/u")).Releases[1]
	leading, stop := context.WithCancel(ctx)
	defer stop()
	_ = c.Campaign(leading, "p1", func(ctx context.Context) error {
		defer stop()
		must(c.TakeRelease(ctx, taken))
		if waits, err := c.HasRelease(ctx, taken); err != nil || !waits {
			t.Errorf("the newer one is gone with the older: %v", err)
		}
		must(c.TakeRelease(ctx, newer))
		later := storetest.Context(t) // ctx ends with the lead
		if _, err := c.link.Etcd.Delete(later, c.leading.Load().key); err != nil {
			t.Error(err)
		}
		if err := c.TakeRelease(later, newer); !errors.Is(err, ErrNotLeader) {
			t.Errorf("taken by one who has lost the lead: %v", err)
		}
		return nil
	})
	o.until(t, "taken", waiting("shop/"))
	must(c.WithdrawRelease(ctx, one))
	o.until(t, "withdrawn", waiting(""))
	must(c.PutRelease(ctx, one, 2*time.Second))
	o.until(t, "written", waiting("shop/"))
	o.until(t, "run out", waiting(""))
	if waits, err := c.HasRelease(ctx, one); err != nil || waits {
		t.Errorf("it is there still: %v", err)
	}
}
