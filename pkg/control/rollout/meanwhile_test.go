package rollout

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/gtmtest/etcds"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// quiet sees an edge that serves the generation, and nothing that is wrong.
type quiet struct{}

func (quiet) AllEdges(context.Context) ([]api.Edge, error) { return nil, nil }
func (quiet) Counts(context.Context, string, string, bool) (state.Counts, error) {
	return state.Counts{Started: began}, nil
}
func (quiet) Answers(context.Context, string, string) error { return nil }
func (quiet) Up(string) (up, all int)                       { return 1, 1 }

// TestWhatAPersonDidMeanwhileHolds: the driver decided by what its mirror says, and a person paused the rollout since, or whatever else.
func TestWhatAPersonDidMeanwhileHolds(t *testing.T) {
	t.Parallel()
	client := etcds.Open(t, etcds.Start(t))
	m := state.NewMirror()
	d, err := New(Config{Store: client, Mirror: m, Eyes: quiet{}, Now: func() time.Time { return began.Add(time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	put := func(edit func(*state.Aim) error) state.Aim {
		t.Helper()
		a, err := client.EditAim(t.Context(), "shop", false, edit)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	soaking := put(func(a *state.Aim) error {
		start(a, &rules{own: threeGroups, head: mark(1)}, began, "")
		begin(a, mark(2), threeGroups, began)
		a.Groups[0].At, a.Rollout.Soaks = mark(2), began
		return nil
	})
	m.Apply(state.Update{Full: true, Cursor: 1, Cluster: 7, Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 2, ID: mark(2).ID}},
		Values: state.Aims.Put(soaking)})
	edges := []api.Edge{{ID: "canary-1", State: api.EdgeAlive, Status: &api.EdgeStatus{ID: "canary-1", Started: began,
		Source: api.Source{State: "current"}, Tenants: map[string]uint64{"shop": 2}}}}
	watched := func(edit func(*state.Aim) error) state.Aim {
		t.Helper()
		put(edit)
		d.watch(t.Context(), "shop", edges)
		return put(func(*state.Aim) error { return nil })
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	_ = client.CampaignDriver(ctx, "one", func(ctx context.Context) error {
		defer stop()
		a := watched(func(a *state.Aim) error { return Act(a, &Order{Action: "pause", By: "ann"}, began) })
		if a.Rollout.State != state.RolloutPaused || a.Rollout.By != "ann" || a.Groups[1].At != mark(1) {
			t.Errorf("a person paused it, and it is %+v at %+v", a.Rollout, a.Groups)
		}
		a = watched(func(a *state.Aim) error { *a = clone(soaking); a.Accept = mark(2); return nil })
		if a.Accept != mark(2) || a.Rollout.Stage != 0 {
			t.Errorf("a person had a generation accepted, and it is %+v", a)
		}
		a = watched(func(a *state.Aim) error { *a = clone(soaking); return nil })
		if a.Rollout.Stage != 1 || a.Rollout.By != "" {
			t.Errorf("nobody did anything, and it is %+v at %+v", a.Rollout, a.Groups)
		}
		return nil
	})
	if a := put(func(*state.Aim) error { return nil }); a.Rollout.Stage != 1 {
		t.Errorf("it was not elected: %+v", a.Rollout)
	}
}

// aimed is a store with an aim.
type aimed struct {
	Store
	aim state.Aim
}

func (s *aimed) EditAim(_ context.Context, _ string, _ bool, edit func(*state.Aim) error) (state.Aim, error) {
	err := edit(&s.aim)
	return s.aim, err
}

// TestAnAcceptThatTheMirrorHasNotSeenStays: where there is no rollout yet, the driver writes all else.
func TestAnAcceptThatTheMirrorHasNotSeenStays(t *testing.T) {
	for name, c := range map[string]struct{ seen, stored, want state.Mark }{
		"not seen":      {state.Mark{}, mark(2), mark(2)},
		"a former":      {mark(1), mark(2), mark(2)},
		"damaged":       {mark(1), state.Mark{}, mark(1)},
		"there is none": {},
	} {
		s := &aimed{aim: state.Aim{Tenant: "shop", Accept: c.stored}}
		d, err := New(Config{Store: s, Mirror: state.NewMirror()})
		if err != nil {
			t.Fatal(err)
		}
		was := state.Aim{Tenant: "shop", Accept: c.seen}
		next := clone(was)
		start(&next, &rules{own: threeGroups, head: mark(1)}, began, "")
		if err := d.write(t.Context(), was, next); err != nil || s.aim.Accept != c.want || s.aim.Rollout == nil {
			t.Errorf("%s: %v, %+v", name, err, s.aim)
		}
	}
}

// TestOthersAreAskedToCompareWith: some of those that have not got the generation, where a gate compares.
func TestOthersAreAskedToCompareWith(t *testing.T) {
	d, err := New(Config{Mirror: state.NewMirror(), Eyes: quiet{}, Now: func() time.Time { return began }})
	if err != nil {
		t.Fatal(err)
	}
	var edges []api.Edge
	for _, id := range []string{"canary-1", "canary-2"} {
		edges = append(edges, api.Edge{ID: id, Status: &api.EdgeStatus{ID: id, Started: began}})
	}
	edges = append(edges, api.Edge{ID: "fra-silent"})
	for i := range 2 * othersMost {
		id := fmt.Sprint("fra-", i)
		edges = append(edges, api.Edge{ID: id, Status: &api.EdgeStatus{ID: id, Started: began}})
	}
	for _, c := range []struct {
		gates  spec.Gates
		others int
	}{{spec.Gates{ServFail: "1%"}, othersMost}, {spec.Gates{NXDomain: "1%"}, othersMost}, {spec.Gates{Healthy: "50%"}, 0}} {
		a := state.Aim{Tenant: "shop"}
		start(&a, &rules{own: &spec.Rollout{Groups: threeGroups.Groups, Gates: c.gates}, head: mark(1)}, began, "")
		begin(&a, mark(2), nil, began)
		next := d.look(t.Context(), &a, edges)
		_, silent := next.Rollout.Others["fra-silent"]
		_, canary := next.Rollout.Others["canary-1"]
		if n := len(next.Rollout.Others); n != c.others || silent || canary || len(next.Rollout.Base) != 2 {
			t.Errorf("%+v: %d others, of the group %d", c.gates, n, len(next.Rollout.Base))
		}
	}
}
