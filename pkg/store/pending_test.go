package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/storetest"
)

// TestChangesWaitWithinBounds: so many of a tenant, each so large, until they expire; those of other tenants have their own.
func TestChangesWaitWithinBounds(t *testing.T) {
	t.Parallel()
	c, ctx := testClient(t), storetest.Context(t)
	now := storetest.Time
	p := Pending{Tenant: "shop", Author: "alice", Message: "m", Time: now, Expires: now.Add(time.Hour), Why: []string{"w"},
		Put: []json.RawMessage{json.RawMessage(`{"kind":"Pool"}`)}, Delete: []spec.Key{{Tenant: "shop", Kind: spec.KindPool, Name: "eu"}},
		Versions: map[string]state.Generation{"shop/Pool/eu": 7}}
	for i := range MostPending {
		p.ID = fmt.Sprintf("id%02d", i)
		if err := c.PutPending(ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	var full *PendingError
	p.ID = "more"
	if err := c.PutPending(ctx, p); !errors.As(err, &full) || !strings.Contains(err.Error(), "50 changes of shop wait") {
		t.Errorf("one more: %v", err)
	}
	p.Tenant = "shop2"
	if err := c.PutPending(ctx, p); err != nil {
		t.Errorf("of another tenant: %v", err)
	}
	p.ID, p.Message = "large", strings.Repeat("x", maxPending)
	if err := c.PutPending(ctx, p); !errors.As(err, &full) || !strings.Contains(err.Error(), "make it in smaller ones") {
		t.Errorf("a large one: %v", err)
	}
	put(t, c, c.keys.Approval("shop", "broken"), "{broken")
	list, err := c.Pendings(ctx, "shop")
	if err != nil || len(list) != MostPending || list[7].ID != "id07" || list[7].Versions["shop/Pool/eu"] != 7 ||
		string(list[7].Put[0]) != `{"kind":"Pool"}` || list[7].Delete[0].Name != "eu" || !list[7].Expires.Equal(p.Expires) {
		t.Errorf("got %+v, %v", list, err)
	}
	if err := c.DropPending(ctx, "shop", "id07"); err != nil {
		t.Fatal(err)
	}
	if all, err := c.Pendings(ctx, ""); err != nil || len(all) != MostPending {
		t.Errorf("%d wait, of all tenants: %v", len(all), err)
	}
	short := Pending{Tenant: "cafe", ID: "short", Time: now, Expires: now.Add(time.Second)}
	if err := c.PutPending(ctx, short); err != nil {
		t.Fatal(err)
	}
	for list, err = c.Pendings(ctx, "cafe"); len(list) > 0; list, err = c.Pendings(ctx, "cafe") {
		if err != nil || ctx.Err() != nil {
			t.Fatal(err, ctx.Err())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestVersionsOfAResource: newest first, deletions among them, and of no other one.
func TestVersionsOfAResource(t *testing.T) {
	t.Parallel()
	c, ctx := testClient(t), storetest.Context(t)
	key := spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "eu"}
	pool := func(name string, address string) *spec.Resource {
		r, err := spec.DecodeSpec(spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: name},
			[]byte(`{"endpoints": [{"name": "a", "addresses": ["`+address+`"]}]}`))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for i, ch := range []Change{{Put: []*spec.Resource{pool("eu", "192.0.2.1"), pool("eu-b", "192.0.2.9")}},
		{Put: []*spec.Resource{pool("us", "192.0.2.8")}}, {Delete: []spec.Key{key}}, {Put: []*spec.Resource{pool("eu", "192.0.2.2")},
			BreakGlass: "x", Approved: "bob"}} {
		ch.Tenant, ch.Base, ch.Time, ch.Author = "shop", state.Generation(i), storetest.Time, "alice"
		rec, err := c.Commit(ctx, ch)
		if err != nil || rec.BreakGlass != ch.BreakGlass || rec.Approved != ch.Approved {
			t.Fatalf("%+v, %v", rec, err)
		}
	}
	versions, err := c.Versions(ctx, key, 10)
	if err != nil || len(versions) != 3 || versions[0].Generation != 4 || versions[1].Generation != 3 || versions[1].Resource != nil ||
		versions[2].Generation != 1 || versions[2].Resource.Spec.(*spec.Pool).Endpoints[0].Addresses[0].String() != "192.0.2.1" {
		t.Errorf("got %+v, %v", versions, err)
	}
	if versions, err := c.Versions(ctx, key, 2); err != nil || len(versions) != 2 {
		t.Errorf("at most two: %+v, %v", versions, err)
	}
	history, err := c.History(ctx, "shop", 1)
	if err != nil || history[0].BreakGlass != "x" || history[0].Approved != "bob" {
		t.Errorf("history says %+v, %v", history, err)
	}
}
