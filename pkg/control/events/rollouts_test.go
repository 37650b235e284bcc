package events

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/store/state"
)

// aimed has control hear of a rollout of the shop in two groups.
func (w *world) aimed(p state.Progress) {
	w.now = w.now.Add(time.Minute)
	p.Since = w.now
	w.apply(state.Update{Values: state.Aims.Put(state.Aim{Tenant: "shop", Rollout: &p, Groups: []state.AimedGroup{
		{Name: "canary", Edges: []string{"canary-*"}, At: p.To}, {Name: "rest", At: p.From}}})})
}

func at(g state.Generation) state.Mark { return state.Mark{Generation: g} }

// reason gives that of the last event.
func (w *world) reason() string {
	list, _ := w.log.Find(Filter{}, 1)
	return list[0].Reason
}

func TestEventsOfRollouts(t *testing.T) {
	w := newWorld(t)
	w.apply(state.Update{Full: true})
	step := func(word, reason string, p state.Progress) {
		t.Helper()
		w.aimed(p)
		w.want(reason, word)
		if word != "" && !strings.HasPrefix(w.reason(), reason) {
			t.Errorf("%s: it says %q, want %q", word, w.reason(), reason)
		}
	}
	done := state.Progress{State: state.RolloutDone, From: at(1), To: at(1), Stage: 1}
	step("", "declared", done)
	soaking := state.Progress{State: state.RolloutSoaking, From: at(1), To: at(2)}
	step("the rollout of shop done>begun", "shop@2: group canary is first", soaking)
	waits := soaking
	waits.Waits = []string{"edge canary-1"}
	step("", "it waits", waits)
	paused := soaking
	paused.State, paused.By, paused.Why = state.RolloutPaused, "ann", "by hand"
	step("the rollout of shop soaking>paused", "shop@2: at group canary (by hand), by ann", paused)
	soaking.By = "ann"
	step("the rollout of shop paused>resumed", "shop@2: at group canary, by ann", soaking)
	newer := soaking
	newer.To, newer.By = at(9), ""
	step("the rollout of shop soaking>begun", "shop@9: group canary is first", newer) // what came between was not seen
	step("the rollout of shop soaking>begun", "shop@2: group canary is first", soaking)
	second := soaking
	second.Stage, second.By = 1, ""
	step("the rollout of shop soaking>reached", "shop@2: group rest gets it", second)
	stopped := second
	stopped.State, stopped.Why = state.RolloutStopped, "SERVFAIL is 2.0% of 1000 answers"
	step("the rollout of shop soaking>failed", "shop@2: SERVFAIL is 2.0% of 1000 answers; all groups are pointed back at shop@1", stopped)
	if list := w.Problems("shop"); len(list) != 1 || list[0].Kind != api.EventRollout || list[0].To != api.RolloutFailed {
		t.Errorf("problems: %+v", list)
	}
	soaking.To, soaking.By = at(3), ""
	step("the rollout of shop stopped>begun", "shop@3: group canary", soaking)
	if list := w.Problems("shop"); len(list) > 0 {
		t.Errorf("problems: %+v", list)
	}
	second.To, second.By = at(3), "ann"
	step("the rollout of shop soaking>promoted", "shop@3: group rest gets it, by ann", second)
	stopped.To, stopped.By, stopped.Why = at(3), "ann", "by hand"
	step("the rollout of shop soaking>aborted", "shop@3: by hand; all groups", stopped)
	if list := w.Problems("shop"); len(list) > 0 {
		t.Errorf("what a person did is no problem: %+v", list)
	}
	step("the rollout of shop stopped>done", "shop@4: all groups have it",
		state.Progress{State: state.RolloutDone, From: at(1), To: at(4), Stage: 1})
	w.apply(state.Update{Values: state.Aims.Delete("shop")})
	w.want("it ends", "the rollout of shop done>ended")
}

// TestRolloutsAreMadeUpFor when control comes back: once, and what stood at the first start is no news.
func TestRolloutsAreMadeUpFor(t *testing.T) {
	w := newWorld(t)
	failed := state.Progress{State: state.RolloutStopped, From: at(1), To: at(2), Why: "bad", Since: w.now.Add(-time.Hour)}
	full := state.Update{Full: true, Values: state.Aims.Put(state.Aim{Tenant: "shop", Rollout: &failed,
		Groups: []state.AimedGroup{{Name: "rest", At: at(1)}}})}
	w.Work(context.Background()) // the clock comes before the store
	w.apply(full)
	w.want("it stood so", "")
	if list := w.Problems(""); len(list) != 1 {
		t.Errorf("but it is wrong all the same: %+v", list)
	}
	w.aimed(state.Progress{State: state.RolloutSoaking, From: at(1), To: at(3)})
	w.want("live", "the rollout of shop stopped>begun")
	full = w.mirror.Full()
	w.restart()
	w.apply(full)
	w.want("nothing happened meanwhile", "")
	w.restart()
	failed.To, failed.Since = at(3), w.now.Add(time.Second)
	full.Values = state.Aims.Put(state.Aim{Tenant: "shop", Rollout: &failed, Groups: []state.AimedGroup{{Name: "rest", At: at(1)}}})
	w.now = w.now.Add(time.Minute)
	w.apply(full)
	w.want("meanwhile", "the rollout of shop none>failed")
}

// refuses is an edge that refuses a generation of a tenant; none: it takes all.
func (w *world) refuses(id string, held ...api.HeldTenant) api.Edge {
	return api.Edge{ID: id, Status: &api.EdgeStatus{ID: id, Held: held, Tenants: map[string]uint64{"shop": 1},
		View: api.View{Published: w.now}}}
}

func (w *world) asks(edges ...api.Edge) {
	w.Edges(edges)
	w.Work(context.Background())
}

func TestEventsOfEdges(t *testing.T) {
	w := newWorld(t)
	w.apply(state.Update{Full: true})
	held := api.HeldTenant{Tenant: "shop", Refused: 2, Serves: 1, Why: "shop/Service/web: it is empty", Since: w.now}
	w.asks(w.refuses("fra-1", held), w.refuses("syd-1", api.HeldTenant{Tenant: "shop", Newest: 2, Serves: 1, Group: "rest"}))
	w.want("one refuses it, and one is not to have it yet", "edge fra-1 on shop taken>refused")
	if got := w.reason(); got != "shop@2: shop/Service/web: it is empty; it serves shop@1" {
		t.Error(got)
	}
	if list := w.Problems("shop"); len(list) != 1 || list[0].Edge != "fra-1" {
		t.Errorf("problems: %+v", list)
	}
	w.asks(w.refuses("fra-1", held), w.refuses("syd-1"))
	w.want("the same", "")
	w.asks(api.Edge{ID: "fra-1"}, w.refuses("syd-1"))
	w.want("it is not heard", "")
	crashed := api.HeldTenant{Tenant: "shop", Refused: 2, Serves: 1, Crashed: true, Since: w.now.Add(time.Second)}
	w.asks(w.refuses("fra-1", crashed), w.refuses("syd-1"))
	w.want("it crashed", "edge fra-1 on shop taken>crashed")
	w.asks(w.refuses("fra-1"), w.refuses("syd-1", held))
	w.want("it takes a newer one", "edge fra-1 on shop crashed>taken, edge syd-1 on shop taken>refused")
	w.asks(w.refuses("fra-1"))
	w.want("an edge is forgotten", "edge syd-1 on shop refused>taken")
	if list := w.Problems(""); len(list) > 0 {
		t.Errorf("problems: %+v", list)
	}
	w.restart()
	w.apply(state.Update{Full: true})
	w.asks(w.refuses("fra-1", crashed))
	w.want("another process of control knows it", "")
	if list := w.Problems(""); len(list) != 1 {
		t.Errorf("problems: %+v", list)
	}
}

// TestWhatWasAskedIsNotKept: whoever asked takes out of it what a tenant may not see, and none of that has become otherwise.
func TestWhatWasAskedIsNotKept(t *testing.T) {
	w := newWorld(t)
	w.apply(state.Update{Full: true})
	all := []api.Edge{w.refuses("fra-1", api.HeldTenant{Tenant: "shop", Refused: 2, Serves: 1, Why: "shop/x", Since: w.now})}
	w.Edges(all)
	all[0].Status.Held, all[0].Status.Tenants = nil, nil
	w.Work(context.Background())
	w.want("it is told as it was", "edge fra-1 on shop taken>refused")
}

// TestAGenerationThatAllRefuse is no flood of events.
func TestAGenerationThatAllRefuse(t *testing.T) {
	w := newWorld(t)
	w.apply(state.Update{Full: true})
	for range 3 {
		var all []api.Edge
		for i := range 2 * mostRefusing {
			all = append(all, w.refuses("e"+string(rune('a'+i)), api.HeldTenant{Tenant: "shop", Refused: 2, Since: w.now}))
		}
		w.asks(all...)
	}
	if list, _ := w.log.Find(Filter{Tenant: "shop", Kind: api.EventEdge}, 1000); len(list) != mostRefusing {
		t.Errorf("%d events", len(list))
	}
}

// TestWhoseFaultAnEdgeTellsOf: names of other tenants are not told.
func TestWhoseFaultAnEdgeTellsOf(t *testing.T) {
	for _, c := range []struct {
		tenant, why string
		told        bool
	}{{"shop", "shop/Service/web: x", true}, {"shop", "other/Service/w: x", false}, {"platform", "other/Service/w: x", true}} {
		h := api.HeldTenant{Tenant: c.tenant, Why: c.why}
		if got := h.Reason(); (got == c.why) != c.told || strings.Contains(got, "other/") && !c.told {
			t.Errorf("%s of %s: %q", c.why, c.tenant, got)
		}
	}
}
