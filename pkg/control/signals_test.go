package control

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/signals"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// signalStore is a store of signals in memory, for which each write is as large as it says.
type signalStore struct {
	ahead atomic.Int64 // of the intake's clock
	mu    sync.Mutex
	said  map[string]health.Signal
	bytes int
	err   error
}

func (m *signalStore) ChangeSignals(_ context.Context, at store.SignalKey,
	change func(map[string]health.Signal) (map[string]health.Signal, bool)) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return 0, m.err
	}
	group := maps.Clone(m.said)
	maps.DeleteFunc(group, func(name string, _ health.Signal) bool { return store.SignalKeyOf(at.Pool, name) != at })
	now, _ := change(group)
	for name := range group {
		delete(m.said, name)
	}
	maps.Copy(m.said, now)
	return m.bytes, nil
}

func (m *signalStore) FollowSignals(ctx context.Context, _ func(store.SignalUpdate) error) error {
	<-ctx.Done()
	return ctx.Err()
}

func (m *signalStore) all() map[string]health.Signal {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.said)
}

func (m *signalStore) set(bytes int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes, m.err = bytes, err
}

// newSignalWorld has pool shop/eu, with the endpoints a, b and c, go by signals; pool shop/us goes by nothing.
func newSignalWorld(t testing.TB) (*world, *signalStore) {
	t.Helper()
	w, m := newWorld(t), &signalStore{said: map[string]health.Signal{}}
	eu, _ := w.store.Tenant("shop").Resources.Get(spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "eu"})
	pool := *eu.Resource.Spec.(*spec.Pool)
	us := pool
	pool.Checks = &spec.Checks{Of: []string{"agent"}}
	version := func(kind spec.Kind, name string, s spec.Spec) state.Version {
		return state.Version{Resource: &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: kind, Name: name}, Spec: s}, Generation: 42}
	}
	w.store.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 42, Put: []state.Version{
		version(spec.KindMonitor, "agent", &spec.Monitor{Type: spec.TypeSignal}), version(spec.KindPool, "eu", &pool),
		version(spec.KindPool, "us", &us)}}}})
	i, err := signals.New(signals.Config{Store: m, Mirror: w.store.Mirror, Current: func() bool { return true },
		Now: func() time.Time { return now.Add(time.Duration(m.ahead.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	w.Server.cfg.Signals = i
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = i.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return w, m
}

// later puts the clocks forward.
func later(w *world, m *signalStore, by time.Duration) {
	w.clock = w.clock.Add(by)
	m.ahead.Add(int64(by))
}

func TestOwnersSaySomething(t *testing.T) {
	w, m := newSignalWorld(t)
	var reply api.SignalsReply
	w.ask(t, "PUT", "/v1/signals/shop/eu/a", `{"state": "down", "reason": "drain\ning", "for": "10m"}`, &reply)
	want := health.Signal{State: health.Down, Reason: "draining", By: asked, Time: now, Until: now.Add(10 * time.Minute)}
	if got := m.all(); len(got) != 1 || !got["a"].Equal(want) {
		t.Errorf("%+v", got)
	}
	if len(reply.Taken) != 1 || reply.Taken[0] != "a" || !reply.Until.Equal(want.Until) {
		t.Errorf("%+v", reply)
	}
	w.ask(t, "PUT", "/v1/signals/shop/eu", `{"endpoints": {"b": {"score": 0},
		"c": {"load": {"current": 120, "target": 100, "capacity": 200}}}}`, &reply)
	got := m.all()
	if b := got["b"]; b.State != health.Up || b.Score != health.LeastSignal || !b.Until.Equal(now.Add(time.Minute)) {
		t.Errorf("%+v", b)
	}
	if c := got["c"]; c.State != health.Up || c.Load != (health.Load{Current: 120, Target: 100, Most: 200}) {
		t.Errorf("%+v", c)
	}
	later(w, m, 2*time.Minute)
	var all api.Signals
	w.ask(t, "GET", "/v1/signals", nil, &all)
	if len(all.Pools) != 1 || len(all.Pools[0].Signals) != 3 || all.Pools[0].Signals[0].Silent || !all.Pools[0].Signals[1].Silent {
		t.Errorf("%+v", all)
	}
	w.ask(t, "GET", "/v1/signals?tenant=shop&pool=us", nil, &all)
	if len(all.Pools) != 0 {
		t.Errorf("%+v", all)
	}
	var status api.Status
	w.ask(t, "GET", "/v1/status", nil, &status)
	p, other := status.Pools[0], status.Pools[1]
	if p.Pool != "eu" || len(p.Signals) != 3 || p.Signals[0].By != asked || len(other.Signals) != 0 {
		t.Errorf("%+v", status.Pools)
	}
	w.ask(t, "DELETE", "/v1/signals/shop/eu/a", nil, &reply)
	if got := m.all(); len(got) != 2 {
		t.Errorf("%+v", got)
	}
}

func TestWhatIsSaidIsChecked(t *testing.T) {
	w, m := newSignalWorld(t)
	many := `{"endpoints": {` + strings.Repeat(`"x": {}, `, 10) + `"y": {}}}`
	for _, tc := range []struct {
		path, body string
		code       int
		says       string
	}{
		{"nobody/eu/a", `{"state": "up"}`, 404, "there is no tenant nobody"},
		{"shop/eux/a", `{"state": "up"}`, 404, "did you mean eu?"},
		{"shop/eu/aa", `{"state": "up"}`, 404, "shop/eu has no endpoint aa; did you mean a?"},
		{"shop/us/a", `{"state": "up"}`, 409, "no monitor of shop/us is of type signal"},
		{"shop/eu/a", `{}`, 422, "say a state (up or down), a score or a load"},
		{"shop/eu/a", `{"state": "sideways"}`, 422, "state"},
		{"shop/eu/a", `{"score": 1.5}`, 422, "score"},
		{"shop/eu/a", `{"score": -1}`, 422, "score"},
		{"shop/eu/a", `{"score": NaN}`, 400, ""},
		{"shop/eu/a", `{"score": 1e999}`, 400, ""},
		{"shop/eu/a", `{"score": "1"}`, 422, "score"},
		{"shop/eu/a", `{"score": 0.5, "load": {"current": 1, "target": 2}}`, 422, "a score follows from the load"},
		{"shop/eu/a", `{"state": "down", "score": 0.5}`, 422, "means nothing with state down"},
		{"shop/eu/a", `{"load": {"current": -1, "target": 2}}`, 422, "current"},
		{"shop/eu/a", `{"load": {"current": 1, "target": 0}}`, 422, "target"},
		{"shop/eu/a", `{"load": {"current": 1}}`, 422, "target"},
		{"shop/eu/a", `{"load": {"current": 1, "target": 2, "capacity": 1}}`, 422, "the capacity of its load is less than the target"},
		{"shop/eu/a", `{"state": "up", "for": "4s"}`, 422, "for: 4s is out of range: it can be 5s to 24h"},
		{"shop/eu/a", `{"state": "up", "for": "25h"}`, 422, "for: 25h is out of range"},
		{"shop/eu/a", `{"state": "up", "for": "-1h"}`, 422, "for:"},
		{"shop/eu/a", `{"state": "up", "until": "now"}`, 422, "until"},
		{"shop/eu/a", `{"state": "up", "reason": "` + strings.Repeat("x", 201) + `"}`, 422, "reason"},
		{"shop/eu", `{"endpoints": {}}`, 422, "endpoints: wants 1 to 2000, not 0"},
		{"shop/eu", many, 404, "shop/eu has no endpoint x"},
		{"shop/eu", `{"endpoints": {"a": {"state": "up"}, "b": {"score": 2}}}`, 422, "score"},
		{"shop/eu", `{"endpoints": {"a": {"state": "up"}, "b": {}}}`, 422, "endpoint b: say a state"},
	} {
		rec := w.ask(t, "PUT", "/v1/signals/"+tc.path, tc.body, nil)
		if rec.Code != tc.code || !strings.Contains(rec.Body.String(), tc.says) {
			t.Errorf("%s %s: %d %s\nwant %d %s", tc.path, tc.body, rec.Code, rec.Body, tc.code, tc.says)
		}
	}
	if got := m.all(); len(got) != 0 {
		t.Errorf("something was taken: %+v", got)
	}
	var reply api.SignalsReply
	w.ask(t, "PUT", "/v1/signals/shop/eu", `{"endpoints": {"a": {"state": "up"}, "b": {"load": {"current": 1e9, "target": 1}}}}`, &reply)
	if got := m.all(); len(got) != 1 || len(reply.Taken) != 1 || !strings.Contains(reply.Refused["b"], "more than 1000 times") {
		t.Errorf("%+v, %+v", got, reply)
	}
}

// TestWhoHearsNoStoreTakesNoSignals, and neither who has a tenant at its limit.
func TestWhoHearsNoStoreTakesNoSignals(t *testing.T) {
	w, m := newSignalWorld(t)
	says := func(what string, code int, text string) {
		t.Helper()
		rec := w.ask(t, "PUT", "/v1/signals/shop/eu/a", `{"state": "down"}`, nil)
		if rec.Code != code || !strings.Contains(rec.Body.String(), text) || code == 429 && rec.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d %v %s", what, rec.Code, rec.Header(), rec.Body)
		}
	}
	w.status = state.FollowStatus{State: state.Stale, Err: "etcd is on fire"}
	says("stale", 503, "the store is stale, so nothing can be said of endpoints; nothing was taken: etcd is on fire")
	w.status = state.FollowStatus{State: state.Current}
	m.set(0, errors.New("disk full"))
	says("it refuses", 503, "the store did not take it, or not all of it; say it again: disk full")
	if got := m.all(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	m.set(64<<20, nil)
	says("well", 200, "taken")
	later(w, m, 2*time.Minute)
	says("its share is used up", 429, "shop changes the states of its endpoints faster than its share of the store allows")
	w.Server.cfg.Signals = nil
	says("none", 404, "this control takes no signals")
}

// FuzzSignal: whatever is pushed, nothing breaks, and what is taken is lawful.
func FuzzSignal(f *testing.F) {
	for _, body := range []string{`{"state": "up"}`, `{"score": 0.5, "for": "1h"}`, `{"load": {"current": 1e300, "target": 1e-300}}`,
		`{"load": {"current": 80, "target": 100, "capacity": 1e308}, "reason": "\u0000"}`, `[]`, `{"state": null, "score": -0.0}`} {
		f.Add(body)
	}
	w, m := newSignalWorld(f)
	f.Fuzz(func(t *testing.T, body string) {
		rec := w.ask(t, "PUT", "/v1/signals/shop/eu/a", body, nil)
		if rec.Code == http.StatusInternalServerError {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
		s, is := m.all()["a"]
		if !is {
			return
		}
		word := s.Word()
		if s.State != health.Up && s.State != health.Down || word.Score < 0 || word.Score > 1 || word.Up != (word.Score > 0) ||
			s.Until.Sub(s.Time) < leastSignalTime || s.Until.Sub(s.Time) > mostSignalTime || len([]rune(s.Reason)) > 200 {
			t.Errorf("%+v", s)
		}
		if _, err := json.Marshal(s); err != nil {
			t.Error(err)
		}
		later(w, m, time.Hour) // it has expired, and its tenant has its share again
		w.ask(t, "DELETE", "/v1/signals/shop/eu/a", nil, nil)
	})
}
