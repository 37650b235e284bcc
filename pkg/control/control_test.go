package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// problem asserts that a reply is a problem of that status.
func problem(t *testing.T, rec *httptest.ResponseRecorder, status int) api.Problem {
	t.Helper()
	var p api.Problem
	if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil {
		t.Fatalf("%v in %s", err, rec.Body)
	}
	if rec.Code != status || p.Status != status || p.Title == "" {
		t.Errorf("status %d, problem %+v; want %d", rec.Code, p, status)
	}
	if ct := rec.Header().Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("content type %s", ct)
	}
	return p
}

func TestEverythingNeedsTheToken(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/v1/status", "/v1/openapi-3.0.json", "/v1/nothing", "/v1/apply"} {
		for _, header := range []string{"", "Bearer", "Bearer x", "Basic " + testToken, testToken, "Bearer " + testToken + "x"} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Header.Set("Authorization", header)
			rec := httptest.NewRecorder()
			w.Handler().ServeHTTP(rec, r)
			p := problem(t, rec, http.StatusUnauthorized)
			if !strings.Contains(p.Detail, "--token-file") || strings.Contains(p.Detail, "/") || strings.Contains(p.Detail, testToken) {
				t.Errorf("%s with %q: detail %q", path, header, p.Detail)
			}
		}
	}
}

func TestListGetDescribe(t *testing.T) {
	w := newWorld(t)
	var list api.ResourceList
	w.ask(t, "GET", "/v1/resources", nil, &list)
	if len(list.Resources) != 6 || list.Heads["shop"] != 41 || list.Resources[0].Generation != 40 {
		t.Errorf("list %+v", list)
	}
	w.ask(t, "GET", "/v1/resources?kind=Pool&tenant=shop", nil, &list)
	if len(list.Resources) != 1 || list.Resources[0].Name != "eu" {
		t.Errorf("pools of shop: %+v", list)
	}
	var r api.Resource
	w.ask(t, "GET", "/v1/resources/shop/Service/web", nil, &r)
	if !strings.Contains(string(r.Spec), `"web.example."`) {
		t.Errorf("service %s", r.Spec)
	}
	w.store.records = []state.Record{{Tenant: "shop", Generation: 41}, {Tenant: "shop", Generation: 40, Author: "bob"}}
	var d api.Description
	w.ask(t, "GET", "/v1/resources/shop/Pool/eu/describe", nil, &d)
	if d.Name != "eu" || d.Record == nil || d.Record.Author != "bob" {
		t.Errorf("description %+v", d)
	}
	if got := keyText(d.RefersTo) + " " +
		keyText(d.ReferredBy); got != "platform/Site/fra shop/Service/web,shop/Override/now,shop/Override/old" {
		t.Errorf("neighbours %s", got)
	}
	if len(d.Pools) != 1 || d.Pools[0].Up != true {
		t.Errorf("pools %+v", d.Pools)
	}
}

func keyText(keys []spec.Key) string {
	words := make([]string, len(keys))
	for i, key := range keys {
		words[i] = key.String()
	}
	return strings.Join(words, ",")
}

func TestWhatIsNotThere(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		method, path string
		status       int
		says         string
	}{
		{"GET", "/v1/resources/shop/Pool/ue", 404, "did you mean eu?"},
		{"GET", "/v1/resources/shpo/Pool/eu", 404, "did you mean shop?"},
		{"GET", "/v1/resources?tenant=sho", 404, "did you mean shop?"},
		{"GET", "/v1/resources?kind=Poool", 422, "there is no kind"},
		{"DELETE", "/v1/resources/shop/Pool/us", 422, "1 fault; nothing was changed"},
		{"POST", "/v1/rollback/shoop", 404, "did you mean shop?"},
		{"GET", "/v1/history/shoop", 404, "did you mean shop?"},
		{"GET", "/v1/nothing", 404, "there is no GET /v1/nothing"},
		{"POST", "/v1/pools/shop/eu/weights", 422, "validation failed"},
		{"GET", "/v1/explain?host=x.example", 503, "no edge is registered"},
	} {
		body := any(nil)
		if c.method == "POST" {
			body = map[bool]string{true: `{"weights": {"a": "three"}, "nope": 1}`,
				false: `{"generation": 1}`}[strings.HasSuffix(c.path, "weights")]
		}
		p := problem(t, w.ask(t, c.method, c.path, body, nil), c.status)
		if !strings.Contains(p.Detail, c.says) {
			t.Errorf("%s %s: detail %q does not say %q", c.method, c.path, p.Detail, c.says)
		}
	}
}

func TestApplyTellsEveryFaultWithItsPlace(t *testing.T) {
	w := newWorld(t)
	request := api.ApplyRequest{Resources: []api.Resource{
		{Kind: "Pool", Tenant: "shop", Name: "x", Spec: json.RawMessage(`{"endpoint": []}`), Origin: &api.Origin{File: "a.yaml", Line: 7}},
		{Kind: "Pol", Tenant: "shop", Name: "y", Spec: json.RawMessage(`{}`), Origin: &api.Origin{File: "b.yaml", Line: 1}},
	}}
	p := problem(t, w.ask(t, "POST", "/v1/apply", request, nil), http.StatusUnprocessableEntity)
	if len(p.Errors) != 2 || len(w.store.records) != 0 {
		t.Fatalf("problem %+v, made %+v", p, w.store.records)
	}
	first := p.Errors[0]
	if first.File != "a.yaml" || first.Line != 7 || first.Field != "spec.endpoint" || first.Resource != "shop/Pool/x" ||
		!strings.Contains(first.Hint, "endpoints") {
		t.Errorf("fault %+v", first)
	}
}

// last gives the newest record of shop.
func (w *world) last(t *testing.T) state.Record {
	t.Helper()
	records, err := w.store.History(t.Context(), "shop", 1)
	if err != nil || len(records) != 1 {
		t.Fatalf("records %+v, error %v", records, err)
	}
	return records[0]
}

const onePool = `"resources": [{"kind": "Pool", "tenant": "shop", "name": "us", "spec": {"endpoints": [{"name": "a", "addresses": ` +
	`["192.0.2.9"]}]}}]`

func TestApply(t *testing.T) {
	w := newWorld(t)
	var reply api.ApplyReply
	w.ask(t, "POST", "/v1/apply", `{"dryRun": true, `+onePool+`}`, &reply)
	if len(reply.Plan) != 1 || reply.Plan[0].Action != api.Create || len(reply.Records) != 0 || len(w.store.records) != 0 ||
		reply.Heads["shop"] != 41 {
		t.Fatalf("dry run: %+v", reply)
	}
	w.ask(t, "POST", "/v1/apply", `{"message": "m", "expect": {"shop": 41}, `+onePool+`}`, &reply)
	if r := w.last(t); r.Author != asked || r.Message != "m" || !r.Time.Equal(now) || r.Generation != 42 || len(r.Put) != 1 {
		t.Errorf("record %+v", r)
	}
	if len(reply.Records) != 1 || reply.Records[0].State() != "shop@42" || reply.Heads["shop"] != 42 {
		t.Errorf("reply %+v", reply)
	}
	reply = api.ApplyReply{}
	w.ask(t, "POST", "/v1/apply", `{`+onePool+`}`, &reply)
	if len(reply.Plan)+len(reply.Records) != 0 || reply.Heads["shop"] != 42 {
		t.Errorf("again: %+v", reply)
	}
	p := problem(t, w.ask(t, "POST", "/v1/apply", `{"expect": {"shop": 41}, `+onePool+`}`, nil), http.StatusConflict)
	if !strings.Contains(p.Detail, asked+" wrote shop@42") {
		t.Errorf("conflict: %s", p.Detail)
	}
	w.ask(t, "POST", "/v1/apply", `{"delete": [{"tenant": "shop", "kind": "Pool", "name": "us"}]}`, &reply)
	if r := w.last(t); len(r.Deleted) != 1 || reply.Plan[0].Action != api.Delete {
		t.Errorf("deletion: %+v, %+v", r, reply)
	}
	w.ask(t, "POST", "/v1/rollback/shop", `{"generation": 42}`, &reply)
	if r := w.last(t); len(r.Put) != 1 || r.Message != "roll back to shop@42" {
		t.Errorf("rollback: %+v", r)
	}
	problem(t, w.ask(t, "POST", "/v1/rollback/shop", `{"generation": 7}`, nil), http.StatusNotFound)
	w.ask(t, "DELETE", "/v1/resources/shop/Pool/us?message=bye", nil, &reply)
	if r := w.last(t); len(r.Deleted) != 1 || r.Message != "bye" {
		t.Errorf("deletion by path: %+v", r)
	}
}

func TestErrorsFromBelow(t *testing.T) {
	partly := &change.PartlyError{Done: []state.Record{{Tenant: "shop", Generation: 3}}, Err: spec.Errors{{Msg: "x"}}}
	for _, c := range []struct {
		err    error
		status int
		says   string
	}{
		{spec.Errors{{Resource: "shop/Pool/x", Field: "spec.site", Msg: "does not exist"}}, 422, "1 fault; nothing was changed"},
		{partly, 422, "1 fault; shop@3 was made, but not the rest"},
		{&store.ConflictError{Tenant: "shop", Want: 3, Have: 4}, 409, "shop is at generation 4, not 3"},
		{&state.WentBackError{Reason: "shop is at generation 3, but was at 4"}, 409, "gtmctl store accept"},
		{&change.ConflictError{Tenant: "shop", Want: 3, Have: 4}, 409, "shop is at generation 4, not 3"},
		{&store.TooLargeError{Ops: 9, MaxOps: 8}, 413, "9 writes"},
		{fmt.Errorf("shop@3: %w", store.ErrNotFound), 404, "shop@3: not found"},
		{context.DeadlineExceeded, 504, "is etcd well?"},
		{&change.PartlyError{Err: &store.UnknownError{Tenant: "shop", Err: context.DeadlineExceeded}}, 504,
			"it may have been made: look at gtmctl history shop"},
		{errors.New("etcd is away"), 503, "etcd is away"},
		{problemf(418, "tea"), 418, "tea"},
	} {
		var p *api.Problem
		if !errors.As(problemOf(c.err), &p) || p.Status != c.status || !strings.Contains(p.Detail, c.says) {
			t.Errorf("%v: %+v; want %d with %q", c.err, p, c.status, c.says)
		}
	}
	if err := problemOf(nil); err != nil {
		t.Errorf("no error gives %v", err)
	}
}

func TestPools(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		path, body string
		status     int
		plan       string
	}{
		{"weights", `{"weights": {"a": 1}}`, 200, "update shop/Pool/eu"},
		{"weights", `{"weights": {"z": 1}}`, 422, ""},
		{"weights", `{"weights": {}}`, 422, ""},
		{"drain", `{"reason": "r", "for": "1h"}`, 409, ""}, // the only pool of a rule
		{"weights", `{"weights": {"a": 0, "b": 0, "c": 0}}`, 409, ""},
		{"weights", `{"weights": {"a": 0, "b": 0, "c": 0}, "force": true, "dryRun": true}`, 200, "update shop/Pool/eu"},
		{"drain", `{"reason": "r", "for": "1h", "force": true}`, 200, "create shop/Override/drain-eu"},
		{"drain", `{"reason": "r", "endpoint": "z"}`, 422, ""},
		{"drain", `{"reason": " "}`, 422, ""},
		{"drain", `{"reason": "r", "for": "soon"}`, 422, ""},
		{"undrain", `{"endpoint": "b", "dryRun": true}`, 200, "delete shop/Override/now"},
		{"undrain", `{"endpoint": "b"}`, 200, "delete shop/Override/now"},
		{"undrain", `{"endpoint": "b"}`, 422, ""},
	} {
		rec := w.ask(t, "POST", "/v1/pools/shop/eu/"+c.path, c.body, nil)
		var reply api.ApplyReply
		if err := json.Unmarshal(rec.Body.Bytes(), &reply); err != nil {
			t.Fatal(err)
		}
		plan := ""
		if len(reply.Plan) == 1 {
			plan = reply.Plan[0].Action + " " + reply.Plan[0].Key.String()
		}
		if rec.Code != c.status || plan != c.plan {
			t.Errorf("%s %s: %d %s, plan %q", c.path, c.body, rec.Code, rec.Body, plan)
		}
	}
	key := spec.Key{Tenant: "shop", Kind: spec.KindOverride, Name: "drain-eu"}
	v, _ := w.store.Tenant("shop").Resources.Get(key)
	o, ok := v.Resource.Spec.(*spec.Override)
	if !ok || o.Expires.String() != "2026-05-04T04:02:01Z" || o.Author != asked || o.Reason != "r" {
		t.Errorf("override %+v", o)
	}
}

// TestOverridesAreShownAsTheyAreServed: an endpoint's override wins over its pool's, whatever their names are, as it does in answers.
func TestOverridesAreShownAsTheyAreServed(t *testing.T) {
	for _, names := range [][2]string{{"a", "z"}, {"z", "a"}} {
		w := newWorld(t)
		put := func(name string, o *spec.Override) state.Version {
			o.Pool, o.Reason = "eu", "r"
			return state.Version{Generation: 42,
				Resource: &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindOverride, Name: name}, Spec: o}}
		}
		w.store.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 42, Put: []state.Version{
			put(names[0], &spec.Override{State: "down"}), put(names[1], &spec.Override{Endpoint: "c", State: "up"})}}}})
		var status api.Status
		w.ask(t, "GET", "/v1/status", nil, &status)
		p := status.Pools[0]
		if a, c := p.Endpoints[0], p.Endpoints[2]; !p.Up || a.Out != "down: override: r" || c.Out != "" || c.Effective != 1 {
			t.Errorf("overrides %v: %+v", names, p)
		}
	}
}

func TestStatus(t *testing.T) {
	w := newWorld(t)
	edge := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(rw).Encode(api.EdgeStatus{ID: "e1", Tenants: map[string]uint64{"shop": 41}})
	}))
	defer edge.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	w.store.edges = []store.Edge{{ID: "e1", HTTP: strings.TrimPrefix(edge.URL, "http://")},
		{ID: "e2", HTTP: strings.TrimPrefix(gone.URL, "http://")}}
	var status api.Status
	w.ask(t, "GET", "/v1/status", nil, &status)
	if len(status.Edges) != 2 || status.Edges[0].Status == nil || status.Edges[0].Status.Tenants["shop"] != 41 {
		t.Fatalf("edges %+v", status.Edges)
	}
	if status.Edges[1].Error == "" || status.Edges[1].Status != nil {
		t.Errorf("the edge that is gone: %+v", status.Edges[1])
	}
	if status.Store.State != "current" || status.Heads["platform"] != 3 {
		t.Errorf("status %+v", status)
	}
	p := status.Pools[0]
	if p.Why != "0 of 2 endpoints healthy, 1 never checked" || len(p.Overrides) != 1 || p.Overrides[0].Name != "now" || p.Judge != "p1" {
		t.Errorf("pool %+v", p)
	}
	for i, want := range []api.Endpoint{
		{State: "down", Out: "down: status 503", Reason: "status 503", Weight: 3},
		{State: "up", Out: "drained: upgrade", Score: 1, Weight: 1},
		{State: "unknown", Score: 1, Effective: 1, Weight: 1},
	} {
		if e := p.Endpoints[i]; e.State != want.State || e.Out != want.Out || e.Reason != want.Reason || e.Score != want.Score ||
			e.Effective != want.Effective || e.Weight != want.Weight {
			t.Errorf("endpoint %+v, want %+v", e, want)
		}
	}
	w.store.err = errors.New("etcd is away")
	w.ask(t, "GET", "/v1/status", nil, &status)
	if !strings.Contains(status.Store.Error, "etcd is away") || len(status.Pools) != 1 || len(status.Edges) != 2 ||
		status.Edges[0].Status == nil {
		t.Errorf("without etcd: %+v", status)
	}
	problem(t, newWorldWithout(t, errors.New("etcd is away")).ask(t, "GET", "/v1/edges", nil, nil), http.StatusServiceUnavailable)
}

func TestExplain(t *testing.T) {
	w := newWorld(t)
	edge := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("host") != "web.example" {
			rw.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(rw, `{"edge": "e1", "error": "no steered name here; the nearest is web.example."}`)
			return
		}
		_ = json.NewEncoder(rw).Encode(api.Explanation{Edge: "e1", Service: "shop/web",
			Client: api.Client{Network: r.URL.Query().Get("subnet")}})
	}))
	defer edge.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	w.store.edges = []store.Edge{{ID: "e0", HTTP: strings.TrimPrefix(gone.URL, "http://")},
		{ID: "e1", HTTP: strings.TrimPrefix(edge.URL, "http://")}}
	var e api.Explanation
	w.ask(t, "GET", "/v1/explain?host=web.example&subnet=192.0.2.0/24", nil, &e)
	if e.Service != "shop/web" || e.Client.Network != "192.0.2.0/24" {
		t.Errorf("explanation %+v", e)
	}
	if p := problem(t, w.ask(t, "GET", "/v1/explain?host=other", nil, nil), 404); !strings.Contains(p.Detail, "the nearest is") {
		t.Errorf("problem %+v", p)
	}
	problem(t, w.ask(t, "GET", "/v1/explain?host=web.example&edge=e0", nil, nil), http.StatusBadGateway)
	problem(t, w.ask(t, "GET", "/v1/explain?host=web.example&edge=e9", nil, nil), http.StatusNotFound)
}

func TestAccept(t *testing.T) {
	w := newWorld(t)
	var a api.Accepted
	w.ask(t, "POST", "/v1/store/accept", nil, &a)
	if a.Author != asked || w.store.accepted != a.Author {
		t.Errorf("accepted %+v, store %q", a, w.store.accepted)
	}
}

// TestAnEmptyStoreIsNotAccepted: edges that took it would answer nothing more. What fills it is named.
func TestAnEmptyStoreIsNotAccepted(t *testing.T) {
	w := newWorld(t)
	w.store.Mirror = state.NewMirror()
	p := problem(t, w.ask(t, "POST", "/v1/store/accept", nil, nil), http.StatusConflict)
	if !strings.Contains(p.Detail, "gtmctl store rebuild -f DIR") || w.store.accepted != "" {
		t.Errorf("%s; accepted by %q", p.Detail, w.store.accepted)
	}
}

// TestChangesAreRefusedWhileTheStoreIs: at once, with what to do about it, and not after.
func TestChangesAreRefusedWhileTheStoreIs(t *testing.T) {
	w := newWorld(t)
	w.status = state.FollowStatus{State: state.Refused, Since: now,
		Err: (&state.WentBackError{Reason: "shop is at generation 1, but was at 41"}).Error()}
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/v1/apply", `{` + onePool + `}`},
		{"POST", "/v1/apply", `{"dryRun": true, ` + onePool + `}`},
		{"DELETE", "/v1/resources/shop/Service/web", ""},
		{"POST", "/v1/pools/shop/eu/weights", `{"weights": {"a": 1}}`},
		{"POST", "/v1/pools/shop/eu/drain", `{"reason": "r"}`},
		{"POST", "/v1/rollback/shop", `{"generation": 40}`},
	} {
		p := problem(t, w.ask(t, c.method, c.path, c.body, nil), http.StatusConflict)
		if !strings.Contains(p.Detail, "the store went back: shop is at generation 1") ||
			!strings.Contains(p.Detail, "gtmctl store accept") {
			t.Errorf("%s %s: %s", c.method, c.path, p.Detail)
		}
	}
	if len(w.store.records) != 0 {
		t.Errorf("made %+v", w.store.records)
	}
	w.store.onAccept = func() { w.status = state.FollowStatus{State: state.Current} }
	w.ask(t, "POST", "/v1/store/accept", "{}", &api.Accepted{})
	w.ask(t, "POST", "/v1/apply", `{`+onePool+`}`, &api.ApplyReply{})
}

func TestBodies(t *testing.T) {
	w := newWorld(t)
	var request api.ApplyRequest
	for i := range 1000 { // 12 MB
		body := json.RawMessage(`{"nameservers": ["ns1.example."], "contact": "h.example.", "content": "@ TXT ` +
			strings.Repeat(" ", 12<<10) + `x"}`)
		request.Resources = append(request.Resources,
			api.Resource{Kind: "Zone", Tenant: "platform", Name: fmt.Sprintf("z%d.", i), Spec: body})
	}
	var reply api.ApplyReply
	w.ask(t, "POST", "/v1/apply", request, &reply)
	if len(reply.Plan) != 1000 || len(reply.Records) != 1 {
		t.Errorf("%d planned, records %+v", len(reply.Plan), reply.Records)
	}
	problem(t, w.ask(t, "POST", "/v1/apply", `{"message": "`+strings.Repeat("x", testBody)+`"}`, nil), http.StatusRequestEntityTooLarge)
	problem(t, w.ask(t, "POST", "/v1/rollback/shop", `{"message": "`+strings.Repeat("x", maxSmallBody)+`"}`, nil),
		http.StatusRequestEntityTooLarge)
	problem(t, w.ask(t, "POST", "/v1/apply", `{"message": `, nil), http.StatusBadRequest)
	problem(t, w.ask(t, "POST", "/v1/apply", `{}`, nil), http.StatusUnprocessableEntity)
}

func TestOpenAPI(t *testing.T) {
	w := newWorld(t)
	var doc struct {
		Paths map[string]any
	}
	w.ask(t, "GET", "/v1/openapi.json", nil, &doc)
	for _, path := range []string{"/v1/apply", "/v1/resources/{tenant}/{kind}/{name}", "/v1/status", "/v1/explain",
		"/v1/rollback/{tenant}"} {
		if doc.Paths[path] == nil {
			t.Errorf("%s is not described", path)
		}
	}
	problem(t, w.ask(t, "GET", "/docs", nil, nil), http.StatusNotFound)
}

func TestAPanicIsOneRequest(t *testing.T) {
	w := newWorld(t)
	w.Server.changer = nil
	problem(t, w.ask(t, "POST", "/v1/rollback/shop", `{"generation": 1}`, nil), http.StatusInternalServerError)
	w.ask(t, "GET", "/v1/status", nil, &api.Status{})
}

// Series are labelled by what the API offers, never by what a client sends.
func TestMetricsAreLabelledByOperation(t *testing.T) {
	w := newWorld(t)
	w.ask(t, "GET", "/v1/status", nil, &api.Status{})
	for _, path := range []string{"/v1/made-up", "/v1/resources/shop/Pool/made-up"} {
		problem(t, w.ask(t, "GET", path, nil, nil), http.StatusNotFound)
	}
	families, err := w.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "gtm_control_requests_total" {
				got = append(got, fmt.Sprintf("%s %s %v", m.GetLabel()[0].GetValue(), m.GetLabel()[1].GetValue(),
					m.GetCounter().GetValue()))
			}
		}
	}
	want := "200 GET /v1/status 1; 404 GET /v1/resources/{tenant}/{kind}/{name} 1; 404 none 1"
	if text := strings.Join(got, "; "); text != want {
		t.Errorf("series %s; want %s", text, want)
	}
}
