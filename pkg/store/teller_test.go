package store

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
