package edge

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/store/state"
)

const localToken = "a-token-for-tests-only"

func withToken(c *Config) { c.Token = func() string { return localToken } }

// order sends an override, and gives the status and what was answered.
func (r *running) order(method, token string, o any) (int, string) {
	r.t.Helper()
	body, err := json.Marshal(o)
	if err != nil {
		r.t.Fatal(err)
	}
	request := httptest.NewRequest(method, "/edge/overrides", strings.NewReader(string(body)))
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	rec := httptest.NewRecorder()
	r.e.Handler().ServeHTTP(rec, request)
	return rec.Code, rec.Body.String()
}

func (r *running) drainsEU() api.LocalOverride {
	return api.LocalOverride{Tenant: "shop", Pool: "eu", State: "drain", Reason: "the rack burns", Author: "ann",
		Expires: time.Now().Add(time.Hour)}
}

// cutOff lets the edge not hear the store.
func (r *running) cutOff() {
	r.status(state.Stale, "connection refused")
	r.sourceIs(state.Stale)
}

// TestAnEdgeIsDrainedWithoutTheStore: at once, told everywhere, on disk; and the store's next word on it ends it, no other.
func TestAnEdgeIsDrainedWithoutTheStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := start(t, dir, withToken)
	r.tell(everything(t, 1))
	r.ready()
	r.tell(state.Update{Values: state.Verdicts.Put(down("eu", "nobody"))}) // what is known when it is set
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
	r.status(state.Current, "")
	r.sourceIs(state.Current)
	code, text := r.order("PUT", localToken, r.drainsEU())
	if code != http.StatusConflict || !strings.Contains(text, "gtmctl drain reaches every edge") {
		t.Errorf("where the store is heard: %d %s", code, text)
	}
	r.cutOff()
	if code, text := r.order("PUT", localToken, r.drainsEU()); code != 200 || strings.Contains(text, "fault") {
		t.Fatalf("%d %s", code, text)
	}
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
	r.logged("AN OVERRIDE OF THIS EDGE ALONE HOLDS", `reason="the rack burns"`, "author=\"admin-token of this edge\"")
	r.valueIs(1, "gtm_edge_local_overrides")
	for _, text := range []string{r.explained(), strings.Join(r.notes(), "\n")} {
		if !strings.Contains(text, "override of this edge alone: shop/eu drain until ") || !strings.Contains(text, "the rack burns") {
			t.Errorf("explained: %s", text)
		}
	}
	if s := r.fetchStatus(); len(s.Local) != 1 || s.Local[0].Of() != "shop/eu" || s.Local[0].Set.IsZero() || s.Local[0].Fault != "" {
		t.Errorf("%+v", s.Local)
	}
	// What speaks of others ends nothing, nor does the same again.
	r.tell(state.Update{Values: state.Verdicts.Put(down("us", "nobody"))})
	same := everything(t, 1)
	same.Values = state.Verdicts.Put(down("us", "nobody"), down("eu", "nobody"))
	r.tell(same)
	r.valueIs(1, "gtm_edge_local_overrides")
	r.always("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
	r.stop()

	again := start(t, dir, withToken)
	again.ready()
	again.expect("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
	again.logged("OVERRIDES OF THIS EDGE ALONE ARE READ FROM DISK")
	again.tell(state.Update{Values: state.Verdicts.Put(down("eu", "nobody", "nobody else"))})
	again.expect("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
	again.logged("an override of this edge alone has ended", "another verdict on pool shop/eu")
	again.valueIs(0, "gtm_edge_local_overrides")
	if _, err := os.Stat(filepath.Join(dir, localFile)); !os.IsNotExist(err) {
		t.Errorf("it is kept on disk: %v", err)
	}
}

// TestANewerGenerationEndsIt, also one that the edge finds at its start.
func TestANewerGenerationEndsIt(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := start(t, dir, withToken)
	r.tell(everything(t, 1))
	r.ready()
	r.cutOff()
	if code, text := r.order("PUT", localToken, r.drainsEU()); code != 200 {
		t.Fatalf("%d %s", code, text)
	}
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
	r.tell(delta(t, 2, declared.Resources(t, otherYAML)...))
	r.always("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
	r.stop()
	again := start(t, dir, withToken)
	again.ready()
	again.expect("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
	again.tell(everything(t, 3))
	again.expect("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
	again.logged("an override of this edge alone has ended", "shop@3")
}

// TestItEndsByTheClock and by a person, and one endpoint can be meant.
func TestItEndsByTheClock(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	r := startServing(t, func(c *Config) {
		withToken(c)
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	r.cutOff()
	o := r.drainsEU()
	if code, text := r.order("PUT", localToken, o); code != 200 {
		t.Fatalf("%d %s", code, text)
	}
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
	if code, _ := r.order("DELETE", localToken, o); code != 200 {
		t.Errorf("ended: %d", code)
	}
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
	if code, text := r.order("DELETE", localToken, o); code != http.StatusNotFound {
		t.Errorf("ended twice: %d %s", code, text)
	}
	if code, text := r.order("PUT", localToken, o); code != 200 {
		t.Fatalf("%d %s", code, text)
	}
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
	ahead.Store(int64(time.Hour + time.Minute))
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
	r.logged("an override of this edge alone has ended", "its time is over")
	r.valueIs(0, "gtm_edge_local_overrides")
}

// TestOverridesOfAnEdgeAreGuarded: nobody sets one without the token, nor one that makes no sense.
func TestOverridesOfAnEdgeAreGuarded(t *testing.T) {
	t.Parallel()
	r := startServing(t, withToken)
	r.cutOff()
	good := r.drainsEU()
	for token, want := range map[string]int{"": 401, "a-token-for-tests-onlY": 401, localToken: 200} {
		for _, method := range []string{"GET", "PUT"} {
			if code, text := r.order(method, token, good); code != want || want == 401 && !strings.Contains(text, "token") {
				t.Errorf("%s with the token %q: %d %s", method, token, code, text)
			}
		}
	}
	for what, change := range map[string]func(*api.LocalOverride){
		"pool and tenant are missing": func(o *api.LocalOverride) { o.Pool = "" },
		"there is no pool shop/none":  func(o *api.LocalOverride) { o.Pool = "none" },
		"has no endpoint z":           func(o *api.LocalOverride) { o.Endpoint = "z" },
		"state is drain, down or up":  func(o *api.LocalOverride) { o.State = "gone" },
		"say why: ":                   func(o *api.LocalOverride) { o.Reason = " " },
		"say why: reason is one line": func(o *api.LocalOverride) { o.Reason = "a\nb" },
		"expires lies from 1s":        func(o *api.LocalOverride) { o.Expires = time.Now().Add(25 * time.Hour) },
		"expires lies from":           func(o *api.LocalOverride) { o.Expires = time.Time{} },
	} {
		o := good
		change(&o)
		if code, text := r.order("PUT", localToken, o); code < 400 || code >= 500 || !strings.Contains(strings.ReplaceAll(text,
			"tenant and pool", "pool and tenant"), what) {
			t.Errorf("%s: %d %s", what, code, text)
		}
	}
	for i := range mostLocal + 1 {
		o := good
		o.Reason = strings.Repeat("x", i+1)
		if code, text := r.order("PUT", localToken, o); code != 200 { // the same again and again is one
			t.Fatalf("%d %s", code, text)
		}
	}
	r.valueIs(1, "gtm_edge_local_overrides")
	without := startServing(t, nil)
	without.cutOff()
	if code, text := without.order("PUT", "", good); code != 401 || !strings.Contains(text, "has no token") {
		t.Errorf("an edge without a token: %d %s", code, text)
	}
}

// TestADamagedFileOfOverridesIsTold, and the edge serves.
func TestADamagedFileOfOverridesIsTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, localFile), []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, dir, withToken)
	r.tell(everything(t, 1))
	r.ready()
	r.logged("overrides of this edge alone cannot be read")
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+euA)
}

// TestAnOverrideThatCannotBeKeptIsTold.
func TestAnOverrideThatCannotBeKeptIsTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, localFile+".new"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := start(t, dir, withToken)
	r.tell(everything(t, 1))
	r.ready()
	r.cutOff()
	if code, text := r.order("PUT", localToken, r.drainsEU()); code != 200 || !strings.Contains(text, "it would not outlive a restart") {
		t.Errorf("%d %s", code, text)
	}
	r.expect("web.shop.gtm.example.", "A", european, "NOERROR "+usA)
	gtmtest.Eventually(t, "status says so", func() error {
		if s := r.fetchStatus(); len(s.Local) == 1 && s.Local[0].Fault != "" {
			return nil
		}
		return os.ErrNotExist
	})
}
