package change

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/gtmtest/etcds"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// TestMain is also the etcd of these tests.
func TestMain(m *testing.M) {
	etcds.Main()
	os.Exit(m.Run())
}

// The same as on the store in memory, on the real one: whole changes, conflicts, history, a way back.
func TestOnEtcd(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	client := etcds.Open(t, etcds.Start(t))
	mirror := state.NewMirror()
	followed := make(chan error, 1)
	followCtx, stop := context.WithCancel(ctx)
	go func() {
		followed <- client.Follow(followCtx, store.FollowConfig{OnUpdate: func(u state.Update) error { mirror.Apply(u); return nil }})
	}()
	defer func() { stop(); <-followed }()

	direct, following := New(Config{Store: client}), New(Config{Store: client, State: FollowState(client, mirror)})
	mustApply(t, direct, Input{Put: decode(t, platform+"---\n"+shop)})
	if p := mustPlan(t, following, Input{Put: decode(t, platform+"---\n"+shop)}); !p.Empty() {
		t.Errorf("what was applied is still to do: %s", outline(p))
	}

	// Edits from two sides at once: none is lost.
	var wg sync.WaitGroup
	for name, c := range map[string]*Changer{"a": direct, "b": following} {
		wg.Go(func() {
			for w := range 5 {
				p, err := c.Plan(ctx, Input{Edit: Weights("shop", "eu", map[string]int{name: 100 + w}), Author: name})
				if err == nil {
					_, err = c.Apply(ctx, p)
				}
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	wg.Wait()
	at := mustState(t, direct)
	for _, e := range at.Get(key("shop/Pool/eu")).Spec.(*spec.Pool).Endpoints {
		if *e.Weight != 104 {
			t.Errorf("endpoint %s has weight %d", e.Name, *e.Weight)
		}
	}
	if at.Head("shop") != 11 {
		t.Errorf("shop is at %d, want 11", at.Head("shop"))
	}

	_, err := following.Plan(ctx, Input{Delete: []spec.Key{key("shop/Service/web")}, Expect: map[string]state.Generation{"shop": 9}})
	var conflict *ConflictError
	if !errors.As(err, &conflict) || len(conflict.Since) != 2 {
		t.Errorf("got %v", err)
	}
	in, err := following.Rollback(ctx, "shop", 1, false)
	if err != nil {
		t.Fatal(err)
	}
	mustApply(t, following, in)
	if w := *mustState(t, direct).Get(key("shop/Pool/eu")).Spec.(*spec.Pool).Endpoints[0].Weight; w != 3 {
		t.Errorf("the way back ends at weight %d", w)
	}
}

// A thousand resources and ten megabytes are one generation.
func TestLargeOnEtcd(t *testing.T) {
	c := New(Config{Store: etcds.Open(t, etcds.Start(t))})
	mustApply(t, c, Input{Put: decode(t, platform+"---\n"+shop)})
	var put []*spec.Resource
	for i := range 1200 {
		k := spec.Key{Tenant: "shop", Kind: spec.KindMonitor, Name: fmt.Sprint("m", i)}
		put = append(put, &spec.Resource{Key: k, Spec: &spec.Monitor{Type: "http", Body: strings.Repeat("x", 8<<10)}})
	}
	recs := mustApply(t, c, Input{Put: put})
	if len(recs) != 1 || len(recs[0].Put) != 1200 {
		t.Errorf("%d generations", len(recs))
	}
	if n := len(mustState(t, c).Tenant("shop")); n != 1202 {
		t.Errorf("%d resources", n)
	}
}
