package store

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store/storetest"
)

// TestSignalsOfManyWriters: of eight that change the same groups at once, nothing is lost; whoever follows hears of all of it, whether he
// comes before or after.
func TestSignalsOfManyWriters(t *testing.T) {
	t.Parallel()
	c := testClient(t)
	ctx := storetest.Context(t)
	pool := health.PoolID{Tenant: "shop", Pool: "a/b"}
	early := hearSignals(t, c)
	const writers, each = 8, 16
	said := health.Signal{State: health.Down, Time: time.Now().UTC().Truncate(time.Second), Reason: "draining",
		Load: health.Load{Current: 1.5, Target: 2}}
	var writing sync.WaitGroup
	want := map[string]health.Signal{}
	for w := range writers {
		for n := range each {
			want[fmt.Sprint("e", w, "-", n)] = said
		}
		writing.Go(func() {
			for n := range each {
				name := fmt.Sprint("e", w, "-", n)
				add := func(now map[string]health.Signal) (map[string]health.Signal, bool) {
					all := map[string]health.Signal{name: said}
					maps.Copy(all, now)
					return all, true
				}
				if _, err := c.ChangeSignals(ctx, SignalKeyOf(pool, name), add); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writing.Wait()
	for _, heard := range []*heardSignals{early, hearSignals(t, c)} {
		heard.comesTo(t, pool, want)
	}

	bytes, err := c.ChangeSignals(ctx, SignalKeyOf(pool, "e0-0"), func(now map[string]health.Signal) (map[string]health.Signal, bool) {
		return nil, false
	})
	if err != nil || bytes != 0 {
		t.Errorf("nothing was changed: %d, %v", bytes, err)
	}
	for g := range SignalGroups {
		if _, err := c.ChangeSignals(ctx, SignalKey{pool, g}, none); err != nil {
			t.Error(err)
		}
	}
	early.comesTo(t, pool, map[string]health.Signal{})

	// What is not understood is left out, and replaced by whoever writes.
	key := SignalKeyOf(pool, "x")
	if _, err := c.link.Etcd.Put(ctx, c.keys.Signal(pool, key.Group), "{"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ChangeSignals(ctx, key, func(now map[string]health.Signal) (map[string]health.Signal, bool) {
		if len(now) > 0 {
			t.Errorf("%v", now)
		}
		return map[string]health.Signal{"x": said}, true
	}); err != nil {
		t.Error(err)
	}
	early.comesTo(t, pool, map[string]health.Signal{"x": said})

	// Probers hear it with what they follow.
	told := make(chan []SignalGroup, 1)
	following, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		_ = c.FollowObservations(following, func(u ObservationUpdate) error { told <- u.Signals; return nil })
	}()
	if got := <-told; len(got) != 1 || got[0].SignalKey != key || !got[0].Endpoints["x"].Equal(said) {
		t.Errorf("%+v", got)
	}
	if _, err := c.ChangeSignals(ctx, key, none); err != nil {
		t.Error(err)
	}
	if got := <-told; len(got) != 1 || got[0].SignalKey != key || len(got[0].Endpoints) != 0 {
		t.Errorf("%+v", got)
	}
}

// none takes all that is said of a group back.
func none(map[string]health.Signal) (map[string]health.Signal, bool) { return nil, true }

// heardSignals is what a follower has heard.
type heardSignals struct {
	mu     sync.Mutex
	groups map[SignalKey]map[string]health.Signal
}

func hearSignals(t *testing.T, c *Client) *heardSignals {
	h := &heardSignals{groups: map[SignalKey]map[string]health.Signal{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.FollowSignals(ctx, func(u SignalUpdate) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			if u.Full {
				clear(h.groups)
			}
			for _, g := range u.Put {
				h.groups[g.SignalKey] = g.Endpoints
			}
			return nil
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	return h
}

func (h *heardSignals) comesTo(t *testing.T, pool health.PoolID, want map[string]health.Signal) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got := map[string]health.Signal{}
		h.mu.Lock()
		for key, said := range h.groups {
			for name := range said {
				if key != SignalKeyOf(pool, name) {
					t.Errorf("%s stands under %v", name, key)
				}
			}
			maps.Copy(got, said)
		}
		h.mu.Unlock()
		diff := cmp.Diff(want, got)
		if diff == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("-want +got\n%s", diff)
		}
	}
}
