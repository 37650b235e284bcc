package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/change/effect"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/demand"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// edgeServer is an edge that says this of itself; asked counts how often.
func edgeServer(t *testing.T, status api.EdgeStatus) (addr string, asked *atomic.Int64, end func()) {
	asked = &atomic.Int64{}
	web := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path == "/edge/explain" {
			_ = json.NewEncoder(rw).Encode(api.Explanation{Edge: status.ID})
			return
		}
		if r.URL.Path == "/edge/demand" {
			_ = json.NewEncoder(rw).Encode(api.EdgeDemand{Edge: status.ID, Started: status.Started, Counts: demandFor(status.Tenants)})
			return
		}
		_ = json.NewEncoder(rw).Encode(status)
	}))
	t.Cleanup(web.Close)
	return strings.TrimPrefix(web.URL, "http://"), asked, web.Close
}

// demandFor has a service of each tenant asked for, of a name like the tenant's.
func demandFor(tenants map[string]uint64) []byte {
	s := demand.NewSketch(now)
	for tenant := range tenants {
		for range 500 {
			s.Add(tenant, tenant+"-web", demand.CountryOf("DE"), 10)
		}
	}
	return s.Encode()
}

// gathers has edges asked once for the queries that they saw.
func (w *world) gathers(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := w.registered(ctx); err != nil {
		t.Fatal(err)
	}
	var ends sync.WaitGroup
	ends.Go(func() { w.gather.Run(ctx) })
	for ctx.Err() == nil && len(w.gather.Sum().Tenants()) == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	ends.Wait()
	if len(w.gather.Sum().Tenants()) == 0 {
		t.Fatal("no edge told what it saw")
	}
}

func follows(id string) api.EdgeStatus {
	return api.EdgeStatus{ID: id, Tenants: map[string]uint64{"platform": 3, "shop": 41}, Source: api.Source{State: "current"}}
}

func (w *world) edgeOf(t *testing.T, id string) api.Edge {
	t.Helper()
	var list api.Edges
	w.ask(t, "GET", "/v1/edges", nil, &list)
	i := slices.IndexFunc(list.Edges, func(e api.Edge) bool { return e.ID == id })
	if i < 0 {
		t.Fatalf("there is no edge %s in %+v", id, list.Edges)
	}
	return list.Edges[i]
}

// edgesAre checks the metric: alive, silent, behind.
func (w *world) edgesAre(t *testing.T, want string) {
	t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "gtm_control_edges" {
				got = append(got, fmt.Sprintf("%s %v", m.GetLabel()[0].GetValue(), m.GetGauge().GetValue()))
			}
		}
	}
	if text := strings.Join(got, ", "); text != want {
		t.Errorf("gtm_control_edges: %s; want %s", text, want)
	}
}

// TestAnEdgeThatDiesIsMissedSinceItsLease: it stays in the list, with what it answered from and since when it is silent.
func TestAnEdgeThatDiesIsMissedSinceItsLease(t *testing.T) {
	w := newWorld(t)
	url, asked, end := edgeServer(t, follows("ams1"))
	w.store.edges = []store.Edge{{ID: "ams1", HTTP: url, Alive: true, Seen: now.Add(-time.Minute)}}
	if e := w.edgeOf(t, "ams1"); e.State != api.EdgeAlive || e.Since != nil || len(e.Behind(w.goals()).Tenants) > 0 {
		t.Errorf("alive: %+v", e)
	}
	w.edgesAre(t, "alive 1, behind 0, silent 0")

	end()
	w.clock = now.Add(3 * time.Second)
	if e := w.edgeOf(t, "ams1"); e.State != api.EdgeAlive || e.Error == "" || !e.Since.Equal(w.clock) || !e.Behind(w.goals()).Unknown ||
		e.Last["shop"] != 41 {
		t.Errorf("unreachable: %+v", e)
	}
	w.edgesAre(t, "alive 0, behind 1, silent 0")

	held := w.clock
	w.clock = now.Add(15 * time.Second)
	w.store.edges[0].Alive = false
	e := w.edgeOf(t, "ams1")
	if e.State != api.EdgeSilent || !e.Since.Equal(held) || !e.Behind(w.goals()).Unknown || e.Last["shop"] != 41 {
		t.Errorf("silent: %+v", e)
	}
	w.edgesAre(t, "alive 0, behind 0, silent 1")

	w.store.edges[0].HTTP, _, _ = edgeServer(t, follows("fra1")) // another took over its address
	w.clock = now.Add(25 * time.Second)
	if e := w.edgeOf(t, "ams1"); e.Status != nil || !strings.Contains(e.Error, "what answers at its address is not this edge") {
		t.Errorf("another's word counts: %+v", e)
	}
	if asked.Load() != 1 {
		t.Errorf("it was asked %d times", asked.Load())
	}
}

// TestAnEdgeThatWasDeadBefore this control started is missed since it last wrote itself down.
func TestAnEdgeThatWasDeadBefore(t *testing.T) {
	w := newWorld(t)
	gone := httptest.NewServer(nil)
	gone.Close()
	seen := now.Add(-time.Hour)
	w.store.edges = []store.Edge{{ID: "ams1", HTTP: strings.TrimPrefix(gone.URL, "http://"),
		Seen: seen, Tenants: map[string]state.Generation{"shop": 40}}}
	if e := w.edgeOf(t, "ams1"); !e.Since.Equal(seen) || e.Last["shop"] != 40 || e.State != api.EdgeSilent {
		t.Errorf("%+v", e)
	}
}

// TestASilentEdgeIsNotAskedAgainAndAgain, since whoever waits asks five times a second; and explain asks it last.
func TestASilentEdgeIsNotAskedAgainAndAgain(t *testing.T) {
	w := newWorld(t)
	url, asked, _ := edgeServer(t, api.EdgeStatus{ID: "another"})
	living, _, _ := edgeServer(t, follows("fra1"))
	w.store.edges = []store.Edge{{ID: "ams1", HTTP: url}, {ID: "fra1", HTTP: living, Alive: true}}
	for range 3 {
		w.edgeOf(t, "ams1")
	}
	var x api.Explanation
	if w.ask(t, "GET", "/v1/explain?host=web.example", nil, &x); x.Edge != "fra1" || asked.Load() != 1 {
		t.Errorf("explained by %s; the silent one was asked %d times", x.Edge, asked.Load())
	}
	w.clock = now.Add(spareFor)
	w.edgeOf(t, "ams1")
	if w.edgeOf(t, "ams1"); asked.Load() != 2 {
		t.Errorf("asked %d times", asked.Load())
	}
}

// TestAnEdgeBehindIsSoSinceItWasSeen: a change that has just been made is no fault of it.
func TestAnEdgeBehindIsSoSinceItWasSeen(t *testing.T) {
	w := newWorld(t)
	old := follows("ams1")
	old.Tenants = map[string]uint64{"platform": 3, "shop": 40}
	url, _, _ := edgeServer(t, old)
	w.store.edges = []store.Edge{{ID: "ams1", HTTP: url, Alive: true}}
	w.edgeOf(t, "ams1")
	w.clock = now.Add(time.Minute)
	if e := w.edgeOf(t, "ams1"); !e.Since.Equal(now) || !slices.Equal(e.Behind(w.goals()).Tenants, []string{"shop"}) {
		t.Errorf("%+v", e)
	}
	w.edgesAre(t, "alive 0, behind 1, silent 0")
}

func TestEdgesAreForgotten(t *testing.T) {
	w := newWorld(t)
	w.store.edges = []store.Edge{{ID: "ams1"}, {ID: "fra1", Alive: true}}
	for id, says := range map[string]string{"fra1": "it is alive; stop it first", "amz1": "did you mean ams1?"} {
		rec := w.ask(t, "DELETE", "/v1/edges/"+id, nil, nil)
		code := map[bool]int{true: http.StatusConflict, false: http.StatusNotFound}[id == "fra1"]
		if p := problem(t, rec, code); !strings.Contains(p.Detail, says) {
			t.Errorf("%s: %s", id, p.Detail)
		}
	}
	var gone api.ForgottenEdge
	if w.ask(t, "DELETE", "/v1/edges/ams1", nil, &gone); gone.ID != "ams1" || len(w.store.edges) != 1 {
		t.Errorf("forgot %+v; there are %+v", gone, w.store.edges)
	}
	w.store.err = errors.New("etcd is away")
	problem(t, w.ask(t, "DELETE", "/v1/edges/fra1", nil, nil), http.StatusServiceUnavailable)
	var status api.Status
	if w.ask(t, "GET", "/v1/status", nil, &status); len(status.Edges) != 1 {
		t.Errorf("without etcd the forgotten one is back: %+v", status.Edges)
	}
}

// TestATwinIsRecalled: two processes with one ID overwrite each other, and are seen both for a while only.
func TestATwinIsRecalled(t *testing.T) {
	w := newWorld(t)
	url, _, _ := edgeServer(t, follows("ams1"))
	w.store.edges = []store.Edge{{ID: "ams1", HTTP: url, Alive: true, Twin: "one here, one there"}}
	for range twinAfter/listEvery + 1 {
		w.edgeOf(t, "ams1")
		w.clock = w.clock.Add(listEvery)
	}
	w.store.edges[0].Twin = ""
	w.clock = now.Add(5 * time.Minute)
	if e := w.edgeOf(t, "ams1"); e.Twin != "one here, one there" {
		t.Errorf("%+v", e)
	}
	w.clock = now.Add(time.Hour)
	if e := w.edgeOf(t, "ams1"); e.Twin != "" {
		t.Errorf("%+v", e)
	}
}

// TestWhatARestoredStoreHoldsIsNoTwin: a restored store held the leased entry of a process that had ended, beside what its successor
// wrote. For twelve minutes status said that there were two, and ended with 1.
func TestWhatARestoredStoreHoldsIsNoTwin(t *testing.T) {
	w := newWorld(t)
	url, _, _ := edgeServer(t, follows("ams1"))
	w.store.edges = []store.Edge{{ID: "ams1", HTTP: url, Alive: true}}
	twin := func(two string) string {
		w.store.edges[0].Twin = two
		return w.edgeOf(t, "ams1").Twin
	}
	for range 10 { // the lease of 10 seconds, in every second of which somebody looks
		if got := twin("one then, one now"); got != "" {
			t.Fatalf("after %v: %s", w.clock.Sub(now), got)
		}
		w.clock = w.clock.Add(time.Second)
	}
	w.clock = w.clock.Add(time.Minute) // without a leader, in which leases do not end
	if got := twin("one then, one now"); got != "" {
		t.Error(got)
	}
	w.clock = w.clock.Add(listEvery)
	twin("")
	for seen := time.Duration(0); seen < twinAfter; seen += listEvery { // and another time, from the beginning
		if got := twin("one then, one now"); got != "" {
			t.Errorf("after %v: %s", seen, got)
		}
		w.clock = w.clock.Add(listEvery)
	}
	if twin("one then, one now") == "" {
		t.Error("two that stay are not told of")
	}
}

// TestSilenceOfTheStoreShowsInStatus: probers were called alive, and pools healthy, as if someone had looked.
func TestSilenceOfTheStoreShowsInStatus(t *testing.T) {
	w := newWorld(t)
	w.store.vantages = []store.Vantage{{ID: "fra", Alive: true}, {ID: "nyc"}}
	var status api.Status
	if w.ask(t, "GET", "/v1/status", nil, &status); status.Health != nil {
		t.Errorf("nobody was heard: %+v", status.Health)
	}
	w.evidence.Heard(state.Pulse{Judge: "fra", Nonce: "1", Silent: []string{"nyc"}}, now)
	if w.ask(t, "GET", "/v1/status", nil, &status); status.Health.StandsStill || status.Health.Judge != "fra" ||
		!slices.Equal(status.Health.Silent, []string{"nyc"}) {
		t.Errorf("%+v", status.Health)
	}
	w.clock, w.store.contact, w.store.err = now.Add(45*time.Second), now.Add(5*time.Second), errors.New("etcd is away")
	w.status = state.FollowStatus{State: state.Stale, Since: now.Add(12 * time.Second)}
	status = api.Status{}
	w.ask(t, "GET", "/v1/status", nil, &status)
	if h := status.Health; !h.StandsStill || !h.Since.Equal(w.store.contact) || h.Why != "the store is not heard" {
		t.Errorf("%+v", h)
	}
	if v := status.Vantages; v[0].State != api.VantageUnknown || !v[0].Heard.Equal(now) || v[1].State != api.VantageSilent {
		t.Errorf("vantages %+v", v)
	}
}

// TestDemand: who asks for what, of all that the caller sees, of a tenant, and of a service.
func TestDemand(t *testing.T) {
	w := newAccessWorld(t)
	w.rivals(t)
	viewer := w.token(t, "shop", "viewer", "viewer")
	for _, c := range []struct {
		token, query string
		status       int
		services     string // of the reply, and of its tenants
	}{
		{testToken, "", 200, "platform/platform-web rival/rival-web shop/shop-web; platform rival shop"},
		{testToken, "?tenant=rival", 200, "rival/rival-web; rival"},
		{testToken, "?service=rival/rival-web", 200, "rival/rival-web; "},
		{viewer, "", 200, "shop/shop-web; shop"},
		{viewer, "?tenant=rival", 404, ""},
		{viewer, "?service=rival/rival-web", 404, ""},
		{viewer, "?tenant=shop&service=rival/rival-web", 400, ""},
		{viewer, "?service=shop", 400, ""},
		{viewer, "?service=shop/none", 404, ""},
		{viewer, "?tenant=platform", 200, "; "},
	} {
		rec := w.as(t, c.token, "GET", "/v1/demand"+c.query, nil)
		if rec.Code != c.status {
			t.Errorf("%s: %d %s", c.query, rec.Code, rec.Body)
			continue
		}
		if c.status != 200 {
			continue
		}
		var d api.Demand
		if err := json.Unmarshal(rec.Body.Bytes(), &d); err != nil {
			t.Fatal(err)
		}
		var services, tenants []string
		for _, of := range d.Services {
			services = append(services, of.Tenant+"/"+of.Service)
			if of.Queries != 5000 || len(of.Countries) != 1 || of.Countries[0].Share != 1 || !of.Enough {
				t.Errorf("%s: %+v", c.query, of)
			}
		}
		for _, of := range d.Tenants {
			tenants = append(tenants, of.Tenant)
		}
		if got := strings.Join(services, " ") + "; " + strings.Join(tenants, " "); got != c.services {
			t.Errorf("%s: %s, want %s", c.query, got, c.services)
		}
	}
}

// TestAPlanTellsNothingOfOthersQueries: neither of their services, nor of all of them together.
func TestAPlanTellsNothingOfOthersQueries(t *testing.T) {
	w := newWorld(t)
	key := func(tenant string) spec.Key { return spec.Key{Tenant: tenant, Kind: spec.KindService, Name: "web"} }
	p := &change.Plan{Effect: &effect.Effect{Services: []effect.Service{{Key: key("rival")}, {Key: key("shop")}},
		Tenants: []effect.Tenant{{Name: "rival", Moved: 1}, {Name: "shop", Moved: 1}}}}
	for _, all := range []bool{false, true} {
		v := &view{s: w.Server, grants: access.Grants{"shop": access.Read}, hidden: map[string]bool{"rival": true}}
		if all {
			v = &view{s: w.Server}
		}
		var out api.ApplyReply
		v.plan(&out, p)
		text, err := json.Marshal(out)
		if err != nil || strings.Contains(string(text), "rival") != all || !strings.Contains(string(text), `"tenant":"shop","queries"`) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
