package state_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/storetest"
)

func TestMirrorAddsUp(t *testing.T) {
	maker, mirror, copied := storetest.NewUpdateMaker(1), state.NewMirror(), state.NewMirror()
	for i := range 200 {
		mirror.Apply(maker.Delta())
		if i%3 == 0 {
			if diff := cmp.Diff(maker.Sum(), storetest.SumOf(mirror)); diff != "" {
				t.Fatalf("update %d:\n%s", i, diff)
			}
		}
		if i%50 == 49 {
			copied.Apply(mirror.Full())
			if diff := cmp.Diff(maker.Sum(), storetest.SumOf(copied)); diff != "" {
				t.Fatalf("full update %d:\n%s", i, diff)
			}
		}
	}
}

func TestWhatTheMirrorHandsOutStays(t *testing.T) {
	maker, mirror := storetest.NewUpdateMaker(2), state.NewMirror()
	type look struct {
		got  state.TenantState
		want storetest.PlainState
	}
	var looks []look
	for range 100 {
		mirror.Apply(maker.Delta())
		s := mirror.Tenant("t1")
		looks = append(looks, look{s, storetest.Plain(s)})
	}
	for i, l := range looks {
		if !cmp.Equal(storetest.Plain(l.got), l.want) {
			t.Fatalf("the state handed out at %d changed later", i)
		}
	}
}

func TestMirrorKeepsTheLastGoodForm(t *testing.T) {
	m := state.NewMirror()
	a := storetest.Site("shop", "a", "EU")
	m.Apply(state.Update{Full: true, Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 1,
		Put: []state.Version{{Resource: a, Generation: 1}}}}})
	broken := []state.BrokenResource{{Key: a.Key, Generation: 2, Err: errors.New("x")}}
	m.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 2, Broken: broken}}})
	m.Apply(state.Update{Full: true, Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 2, Broken: broken}}})
	if got, want := storetest.Plain(m.Tenant("shop")), (storetest.PlainState{Head: 2,
		Resources: map[spec.Key]state.Version{a.Key: {Resource: a, Generation: 1}}}); !cmp.Equal(got, want) {
		t.Errorf("held %+v", got)
	}
}

func TestWaitGeneration(t *testing.T) {
	m := state.NewMirror()
	done := make(chan error)
	go func() { done <- m.WaitGeneration(storetest.Context(t), "shop", 2) }()
	for g := range state.Generation(2) {
		m.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: g + 1}}})
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := m.WaitGeneration(ctx, "shop", 3); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
