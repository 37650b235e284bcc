package control

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// TestPagesOfResources: pages of every size, laid together, are the whole list, what cannot be read included, each resource once.
func TestPagesOfResources(t *testing.T) {
	w := newWorld(t)
	w.store.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 42, Broken: []state.BrokenResource{
		{Key: spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "aa"}, Generation: 42},
		{Key: spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "zz"}, Generation: 42}}}}})
	names := func(query string) (all []string, next string) {
		t.Helper()
		var list api.ResourceList
		w.ask(t, "GET", "/v1/resources?"+query, nil, &list)
		for _, r := range list.Resources {
			all = append(all, r.Tenant+"/"+string(r.Kind)+"/"+r.Name)
		}
		return all, list.Next
	}
	for _, filter := range []string{"", "kind=Pool", "tenant=shop", "prefix=e", "tenant=platform&prefix=no"} {
		want, next := names(filter)
		if next != "" {
			t.Errorf("%q: the whole list has a next page", filter)
		}
		for size := 1; size <= len(want)+1; size++ {
			var got []string
			after, pages := "", 0
			for {
				page, next := names(fmt.Sprintf("%s&limit=%d&after=%s", filter, size, url.QueryEscape(after)))
				got, after = append(got, page...), next
				if pages++; next == "" {
					break
				}
				if len(page) != size || pages > len(want) {
					t.Fatalf("%q by %d: page %v, next %s", filter, size, page, next)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%q by %d: %s", filter, size, diff)
			}
		}
	}
	all, _ := names("kind=Pool")
	if diff := cmp.Diff([]string{"shop/Pool/aa", "shop/Pool/eu", "shop/Pool/zz"}, all); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"after=shop", "after=shop/Pool", "limit=0", "limit=100001"} {
		if rec := w.ask(t, "GET", "/v1/resources?"+bad, nil, nil); rec.Code/100 != 4 {
			t.Errorf("%s: %d", bad, rec.Code)
		}
	}
}

// TestAnIdempotencyKey: a change that is asked for again, since its reply was lost, is made once; another one may not have its key.
func TestAnIdempotencyKey(t *testing.T) {
	w := newWorld(t)
	ask := func(key, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/v1/rollback/shop", strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+testToken)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", key)
		rec := httptest.NewRecorder()
		w.Handler().ServeHTTP(rec, r)
		return rec
	}
	const body, other = `{"generation": 39, "dryRun": true}`, `{"generation": 38, "dryRun": true}`
	first := ask("k1", body)
	again := ask("k1", body)
	if first.Header().Get("Idempotent-Replayed") != "" || again.Header().Get("Idempotent-Replayed") != "true" ||
		first.Code != again.Code || first.Body.String() != again.Body.String() {
		t.Errorf("%d %s\nagain %d %s", first.Code, first.Body, again.Code, again.Body)
	}
	problem(t, ask("k1", other), http.StatusUnprocessableEntity)
	if rec := ask("k2", other); rec.Header().Get("Idempotent-Replayed") != "" {
		t.Errorf("another key: %v", rec.Header())
	}
	problem(t, ask(strings.Repeat("k", 256), body), http.StatusBadRequest)
}

// TestAReplyIsForTheRolesItWasGivenBy: whoever lost a role gets no reply of before, nor does another token of the same name.
func TestAReplyIsForTheRolesItWasGivenBy(t *testing.T) {
	w := newAccessWorld(t)
	ask := func(secret, glass string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/v1/pools/shop/eu/drain",
			strings.NewReader(`{"reason": "test", "for": "1h", "force": true, "dryRun": true}`))
		r.Header.Set("Authorization", "Bearer "+secret)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Idempotency-Key", "k")
		if glass != "" {
			r.Header.Set(api.BreakGlassHeader, glass)
		}
		rec := httptest.NewRecorder()
		w.Handler().ServeHTTP(rec, r)
		return rec
	}
	editor := w.token(t, "shop", "ci", "editor")
	first, again := ask(editor, ""), ask(editor, "")
	if first.Code != http.StatusOK || again.Header().Get("Idempotent-Replayed") != "true" {
		t.Fatalf("%d %s, again %v", first.Code, first.Body, again.Header())
	}
	problem(t, ask(editor, "fra burns"), http.StatusUnprocessableEntity) // that is another request
	w.ask(t, "DELETE", "/v1/tokens/shop/ci", nil, nil)
	viewer := w.token(t, "shop", "ci", "viewer")
	problem(t, ask(viewer, ""), http.StatusForbidden)
}
