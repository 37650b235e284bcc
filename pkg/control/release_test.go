package control

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// judgedSo lets pool eu of shop be judged: h is held by the brake, d down, u up.
func (w *world) judgedSo(a, b rune) {
	v := health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: "eu"}, Endpoints: map[string]health.Finding{}}
	for name, state := range map[string]rune{"a": a, "b": b} {
		f := health.Finding{State: health.Up, Score: 1}
		switch state {
		case 'h':
			f.Reason, v.Frozen = "held by the brake: refused", true
			v.Cause = "4 of 4 endpoints that were up failed within 1m, and rule 1 of service web has no other pool"
		case 'd':
			f = health.Finding{State: health.Down, Reason: "refused"}
		}
		v.Endpoints[name] = f
	}
	w.store.Apply(state.Update{Values: state.Verdicts.Put(v)})
}

func TestHealthRelease(t *testing.T) {
	w := newWorld(t)
	ask := func(body string) (out api.Released) {
		t.Helper()
		w.ask(t, "POST", "/v1/health/shop/release", body, &out)
		return out
	}
	w.judgedSo('u', 'd')
	if out := ask(`{"reason": "fire"}`); len(out.Held)+len(out.Down) != 0 || w.store.release != nil {
		t.Errorf("nothing is held: %+v", out)
	}
	var word store.Release
	w.store.judge = func(r store.Release) { word = r; w.judgedSo('d', 'u') }
	w.judgedSo('h', 'h')
	if out := ask(`{"pool": "eu", "reason": "fire"}`); fmt.Sprint(out) != "{[shop/eu/a shop/eu/b] [shop/eu/a]}" {
		t.Errorf("one went down, one recovered: %+v", out)
	}
	if want := (store.Release{Tenant: "shop", Pool: "eu", Time: now, Author: asked, Reason: "fire"}); word != want {
		t.Errorf("the judge got %+v", word)
	}
	for body, status := range map[string]int{`{"reason": " "}`: 422, `{"pool": "ue", "reason": "x"}`: 404, `{"pool": "eu"}`: 422} {
		problem(t, w.ask(t, "POST", "/v1/health/shop/release", body, nil), status)
	}
	problem(t, w.ask(t, "POST", "/v1/health/shpo/release", `{"reason": "x"}`, nil), 404)
	w.status.State = state.Refused
	problem(t, w.ask(t, "POST", "/v1/health/shop/release", `{"reason": "x"}`, nil), http.StatusConflict)
}

// Without a judge the word is withdrawn, so that no later one follows it when nobody thinks of it any more.
func TestHealthReleaseWithoutAJudge(t *testing.T) {
	w := newWorld(t)
	w.patience = 10 * time.Millisecond
	w.judgedSo('h', 'u')
	p := problem(t, w.ask(t, "POST", "/v1/health/shop/release", `{"reason": "fire"}`, nil), http.StatusGatewayTimeout)
	if !strings.Contains(p.Detail, "no judge followed the release within 10ms, and it is withdrawn") || w.store.release != nil {
		t.Errorf("%s (%+v)", p.Detail, w.store.release)
	}
}

// TestHealthReleaseWhileTheStoreIsSilent: the first question that got no answer ended the wait, with the release left to be followed.
func TestHealthReleaseWhileTheStoreIsSilent(t *testing.T) {
	w := newWorld(t)
	w.judgedSo('h', 'u')
	w.store.judge = func(store.Release) { w.judgedSo('d', 'u') }
	w.store.noRelease = []error{errors.New("etcd is silent")}
	var out api.Released
	if w.ask(t, "POST", "/v1/health/shop/release", `{"reason": "fire"}`, &out); fmt.Sprint(out.Down) != "[shop/eu/a]" {
		t.Errorf("%+v", out)
	}
	w.judgedSo('h', 'u')
	w.patience, w.store.judge = 10*time.Millisecond, nil
	w.store.noRelease = []error{errors.New("etcd is silent")}
	p := problem(t, w.ask(t, "POST", "/v1/health/shop/release", `{"reason": "fire"}`, nil), http.StatusGatewayTimeout)
	const want = "whether a judge followed the release is not known, and it is withdrawn; look at gtmctl status: etcd is silent"
	if p.Detail != want || w.store.release != nil {
		t.Errorf("%q (%+v)", p.Detail, w.store.release)
	}
}

// With the store away it said that nothing was held, from what was known before.
func TestHealthReleaseDoesNotGoByOldKnowledge(t *testing.T) {
	w := newWorld(t)
	w.judgedSo('u', 'u')
	w.status = state.FollowStatus{State: state.Stale, Err: "etcd gives no sign of life"}
	p := problem(t, w.ask(t, "POST", "/v1/health/shop/release", `{"reason": "fire"}`, nil), http.StatusServiceUnavailable)
	if !strings.Contains(p.Detail, "the store is not heard") || !strings.Contains(p.Detail, "no sign of life") {
		t.Errorf("%q", p.Detail)
	}
}

// TestWhoIsAskedWhileTheBrakeHolds: where only a signal says so, probers have seen nothing that could be wrong.
func TestWhoIsAskedWhileTheBrakeHolds(t *testing.T) {
	v := health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: "eu"}, Frozen: true, Cause: "4 of 4 failed; " + health.SignalAlone}
	const want = "held by the brake: 4 of 4 failed; a signal alone says so; ask the owners who say so (gtmctl signal list shop/eu); " +
		"if they really failed: gtmctl health release shop/eu --reason '...'"
	if got := brakeText(v); got != want {
		t.Errorf("%q", got)
	}
}

// status names the cause and what to do.
func TestStatusNamesWhyTheBrakeHolds(t *testing.T) {
	w := newWorld(t)
	w.judgedSo('h', 'u')
	var status api.Status
	w.ask(t, "GET", "/v1/status", nil, &status)
	const want = "held by the brake: 4 of 4 endpoints that were up failed within 1m, and rule 1 of service web has no other pool; " +
		"look at the probers; if they really failed: gtmctl health release shop/eu --reason '...'"
	if status.Pools[0].Brake != want {
		t.Errorf("%q", status.Pools[0].Brake)
	}
	w.judgedSo('u', 'u')
	status = api.Status{}
	if w.ask(t, "GET", "/v1/status", nil, &status); status.Pools[0].Brake != "" {
		t.Errorf("%q", status.Pools[0].Brake)
	}
}
