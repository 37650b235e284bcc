package control

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// keptOut declares pool db of shop with resume: manual, and lets it be judged: up or down, and out or not.
func (w *world) keptOut(up, out bool) {
	key := spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "db"}
	pool := &spec.Pool{Monitor: "m", Resume: spec.ResumeManual,
		Endpoints: []spec.Endpoint{{Name: "a", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.7")}}}}
	v := health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: "db"}, Endpoints: map[string]health.Finding{
		"a": {State: health.Down, Reason: "refused"}}}
	if up {
		v.Endpoints["a"] = health.Finding{State: health.Up, Score: 1}
	}
	if out {
		v.Out = &health.Out{Since: now, Why: "0 of 1 endpoints up, 1 needed"}
	}
	w.store.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 42,
		Put: []state.Version{{Resource: &spec.Resource{Key: key, Spec: pool}, Generation: 42}}}}, Values: state.Verdicts.Put(v)})
}

func TestResume(t *testing.T) {
	const path, fire = "/v1/pools/shop/db/resume", `{"reason": "checked"}`
	w := newWorld(t)
	w.keptOut(true, false)
	var out api.Resumed
	if w.ask(t, "POST", path, fire, &out); out.Out != nil || !out.Up || w.store.release != nil {
		t.Errorf("it is not out: %+v", out)
	}
	w.keptOut(false, true)
	p := problem(t, w.ask(t, "POST", path, fire, nil), http.StatusConflict)
	if !strings.Contains(p.Detail, "shop/db cannot be resumed while its endpoints are down: failed at") || w.store.release != nil {
		t.Error(p.Detail)
	}
	w.keptOut(true, true)
	var word store.Release
	w.store.judge = func(r store.Release) { word = r; w.keptOut(true, false) }
	if w.ask(t, "POST", path, fire, &out); out.Out == nil || !out.Out.Since.Equal(now) || !out.Up || out.Why != "1 of 1 endpoints healthy" {
		t.Errorf("resumed: %+v", out)
	}
	want := store.Release{Tenant: "shop", Pool: "db", Resume: true, Time: now, Author: asked, Reason: "checked"}
	if word != want {
		t.Errorf("the judge got %+v", word)
	}
	for body, status := range map[string]int{`{"reason": " "}`: 422, `{}`: 422} {
		problem(t, w.ask(t, "POST", path, body, nil), status)
	}
	problem(t, w.ask(t, "POST", "/v1/pools/shop/bd/resume", fire, nil), 404)
	w.keptOut(true, true)
	w.patience, w.store.judge = 10*time.Millisecond, nil
	p = problem(t, w.ask(t, "POST", path, fire, nil), http.StatusGatewayTimeout)
	if !strings.Contains(p.Detail, "nothing changed: no judge") || w.store.release != nil {
		t.Errorf("%s (%+v)", p.Detail, w.store.release)
	}
	w.status.State = state.Refused
	problem(t, w.ask(t, "POST", path, fire, nil), http.StatusConflict)
}
