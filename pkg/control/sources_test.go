package control

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/share"
	declare "github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/pace"
	"github.com/gti/gtm/pkg/store/state"
)

// withSources adds a pool that has sources, and one whose sources are off.
func withSources(t *testing.T, w *world) {
	t.Helper()
	u := state.TenantUpdate{Tenant: "shop", Head: 42}
	for _, r := range declare.Resources(t, `kind: Pool
tenant: shop
name: found
spec:
  endpoints: [{name: own, addresses: [192.0.2.9]}]
  discover:
    - {name: fleet, pushed: true, most: 3}
    - {name: gone, pushed: true, empty: take}
    - {name: names, dns: edge.example}
---
kind: Pool
tenant: shop
name: off
spec: {endpoints: [{name: own, addresses: [192.0.2.9]}], discover: [{name: fleet, pushed: true}], modes: {discover: off}}
---
kind: Service
tenant: shop
name: found
spec: {host: found.example., rules: [{pools: [found]}]}
`) {
		u.Put = append(u.Put, state.Version{Resource: r, Generation: 42})
	}
	w.store.Apply(state.Update{Tenants: []state.TenantUpdate{u}})
}

func pushOf(addresses ...string) (in api.PushRequest) {
	in.Endpoints = []api.FoundEndpoint{}
	for _, a := range addresses {
		in.Endpoints = append(in.Endpoints, api.FoundEndpoint{Address: a})
	}
	return in
}

// poolOf gives what status tells of a pool, its endpoints with their sources.
func (w *world) poolOf(t *testing.T, name string) (p api.Pool, endpoints string) {
	t.Helper()
	var s api.Status
	w.ask(t, http.MethodGet, "/v1/status", nil, &s)
	for _, p := range s.Pools {
		if p.Pool != name {
			continue
		}
		var words []string
		for _, e := range p.Endpoints {
			words = append(words, strings.TrimSuffix(e.Name+" "+e.Source, " "))
		}
		return p, strings.Join(words, ", ")
	}
	t.Fatalf("there is no pool %s", name)
	return p, ""
}

func TestPushes(t *testing.T) {
	w := newWorld(t)
	withSources(t, w)
	const at = "/v1/endpoints/shop/found/fleet"
	var out api.PushReply
	seven := 7
	first := pushOf("192.0.2.2", "192.0.2.1")
	first.Endpoints[0].Port, first.Endpoints[0].Weight, first.Expires = 8443, &seven, now.Add(time.Minute)
	w.ask(t, http.MethodPut, at, first, &out)
	if s := out.Sources; len(s) != 1 || s[0].Name != "fleet" || s[0].Of != "pushed" || s[0].Endpoints != 2 || s[0].By != asked ||
		!s[0].Expires.Equal(now.Add(time.Minute)) || !s[0].Since.Equal(now) {
		t.Errorf("%+v", out)
	}
	p, endpoints := w.poolOf(t, "found")
	if endpoints != "own, ip-192-0-2-1 fleet, ip-192-0-2-2 fleet" || p.Endpoints[2].Weight != 7 ||
		p.Endpoints[2].Probe != "192.0.2.2:8443" || len(p.Sources) != 3 || !p.Up {
		t.Errorf("%s: %+v", endpoints, p)
	}
	w.clock = now.Add(time.Second)
	w.ask(t, http.MethodPut, at, first, &out)
	if s := out.Sources[0]; !s.Since.Equal(now) {
		t.Errorf("the same again: since %s", s.Since)
	}
	out = api.PushReply{}
	w.ask(t, http.MethodPut, at, pushOf("192.0.2.3"), &out)
	if s := out.Sources[0]; !s.Since.Equal(w.clock) || !s.Expires.IsZero() {
		t.Errorf("another one: %+v", s)
	}
	out = api.PushReply{}
	brief := pushOf("192.0.2.3")
	brief.For = "10s"
	w.ask(t, http.MethodPut, at, brief, &out)
	if s := out.Sources[0]; !s.Expires.Equal(w.clock.Add(10 * time.Second)) {
		t.Errorf("for 10s: %+v", s)
	}
	briefer, both := brief, brief
	briefer.For, both.Expires = "9s", now.Add(time.Hour)
	w.ask(t, http.MethodPut, "/v1/endpoints/shop/found/gone", pushOf(), &out)
	late := pushOf("192.0.2.1")
	late.Expires = w.clock.Add(9 * time.Second)
	for _, tc := range []struct {
		path string
		in   any
		code int
		want string
	}{
		{at, pushOf(), 422, "empty: take allows it"},
		{at, pushOf("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"), 422, "more than the 3"},
		{at, pushOf("192.0.2.1", "192.0.2.1"), 422, "stands twice"},
		{at, pushOf("edge.example"), 422, "endpoints[0].address"},
		{at, pushOf("224.0.0.1"), 422, "not the address of a server"},
		{at, late, 422, "at least 10s from now"},
		{at, briefer, 422, `for: \"9s\" is not at least 10s`},
		{at, both, 422, "for and expires say the same"},
		{at, `{"endpoints": [{"address": "192.0.2.1", "port": 99999}]}`, 422, "endpoints[0].port"},
		{at, `{"endpoints": [{"address": "192.0.2.1", "wieght": 3}]}`, 422, "wieght"},
		{at, `{"endpoints": [{"address": "192.0.2.1"`, 400, ""},
		{"/v1/endpoints/shop/found/names", pushOf("192.0.2.1"), 404, "there are fleet, gone"},
		{"/v1/endpoints/shop/eu/fleet", pushOf("192.0.2.1"), 404, "it has none that is pushed"},
		{"/v1/endpoints/shop/none/fleet", pushOf("192.0.2.1"), 404, "none"},
		{"/v1/endpoints/nobody/found/fleet", pushOf("192.0.2.1"), 404, "nobody"},
		{"/v1/endpoints/shop/off/fleet", pushOf("192.0.2.1"), 409, "spec.modes.discover is off"},
	} {
		if rec := w.ask(t, http.MethodPut, tc.path, tc.in, nil); rec.Code != tc.code || !strings.Contains(rec.Body.String(), tc.want) {
			t.Errorf("%s %v: %d %s", tc.path, tc.in, rec.Code, rec.Body)
		}
	}
	if _, endpoints := w.poolOf(t, "found"); endpoints != "own, ip-192-0-2-3 fleet" {
		t.Errorf("what was refused has changed something: %s", endpoints)
	}
	w.ask(t, http.MethodDelete, at, nil, &out)
	if p, endpoints := w.poolOf(t, "found"); endpoints != "own" || p.Sources[0].By != asked {
		t.Errorf("taken away: %s: %+v", endpoints, p.Sources)
	}
}

// Several lists are taken all or none.
func TestPushesOfSeveral(t *testing.T) {
	w := newWorld(t)
	withSources(t, w)
	list := func(source string, addresses ...string) api.PushList {
		return api.PushList{Pool: "found", Source: source, PushRequest: pushOf(addresses...)}
	}
	var out api.PushReply
	w.ask(t, http.MethodPut, "/v1/endpoints/shop", api.PushesRequest{Lists: []api.PushList{list("gone", "192.0.2.1", "192.0.2.2"),
		list("fleet", "192.0.2.2", "192.0.2.3")}}, &out)
	if _, endpoints := w.poolOf(t, "found"); len(out.Sources) != 2 ||
		endpoints != "own, ip-192-0-2-2 fleet, ip-192-0-2-3 fleet, ip-192-0-2-1 gone" {
		t.Errorf("%s: %+v", endpoints, out)
	}
	many := make([]api.PushList, 101)
	for i := range many {
		many[i] = list("fleet", fmt.Sprintf("192.0.2.%d", i))
	}
	for want, lists := range map[string][]api.PushList{
		"wants at least one": {}, "at most 100": many, "stands twice": {list("fleet", "192.0.2.7"), list("fleet", "192.0.2.8")},
		"Pool/found, source gone: endpoints[0].address": {list("fleet", "192.0.2.7"), list("gone", "x")},
	} {
		rec := w.ask(t, http.MethodPut, "/v1/endpoints/shop", api.PushesRequest{Lists: lists}, nil)
		if rec.Code != http.StatusUnprocessableEntity || !strings.Contains(rec.Body.String(), want) {
			t.Errorf("%s: %d %s", want, rec.Code, rec.Body)
		}
	}
	if _, endpoints := w.poolOf(t, "found"); strings.Contains(endpoints, "192-0-2-7") {
		t.Errorf("one of a refused request was taken: %s", endpoints)
	}
}

// Who pushes again and again what the store has writes nothing; what expires is written when half of its time is over.
func TestTheSamePushIsNotWritten(t *testing.T) {
	w := newWorld(t)
	withSources(t, w)
	const at = "/v1/endpoints/shop/found/fleet"
	push := func(method string, in any, writes int, what string) (s api.PoolSource) {
		t.Helper()
		before := w.store.pushed
		var out api.PushReply
		w.ask(t, method, at, in, &out)
		if n := w.store.pushed - before; n != writes {
			t.Errorf("%s: %d writes, want %d", what, n, writes)
		}
		return out.Sources[0]
	}
	until := func(d time.Duration, addresses ...string) api.PushRequest {
		in := pushOf(addresses...)
		in.Expires = w.clock.Add(d)
		return in
	}
	push(http.MethodPut, pushOf("192.0.2.1"), 1, "the first")
	w.clock = w.clock.Add(time.Minute)
	if s := push(http.MethodPut, pushOf("192.0.2.1"), 0, "the same"); s.Endpoints != 1 || !s.Good.Equal(now) || s.By != asked {
		t.Errorf("%+v", s)
	}
	push(http.MethodPut, until(time.Minute, "192.0.2.1"), 1, "for a time")
	w.clock = w.clock.Add(30 * time.Second)
	push(http.MethodPut, until(time.Minute, "192.0.2.1"), 0, "at half of its time")
	push(http.MethodPut, until(20*time.Second, "192.0.2.1"), 1, "for a shorter time")
	w.clock = w.clock.Add(time.Second)
	if s := push(http.MethodPut, until(time.Minute, "192.0.2.1"), 1, "past half"); !s.Expires.Equal(w.clock.Add(time.Minute)) {
		t.Errorf("%+v", s)
	}
	push(http.MethodPut, pushOf("192.0.2.1"), 1, "without an end")
	push(http.MethodPut, pushOf("192.0.2.1", "192.0.2.2"), 1, "another one")
	w.store.elsewhere = map[state.SourceID]bool{{Tenant: "shop", Pool: "found", Source: "fleet"}: true}
	w.clock = w.clock.Add(time.Second)
	s := push(http.MethodPut, pushOf("192.0.2.1", "192.0.2.2"), 1, "the same, but another control was told otherwise meanwhile")
	if !s.Good.Equal(w.clock) {
		t.Errorf("%+v", s)
	}
	w.store.elsewhere = nil
	push(http.MethodPut, pushOf("192.0.2.1", "192.0.2.2", "2001:db8::1"), 1, "with one that is passed over")
	push(http.MethodDelete, nil, 1, "none")
	push(http.MethodDelete, nil, 0, "none again")
	f, _ := state.Discovered.Get(w.store.Mirror, state.SourceID{Tenant: "shop", Pool: "found", Source: "fleet"})
	f.Failed, f.Error = now, "it expired"
	w.store.Apply(state.Update{Values: state.Discovered.Put(f)})
	push(http.MethodDelete, nil, 1, "none, of what expired")
}

// A tenant pushes within its share of the store: then it is told when to come again, and others are taken. It can always take away.
func TestPushesHaveAShare(t *testing.T) {
	w := newWorld(t)
	withSources(t, w)
	const at, once = "/v1/endpoints/shop/found/fleet", pace.TenantBurst / share.Least
	push := func(i int) *httptest.ResponseRecorder {
		return w.ask(t, http.MethodPut, at, pushOf(fmt.Sprintf("192.0.2.%d", i%2+1)), nil)
	}
	for i := range once {
		if rec := push(i); rec.Code != http.StatusOK {
			t.Fatalf("push %d: %d %s", i, rec.Code, rec.Body)
		}
	}
	rec := push(once)
	if rec.Code != http.StatusTooManyRequests || rec.Header().Get("Retry-After") != "1" ||
		!strings.Contains(rec.Body.String(), "its share") {
		t.Errorf("%d %s %v", rec.Code, rec.Body, rec.Header())
	}
	if w.store.pushed != once {
		t.Errorf("%d writes of %d", w.store.pushed, once)
	}
	if rec := push(once - 1); rec.Code != http.StatusOK {
		t.Errorf("what the store has: %d %s", rec.Code, rec.Body)
	}
	w.ask(t, http.MethodDelete, at, nil, new(api.PushReply))
	for outcome, want := range map[string]float64{"written": once + 1, "same": 1, "late": 1, "failed": 0} {
		if n := testutil.ToFloat64(w.metrics.pushes.WithLabelValues(outcome)); n != want {
			t.Errorf("%v %s, want %v", n, outcome, want)
		}
	}
	w.clock = w.clock.Add(time.Second)
	w.store.err = errors.New("etcd is away")
	for i := range 3 * pace.TenantRate / share.Least { // what is not written takes Least all the same
		if rec := push(i); rec.Code == http.StatusTooManyRequests {
			return
		}
	}
	t.Error("what fails has no share")
}

// What is found counts where people look and decide: shares of services, drains, and what a drain leaves.
func TestWhatIsFoundCounts(t *testing.T) {
	w := newWorld(t)
	withSources(t, w)
	w.ask(t, http.MethodPut, "/v1/endpoints/shop/found/fleet", pushOf("192.0.2.1", "192.0.2.2"), new(api.PushReply))
	var weights api.ServiceWeights
	w.ask(t, http.MethodGet, "/v1/services/shop/found/weights", nil, &weights)
	if p := weights.Rules[0].Pools[0]; p.Endpoints != 3 || p.Taking != 3 {
		t.Errorf("%+v", p)
	}
	var drained api.ApplyReply
	w.ask(t, http.MethodPost, "/v1/pools/shop/found/drain", api.DrainRequest{Endpoint: "ip-192-0-2-1", Reason: "test"}, &drained)
	if r := drained.Outlook.Rules; len(r) != 1 || r[0].Before.Endpoints != 3 || r[0].After.Endpoints != 2 {
		t.Errorf("%+v", r)
	}
	if p, _ := w.poolOf(t, "found"); !strings.HasPrefix(p.Endpoints[1].Out, "drained") {
		t.Errorf("%+v", p.Endpoints[1])
	}
	rec := w.ask(t, http.MethodPost, "/v1/pools/shop/found/weights", api.WeightsRequest{Weights: map[string]int{"ip-192-0-2-1": 3}}, nil)
	if rec.Code != http.StatusUnprocessableEntity || !strings.Contains(rec.Body.String(), "its source says what it weighs") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// A store that is rebuilt gets back what was pushed.
func TestRebuildPutsBackWhatWasFound(t *testing.T) {
	w, e := newEmptied(t)
	withSources(t, w)
	f := spec.Found{Tenant: "shop", Pool: "found", Source: "fleet",
		Endpoints: []spec.FoundEndpoint{{Address: netip.MustParseAddr("192.0.2.1")}}}
	w.cfg.Mirror.Apply(state.Update{Values: state.Discovered.Put(f, spec.Found{Tenant: "shop", Pool: "other", Source: "x"})})
	var out api.RebuildReply
	w.ask(t, http.MethodPost, "/v1/store/rebuild", api.RebuildRequest{Resources: w.remembered(t)}, &out)
	if all := state.Discovered.All(e.Mirror); len(all) != 1 || len(all[state.SourceOf(f)].Endpoints) != 1 {
		t.Errorf("%+v", all)
	}
}

// TestWhoPushesBreaksTheGlassAsTheGuardSays.
func TestWhoPushesBreaksTheGlassAsTheGuardSays(t *testing.T) {
	for breaks, code := range map[string]int{"": http.StatusForbidden, spec.RoleOperator: http.StatusOK} {
		w := newAccessWorld(t)
		withSources(t, w)
		token := w.token(t, "shop", "scaler", "operator")
		if rec := w.as(t, token, http.MethodPut, "/v1/endpoints/shop/found/fleet", pushOf("192.0.2.1")); rec.Code != http.StatusOK {
			t.Fatal(rec.Code, rec.Body)
		}
		w.store.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 43, Put: []state.Version{{Generation: 43,
			Resource: &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindGuard, Name: "careful"},
				Spec: &spec.Guard{LeastCapacity: "70%", BreakGlass: breaks}}}}}}})
		if rec := w.breaks(token, http.MethodDelete, "/v1/endpoints/shop/found/fleet", ""); rec.Code != code {
			t.Errorf("%q: %d %s", breaks, rec.Code, rec.Body)
		}
	}
}

// TestPushesAreJudgedAndNoted: a list that leaves too little is refused, and each list that says something new stands in the audit log.
func TestPushesAreJudgedAndNoted(t *testing.T) {
	w := audited(t)
	withSources(t, w)
	limit := func(g *spec.Guard) {
		head := w.store.Tenant("shop").Head + 1
		w.store.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: head, Put: []state.Version{{Generation: head,
			Resource: &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindGuard, Name: "careful"}, Spec: g}}}}}})
	}
	push := func(code int, addresses ...string) string {
		t.Helper()
		rec := w.ask(t, http.MethodPut, "/v1/endpoints/shop/found/fleet", pushOf(addresses...), nil)
		if rec.Code != code {
			t.Fatalf("%v: %d %s", addresses, rec.Code, rec.Body)
		}
		return rec.Body.String()
	}
	endpoints := func(want string) {
		t.Helper()
		if _, got := w.poolOf(t, "found"); got != want {
			t.Errorf("the pool has %s, want %s", got, want)
		}
	}
	limit(&spec.Guard{LeastCapacity: "70%", LargestShift: &spec.LargestShift{Change: "1%"}})
	push(http.StatusOK, "192.0.2.1", "192.0.2.2")
	push(http.StatusOK, "192.0.2.1", "192.0.2.2") // says nothing new
	longer := pushOf("192.0.2.1", "192.0.2.2")
	longer.For = "1h" // is written, and says nothing new of endpoints
	if rec := w.ask(t, http.MethodPut, "/v1/endpoints/shop/found/fleet", longer, nil); rec.Code != http.StatusOK {
		t.Fatal(rec.Code, rec.Body)
	}
	body := push(http.StatusConflict, "192.0.2.1")
	if !strings.Contains(body, "66.7% of the endpoints of its rules would take clients (now 100%): at least 70% must") ||
		!strings.Contains(body, "shop/Guard/careful refuses this; nothing was taken, and what was pushed before holds on") {
		t.Errorf("told %s", body)
	}
	endpoints("own, ip-192-0-2-1 fleet, ip-192-0-2-2 fleet")
	push(http.StatusOK, "192.0.2.3", "192.0.2.4") // machines come and go
	limit(&spec.Guard{LeastCapacity: "70%", Mode: spec.GuardObserve})
	push(http.StatusOK, "192.0.2.3")
	limit(&spec.Guard{LeastCapacity: "70%"})
	rec := w.breaks(testToken, http.MethodDelete, "/v1/endpoints/shop/found/fleet", "")
	if rec.Code != http.StatusOK {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	endpoints("own")
	var got []string
	for _, e := range w.entries(t) {
		got = append(got, strings.TrimSpace(e.Act+" "+e.Outcome+" "+e.Message))
	}
	want := []string{"push asked found/fleet has 2 endpoints (had 0)", "push done", "push refused found/fleet has 1 endpoints (had 2)",
		"push asked found/fleet has 2 endpoints (had 2)", "push done", "push asked found/fleet has 1 endpoints (had 2)", "push done",
		"break-glass asked fra burns: found/fleet has 0 endpoints (had 1)", "break-glass done"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the log has\n%s, want\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
