package control

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/audit"
	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/control/identity"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// audited gives a world whose control keeps an audit log.
func audited(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	log, err := audit.Open(audit.Config{Dir: filepath.Join(t.TempDir(), "audit"), ID: "one"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	cfg := w.cfg
	cfg.Audit, cfg.Registerer = log, nil
	if w.Server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return w
}

// entries reads the log by the API, a few lines at a time.
func (w *world) entries(t *testing.T) (all []chain.Entry) {
	t.Helper()
	v := &chain.Verifier{}
	for {
		rec := w.ask(t, "GET", fmt.Sprintf("/v1/audit?limit=2&after=%d", len(all)), nil, nil)
		if rec.Code != http.StatusOK {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
		if rec.Body.Len() == 0 {
			break
		}
		for line := range strings.Lines(rec.Body.String()) {
			v.Line([]byte(strings.TrimSuffix(line, "\n")))
			e, err := chain.Parse([]byte(line))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, e)
		}
	}
	if len(v.Faults()) != 0 {
		t.Errorf("as the API tells it, the log is not whole: %v", v.Faults())
	}
	return all
}

// TestWhatIsDoneStandsInTheAuditLog, with what became of it, and what was refused; what is only planned does not.
func TestWhatIsDoneStandsInTheAuditLog(t *testing.T) {
	w := audited(t)
	said := func(what string, code int, want ...string) {
		t.Helper()
		var got []string
		for _, e := range w.entries(t) {
			line := fmt.Sprintf("%s %s %s", e.Act, e.Outcome, strings.Join(e.Tenants, " "))
			for _, g := range e.Generations {
				line += fmt.Sprintf(" %s@%d", g.Tenant, g.Generation)
			}
			if e.Author != identity.AdminToken {
				t.Errorf("%s: by %q", what, e.Author)
			}
			got = append(got, line)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the log has %q, want %q", what, got, want)
		}
	}
	drain := api.DrainRequest{Endpoint: "a", Reason: "upgrade"}
	drain.DryRun = true
	w.ask(t, "POST", "/v1/pools/shop/eu/drain", drain, nil)
	said("a plan", 200)
	drain.DryRun = false
	w.ask(t, "POST", "/v1/pools/shop/eu/drain", drain, nil)
	done := []string{"change asked shop", "change done shop shop@42"}
	said("a drain", 200, done...)
	bad := api.DrainRequest{Endpoint: "nobody", Reason: "upgrade"}
	if rec := w.ask(t, "POST", "/v1/pools/shop/eu/drain", bad, nil); rec.Code < 400 {
		t.Fatal(rec.Code)
	}
	done = append(done, "change refused shop")
	said("a drain of nothing", 422, done...)
	bad.DryRun = true
	w.ask(t, "POST", "/v1/pools/shop/eu/drain", bad, nil)
	said("a plan of nothing", 422, done...)
	w.ask(t, "POST", "/v1/store/accept", struct{}{}, nil)
	done = append(done, "accept asked ", "accept done ")
	said("accept", 200, done...)
	w.ask(t, "DELETE", "/v1/edges/nobody", nil, nil)
	done = append(done, "forget asked ", "forget failed ")
	said("an edge that is not there", 404, done...)
	w.ask(t, "POST", "/v1/rollouts/shop/promote", api.RolloutRequest{}, nil)
	done = append(done, "rollout asked shop", "rollout failed shop")
	said("a rollout that is not there", 409, done...)
	w.ask(t, "POST", "/v1/rollouts/shop/accept/41", struct{}{}, nil)
	done = append(done, "rollout asked shop", "rollout done shop")
	said("what edges refuse", 200, done...)
	w.store.waiting = append(w.store.waiting, store.Pending{Tenant: "shop", ID: "abcd", Author: "bob"})
	w.ask(t, "POST", "/v1/pending/shop/abcd", api.ApproveRequest{Reject: true}, nil)
	done = append(done, "pending asked shop", "pending done shop")
	said("a change that waited", 200, done...)
	var status api.Status
	w.ask(t, "GET", "/v1/status", nil, &status)
	if status.Audit == nil || status.Audit.Last != uint64(len(done)) || status.Audit.Error != "" {
		t.Errorf("%+v", status.Audit)
	}
}

// TestWhatGuardsSayStandsInTheAuditLog: a refusal by a guard, and a change that was made in spite of it, with the reason.
func TestWhatGuardsSayStandsInTheAuditLog(t *testing.T) {
	w := audited(t)
	w.store.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 42, Put: []state.Version{{Generation: 42,
		Resource: &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindGuard, Name: "careful"},
			Spec: &spec.Guard{Protect: []string{"Override/old"}}}}}}}})
	const path = "/v1/resources/shop/Override/old"
	problem(t, w.ask(t, "DELETE", path, nil, nil), http.StatusConflict)
	if rec := w.askWith(t, "DELETE", path, api.BreakGlassHeader, "the site burns"); rec.Code != http.StatusOK {
		t.Fatal(rec.Code, rec.Body)
	}
	var got []string
	for _, e := range w.entries(t) {
		got = append(got, e.Act+" "+e.Outcome)
		if e.Act == chain.ActBreakGlass && e.Outcome == chain.Asked && e.Reason != "the site burns" ||
			e.Outcome == chain.Refused && !strings.Contains(e.Reason, "careful") {
			t.Errorf("%+v", e)
		}
	}
	want := []string{"change refused", "break-glass asked", "break-glass done"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestNothingIsChangedThatCannotBeNoted.
func TestNothingIsChangedThatCannotBeNoted(t *testing.T) {
	w := audited(t)
	w.cfg.Audit.Close() // so that its file cannot be written
	for path, body := range map[string]any{"/v1/pools/shop/eu/drain": api.DrainRequest{Endpoint: "a", Reason: "upgrade"},
		"/v1/store/accept": struct{}{}} {
		rec := w.ask(t, "POST", path, body, nil)
		if rec.Code != http.StatusServiceUnavailable || !strings.Contains(rec.Body.String(), "the audit log cannot be written") {
			t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
		}
	}
	if head := w.store.Tenant("shop").Head; head != 41 || w.store.accepted != "" {
		t.Errorf("shop is at %d, accepted by %q", head, w.store.accepted)
	}
}

// limit sets quotas.
func (w *world) limit(q spec.Quota) {
	key := spec.Key{Tenant: spec.Platform, Kind: spec.KindTenant, Name: spec.Platform}
	head := w.store.Tenant(spec.Platform).Head + 1
	w.store.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: spec.Platform, Head: head, Put: []state.Version{{Generation: head,
		Resource: &spec.Resource{Key: key, Spec: &spec.Tenant{Contact: "dns@example.net",
			Limits: &spec.Limits{Quota: &spec.Quotas{All: &q}}}}}}}}})
}

// TestATenantsStormOfRequestsIsRefused with the number, when to come again and whom to ask; what says how endpoints are has a share of its
// own.
func TestATenantsStormOfRequestsIsRefused(t *testing.T) {
	w := newWorld(t)
	w.limit(spec.Quota{Requests: 3})
	codes := map[int]int{}
	for range 1000 {
		rec := w.ask(t, "GET", "/v1/history/shop", nil, nil)
		codes[rec.Code]++
		if rec.Header().Get("RateLimit-Policy") != `"requests";q=30;w=10` || rec.Header().Get("RateLimit") == "" {
			t.Fatalf("%v", rec.Header())
		}
	}
	if codes[http.StatusOK] != 30 || codes[http.StatusTooManyRequests] != 970 {
		t.Errorf("%v", codes)
	}
	rec := w.ask(t, "GET", "/v1/history/shop", nil, nil)
	for _, want := range []string{"shop asks more often than its quota allows, 3 requests a second", "try again in 1 s",
		"ask dns@example.net to raise spec.limits.quota.tenants.shop.requests of platform/Tenant/platform"} {
		if !strings.Contains(rec.Body.String(), want) {
			t.Errorf("%s lacks %q", rec.Body, want)
		}
	}
	if rec.Header().Get("Retry-After") != "1" || rec.Header().Get("RateLimit") != `"requests";r=0;t=10` {
		t.Errorf("%v", rec.Header())
	}
	for range 40 {
		if rec := w.ask(t, "GET", "/v1/history/platform", nil, nil); rec.Code == http.StatusTooManyRequests {
			t.Fatal("the platform is bounded")
		}
	}
	for path, method := range map[string]string{"/v1/status": "GET", "/v1/signals/shop/eu": "PUT"} {
		if rec := w.ask(t, method, path, "{}", nil); rec.Code == http.StatusTooManyRequests {
			t.Errorf("%s %s is refused", method, path)
		}
	}
	if rec := w.ask(t, "GET", "/v1/resources?tenant=shop", nil, nil); rec.Code != http.StatusTooManyRequests {
		t.Errorf("by its query: %d", rec.Code)
	}
	w.clock = w.clock.Add(2 * time.Second)
	for i := range 7 {
		if rec := w.ask(t, "GET", "/v1/history/shop", nil, nil); (rec.Code == http.StatusOK) != (i < 6) {
			t.Errorf("request %d, 2 s later: %d", i, rec.Code)
		}
	}
}

// TestAStormOfOneTenantTakesNoOthersBudget.
func TestAStormOfOneTenantTakesNoOthersBudget(t *testing.T) {
	w := newWorld(t)
	w.limit(spec.Quota{Requests: 3})
	w.store.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "cafe", Head: 1}}})
	for range 500 {
		w.ask(t, "GET", "/v1/history/shop", nil, nil)
	}
	for i := range 30 {
		if rec := w.ask(t, "GET", "/v1/history/cafe", nil, nil); rec.Code != http.StatusOK {
			t.Fatalf("request %d of cafe: %d", i, rec.Code)
		}
	}
}

// TestChangesAnHourAreBounded: who has made as many is told when to come again and whom to ask, by the API as 429.
func TestChangesAnHourAreBounded(t *testing.T) {
	w := newWorld(t)
	w.limit(spec.Quota{Changes: 5})
	weights := func(n int) int {
		rec := w.ask(t, "POST", "/v1/pools/shop/eu/weights", api.WeightsRequest{Weights: map[string]int{"a": 100 + n}}, nil)
		if rec.Code == http.StatusTooManyRequests {
			if !strings.Contains(rec.Body.String(), "shop made 5 changes within the last hour, as many as its quota allows") ||
				!strings.Contains(rec.Body.String(), "ask dns@example.net to raise spec.limits.quota.tenants.shop.changes") {
				t.Error(rec.Body)
			}
			if s, err := strconv.Atoi(rec.Header().Get("Retry-After")); err != nil || s < 1 || s > 3600 {
				t.Errorf("%v", rec.Header())
			}
		}
		return rec.Code
	}
	for n := range 5 {
		if code := weights(n); code != http.StatusOK {
			t.Fatalf("change %d: %d", n, code)
		}
		w.clock = w.clock.Add(10 * time.Minute)
	}
	if code := weights(5); code != http.StatusTooManyRequests { // 50 minutes behind the first one
		t.Errorf("one more: %d", code)
	}
	w.clock = w.clock.Add(10*time.Minute + time.Second)
	if code := weights(6); code != http.StatusOK {
		t.Errorf("an hour behind the first: %d", code)
	}
	if code := weights(7); code != http.StatusTooManyRequests {
		t.Errorf("one more: %d", code)
	}
}

// TestWhatWasRemovedIsToldAsRemoved: history says from where on it is whole, and of what is older that it is gone, and where it is told.
func TestWhatWasRemovedIsToldAsRemoved(t *testing.T) {
	w := newWorld(t)
	w.store.oldest = 41
	var h api.History
	w.ask(t, "GET", "/v1/history/shop", nil, &h)
	if h.Oldest != 41 {
		t.Errorf("%+v", h)
	}
	rec := w.ask(t, "GET", "/v1/history/shop/12", nil, nil)
	if rec.Code != http.StatusGone || !strings.Contains(rec.Body.String(), "shop@12 was removed from the store") ||
		!strings.Contains(rec.Body.String(), "shop@41 to shop@41 are kept; gtmctl audit export tells") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

// TestAStrangersStormIsNotPaidByTheTenant that it asks for, and a service token's by its own, whatever that asks for.
func TestAStrangersStormIsNotPaidByTheTenant(t *testing.T) {
	w := newWorld(t)
	pays := func(c *caller, path, want string) {
		t.Helper()
		r := httptest.NewRequest("GET", path, nil)
		r = r.WithContext(context.WithValue(r.Context(), callerKey{}, c))
		_, pattern := w.mux.Handler(r)
		if who, _ := w.payer(r, pattern); who != want {
			t.Errorf("%s by %s is paid by %q, want %q", path, c.who.Name, who, want)
		}
	}
	viewer := access.Grants{"shop": access.Read}
	alice := &caller{who: identity.Who{Name: "user:alice"}, grants: viewer}
	pays(alice, "/v1/history/shop", "shop")
	pays(alice, "/v1/resources?tenant=shop", "shop")
	pays(alice, "/v1/history/cafe", "user:alice")
	pays(alice, "/v1/status", "user:alice")
	pays(alice, "/v1/resources?tenant=platform", "user:alice")
	ci := &caller{who: identity.Who{Name: "token:shop/ci", Tenant: "shop"}, grants: viewer}
	pays(ci, "/v1/history/cafe", "shop")
	pays(ci, "/v1/status", "shop")
	pays(&caller{who: identity.Who{Name: "token:platform/ci", Tenant: spec.Platform}}, "/v1/history/shop", "token:platform/ci")
	admin := &caller{who: identity.Who{Name: "user:root"}, grants: access.Grants{spec.Platform: access.Administer}}
	pays(admin, "/v1/status", "")
	pays(admin, "/v1/history/platform", "")
	pays(admin, "/v1/history/shop", "shop")
}

// TestHowTheLogIsConcernsAllTenants: who sees one of them is told what is kept, and no more.
func TestHowTheLogIsConcernsAllTenants(t *testing.T) {
	w := audited(t)
	w.cfg.Retention = func() api.Retention {
		return api.Retention{For: "720h", Generations: 50, Error: "removing what is old of cafe"}
	}
	for _, row := range []struct {
		grants access.Grants
		all    bool
	}{{access.Grants{"shop": access.Administer}, false}, {access.Grants{spec.Platform: access.Administer}, true}} {
		var out api.Status
		w.addKept(context.WithValue(t.Context(), callerKey{}, &caller{grants: row.grants}), &out)
		if (out.Audit != nil) != row.all || (out.Retention.Error != "") != row.all || out.Retention.Generations != 50 {
			t.Errorf("%v: %+v, %+v", row.grants, out.Audit, out.Retention)
		}
	}
}
