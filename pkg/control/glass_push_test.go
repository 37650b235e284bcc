package control

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/change/effect"
	"github.com/gti/gtm/pkg/control/audit/chain"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

const fleet = "/v1/endpoints/shop/found/fleet"

// careful declares a guard of capacity.
func (w *world) careful() {
	head := w.store.Tenant("shop").Head + 1
	w.store.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: head, Put: []state.Version{{Generation: head,
		Resource: &spec.Resource{Key: spec.Key{Tenant: "shop", Kind: spec.KindGuard, Name: "careful"},
			Spec: &spec.Guard{LeastCapacity: "80%"}}}}}}})
}

// TestWhatAGuardKeepsOfAPushDoesNotEnd while lists come that it refuses: else all of it would be gone, and the next list judged by nothing.
func TestWhatAGuardKeepsOfAPushDoesNotEnd(t *testing.T) {
	w := audited(t)
	withSources(t, w)
	push := func(addresses ...string) int {
		in := pushOf(addresses...)
		in.For = "10m"
		return w.ask(t, http.MethodPut, fleet, in, nil).Code
	}
	if code := push("192.0.2.1", "192.0.2.2", "192.0.2.3"); code != http.StatusOK {
		t.Fatal(code)
	}
	w.careful()
	for range 15 {
		w.clock = w.clock.Add(time.Minute)
		if code := push("192.0.2.1", "192.0.2.2"); code != http.StatusConflict {
			t.Fatalf("got %d", code)
		}
	}
	id := state.SourceID{Tenant: "shop", Pool: "found", Source: "fleet"}
	is, _ := state.Discovered.Get(w.store.Mirror, id)
	if len(is.Endpoints) != 3 || is.Expires.Sub(w.clock) != 10*time.Minute {
		t.Errorf("it has %d endpoints until %s, now %s", len(is.Endpoints), is.Expires, w.clock)
	}
	if rec := w.ask(t, http.MethodDelete, fleet, nil, nil); rec.Code != http.StatusConflict { // who takes a list away asks for no more time
		t.Fatal(rec.Code, rec.Body)
	}
	if now, _ := state.Discovered.Get(w.store.Mirror, id); !now.Expires.Equal(is.Expires) {
		t.Errorf("a deletion that is refused has it hold until %s", now.Expires)
	}
}

// TestTheGlassOfAPush is broken where a guard refuses alone, by who may, also where the effect cannot be told.
func TestTheGlassOfAPush(t *testing.T) {
	w := audited(t)
	withSources(t, w)
	w.careful()
	acts := func() (all []string) {
		for _, e := range w.entries(t) {
			if e.Act == chain.ActPush || e.Act == chain.ActBreakGlass {
				all = append(all, e.Act+" "+e.Outcome)
			}
		}
		return all
	}
	three := `{"endpoints":[{"address":"192.0.2.1"},{"address":"192.0.2.2"},{"address":"192.0.2.3"}]}`
	if rec := w.breaks(testToken, http.MethodPut, fleet, three); rec.Code != http.StatusOK {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	if got := strings.Join(acts(), ", "); strings.Contains(got, chain.ActBreakGlass) {
		t.Errorf("what no guard refused is said to have broken the glass: %s", got)
	}
	access := newAccessWorld(t)
	editor := access.token(t, "shop", "ci", "editor")
	w.book = access.book
	rec := w.breaks(editor, http.MethodPut, fleet, `{"endpoints":[{"address":"192.0.2.1"}]}`)
	if rec.Code != http.StatusForbidden || !strings.Contains(rec.Body.String(), "token:shop/ci may not break the glass of it") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if got := acts(); got[len(got)-1] != chain.ActBreakGlass+" "+chain.Refused {
		t.Errorf("the log has %v", got)
	}
	w.changer = change.New(change.Config{Store: w.cfg.Store, State: change.FollowState(w.cfg.Store, w.cfg.Mirror), Now: w.cfg.Now,
		World: func() (*effect.World, error) { return nil, errors.New("geo file gone") }})
	one := `{"endpoints":[{"address":"192.0.2.7"}]}`
	if rec := w.ask(t, http.MethodPut, fleet, pushOf("192.0.2.7"), nil); rec.Code != http.StatusConflict ||
		!strings.Contains(rec.Body.String(), "geo file gone") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := w.breaks(testToken, http.MethodPut, fleet, one); rec.Code != http.StatusOK {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	want := chain.ActBreakGlass + " " + chain.Asked + ", " + chain.ActBreakGlass + " " + chain.Done
	if got := strings.Join(acts(), ", "); !strings.HasSuffix(got, want) {
		t.Errorf("the log has %s", got)
	}
}
