package store

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/link"
	"github.com/gti/gtm/pkg/store/storetest"
)

// rewrite writes one key again and again, a megabyte each time, and gives how often etcd took it.
func rewrite(ctx context.Context, c *Client, times int) (n int, err error) {
	for ; n < times; n++ {
		if _, err = c.link.Etcd.Put(ctx, c.keys.Join("filler"), strings.Repeat("x", 1<<20)); err != nil {
			return n, err
		}
	}
	return n, nil
}

// TestAFullEtcdIsToldAndRecovers: with its quota used up, status said "store current", and nobody's change or failover worked. Now it is
// told with what to do, and after that, all works.
func TestAFullEtcdIsToldAndRecovers(t *testing.T) {
	t.Parallel()
	c := openTest(t, Config{Endpoints: []string{startTweaked(t, t.TempDir(), "etcd-small").Endpoint()}})
	ctx := storetest.Context(t)
	go c.WatchSpace(ctx)
	inOffice(t, c)
	mustCommit(t, c, Change{Tenant: "shop", Put: []*spec.Resource{storetest.Site("shop", "fra", "eu")}})
	v := largeVerdictOf("eu", 100)
	if err := c.PutVerdicts(ctx, []health.Verdict{v}); err != nil {
		t.Fatal(err)
	}
	if s, err := c.link.AskSpace(ctx); err != nil || s.Quota != smallQuota || s.Size <= 0 || s.InUse <= 0 || s.Full || s.Text() != "" {
		t.Fatalf("before: %+v, %v", s, err)
	}
	if _, err := rewrite(ctx, c, 100); !errors.Is(err, rpctypes.ErrNoSpace) {
		t.Fatalf("it is not full: %v", err)
	}
	const advice = `"When etcd is full" in docs/operating.md`
	change := Change{Tenant: "shop", Base: 1, Put: []*spec.Resource{storetest.Site("shop", "ams", "eu")}, Time: storetest.Time}
	for what, err := range map[string]error{
		"a change":       func() error { _, err := c.Commit(ctx, change); return err }(),
		"a verdict":      c.PutVerdicts(ctx, []health.Verdict{v}),
		"an observation": c.PutObservation(ctx, observation("p1", "eu", health.Up)),
	} {
		if err == nil || !strings.Contains(err.Error(), advice) || !strings.Contains(err.Error(), "etcd.sock") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := c.WriteVerdicts(ctx, []VerdictWrite{{Verdict: v}}); err == nil {
		t.Error("that nothing can be written is told of one verdict alone")
	}
	for !c.Space().Full {
		if !link.Sleep(ctx, 10*time.Millisecond) {
			t.Fatal("it is not told")
		}
	}
	if text := c.Space().Text(); !strings.Contains(text, "takes no writes") || !strings.Contains(text, advice) {
		t.Errorf("%q", text)
	}
	makeRoom(t, c)
	for c.Space().Full {
		if !link.Sleep(ctx, 10*time.Millisecond) {
			t.Fatal("it is told for ever")
		}
	}
	if text := c.Space().Text(); text != "" {
		t.Errorf("%q", text)
	}
	if _, err := c.Commit(ctx, change); err != nil {
		t.Error(err)
	}
	if err := c.PutVerdicts(ctx, []health.Verdict{v}); err != nil {
		t.Error(err)
	}
	if err := c.PutObservation(ctx, observation("p1", "eu", health.Up)); err != nil {
		t.Error(err)
	}
	follow(t, c, nil).untilHead("shop", 2)
	keeping, stop := context.WithCancel(ctx)
	go c.KeepVantage(keeping, Vantage{ID: "p1"}, 2*time.Second)
	defer stop()
	observe(t, c).until(t, "a lease", func(u ObservationUpdate) bool { return len(u.Alive) == 1 })
}

// makeRoom does what docs/operating.md says: compact, defragment, disarm.
func makeRoom(t *testing.T, c *Client) {
	t.Helper()
	ctx := storetest.Context(t)
	resp, err := c.link.Etcd.Get(ctx, c.keys.Epoch())
	if err == nil {
		_, err = c.link.Etcd.Compact(ctx, resp.Header.Revision, clientv3.WithCompactPhysical())
	}
	if err == nil {
		_, err = c.link.Etcd.Defragment(ctx, c.link.Etcd.Endpoints()[0])
	}
	if err == nil {
		_, err = c.link.Etcd.AlarmDisarm(ctx, &clientv3.AlarmMember{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestTheEmbeddedEtcdMakesRoom: it compacted once an hour and never gave room back, so that its quota was used up within the hour, for
// good.
func TestTheEmbeddedEtcdMakesRoom(t *testing.T) {
	t.Parallel()
	c := openTest(t, Config{Endpoints: []string{startTweaked(t, t.TempDir(), "etcd-small-kept").Endpoint()}})
	ctx := storetest.Context(t)
	for left := 4 * smallQuota >> 20; left > 0; {
		n, err := rewrite(ctx, c, left)
		if left -= n; err != nil && !errors.Is(err, rpctypes.ErrNoSpace) {
			t.Fatal(err)
		}
		if err != nil && !link.Sleep(ctx, 10*time.Millisecond) {
			t.Fatal("it stays full")
		}
	}
	if s, err := c.link.AskSpace(ctx); err != nil || s.Size > smallQuota*5/4 {
		t.Errorf("%+v, %v", s, err)
	}
}
