package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/gtmtest/etcds"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

const token = "a-token-for-tests-only"

func TestMain(m *testing.M) {
	etcds.Main()
	m.Run()
}

// serve starts a control on an etcd of its own.
func serve(t *testing.T) *httptest.Server {
	t.Helper()
	at := etcds.Start(t)
	s, mirror := etcds.Open(t, at), state.NewMirror()
	go s.Follow(t.Context(), store.FollowConfig{OnUpdate: func(u state.Update) error { mirror.Apply(u); return nil }})
	c, err := control.New(control.Config{Store: s, Mirror: mirror, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(c.Handler())
	t.Cleanup(web.Close)
	return web
}

func pool(name string, n int) api.Resource {
	p := &spec.Pool{}
	for i := range n {
		p.Endpoints = append(p.Endpoints, spec.Endpoint{Name: fmt.Sprint("e", i),
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})}})
	}
	r, err := api.FromSpec(&spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: name}, Spec: p})
	if err != nil {
		panic(err)
	}
	return r
}

// TestClient goes through what a program does with a real control and etcd: it plans, applies, applies again since the reply was lost,
// lists by pages, deletes what it saw, and reads history.
func TestClient(t *testing.T) {
	c, err := New(Config{Server: serve(t).URL, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	zone := api.ApplyRequest{Resources: []api.Resource{{Kind: spec.KindZone, Tenant: spec.Platform, Name: "gtm.example.",
		Spec: json.RawMessage(`{"nameservers": ["ns1.example.net."], "contact": "h.example.net.", "grants": {"shop": ["gtm.example."]}}`)}}}
	if _, err := c.Apply(ctx, zone, ""); err != nil {
		t.Fatal(err)
	}
	in := api.ApplyRequest{Message: "five pools"}
	for i := range 5 {
		in.Resources = append(in.Resources, pool(fmt.Sprint("p", i), 2))
	}
	plan := in
	plan.DryRun = true
	if out, err := c.Apply(ctx, plan, ""); err != nil || len(out.Plan) != 5 || len(out.Records) != 0 {
		t.Fatalf("plan: %+v, %v", out, err)
	}
	first, err := c.Apply(ctx, in, "k1")
	if err != nil || len(first.Records) != 1 {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := c.Apply(ctx, in, "k1")
	if err != nil || len(again.Records) != 1 || again.Records[0].Generation != first.Records[0].Generation {
		t.Errorf("again: %+v, %v", again, err)
	}
	for _, page := range []int{0, 1, 2, 5} {
		var names []string
		for r, err := range c.Resources(ctx, Filter{Tenant: "shop", Kind: spec.KindPool, Prefix: "p", Page: page}) {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, r.Name)
		}
		if strings.Join(names, " ") != "p0 p1 p2 p3 p4" {
			t.Errorf("by %d: %v", page, names)
		}
	}
	key := spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "p0"}
	r, err := c.Resource(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	var problem *api.Problem
	if _, err := c.Delete(ctx, key, r.Generation+1, ""); !errors.As(err, &problem) || problem.Status != http.StatusConflict {
		t.Errorf("a delete of what is not there: %v", err)
	}
	if out, err := c.Delete(ctx, key, r.Generation, "p0 is not needed"); err != nil || len(out.Records) != 1 {
		t.Errorf("%+v, %v", out, err)
	}
	if h, err := c.History(ctx, "shop", 10); err != nil || len(h.Records) != 2 || h.Records[0].Message != "p0 is not needed" {
		t.Errorf("%+v, %v", h, err)
	}
	if s, err := c.Status(ctx); err != nil || len(s.Pools) != 4 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := c.Resource(ctx, key); !errors.As(err, &problem) || problem.Status != http.StatusNotFound {
		t.Errorf("what was deleted: %v", err)
	}
	for _, err := range c.Resources(ctx, Filter{Tenant: "nobody"}) {
		if !errors.As(err, &problem) || problem.Status != http.StatusNotFound {
			t.Errorf("of a tenant that is not there: %v", err)
		}
	}
}

// TestErrors: each way in which no reply comes has an error of its own.
func TestErrors(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/foreign":
			http.Error(w, "who are you", http.StatusTeapot)
		case "/v1/shape":
			_, _ = w.Write([]byte(`["no"]`))
		case "/v1/broken":
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("{"))
		case "/v1/tls":
			http.Error(w, "Client sent an HTTP request to an HTTPS server.", http.StatusBadRequest)
		}
	}))
	c, err := New(Config{Server: web.URL})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]Why{"foreign": Foreign, "shape": Unreadable, "broken": BrokeOff, "tls": WantsTLS} {
		var wrong *ReplyError
		var out struct{}
		if err := c.Do(t.Context(), "GET", path, nil, nil, &out); !errors.As(err, &wrong) || wrong.Why != want ||
			!strings.Contains(err.Error(), web.URL[7:]) {
			t.Errorf("%s: %v", path, err)
		}
	}
	web.Close()
	var away *UnreachableError
	if err := c.Do(t.Context(), "GET", "status", nil, nil, nil); !errors.As(err, &away) {
		t.Errorf("closed: %v", err)
	}
	for _, server := range []string{"", "gtm.example.org", "ftp://x", "http://"} {
		if _, err := New(Config{Server: server}); err == nil {
			t.Errorf("%q is a server", server)
		}
	}
	for name, want := range map[string]string{".": "%2E", "..": "%2E%2E", "a/b": "a%2Fb", "web": "web"} {
		if got := Segment(name); got != want {
			t.Errorf("%s is %s", name, got)
		}
	}
}

// TestEvents: a stream is gone on with behind the last one, an error of who takes ends it, and one that is silent has broken off.
func TestEvents(t *testing.T) {
	last := make(chan string, 1)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		last <- r.Header.Get("Last-Event-ID")
		for _, id := range []string{"1", "2"} {
			e, _ := json.Marshal(api.Event{ID: id})
			fmt.Fprintf(w, ": alive\nid: %s\ndata: %s\n\n", id, e)
		}
		w.(http.Flusher).Flush()
		if r.URL.Query().Get("kind") == "silent" {
			<-r.Context().Done()
		}
	}))
	defer web.Close()
	c, err := New(Config{Server: web.URL})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	take := func(e *api.Event) error { ids = append(ids, e.ID); return nil }
	if err := c.Events(t.Context(), nil, "7", time.Minute, take); err != nil || <-last != "7" || strings.Join(ids, " ") != "1 2" {
		t.Errorf("%v, %v", ids, err)
	}
	enough := errors.New("enough")
	err = c.Events(t.Context(), nil, "", time.Minute, func(*api.Event) error { return enough })
	if !errors.Is(err, enough) || <-last != "" {
		t.Errorf("%v", err)
	}
	var wrong *ReplyError
	silent := map[string][]string{"kind": {"silent"}}
	if err := c.Events(t.Context(), silent, "", 50*time.Millisecond, take); !errors.As(err, &wrong) || wrong.Why != BrokeOff {
		t.Errorf("silent: %v", err)
	}
	<-last
	ctx, cancel := context.WithCancel(t.Context())
	if err := c.Events(ctx, silent, "", time.Minute, func(*api.Event) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}
