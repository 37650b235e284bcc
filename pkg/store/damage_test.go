package store

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/storetest"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// A tenant's damaged head costs nobody anything: its log tells where it was, and its next change mends it.
func TestDamagedHeadCostsNobodyElse(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU"))})
	mustCommit(t, c, Change{Tenant: "shop", Base: 1, Put: storetest.Resources(storetest.Site("shop", "b", "EU"))})
	mustCommit(t, c, Change{Tenant: "other", Put: storetest.Resources(storetest.Site("other", "a", "EU"))})
	has := settled(t, c)
	f := follow(t, c, nil)
	f.untilState(state.Current)
	put(t, c, c.keys.Head("shop"), "4\x001")
	mustCommit(t, c, Change{Tenant: "other", Base: 1, Put: storetest.Resources(storetest.Site("other", "a", "AF"))})
	f.untilRegion("other", "a", "AF")

	late, fresh := followFrom(t, c, has.Position(), has), follow(t, c, nil)
	for _, f := range []*following{late, fresh} {
		f.untilState(state.Current)
		f.sameAsRead(c)
		if s := f.mirror.Tenant("shop"); s.Head != 2 || s.ID == "" || s.Resources.Len() != 2 {
			t.Errorf("held: %+v", s)
		}
	}
	if heads, err := c.Heads(ctx); err != nil || !cmp.Equal(heads, map[string]state.Generation{"shop": 2, "other": 2}) {
		t.Errorf("heads %v, %v", heads, err)
	}
	mustCommit(t, c, Change{Tenant: "other", Base: 2, Reads: map[string]state.Generation{"shop": 2},
		Put: storetest.Resources(storetest.Site("other", "a", "AS"))})
	var moved *ConflictError
	_, err := c.Commit(ctx, Change{Tenant: "shop", Base: 1, Put: storetest.Resources(storetest.Site("shop", "a", "AS"))})
	if !errors.As(err, &moved) || moved.Have != 2 {
		t.Errorf("a change on an older generation: %v", err)
	}
	mustCommit(t, c, Change{Tenant: "shop", Base: 2, Put: storetest.Resources(storetest.Site("shop", "a", "AS"))})
	for _, f := range []*following{f, late, fresh} {
		f.untilRegion("shop", "a", "AS")
		f.sameAsRead(c)
		if f.wasRefused() {
			t.Error("it was refused")
		}
	}
}

// Also where the log is gone, the versions tell where a damaged head was.
func TestDamagedHeadWithoutALog(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	mustCommit(t, c, Change{Tenant: "shop", Put: storetest.Resources(storetest.Site("shop", "a", "EU"))})
	mustCommit(t, c, Change{Tenant: "shop", Base: 1, Put: storetest.Resources(storetest.Site("shop", "b", "EU"))})
	has := settled(t, c)
	put(t, c, c.keys.Head("shop"), "-")
	for g := range state.Generation(2) {
		if _, err := c.link.Etcd.Delete(ctx, c.keys.Record("shop", g+1)); err != nil {
			t.Fatal(err)
		}
	}
	f := followFrom(t, c, has.Position(), has)
	f.untilState(state.Current)
	mustCommit(t, c, Change{Tenant: "shop", Base: 2, Put: storetest.Resources(storetest.Site("shop", "a", "AS"))})
	f.untilRegion("shop", "a", "AS")
	f.sameAsRead(c)
}

func TestDamagedRecordIsToldInItsPlace(t *testing.T) {
	c := testClient(t)
	for g := range state.Generation(3) {
		mustCommit(t, c, Change{Tenant: "shop", Base: g, Put: storetest.Resources(storetest.Site("shop", "a", "EU")), Message: "fine"})
	}
	has := settled(t, c)
	put(t, c, c.keys.Record("shop", 3), "{dam")
	history, err := c.History(storetest.Context(t), "shop", 2)
	if err != nil || len(history) != 2 || history[0].Generation != 3 || !strings.Contains(history[0].Message, "damaged") ||
		history[1].Message != "fine" {
		t.Errorf("history %+v, %v", history, err)
	}
	f := followFrom(t, c, has.Position(), has)
	f.untilState(state.Current)
	if got := f.mirror.Tenant("shop").ID; got != has.Position().IDs["shop"] {
		t.Errorf("the ID that was known is now %q", got)
	}
	mustCommit(t, c, Change{Tenant: "shop", Base: 3, Put: storetest.Resources(storetest.Site("shop", "a", "AF"))})
	f.untilRegion("shop", "a", "AF")
}

// What is damaged while everything is told anew stays as it was: that is what "the one before holds" promises.
func TestDamagedVerdictAndKeysetOutliveAFullUpdate(t *testing.T) {
	c, ctx := testClient(t), storetest.Context(t)
	v, ks := storetest.VerdictOf("shop", "eu", 0), storetest.KeysetOf("a.example.", 1)
	putVerdicts(t, c, v, storetest.VerdictOf("shop", "us", 1))
	if err := c.PutKeyset(ctx, ks); err != nil {
		t.Fatal(err)
	}
	f := follow(t, c, nil)
	f.untilState(state.Current)
	put(t, c, c.keys.Verdict(v.Pool), "{dam")
	put(t, c, c.keys.Verdict(health.PoolID{Tenant: "shop", Pool: "new"}), "{dam")
	put(t, c, c.keys.Keyset("a.example."), "{dam")
	if err := c.Accept(ctx, "ann"); err != nil {
		t.Fatal(err)
	}
	f.until("the accepted state", func() bool { u := f.all[len(f.all)-1]; return u.Full && u.Epoch != 0 })
	if got := f.mirror.Verdicts(); len(got) != 2 || !got[v.Pool].Equal(v) || f.mirror.Keysets()["a.example."].Serial != 1 {
		t.Errorf("held: %v, %v", got, f.mirror.Keysets())
	}
	// Control, which holds the one before, mends the keys; who knows of none must not make others.
	if err := c.PutKeyset(ctx, storetest.KeysetOf("a.example.", 1)); err == nil {
		t.Error("new keys took the place of damaged ones")
	}
	if err := c.PutKeyset(ctx, storetest.KeysetOf("a.example.", 2)); err != nil {
		t.Error(err)
	}
	f.until("the mended keys", func() bool { return f.mirror.Keysets()["a.example."].Serial == 2 })
	if _, err := c.link.Etcd.Delete(ctx, c.keys.Verdict(v.Pool)); err != nil {
		t.Fatal(err)
	}
	f.until("the end of what was damaged", func() bool { return len(f.mirror.Verdicts()) == 1 })
}

func TestMirrorKeepsVerdictsAndKeysThatAreBroken(t *testing.T) {
	m := state.NewMirror()
	v, ks := storetest.VerdictOf("shop", "eu", 0), storetest.KeysetOf("a.example.", 1)
	u := state.Update{Full: true, Values: state.Verdicts.Put(v)}
	state.Keysets.Set(&u, state.Changes[string, dnssec.Keyset]{Put: []dnssec.Keyset{ks}})
	m.Apply(u)
	state.Verdicts.Set(&u, state.Changes[health.PoolID, health.Verdict]{Broken: []health.PoolID{v.Pool, {Tenant: "shop", Pool: "new"}}})
	state.Keysets.Set(&u, state.Changes[string, dnssec.Keyset]{Broken: []string{"a.example.", "b."}})
	m.Apply(u)
	if got, ok := m.Verdict(v.Pool); !ok || !got.Equal(v) || len(m.Verdicts()) != 1 || len(m.Keysets()) != 1 {
		t.Errorf("held: %v, %v", m.Verdicts(), m.Keysets())
	}
	m.Apply(state.Update{Full: true})
	if len(m.Verdicts())+len(m.Keysets()) != 0 {
		t.Error("what is gone was kept")
	}
}

// Numbers that were waited for may never come in a store that went back and was accepted.
func TestWaitGenerationEndsWithAnAcceptance(t *testing.T) {
	m := state.NewMirror()
	m.Apply(state.Update{Full: true, Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 41}}})
	done := make(chan error)
	wait := func(ctx context.Context, g state.Generation) { done <- m.WaitGeneration(ctx, "shop", g) }
	go wait(storetest.Context(t), 42)
	for range 2 { // the second goes to a waiter for certain
		m.Apply(state.Update{Full: true, Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 41}}})
	}
	select {
	case err := <-done:
		t.Fatalf("it ended with %v", err)
	default:
	}
	for epoch := int64(1); ; epoch++ {
		m.Apply(state.Update{Full: true, Epoch: epoch, Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 7}}})
		select {
		case err := <-done:
			if !errors.Is(err, state.ErrReplaced) {
				t.Errorf("got %v", err)
			}
			return
		default:
		}
	}
}
