package rollout_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/rollout"
	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/gtmtest/etcds"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

func TestMain(m *testing.M) {
	etcds.Main()
	os.Exit(m.Run())
}

// fleet are edges that serve what they are pointed at, as soon as their mirror says so.
type fleet struct {
	mirror *state.Mirror
	began  time.Time

	mu     sync.Mutex
	broken map[string]bool // edges that do not move
}

func (f *fleet) AllEdges(context.Context) (list []api.Edge, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range []string{"canary-1", "fra-1"} {
		st := &api.EdgeStatus{ID: id, Started: f.began, Source: api.Source{State: "current"}, Tenants: map[string]uint64{}}
		for tenant, a := range state.Aims.All(f.mirror) {
			if i := a.Group(id); i >= 0 && !f.broken[id] {
				st.Tenants[tenant] = uint64(a.Groups[i].At.Generation)
			}
		}
		list = append(list, api.Edge{ID: id, State: api.EdgeAlive, Status: st})
	}
	return list, nil
}

func (f *fleet) Counts(_ context.Context, _, _ string, _ bool) (state.Counts, error) {
	return state.Counts{Started: f.began}, nil
}

func (f *fleet) Answers(context.Context, string, string) error { return nil }
func (f *fleet) Up(string) (up, all int)                       { return 1, 1 }

// control is a store's client, and the driver of one control.
type control struct {
	t      *testing.T
	client *store.Client
	fleet  *fleet
	stop   func()
}

func newControl(t *testing.T, endpoint, id string, query func(context.Context, string, string) (float64, error)) *control {
	t.Helper()
	c := &control{t: t, client: etcds.Open(t, endpoint)}
	c.fleet = &fleet{mirror: state.NewMirror(), began: time.Now(), broken: map[string]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = c.client.Follow(ctx, store.FollowConfig{OnUpdate: func(u state.Update) error { c.fleet.mirror.Apply(u); return nil }})
	})
	d, err := rollout.New(rollout.Config{ID: id, Store: c.client, Mirror: c.fleet.mirror, Eyes: c.fleet, Query: query})
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { d.Run(ctx) })
	c.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(c.stop)
	return c
}

// promote has a person lead the shop's rollout on.
func (c *control) promote() {
	c.t.Helper()
	_, err := c.client.EditAim(c.t.Context(), "shop", false, func(a *state.Aim) error {
		return rollout.Act(a, &rollout.Order{Action: "promote", By: "ann", Newest: c.fleet.mirror.Tenant("shop")}, time.Now().UTC())
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

// commit makes a generation of the shop.
func (c *control) commit(base state.Generation, put ...*spec.Resource) {
	c.t.Helper()
	_, err := c.client.Commit(c.t.Context(), store.Change{Tenant: "shop", Base: base, Put: put, Time: time.Now()})
	if err != nil {
		c.t.Fatal(err)
	}
}

// is waits until the rollout is in a state, and the groups are at generations.
func (c *control) is(want string, at ...state.Generation) {
	c.t.Helper()
	gtmtest.Eventually(c.t, fmt.Sprint("the rollout is ", want, " at ", at), func() error {
		a, ok := state.Aims.Get(c.fleet.mirror, "shop")
		if !ok || a.Rollout == nil {
			return errors.New("there is none")
		}
		var got []state.Generation
		for _, g := range a.Groups {
			got = append(got, g.At.Generation)
		}
		if a.Rollout.State != want || !slices.Equal(got, at) {
			return fmt.Errorf("it is %s at %v (%s)", a.Rollout.State, got, a.Rollout.Why)
		}
		return nil
	})
}

func shop(kind spec.Kind, name string, s spec.Spec) *spec.Resource {
	return &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: kind, Name: name}, Spec: s}
}

func pool(weight int) *spec.Resource {
	return shop(spec.KindPool, "eu", &spec.Pool{Endpoints: []spec.Endpoint{{Name: fmt.Sprint("e", weight)}}})
}

func declared(soak time.Duration, gates spec.Gates) *spec.Resource {
	return shop(spec.KindRollout, "shop", &spec.Rollout{Groups: []spec.EdgeGroup{{Name: "canary", Edges: []string{"canary-*"},
		Soak: spec.Duration(soak)}, {Name: "rest", Soak: spec.Duration(soak)}}, Gates: gates})
}

// TestAnotherControlGoesOn: what the first one began, with what it knew, and under its own election alone.
func TestAnotherControlGoesOn(t *testing.T) {
	t.Parallel()
	at := etcds.Start(t)
	first := newControl(t, at, "first", nil)
	first.commit(0, pool(1), declared(time.Hour, spec.Gates{}))
	first.is(state.RolloutDone, 1, 1)
	first.commit(1, pool(2))
	first.is(state.RolloutSoaking, 2, 1)
	gtmtest.Eventually(t, "it knows what the canary counted, and soaks", func() error {
		if a, _ := state.Aims.Get(first.fleet.mirror, "shop"); len(a.Rollout.Base) != 1 || a.Rollout.Soaks.IsZero() {
			return fmt.Errorf("%+v", a.Rollout)
		}
		return nil
	})
	kept, err := first.client.AimedAt(t.Context())
	if slices.Sort(kept["shop"]); err != nil || !slices.Equal(kept["shop"], []state.Generation{1, 2}) {
		t.Errorf("to be kept: %v, %v", kept, err)
	}
	second := newControl(t, at, "second", nil)
	first.stop()
	second.is(state.RolloutSoaking, 2, 1)
	second.commit(2, declared(time.Second, spec.Gates{})) // which counts when all have it, and not before
	second.is(state.RolloutSoaking, 2, 1)
	second.promote()
	second.is(state.RolloutSoaking, 2, 2)
	second.promote()
	second.is(state.RolloutSoaking, 3, 2)
	second.promote()
	second.is(state.RolloutSoaking, 3, 3)
	second.promote()
	second.is(state.RolloutDone, 3, 3)
	_, err = first.client.EditAim(t.Context(), "shop", true, func(a *state.Aim) error { a.Groups[0].At.Generation = 1; return nil })
	if !errors.Is(err, store.ErrNotLeader) {
		t.Errorf("a driver of a former election writes: %v", err)
	}
	second.is(state.RolloutDone, 3, 3)
	second.commit(3, pool(3))
	second.is(state.RolloutDone, 4, 4)
}

func TestAQueryOfPrometheusIsAGate(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	value, fails := 0.0, error(nil)
	set := func(v float64, err error) {
		mu.Lock()
		defer mu.Unlock()
		value, fails = v, err
	}
	set(0, errors.New("connection refused"))
	c := newControl(t, etcds.Start(t), "one", func(context.Context, string, string) (float64, error) {
		mu.Lock()
		defer mu.Unlock()
		return value, fails
	})
	gates := spec.Gates{Prometheus: &spec.PrometheusGate{URL: "http://192.0.2.1:9090", Query: "errors", Most: 1}}
	c.commit(0, pool(1), declared(time.Second, gates))
	c.is(state.RolloutDone, 1, 1)
	c.commit(1, pool(2))
	gtmtest.Eventually(t, "it waits for the answer", func() error {
		a, _ := state.Aims.Get(c.fleet.mirror, "shop")
		if !slices.Contains(a.Rollout.Waits, "Prometheus gives no answer: connection refused") {
			return fmt.Errorf("%+v", a.Rollout)
		}
		return nil
	})
	set(2, nil)
	c.is(state.RolloutStopped, 1, 1)
	set(0, nil)
	c.commit(2, pool(3))
	c.is(state.RolloutDone, 3, 3)
	// A drain goes to all groups at once, and is no rollout.
	c.commit(3, shop(spec.KindOverride, "drain", &spec.Override{Pool: "eu", State: spec.StateDrain}))
	c.is(state.RolloutDone, 4, 4)
	if a, _ := state.Aims.Get(c.fleet.mirror, "shop"); a.Rollout.From.Generation != 4 {
		t.Errorf("a drain was rolled out: %+v", a.Rollout)
	}
	c.commit(4, shop(spec.KindRollout, "shop", &spec.Rollout{Groups: nil})) // not lawful, and there all the same: nothing moves
	if _, err := c.client.Commit(t.Context(), store.Change{Tenant: "shop", Base: 5, Delete: []spec.Key{{Tenant: "shop",
		Kind: spec.KindRollout, Name: "shop"}}, Time: time.Now()}); err != nil {
		t.Fatal(err)
	}
	gtmtest.Eventually(t, "without a rollout, nothing is aimed at", func() error {
		if a, ok := state.Aims.Get(c.fleet.mirror, "shop"); ok {
			return fmt.Errorf("%+v", a)
		}
		return nil
	})
}
