package store

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/storetest"
)

// TestOneTells: of several controls one is elected, beside a judge, and when it goes another follows.
func TestOneTells(t *testing.T) {
	cfg, ctx := Config{Endpoints: []string{sharedEndpoint(t)}, Prefix: freshPrefix()}, storetest.Context(t)
	c, other := openTest(t, cfg), openTest(t, cfg)
	inOffice(t, c)
	tells := make(chan string, 4)
	stand := func(c *Client, id string) (stop func()) {
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = c.CampaignTeller(ctx, id, func(ctx context.Context) error { tells <- id; <-ctx.Done(); return nil })
		}()
		return func() { cancel(); <-done }
	}
	next := func() string {
		select {
		case id := <-tells:
			return id
		case <-time.After(storetest.Within):
			return "nobody"
		}
	}
	first := stand(c, "a")
	if id := next(); id != "a" {
		t.Fatalf("%s tells", id)
	}
	second := stand(other, "b")
	defer second()
	if c.leading.Load() == nil {
		t.Error("who tells is the judge no more")
	}
	select {
	case id := <-tells:
		t.Errorf("%s tells, too", id)
	default:
	}
	first()
	if id := next(); id != "b" {
		t.Errorf("behind it %s tells", id)
	}
}

// TestWhatWasToldIsKept, by tenant.
func TestWhatWasToldIsKept(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	want := map[string]Told{"shop": {"chat": {Epoch: 1, Revision: 41, IDs: []string{"x"}}, "am": {Revision: 3}},
		"a/b": {"chat": {Revision: 7}}}
	for tenant, told := range want {
		if err := c.PutTold(ctx, tenant, told); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.link.Etcd.Put(ctx, c.keys.Told("odd"), "{"); err != nil {
		t.Fatal(err)
	}
	got, err := c.Tolds(ctx)
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("%v: %s", err, cmp.Diff(got, want))
	}
	if err := c.PutTold(ctx, "shop", nil); err != nil {
		t.Fatal(err)
	}
	delete(want, "shop")
	if got, err := c.Tolds(ctx); err != nil || !cmp.Equal(got, want) {
		t.Errorf("%v: %s", err, cmp.Diff(got, want))
	}
}

func foundAt(source string, last ...byte) spec.Found {
	f := spec.Found{Tenant: "shop", Pool: "p", Source: source, Of: "pushed", Good: storetest.Time, By: "me"}
	for _, n := range last {
		f.Endpoints = append(f.Endpoints, spec.FoundEndpoint{Address: netip.AddrFrom4([4]byte{192, 0, 2, n})})
	}
	return f
}

// TestWhatIsFoundIsFollowed: only who is elected writes it, and whoever pushes.
func TestWhatIsFoundIsFollowed(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "fra", "EU"))})
	f := follow(t, c, nil)
	a := foundAt("a", 1)
	if err := c.PutFound(ctx, a); !errors.Is(err, ErrNotLeader) {
		t.Errorf("nobody is elected: %v", err)
	}
	lead, stop := make(chan struct{}), make(chan struct{})
	ended := make(chan struct{})
	within, cancel := context.WithCancel(ctx)
	go func() {
		defer close(ended)
		_ = c.CampaignFinder(within, "x", func(ctx context.Context) error { close(lead); <-stop; return nil })
	}()
	<-lead
	if err := c.PutFound(ctx, a); err != nil {
		t.Fatal(err)
	}
	b := foundAt("b", 2, 3)
	if err := c.PushFound(ctx, b, foundAt("c")); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		lists []spec.Found
		want  bool
	}{{[]spec.Found{b, foundAt("c")}, true}, {[]spec.Found{foundAt("b", 2), foundAt("c")}, false}, {[]spec.Found{b, foundAt("d")}, false}} {
		if has, err := c.HasFound(ctx, tc.lists...); err != nil || has != tc.want {
			t.Errorf("it has %+v: %v, %v", tc.lists, has, err)
		}
	}
	get := func(source string) (spec.Found, bool) {
		return state.Discovered.Get(f.mirror, state.SourceID{Tenant: "shop", Pool: "p", Source: source})
	}
	f.until("all are followed", func() bool { _, ok := get("c"); return ok })
	if got, _ := get("b"); !cmp.Equal(got, b, cmp.Comparer(func(x, y netip.Addr) bool { return x == y })) {
		t.Errorf("%+v", got)
	}
	expired := foundAt("b")
	if err := c.ExpireFound(ctx, foundAt("b", 2), expired); !errors.Is(err, ErrFoundChanged) {
		t.Errorf("there is a newer list: %v", err)
	}
	if err := c.ExpireFound(ctx, b, expired); err != nil {
		t.Error(err)
	}
	if err := c.DropFound(ctx, state.SourceOf(a)); err != nil {
		t.Error(err)
	}
	f.until("it is gone", func() bool { _, ok := get("a"); got, _ := get("b"); return !ok && len(got.Endpoints) == 0 })
	big := foundAt("big")
	big.Notes = strings.Repeat("x", 300<<10)
	if err := c.PushFound(ctx, big); err == nil || !strings.Contains(err.Error(), "shop/p big") {
		t.Errorf("one that is too large: %v", err)
	}
	big.Notes = strings.Repeat("x", 200<<10)
	late, over := context.WithDeadline(ctx, time.Now())
	defer over()
	if err := c.PushFound(late, b); err == nil || !strings.Contains(err.Error(), "push them again, which does no harm") {
		t.Errorf("without an answer: %v", err)
	}
	if err := c.PushFound(ctx, big, big, big, big, big, big); err == nil || !strings.Contains(err.Error(), "in several requests") {
		t.Errorf("too many: %v", err)
	}
	close(stop)
	cancel()
	<-ended
	if err := c.PutFound(ctx, a); !errors.Is(err, ErrNotLeader) {
		t.Errorf("it is elected no more: %v", err)
	}
}
