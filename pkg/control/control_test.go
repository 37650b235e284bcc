package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
)

const testToken = "a-token-for-tests-only"

var now = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

// fakeStore is a store of fixed content.
type fakeStore struct {
	edges    []store.Edge
	records  []store.Record
	accepted string
	err      error
}

func (f *fakeStore) Edges(context.Context) ([]store.Edge, error) { return f.edges, f.err }

func (f *fakeStore) History(_ context.Context, tenant string, limit int) ([]store.Record, error) {
	var out []store.Record
	for _, r := range f.records {
		if r.Tenant == tenant && len(out) < limit {
			out = append(out, r)
		}
	}
	return out, f.err
}

func (f *fakeStore) Accept(_ context.Context, author string) error {
	f.accepted = author
	return f.err
}

// fakeChanges notes what it is asked and answers as told.
type fakeChanges struct {
	got     change
	drained drain
	asked   string
	reply   api.ApplyReply
	err     error
}

func (f *fakeChanges) note(what string, c change) (*api.ApplyReply, error) {
	f.asked, f.got = what, c
	if f.err != nil {
		return nil, f.err
	}
	return &f.reply, nil
}

func (f *fakeChanges) apply(_ context.Context, c change) (*api.ApplyReply, error) {
	return f.note("apply", c)
}

func (f *fakeChanges) weights(_ context.Context, tenant, pool string, _ map[string]int, c change) (*api.ApplyReply, error) {
	return f.note("weights "+tenant+"/"+pool, c)
}

func (f *fakeChanges) drain(_ context.Context, d drain, c change) (*api.ApplyReply, error) {
	f.drained = d
	return f.note("drain", c)
}

func (f *fakeChanges) undrain(_ context.Context, d drain, c change) (*api.ApplyReply, error) {
	f.drained = d
	return f.note("undrain", c)
}

func (f *fakeChanges) rollback(_ context.Context, tenant string, to store.Generation, c change) (*api.ApplyReply, error) {
	return f.note("rollback "+store.Record{Tenant: tenant}.Tenant, c)
}

// world is a server with everything around it.
type world struct {
	*Server
	store   *fakeStore
	changes *fakeChanges
	mirror  *store.Mirror
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{store: &fakeStore{}, changes: &fakeChanges{}, mirror: store.NewMirror()}
	w.mirror.Apply(testState(t))
	s, err := New(Config{Store: w.store, Mirror: w.mirror, Token: testToken, TokenFile: "/var/lib/gtm/token",
		Registerer: prometheus.NewRegistry(), Now: func() time.Time { return now },
		Following: func() store.FollowStatus { return store.FollowStatus{State: store.Current, Since: now, Cursor: 7} }})
	if err != nil {
		t.Fatal(err)
	}
	w.Server = s
	s.changes = w.changes
	return w
}

// testState has one pool, of whose endpoints a is down and b drained, and a service that uses it.
func testState(t *testing.T) store.Update {
	t.Helper()
	three := 3
	pool := &spec.Pool{Site: "fra", Endpoints: []spec.Endpoint{
		{Name: "a", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Weight: &three},
		{Name: "b", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.2")}},
		{Name: "c", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.3")}}}}
	version := func(tenant string, kind spec.Kind, name string, s spec.Spec) store.Version {
		return store.Version{Resource: &spec.Resource{Key: spec.Key{Tenant: tenant, Kind: kind, Name: name}, Spec: s}, Generation: 40}
	}
	return store.Update{Full: true, Tenants: []store.TenantUpdate{
		{Tenant: "platform", Head: 3, Put: []store.Version{version("platform", spec.KindSite, "fra", &spec.Site{Region: "EU-DE"})}},
		{Tenant: "shop", Head: 41, Put: []store.Version{
			version("shop", spec.KindPool, "eu", pool),
			version("shop", spec.KindService, "web", &spec.Service{Host: "web.example.", Rules: []spec.Rule{{Pools: []spec.PoolRef{{Pool: "eu"}}}}}),
			version("shop", spec.KindOverride, "now", &spec.Override{Pool: "eu", Endpoint: "b", State: "drain", Reason: "upgrade", Expires: "2026-05-04T04:00:00Z"}),
			version("shop", spec.KindOverride, "old", &spec.Override{Pool: "eu", Endpoint: "c", State: "down", Reason: "past", Expires: "2026-05-04T03:00:00Z"}),
		}},
	}, Verdicts: []health.Verdict{{Pool: health.PoolID{Tenant: "shop", Pool: "eu"}, Judge: "p1", Endpoints: map[string]health.Finding{
		"a": {State: health.Down, Since: now.Add(-time.Minute), Reason: "status 503"}, "b": {State: health.Up, Score: 1}}}}}
}

// ask sends a request with the token, and decodes a reply of 200 into out.
func (w *world) ask(t *testing.T, method, path string, body any, out any) *httptest.ResponseRecorder {
	t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		reader = bytes.NewReader(encoded)
	}
	r := httptest.NewRequest(method, path, reader)
	r.Header.Set("Authorization", "Bearer "+testToken)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(api.AuthorHeader, "alice@build-7")
	rec := httptest.NewRecorder()
	w.Handler().ServeHTTP(rec, r)
	if out != nil {
		if rec.Code != http.StatusOK {
			t.Fatalf("%s %s: %d %s", method, path, rec.Code, rec.Body)
		}
		if err := json.Unmarshal(rec.Body.Bytes(), out); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, rec.Body)
		}
	}
	return rec
}

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
	for _, path := range []string{"/v1/status", "/v1/openapi.json", "/v1/nothing", "/v1/apply"} {
		for _, header := range []string{"", "Bearer", "Bearer x", "Basic " + testToken, testToken, "Bearer " + testToken + "x"} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Header.Set("Authorization", header)
			rec := httptest.NewRecorder()
			w.Handler().ServeHTTP(rec, r)
			p := problem(t, rec, http.StatusUnauthorized)
			if !strings.Contains(p.Detail, "/var/lib/gtm/token") || strings.Contains(p.Detail, testToken) {
				t.Errorf("%s with %q: detail %q", path, header, p.Detail)
			}
		}
	}
}

func TestListGetDescribe(t *testing.T) {
	w := newWorld(t)
	var list api.ResourceList
	w.ask(t, "GET", "/v1/resources", nil, &list)
	if len(list.Resources) != 5 || list.Heads["shop"] != 41 || list.Resources[0].Generation != 40 {
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
	w.store.records = []store.Record{{Tenant: "shop", Generation: 41}, {Tenant: "shop", Generation: 40, Author: "bob"}}
	var d api.Description
	w.ask(t, "GET", "/v1/resources/shop/Pool/eu/describe", nil, &d)
	if d.Name != "eu" || d.Record == nil || d.Record.Author != "bob" {
		t.Errorf("description %+v", d)
	}
	if got := keyText(d.RefersTo) + " " + keyText(d.ReferredBy); got != "platform/Site/fra shop/Service/web,shop/Override/now,shop/Override/old" {
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
		{"GET", "/v1/resources?kind=Poool", 422, "validation failed"},
		{"DELETE", "/v1/resources/shop/Pool/us", 404, "shop/Pool/us does not exist"},
		{"GET", "/v1/history/shoop", 404, "did you mean shop?"},
		{"GET", "/v1/nothing", 404, "there is no GET /v1/nothing"},
		{"POST", "/v1/pools/shop/eu/weights", 422, "validation failed"},
		{"GET", "/v1/explain?host=x.example", 503, "no edge is registered"},
	} {
		body := any(nil)
		if c.method == "POST" {
			body = `{"weights": {"a": "three"}, "nope": 1}`
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
	if len(p.Errors) != 2 || w.changes.asked != "" {
		t.Fatalf("problem %+v, asked %q", p, w.changes.asked)
	}
	first := p.Errors[0]
	if first.File != "a.yaml" || first.Line != 7 || first.Field != "spec.endpoint" || first.Resource != "shop/Pool/x" || !strings.Contains(first.Hint, "endpoints") {
		t.Errorf("fault %+v", first)
	}
}

func TestApplyPassesOn(t *testing.T) {
	w := newWorld(t)
	w.changes.reply = api.ApplyReply{Plan: []api.PlanItem{}, Records: []api.Record{{Tenant: "shop", Generation: 41}}}
	request := api.ApplyRequest{Message: "m", DryRun: true, Expect: map[string]uint64{"shop": 41}, Delete: []spec.Key{{Tenant: "shop", Kind: "Service", Name: "web"}},
		Resources: []api.Resource{{Kind: "Site", Tenant: "platform", Name: "s", Spec: json.RawMessage(`{"region": "EU"}`)}}}
	var reply api.ApplyReply
	w.ask(t, "POST", "/v1/apply", request, &reply)
	got := w.changes.got
	if got.author != "alice@build-7" || got.message != "m" || !got.dryRun || got.expect["shop"] != 41 || len(got.put) != 1 || len(got.remove) != 1 {
		t.Errorf("passed on %+v", got)
	}
	if len(reply.Records) != 1 {
		t.Errorf("reply %+v", reply)
	}
}

func TestErrorsFromBelow(t *testing.T) {
	w := newWorld(t)
	request := api.ApplyRequest{Delete: []spec.Key{{Tenant: "shop", Kind: "Service", Name: "web"}}}
	for _, c := range []struct {
		err    error
		status int
	}{
		{spec.Errors{{Resource: "shop/Pool/x", Field: "spec.site", Msg: "does not exist"}}, 422},
		{&store.ConflictError{Tenant: "shop", Want: 3, Have: 4}, 409},
		{&store.TooLargeError{Ops: 9, MaxOps: 8}, 413},
		{store.ErrNotFound, 404},
		{context.DeadlineExceeded, 504},
		{errors.New("etcd is away"), 503},
	} {
		w.changes.err = c.err
		problem(t, w.ask(t, "POST", "/v1/apply", request, nil), c.status)
	}
}

func TestPools(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		path, body string
		status     int
		asked      string
	}{
		{"weights", `{"weights": {"a": 1}}`, 200, "weights shop/eu"},
		{"weights", `{"weights": {"z": 1}}`, 404, ""},
		{"weights", `{"weights": {}}`, 422, ""},
		{"drain", `{"reason": "r", "for": "1h"}`, 200, "drain"},
		{"drain", `{"reason": "r", "endpoint": "z"}`, 404, ""},
		{"drain", `{"reason": " "}`, 422, ""},
		{"drain", `{"reason": "r", "for": "soon"}`, 422, ""},
		{"undrain", `{"endpoint": "b"}`, 200, "undrain"},
	} {
		w.changes.asked = ""
		rec := w.ask(t, "POST", "/v1/pools/shop/eu/"+c.path, c.body, nil)
		if rec.Code != c.status || w.changes.asked != c.asked {
			t.Errorf("%s %s: %d %s, asked %q", c.path, c.body, rec.Code, rec.Body, w.changes.asked)
		}
		if c.asked == "drain" && !w.changes.drained.until.Equal(now.Add(time.Hour)) {
			t.Errorf("drained until %v", w.changes.drained.until)
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
	w.store.edges = []store.Edge{{ID: "e1", HTTP: edge.URL}, {ID: "e2", HTTP: strings.TrimPrefix(gone.URL, "http://")}}
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
	if p.Why != "1 of 2 endpoints healthy" || len(p.Overrides) != 1 || p.Overrides[0].Name != "now" || p.Judge != "p1" {
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
	if !strings.Contains(status.Store.Error, "etcd is away") || len(status.Pools) != 1 {
		t.Errorf("without etcd: %+v", status)
	}
}

func TestExplain(t *testing.T) {
	w := newWorld(t)
	edge := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("host") != "web.example" {
			rw.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(rw, `{"error": "no steered name here; the nearest is web.example."}`)
			return
		}
		_ = json.NewEncoder(rw).Encode(api.Explanation{Service: "shop/web", Client: api.Client{Network: r.URL.Query().Get("subnet")}})
	}))
	defer edge.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	w.store.edges = []store.Edge{{ID: "e0", HTTP: gone.URL}, {ID: "e1", HTTP: edge.URL}}
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

func TestAcceptAndRollback(t *testing.T) {
	w := newWorld(t)
	var a api.Accepted
	w.ask(t, "POST", "/v1/store/accept", nil, &a)
	if a.Author != "alice@build-7" || w.store.accepted != a.Author {
		t.Errorf("accepted %+v, store %q", a, w.store.accepted)
	}
	w.ask(t, "POST", "/v1/rollback/shop", `{"generation": 39}`, &api.ApplyReply{})
	if w.changes.asked != "rollback shop" || w.changes.got.message != "back to shop@39" {
		t.Errorf("asked %q with %+v", w.changes.asked, w.changes.got)
	}
}

func TestBodies(t *testing.T) {
	w := newWorld(t)
	w.changes.reply.Plan = []api.PlanItem{}
	var request api.ApplyRequest
	body := json.RawMessage(`{"content": "` + strings.Repeat("x", 12<<10) + `"}`)
	for range 1000 { // 12 MB; that names repeat is for pkg/change to find
		request.Resources = append(request.Resources, api.Resource{Kind: "Zone", Tenant: "platform", Name: "z.", Spec: body})
	}
	w.ask(t, "POST", "/v1/apply", request, &api.ApplyReply{})
	if len(w.changes.got.put) != 1000 {
		t.Errorf("%d resources arrived", len(w.changes.got.put))
	}
	problem(t, w.ask(t, "POST", "/v1/apply", `{"message": "`+strings.Repeat("x", maxBody)+`"}`, nil), http.StatusRequestEntityTooLarge)
	problem(t, w.ask(t, "POST", "/v1/rollback/shop", `{"message": "`+strings.Repeat("x", maxSmallBody)+`"}`, nil), http.StatusRequestEntityTooLarge)
	problem(t, w.ask(t, "POST", "/v1/apply", `{"message": `, nil), http.StatusBadRequest)
	problem(t, w.ask(t, "POST", "/v1/apply", `{}`, nil), http.StatusUnprocessableEntity)
}

func TestOpenAPI(t *testing.T) {
	w := newWorld(t)
	var doc struct {
		Paths map[string]any
	}
	w.ask(t, "GET", "/v1/openapi.json", nil, &doc)
	for _, path := range []string{"/v1/apply", "/v1/resources/{tenant}/{kind}/{name}", "/v1/status", "/v1/explain", "/v1/rollback/{tenant}"} {
		if doc.Paths[path] == nil {
			t.Errorf("%s is not described", path)
		}
	}
	problem(t, w.ask(t, "GET", "/docs", nil, nil), http.StatusNotFound)
}

func TestAPanicIsOneRequest(t *testing.T) {
	w := newWorld(t)
	w.Server.changes = nil
	problem(t, w.ask(t, "POST", "/v1/rollback/shop", `{"generation": 1}`, nil), http.StatusInternalServerError)
	w.ask(t, "GET", "/v1/status", nil, &api.Status{})
}

func TestCreateToken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	token, err := CreateToken(path)
	if err != nil || len(token) < minToken {
		t.Fatalf("token %q, error %v", token, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
	if again, err := CreateToken(path); again != token || err != nil {
		t.Errorf("second time %q, error %v", again, err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateToken(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by others: %v", err)
	}
	short := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(short, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateToken(short); err == nil {
		t.Error("a short token is taken")
	}
	if _, err := CreateToken(filepath.Join(t.TempDir(), "no", "token")); err == nil {
		t.Error("no folder, and no error")
	}
}

func TestAuthor(t *testing.T) {
	for given, want := range map[string]string{
		"": "unknown", "alice@x": "alice@x", "a\nb\x1b[31m": "ab[31m", " \t": "unknown", strings.Repeat("ä", 200): strings.Repeat("ä", 128),
	} {
		if got := author(given); got != want {
			t.Errorf("author(%q) = %q, want %q", given, got, want)
		}
	}
}
