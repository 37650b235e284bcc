package prober

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gti/gtm/pkg/gtmtest/etcds"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// TestMain lets this program be the etcd of its own tests.
func TestMain(m *testing.M) {
	etcds.Main()
	os.Exit(m.Run())
}

// realStore gives two clients of an etcd that runs for this test.
func realStore(t *testing.T) (*store.Client, *store.Client) {
	t.Helper()
	at := etcds.Start(t)
	return etcds.Open(t, at), etcds.Open(t, at)
}

// site is a real server that can be made to fail.
type site struct {
	*httptest.Server
	failing atomic.Bool
}

func newSite(t *testing.T) *site {
	s := &site{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if s.failing.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *site) endpoint(name string) spec.Endpoint {
	return spec.Endpoint{Name: name, Addresses: []netip.Addr{netip.MustParseAddr("198.51.100.1")}, Probe: s.Listener.Addr().String()}
}

// verdicts follows what edges would see.
func verdicts(t *testing.T, c *store.Client) *state.Mirror {
	m := state.NewMirror()
	go c.Follow(t.Context(), store.FollowConfig{OnUpdate: func(u state.Update) error { m.Apply(u); return nil }})
	return m
}

// await waits until a pool's endpoint has the state, and gives the finding.
func await(t *testing.T, m *state.Mirror, pool, endpoint string, want health.State) health.Finding {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		changed := m.Changed()
		f := m.Verdicts()[health.PoolID{Tenant: "shop", Pool: pool}].Endpoints[endpoint]
		if f.State == want {
			return f
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%s/%s is %+v, not %s", pool, endpoint, f, want)
		}
	}
}

// The real thing: etcd, two probers, servers over loopback.
func TestRealStoreAndServers(t *testing.T) {
	c, c2 := realStore(t)
	a, b := newSite(t), newSite(t)
	m := &spec.Monitor{Type: "http", Port: 80, Interval: spec.Duration(200 * time.Millisecond), Rise: 2, Fall: 2,
		Vantages: []string{"ams", "fra"}}
	pool := &spec.Pool{Monitor: "m", Endpoints: []spec.Endpoint{a.endpoint("a"), b.endpoint("b")}}
	_, err := c.Commit(t.Context(), store.Change{Tenant: "shop", Author: "test", Time: time.Now(), Put: []*spec.Resource{
		{Key: spec.Key{Tenant: "shop", Kind: spec.KindMonitor, Name: "m"}, Spec: m}, {Key: poolKey("eu"), Spec: pool},
	}})
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 2)
	allow := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	fra := mustNew(t, Config{ID: "fra", Store: c, Allow: allow, Registerer: registry, Logger: slog.New(slog.DiscardHandler)})
	ams := mustNew(t, Config{ID: "ams", Store: c2, Allow: allow})
	go func() { done <- fra.Run(ctx) }()
	go func() { done <- ams.Run(ctx) }()

	seen := verdicts(t, c)
	await(t, seen, "eu", "a", health.Up)
	await(t, seen, "eu", "b", health.Up)
	start := time.Now()
	a.failing.Store(true)
	if f := await(t, seen, "eu", "a", health.Down); f.Reason != "2 of 2 vantages: status 503, want 200-299" {
		t.Errorf("%+v", f)
	}
	t.Logf("from failure to a verdict at a follower, 200 ms interval, fall 2, two vantages: %v", time.Since(start))
	if f := await(t, seen, "eu", "b", health.Up); f.Score != 1 {
		t.Errorf("%+v", f)
	}
	a.failing.Store(false)
	await(t, seen, "eu", "a", health.Up)
	b.Close()
	if f := await(t, seen, "eu", "b", health.Down); f.Reason != "2 of 2 vantages: connect: connection refused" {
		t.Errorf("%+v", f)
	}
	stop()
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// Without Allow, loopback is not looked at, and the endpoint stays unknown: it is not the target that failed.
func TestRealGuard(t *testing.T) {
	f := newFakeStore()
	a := newSite(t)
	m := &spec.Monitor{Type: "http", Interval: spec.Duration(20 * time.Millisecond), Fall: 1}
	f.declare(&spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindMonitor, Name: "m"}, Spec: m},
		&spec.Resource{Key: poolKey("eu"), Spec: &spec.Pool{Monitor: "m", Endpoints: []spec.Endpoint{a.endpoint("a")}}})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	p := mustNew(t, Config{ID: "fra", Store: f})
	go func() { done <- p.Run(ctx) }()
	const want = "not checked: refused by the prober's networks"
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		f.mu.Lock()
		finding := f.verdicts[health.PoolID{Tenant: "shop", Pool: "eu"}].Endpoints["a"]
		f.mu.Unlock()
		if finding.State == health.Unknown && finding.Reason == want {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", finding)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
