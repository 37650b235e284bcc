package past

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/explain"
	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// world is a store with a clock, and the Past that follows it.
type world struct {
	t *testing.T
	*Past
	now     time.Time
	cursor  int64
	states  map[string]state.TenantState // shop@2
	records []state.Record               // newest first
}

func (w *world) Read(_ context.Context, tenant string, at state.Generation) (state.TenantState, error) {
	s, ok := w.states[fmt.Sprint(tenant, "@", at)]
	if !ok {
		return s, store.ErrNotFound
	}
	return s, nil
}

func (w *world) History(_ context.Context, tenant string, limit int) (out []state.Record, err error) {
	for _, r := range w.records {
		if r.Tenant == tenant && len(out) < limit {
			out = append(out, r)
		}
	}
	return out, nil
}

func newWorld(t *testing.T, most int) *world {
	w := &world{t: t, now: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC), states: map[string]state.TenantState{}}
	w.Past = New(Config{Store: w, Mirror: state.NewMirror(), Keep: time.Hour, Most: most, Now: func() time.Time { return w.now }})
	return w
}

// after lets time pass.
func (w *world) after(d time.Duration) time.Time {
	w.now = w.now.Add(d)
	return w.now
}

func (w *world) apply(full bool, u state.Update) {
	w.cursor++
	u.Full, u.Cursor, u.Cluster = full, w.cursor, 7
	w.Apply(u)
}

// put makes the next generation of a tenant.
func (w *world) put(tenant, yaml string) {
	u := state.TenantUpdate{Tenant: tenant, Head: w.cfg.Mirror.Tenant(tenant).Head + 1}
	for _, r := range declared.Resources(w.t, yaml) {
		u.Put = append(u.Put, state.Version{Resource: r, Generation: u.Head})
	}
	w.apply(false, state.Update{Tenants: []state.TenantUpdate{u}})
	w.states[fmt.Sprint(tenant, "@", u.Head)] = w.cfg.Mirror.Tenant(tenant)
	w.records = slices.Insert(w.records, 0, state.Record{Tenant: tenant, Generation: u.Head, Time: w.now})
}

// verdict says how the endpoint of a pool is.
func verdict(pool string, s health.State) health.Verdict {
	score := 1.0
	if s == health.Down {
		score = 0
	}
	return health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: pool},
		Endpoints: map[string]health.Finding{"a": {State: s, Score: score}}}
}

func (w *world) judge(verdicts ...health.Verdict) {
	w.apply(false, state.Update{Values: state.Verdicts.Put(verdicts...)})
}

// got gives what a client would have got at a time.
func (w *world) got(at time.Time) string {
	w.t.Helper()
	x, err := w.Explain(context.Background(), at, func(name string) string {
		return map[string]string{"host": "web.shop.gtm.example", "subnet": "81.2.69.0/24"}[name]
	})
	if err != nil {
		var refused *explain.Error
		if errors.As(err, &refused) {
			return fmt.Sprint(refused.Code, " ", refused)
		}
		w.t.Fatal(err)
	}
	if len(x.Notes) != 2 || !strings.HasPrefix(x.Notes[0], "places are by control's geography of today: built-in of 20") {
		w.t.Errorf("notes: %q", x.Notes)
	}
	return x.Generation + " " + strings.Join(x.Answer.Records, " ")
}

const platformYAML = `
kind: Zone
tenant: platform
name: gtm.example.
spec: {nameservers: [ns1.example.net.], contact: hostmaster.gtm.example., dnssec: {}, grants: {shop: [shop.gtm.example.]}}
`

const shopYAML = `
kind: Pool
tenant: shop
name: eu
spec: {endpoints: [{name: a, addresses: [198.51.100.1]}]}
---
kind: Pool
tenant: shop
name: us
spec: {endpoints: [{name: a, addresses: [203.0.113.1]}]}
---
kind: Service
tenant: shop
name: web
spec: {host: web.shop.gtm.example., rules: [{pools: [eu, us]}]}
`

// TestThePastIsToldAsItWas: configuration, verdicts, overrides that have ended since, and zones that are signed.
func TestThePastIsToldAsItWas(t *testing.T) {
	w := newWorld(t, 0)
	if got := w.got(w.now); got != "404 verdicts of the past are not known yet: control has not heard the store" {
		t.Error(got)
	}
	w.apply(true, state.Update{})
	start := w.now
	w.after(time.Minute)
	w.put("platform", platformYAML)
	w.put("shop", shopYAML)
	first := w.now
	w.after(time.Minute)
	w.judge(verdict("eu", health.Down))
	down := w.now
	w.after(time.Minute)
	w.judge(verdict("eu", health.Up), verdict("us", health.Down))
	up := w.now
	w.after(time.Minute)
	w.put("shop", strings.Replace(shopYAML, "[eu, us]", "[us, eu]", 1))
	turned := w.now
	w.after(time.Minute)
	w.apply(false, state.Update{Values: state.Verdicts.Delete(health.PoolID{Tenant: "shop", Pool: "us"})})
	deleted := w.now
	w.after(time.Minute)
	w.put("shop", fmt.Sprintf("kind: Override\ntenant: shop\nname: o\nspec: {pool: us, state: drain, reason: test, expires: %s}\n",
		w.now.Add(time.Minute).Format(time.RFC3339)))
	drained := w.now
	w.after(5 * time.Minute)
	second := -time.Second
	for _, tc := range []struct {
		what string
		at   time.Time
		want string
	}{
		{"before the service", start, `404 no service stood at "web.shop.gtm.example" at 2026-05-04T12:00:00Z`},
		{"nothing known of health", first, "shop@1 198.51.100.1"},
		{"just before", down.Add(second), "shop@1 198.51.100.1"},
		{"eu is down", down, "shop@1 203.0.113.1"},
		{"eu is down, still", up.Add(second), "shop@1 203.0.113.1"},
		{"eu is up, us down", up, "shop@1 198.51.100.1"},
		{"the rule is turned, us down", turned, "shop@2 198.51.100.1"},
		{"us has no verdict", deleted, "shop@2 203.0.113.1"},
		{"us is drained", drained, "shop@3 198.51.100.1"},
		{"the drain has ended", w.now, "shop@3 203.0.113.1"},
		{"to come", w.now.Add(time.Hour), "400 2026-05-04T13:11:00Z is yet to come"},
		{"before the start", start.Add(second), "404 what verdicts were at 2026-05-04T11:59:59Z is not known: control knows them since " +
			"2026-05-04T12:00:00Z (from its start on, for 1h0m0s, and no more than 64 MiB)"},
	} {
		if got := w.got(tc.at); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.what, got, tc.want)
		}
	}
	w.after(time.Hour)
	if got := w.got(drained); !strings.HasPrefix(got, "404 what verdicts were") {
		t.Errorf("kept for longer than it should be: %s", got)
	}
	if s := w.Status(); s.Changes != 0 || s.Bytes != 0 || !s.Since.Equal(w.now.Add(-time.Hour)) {
		t.Errorf("an hour later: %+v", s)
	}
}

// TestManyChangesAreLookedThrough, up to some bound.
func TestManyChangesAreLookedThrough(t *testing.T) {
	w := newWorld(t, 0)
	w.apply(true, state.Update{})
	w.put("platform", platformYAML)
	w.put("shop", shopYAML)
	first := w.now
	for g := range mostRecords - 1 { // of which the store holds no other state
		later := state.Record{Tenant: "shop", Generation: state.Generation(g + 2), Time: w.now.Add(time.Minute)}
		w.records = slices.Insert(w.records, 0, later)
	}
	w.after(2 * time.Minute)
	if got := w.got(first); got != "shop@1 198.51.100.1" {
		t.Error(got)
	}
	damaged := state.Record{Tenant: "shop"}
	w.records = slices.Insert(w.records, 0, state.Record{Tenant: "shop", Generation: mostRecords + 1, Time: w.now}, damaged)
	const want = "404 shop changed more than 10000 times since 2026-05-04T12:00:00Z: too often to look for what it was then"
	if got := w.got(first); got != want {
		t.Error(got)
	}
}

// TestWhatIsReadAnewIsComparedWithBefore, and another store has no past here.
func TestWhatIsReadAnewIsComparedWithBefore(t *testing.T) {
	w := newWorld(t, 0)
	w.apply(true, state.Update{Values: state.Verdicts.Put(verdict("eu", health.Down), verdict("us", health.Up), verdict("sg", health.Up))})
	w.put("platform", platformYAML)
	w.put("shop", shopYAML)
	before := w.now
	w.after(time.Minute)
	full := w.cfg.Mirror.Full()
	full.Values = state.Verdicts.Put(verdict("eu", health.Up), verdict("us", health.Up), verdict("new", health.Up))
	w.apply(true, full)
	if s := w.Status(); s.Changes != 3 || s.Bytes == 0 {
		t.Errorf("eu, sg and new changed: %+v", s)
	}
	if a, b := w.got(before), w.got(w.now); a != "shop@1 203.0.113.1" || b != "shop@1 198.51.100.1" {
		t.Errorf("before %s, then %s", a, b)
	}
	w.after(time.Minute)
	full.Epoch++
	w.apply(true, full)
	if s := w.Status(); s.Changes != 0 || !s.Since.Equal(w.now) {
		t.Errorf("another store: %+v", s)
	}
}

// TestThePastIsBounded: the oldest goes, and what it leaves unknown is said to be.
func TestThePastIsBounded(t *testing.T) {
	const most = 8 << 10
	w := newWorld(t, most)
	w.apply(true, state.Update{})
	w.put("platform", platformYAML)
	w.put("shop", shopYAML)
	early := w.now
	for i := range 500 {
		w.after(time.Second)
		w.judge(verdict("eu", []health.State{health.Down, health.Up}[i%2]))
		if s := w.Status(); s.Bytes > most || s.Changes == 0 {
			t.Fatalf("after %d changes: %+v", i+1, s)
		}
	}
	s := w.Status()
	if s.Changes < 5 || s.Changes > 100 {
		t.Errorf("%d changes fill %d bytes", s.Changes, s.Bytes)
	}
	if got := w.got(early); !strings.HasPrefix(got, fmt.Sprint(http.StatusNotFound)) {
		t.Errorf("dropped, and told: %s", got)
	}
	if a, b := w.got(s.Since), w.got(s.Since.Add(time.Second)); a == b || strings.HasPrefix(a, "4") || strings.HasPrefix(b, "4") {
		t.Errorf("the oldest that is known: %s, %s", a, b)
	}
}

// TestWhatWasFoundIsOfToday: lists of sources are not kept, and that is told. News of them is news of their tenants.
func TestWhatWasFoundIsOfToday(t *testing.T) {
	w := newWorld(t, 0)
	w.apply(true, state.Update{})
	w.put("platform", platformYAML)
	w.put("shop", strings.Replace(shopYAML, "name: us\nspec: {", "name: us\nspec: {discover: [{name: a, pushed: true}], ", 1))
	w.judge(verdict("eu", health.Down))
	var declared []string
	w.cfg.Replaced = func(n News) { declared = n.Declared }
	w.apply(false, state.Update{Values: state.Discovered.Put(spec.Found{Tenant: "shop", Pool: "us", Source: "a",
		Endpoints: []spec.FoundEndpoint{{Address: netip.MustParseAddr("203.0.113.99")}}})})
	if !slices.Equal(declared, []string{"shop"}) {
		t.Errorf("news of %v", declared)
	}
	x, err := w.Explain(t.Context(), w.now, func(name string) string {
		return map[string]string{"host": "web.shop.gtm.example", "subnet": "81.2.69.0/24"}[name]
	})
	if err != nil || !slices.Contains(x.Notes, "endpoints that were found by spec.discover are those of today") ||
		!strings.Contains(strings.Join(x.Text, "\n"), "ip-203-0-113-99") {
		t.Errorf("%+v, %v", x, err)
	}
}
