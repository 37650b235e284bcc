package control

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// guard declares one that is in the way of any deletion of an override of shop.
func (w *world) guard(tenant, breaks string) {
	head := w.store.Tenant(tenant).Head + 1
	w.store.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: tenant, Head: head, Put: []state.Version{{Generation: head,
		Resource: &spec.Resource{Key: spec.Key{Tenant: tenant, Kind: spec.KindGuard, Name: "careful"},
			Spec: &spec.Guard{Protect: []string{"Override"}, BreakGlass: breaks}}}}}}})
}

func (w *world) breaks(token, method, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(api.BreakGlassHeader, "fra burns")
	rec := httptest.NewRecorder()
	w.Handler().ServeHTTP(rec, r)
	return rec
}

// TestTheGlassIsBrokenByThoseWhomTheGuardNames: who may make the change may not yet pass over whoever's guard.
func TestTheGlassIsBrokenByThoseWhomTheGuardNames(t *testing.T) {
	const path = "/v1/resources/shop/Override/old"
	for _, c := range []struct{ owner, breaks, role, hint string }{
		{"shop", "", "operator", "by an admin of shop"},
		{"shop", "", "editor", "by an admin of shop"},
		{"shop", "", "admin", ""},
		{"shop", "editor", "operator", "by an editor of shop"},
		{"shop", "editor", "editor", ""},
		{"shop", "operator", "operator", ""},
		{"platform", "", "admin", "by an admin of platform"},
		{"platform", "operator", "admin", "by an operator of platform"},
		{"platform", "tenantAdmin", "editor", "by an admin of the tenant"},
		{"platform", "tenantAdmin", "admin", ""},
	} {
		t.Run(c.owner+" "+c.breaks+" "+c.role, func(t *testing.T) {
			w := newAccessWorld(t)
			w.guard(c.owner, c.breaks)
			token := w.token(t, "shop", "ci", c.role)
			rec := w.breaks(token, "DELETE", path, "")
			if c.hint == "" {
				if rec.Code != http.StatusOK {
					t.Errorf("%d %s", rec.Code, rec.Body)
				}
				return
			}
			if rec.Code != http.StatusForbidden || !strings.Contains(rec.Body.String(), c.hint) ||
				!strings.Contains(rec.Body.String(), "token:shop/ci may not break the glass of it; nothing was changed") {
				t.Errorf("%d %s", rec.Code, rec.Body)
			}
			if head := w.store.Tenant("shop").Head; head > 42 {
				t.Errorf("shop is at %d", head)
			}
		})
	}
}

// TestWhoMayNotBreakTheGlassStandsInTheAuditLog, and a plan says who may.
func TestWhoMayNotBreakTheGlassStandsInTheAuditLog(t *testing.T) {
	w := audited(t)
	w.guard("shop", "")
	access := newAccessWorld(t)
	token := access.token(t, "shop", "ci", "editor")
	w.book = access.book
	if rec := w.breaks(token, "DELETE", "/v1/resources/shop/Override/old", ""); rec.Code != http.StatusForbidden {
		t.Fatal(rec.Code, rec.Body)
	}
	var plan api.ApplyReply
	w.ask(t, "DELETE", "/v1/resources/shop/Override/old?dryRun=true", nil, &plan)
	if len(plan.Refusals) != 1 || !strings.Contains(plan.Refusals[0].Hint, "--break-glass REASON, by an admin of shop") {
		t.Errorf("the plan says %+v", plan.Refusals)
	}
	entries := w.entries(t)
	if !slices.ContainsFunc(entries, func(e chain.Entry) bool {
		return e.Act == chain.ActBreakGlass && e.Outcome == chain.Refused && e.Author == "token:shop/ci" && e.Message == "fra burns" &&
			strings.Contains(e.Reason, "careful")
	}) {
		t.Errorf("the log has %+v", entries)
	}
}

// TestNobodyApprovesByBreakingTheGlass: the second person looks, or makes the change without the first.
func TestNobodyApprovesByBreakingTheGlass(t *testing.T) {
	w := newWorld(t)
	w.store.waiting = append(w.store.waiting, store.Pending{Tenant: "shop", ID: "abcd", Author: "bob"})
	for _, body := range []string{`{}`, `{"reject": true}`, `{"dryRun": true}`} {
		rec := w.breaks(testToken, "POST", "/v1/pending/shop/abcd", body)
		if rec.Code != http.StatusUnprocessableEntity || !strings.Contains(rec.Body.String(), "does not break the glass") ||
			len(w.store.waiting) != 1 {
			t.Errorf("%s: %d %s", body, rec.Code, rec.Body)
		}
	}
}

// TestWhoNamesNoTenantIsCounted by their own name: a plan is dear, and names its tenants in its body.
func TestWhoNamesNoTenantIsCounted(t *testing.T) {
	for _, path := range []string{"/v1/apply", "/v1/apply?tenant=platform", "/v1/apply?tenant=nobody"} {
		w := newAccessWorld(t)
		viewer := w.token(t, "platform", "watch", "viewer")
		w.limit(spec.Quota{Requests: 3})
		body := api.ApplyRequest{DryRun: true, Delete: []spec.Key{{Tenant: "shop", Kind: spec.KindPool, Name: "eu"}}}
		for _, token := range []string{viewer, ""} { // a token, and a certificate
			for range 30 {
				if rec := w.as(t, token, "POST", path, body); rec.Code == http.StatusTooManyRequests {
					t.Fatalf("%s is refused within its rate: %s", path, rec.Body)
				}
			}
			rec := w.as(t, token, "POST", path, body)
			if rec.Code != http.StatusTooManyRequests || !strings.Contains(rec.Body.String(), ".requests of platform/Tenant/platform") {
				t.Errorf("%s beyond its rate: %d %s", path, rec.Code, rec.Body)
			}
		}
		if rec := w.as(t, testToken, "POST", path, body); rec.Code == http.StatusTooManyRequests {
			t.Errorf("the platform's admin is bounded: %s", rec.Body)
		}
		if rec := w.as(t, testToken, "GET", "/v1/history/shop", nil); rec.Code == http.StatusTooManyRequests {
			t.Errorf("others used up what shop has: %s", rec.Body)
		}
	}
}
