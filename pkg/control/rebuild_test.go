package control

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

// emptied is a store that is not what the mirror has.
type emptied struct {
	*memory
	left int // commits that are made before one fails; negative: none fails
}

func (e *emptied) Read(_ context.Context, tenant string, at state.Generation) (state.TenantState, error) {
	return e.Tenant(tenant), nil
}

func (e *emptied) Commit(ctx context.Context, c store.Change) (state.Record, error) {
	if e.left == 0 {
		return state.Record{}, errors.New("etcd has no leader")
	}
	e.left--
	return e.memory.Commit(ctx, c)
}

// newEmptied is a control that remembers testState, over an empty store.
func newEmptied(t *testing.T) (*world, *emptied) {
	w := newWorld(t)
	e := &emptied{memory: &memory{Mirror: state.NewMirror(), states: map[string]state.TenantState{}}, left: -1}
	w.cfg.Store = e
	w.changer = change.New(change.Config{Store: e, State: change.FollowState(e, w.cfg.Mirror)})
	w.status = state.FollowStatus{State: state.Refused, Err: "the store went back"}
	e.onAccept = func() { w.status = state.FollowStatus{State: state.Current} }
	return w, e
}

// asked gives what control remembers, but for some.
func (w *world) remembered(t *testing.T, but ...string) (out []api.Resource) {
	t.Helper()
	for _, tenant := range w.cfg.Mirror.Tenants() {
		for _, v := range sorted(w.cfg.Mirror.Tenant(tenant)) {
			r, err := api.FromSpec(v.Resource)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(but, v.Resource.Key.String()) {
				out = append(out, r)
			}
		}
	}
	return out
}

// A rebuild that ends half-way is not accepted, and the same command goes on.
func TestARebuildIsAcceptedWhenItIsWhole(t *testing.T) {
	w, e := newEmptied(t)
	e.left = 1
	in := api.RebuildRequest{Resources: w.remembered(t, "shop/Override/now")}
	in.Resources[0].Generation = 40 // nothing there is of any generation
	p := problem(t, w.ask(t, "POST", "/v1/store/rebuild", in, nil), http.StatusServiceUnavailable)
	for _, part := range []string{"was not accepted", "platform@1 was made", "etcd has no leader", "The same command goes on"} {
		if !strings.Contains(p.Detail, part) {
			t.Errorf("%q does not say %q", p.Detail, part)
		}
	}
	if e.accepted != "" || e.Tenant("shop").Head != 0 {
		t.Fatalf("accepted by %q, shop@%d", e.accepted, e.Tenant("shop").Head)
	}
	e.left = -1
	var out api.RebuildReply
	w.ask(t, "POST", "/v1/store/rebuild", in, &out)
	if out.Accepted == nil || e.accepted != asked || len(out.Records) != 1 || out.Heads["shop"] != 1 || out.Heads["platform"] != 1 {
		t.Errorf("%+v", out)
	}
	if len(out.Lost) != 1 || out.Lost[0].Name != "now" {
		t.Errorf("lost %v", out.Lost)
	}
	if len(e.verdictsBack) != 1 || e.verdictsBack[0].Pool.Pool != "eu" {
		t.Errorf("verdicts that were put back: %v", e.verdictsBack)
	}
	p = problem(t, w.ask(t, "POST", "/v1/store/rebuild", in, nil), http.StatusConflict)
	if !strings.Contains(p.Detail, "gtmctl apply") {
		t.Error(p.Detail)
	}
}

// With an emptied store it was forgotten which edges there are: wait said that all answer while one that had not registered again did not.
func TestARebuildKeepsEdgesKnown(t *testing.T) {
	w, e := newEmptied(t)
	gone := store.Edge{ID: "gone", Seen: time.Unix(1e9, 0).UTC()}
	w.lastEdges = []store.Edge{gone, {ID: "here", Alive: true}}
	e.edges = []store.Edge{{ID: "here", Alive: true}}
	var out api.RebuildReply
	w.ask(t, "POST", "/v1/store/rebuild", api.RebuildRequest{FromMemory: true}, &out)
	if len(e.edgesBack) != 2 || e.edgesBack[0].ID != "gone" || e.edgesBack[0].Alive || !e.edgesBack[0].Seen.Equal(gone.Seen) ||
		!e.edgesBack[1].Alive {
		t.Errorf("edges that were put back: %+v", e.edgesBack)
	}
}

// TestARebuildWhoseAcceptanceIsNotAnswered: it said that the store was not accepted, which nobody knew.
func TestARebuildWhoseAcceptanceIsNotAnswered(t *testing.T) {
	w, e := newEmptied(t)
	e.onAccept = func() { e.err = errors.New("etcd gives no answer") }
	p := problem(t, w.ask(t, "POST", "/v1/store/rebuild", api.RebuildRequest{FromMemory: true}, nil), http.StatusServiceUnavailable)
	const want = "the store is whole, but it is not known whether it was accepted: gtmctl status tells whether it is refused still; " +
		"then run: gtmctl store accept. etcd gives no answer"
	if p.Detail != want {
		t.Errorf("%q", p.Detail)
	}
}

// Of the six in memory one is an override that has expired, which is left out.
func TestARebuildNamesWhatElseIsThere(t *testing.T) {
	w, e := newEmptied(t)
	pool := &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "old"}, Spec: &spec.Pool{}}
	e.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 2, Put: []state.Version{{Resource: pool, Generation: 2}}}}})
	var out api.RebuildReply
	w.ask(t, "POST", "/v1/store/rebuild", api.RebuildRequest{FromMemory: true, DryRun: true}, &out)
	if len(out.Kept) != 1 || out.Kept[0] != pool.Key || len(out.Plan) != 5 || len(out.Records) != 0 || out.Accepted != nil ||
		e.accepted != "" {
		t.Errorf("%+v", out)
	}
}

// A zone that others change, and the keys of a signed one, are not in files.
func TestARebuildRemembersWhatIsInNoFile(t *testing.T) {
	w, e := newEmptied(t)
	const name = "moving."
	const text = "moving.\t60\tIN\tSOA\tns1.example. h.example. 7 7200 1800 1209600 60\nmoving.\t60\tIN\tNS\tns1.example.net.\n"
	zone := func(z *spec.Zone) *spec.Resource {
		return &spec.Resource{Key: spec.Key{Tenant: spec.Platform, Kind: spec.KindZone, Name: name}, Spec: z}
	}
	primaries := []spec.Peer{{Address: "192.0.2.9"}}
	w.cfg.Mirror.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: spec.Platform, Head: 4,
		Put: []state.Version{{Resource: zone(&spec.Zone{Primaries: primaries, Content: text}), Generation: 4}}}}})
	w.cfg.Keys = &fakeKeys{kept: map[string]dnssec.Keyset{name: {Zone: name, Serial: 7}, "other.": {Zone: "other.", Serial: 2}}}
	wire, err := api.FromSpec(zone(&spec.Zone{Primaries: primaries, DNSSEC: &spec.DNSSEC{}}))
	if err != nil {
		t.Fatal(err)
	}
	var out api.RebuildReply
	w.ask(t, "POST", "/v1/store/rebuild", api.RebuildRequest{Resources: append(w.remembered(t, "platform/Zone/moving."), wire)}, &out)
	v, _ := e.Tenant(spec.Platform).Resources.Get(zone(nil).Key)
	if got := v.Resource.Spec.(*spec.Zone).Content; got != text {
		t.Errorf("the copied zone begins as %q", got)
	}
	if len(e.back) != 1 || e.back[0].Zone != name || e.back[0].Serial != 7 || !slices.Equal(out.Keys, []string{name}) {
		t.Errorf("keys that were put back: %+v, told %v", e.back, out.Keys)
	}
}

func TestARebuildOfNothing(t *testing.T) {
	w := newWorld(t)
	p := problem(t, w.ask(t, "POST", "/v1/store/rebuild", api.RebuildRequest{Resources: w.remembered(t)}, nil), http.StatusConflict)
	if !strings.Contains(p.Detail, "gtmctl apply -f DIR") {
		t.Error(p.Detail)
	}
	p = problem(t, w.ask(t, "POST", "/v1/store/rebuild", api.RebuildRequest{FromMemory: true}, nil), http.StatusConflict)
	if !strings.Contains(p.Detail, "gtmctl store rebuild -f DIR") {
		t.Error(p.Detail)
	}
	w, _ = newEmptied(t)
	problem(t, w.ask(t, "POST", "/v1/store/rebuild", api.RebuildRequest{}, nil), http.StatusUnprocessableEntity)
}

// TestARebuildFromMemoryWaitsForTheStore: in the second before control has seen that the store is a new one, it said that it had been
// started since. A control that was started since has nothing to wait for, and says so at once.
func TestARebuildFromMemoryWaitsForTheStore(t *testing.T) {
	w, fresh := newWorld(t), newWorld(t)
	fresh.store.Mirror.Apply(state.Update{Full: true})
	for now, want := range map[string]int{state.Stale: http.StatusServiceUnavailable, state.Current: http.StatusConflict} {
		w.status, fresh.status = state.FollowStatus{State: now}, state.FollowStatus{State: now}
		problem(t, w.ask(t, "POST", "/v1/store/rebuild", api.RebuildRequest{FromMemory: true}, nil), want)
		problem(t, fresh.ask(t, "POST", "/v1/store/rebuild", api.RebuildRequest{FromMemory: true}, nil), http.StatusConflict)
	}
}
