package control

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/zone/dnssec"
)

const testToken = "a-token-for-tests-only"

// asked is the author of what world.ask asks for.
const asked = "admin-token"

var now = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

// memory is a store whose mirror is always up to date.
type memory struct {
	*state.Mirror
	waiting  []store.Pending
	edges    []store.Edge
	contact  time.Time // when the store was last heard
	vantages []store.Vantage
	records  []state.Record // newest first
	states   map[string]state.TenantState
	accepted string
	release  *store.Release      // that waits
	judge    func(store.Release) // follows releases; nil: there is none
	noSights error               // what Vantages gives, if err is nil
	// noRelease is what HasRelease gives, one after the other, and then the truth.
	noRelease []error
	// back and verdictsBack are what was put back.
	back         []dnssec.Keyset
	verdictsBack []health.Verdict
	edgesBack    []store.Edge
	oldest       state.Generation
	pushed       int                     // lists that were pushed
	elsewhere    map[state.SourceID]bool // another control pushed something else, and that is not followed yet
	onAccept     func()
	err          error
}

func (m *memory) Edges(context.Context) ([]store.Edge, error) { return m.edges, m.err }

func (m *memory) EditAim(_ context.Context, tenant string, _ bool, edit func(*state.Aim) error) (state.Aim, error) {
	a, _ := state.Aims.Get(m.Mirror, tenant)
	a.Tenant = tenant
	return a, edit(&a)
}

func (m *memory) PutPending(_ context.Context, p store.Pending) error {
	m.waiting = append(m.waiting, p)
	return m.err
}

func (m *memory) Pendings(_ context.Context, tenant string) ([]store.Pending, error) {
	return slices.DeleteFunc(slices.Clone(m.waiting), func(p store.Pending) bool { return tenant != "" && tenant != p.Tenant }), m.err
}

func (m *memory) DropPending(_ context.Context, tenant, id string) error {
	m.waiting = slices.DeleteFunc(m.waiting, func(p store.Pending) bool { return p.Tenant == tenant && p.ID == id })
	return m.err
}

func (m *memory) Versions(context.Context, spec.Key, int) ([]state.Version, error) { return nil, m.err }

func (m *memory) LastContact() time.Time { return m.contact }

func (m *memory) ForgetEdge(_ context.Context, id string) error {
	i := slices.IndexFunc(m.edges, func(e store.Edge) bool { return e.ID == id })
	switch {
	case m.err != nil:
		return m.err
	case i < 0:
		return store.ErrNotFound
	case m.edges[i].Alive:
		return fmt.Errorf("edge %s cannot be forgotten: %w", id, store.ErrEdgeAlive)
	}
	m.edges = slices.Delete(slices.Clone(m.edges), i, i+1)
	return nil
}

func (m *memory) Vantages(context.Context) ([]store.Vantage, error) {
	return m.vantages, cmp.Or(m.err, m.noSights)
}

func (m *memory) ForgetVantage(_ context.Context, id string) (int, error) {
	i := slices.IndexFunc(m.vantages, func(v store.Vantage) bool { return v.ID == id })
	switch {
	case m.err != nil:
		return 0, m.err
	case i < 0:
		return 0, store.ErrNotFound
	case m.vantages[i].Alive:
		return 0, fmt.Errorf("vantage %s cannot be forgotten: %w", id, store.ErrVantageAlive)
	}
	pools := m.vantages[i].Pools
	m.vantages = slices.Delete(m.vantages, i, i+1)
	return pools, nil
}

func (m *memory) PutRelease(_ context.Context, r store.Release, _ time.Duration) error {
	m.release = &r
	return m.err
}

func (m *memory) HasRelease(context.Context, store.Release) (bool, error) {
	if len(m.noRelease) > 0 {
		err := m.noRelease[0]
		m.noRelease = m.noRelease[1:]
		return false, err
	}
	if m.judge != nil && m.release != nil {
		m.judge(*m.release)
		m.release = nil
	}
	return m.release != nil, m.err
}

func (m *memory) WithdrawRelease(context.Context, store.Release) error {
	m.release = nil
	return m.err
}

func (m *memory) PutBackEdges(_ context.Context, edges []store.Edge) error {
	m.edgesBack = edges
	return m.err
}

func (m *memory) PushFound(_ context.Context, lists ...spec.Found) error {
	if m.err == nil {
		m.pushed += len(lists)
		m.Apply(state.Update{Values: state.Discovered.Put(lists...)})
	}
	return m.err
}

func (m *memory) HasFound(_ context.Context, lists ...spec.Found) (bool, error) {
	return !slices.ContainsFunc(lists, func(f spec.Found) bool { return m.elsewhere[state.SourceOf(f)] }), m.err
}

func (m *memory) PutBack(_ context.Context, keysets []dnssec.Keyset, verdicts []health.Verdict) (zones []string, err error) {
	for _, ks := range keysets {
		zones = append(zones, ks.Zone)
	}
	m.back, m.verdictsBack = append(m.back, keysets...), append(m.verdictsBack, verdicts...)
	return zones, m.err
}

func (m *memory) Accept(_ context.Context, author string) error {
	m.accepted = author
	if m.onAccept != nil {
		m.onAccept()
	}
	return m.err
}

func (m *memory) MadeAt(_ context.Context, tenant string, g state.Generation) (at time.Time, err error) {
	for _, r := range m.records {
		if r.Tenant == tenant && r.Generation == g {
			at = r.Time
		}
	}
	return at, m.err
}

func (m *memory) Oldest(context.Context, string) (state.Generation, error) {
	return max(m.oldest, 1), m.err
}

func (m *memory) History(_ context.Context, tenant string, limit int) ([]state.Record, error) {
	var out []state.Record
	for _, r := range m.records {
		if r.Tenant == tenant && len(out) < limit {
			out = append(out, r)
		}
	}
	return out, m.err
}

func (m *memory) Heads(context.Context) (map[string]state.Generation, error) {
	heads := map[string]state.Generation{}
	for _, tenant := range m.Tenants() {
		heads[tenant] = m.Tenant(tenant).Head
	}
	return heads, m.err
}

func (m *memory) Read(_ context.Context, tenant string, at state.Generation) (state.TenantState, error) {
	state, ok := m.states[fmt.Sprintf("%s@%d", tenant, at)]
	if !ok {
		return state, store.ErrNotFound
	}
	return state, nil
}

func (m *memory) Commit(_ context.Context, c store.Change) (state.Record, error) {
	now := m.Tenant(c.Tenant)
	if now.Head != c.Base {
		return state.Record{}, &store.ConflictError{Tenant: c.Tenant, Want: c.Base, Have: now.Head}
	}
	m.states[fmt.Sprintf("%s@%d", c.Tenant, now.Head)] = now
	r := state.Record{Tenant: c.Tenant, Generation: now.Head + 1, Author: c.Author, Message: c.Message, Time: c.Time, Deleted: c.Delete}
	update := state.TenantUpdate{Tenant: c.Tenant, Head: r.Generation, Deleted: c.Delete}
	for _, put := range c.Put {
		r.Put = append(r.Put, put.Key)
		update.Put = append(update.Put, state.Version{Resource: put, Generation: r.Generation})
	}
	m.records = append([]state.Record{r}, m.records...)
	m.Apply(state.Update{Tenants: []state.TenantUpdate{update}})
	return r, m.err
}

// world is a server with everything around it.
type world struct {
	*Server
	store    *memory
	registry *prometheus.Registry
	status   state.FollowStatus // how the store is followed
	evidence state.Evidence
	clock    time.Time
	ticks    atomic.Int64 // nanoseconds by which it was set forward: see advance
}

// loopback is where the edges of tests are.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// testBody is the most that an apply may have in tests.
const testBody = 32 << 20

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{registry: prometheus.NewRegistry(), clock: now,
		status: state.FollowStatus{State: state.Current, Since: now, Cursor: 7},
		store:  &memory{Mirror: state.NewMirror(), states: map[string]state.TenantState{}}}
	w.store.Apply(testState(t))
	s, err := New(Config{Store: w.store, Mirror: w.store.Mirror, Token: testToken, MaxBody: testBody,
		EdgeNetworks: loopback,
		Registerer:   w.registry, Now: func() time.Time { return w.clock }, Evidence: &w.evidence,
		Following: func() state.FollowStatus { return w.status }})
	if err != nil {
		t.Fatal(err)
	}
	w.Server = s
	return w
}

// newWorldWithout has a store that answers with an error from the start.
func newWorldWithout(t *testing.T, err error) *world {
	w := newWorld(t)
	w.store.err = err
	return w
}

// testState has one pool, of whose endpoints a is down and b drained, and a service that uses it.
func testState(t testing.TB) state.Update {
	t.Helper()
	three := 3
	pool := &spec.Pool{Site: "fra", Endpoints: []spec.Endpoint{
		{Name: "a", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Weight: &three},
		{Name: "b", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.2")}},
		{Name: "c", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.3")}}}}
	version := func(tenant string, kind spec.Kind, name string, s spec.Spec) state.Version {
		return state.Version{Resource: &spec.Resource{Key: spec.Key{Tenant: tenant, Kind: kind, Name: name}, Spec: s}, Generation: 40}
	}
	return state.Update{Full: true, Tenants: []state.TenantUpdate{
		{Tenant: "platform", Head: 3, Put: []state.Version{
			version("platform", spec.KindZone, "example.", &spec.Zone{Grants: map[string][]string{"shop": {"example."}},
				Content: "example.\t60\tIN\tSOA\tns1.example. h.example. 0 7200 1800 1209600 60\n" +
					"example.\t60\tIN\tNS\tns1.example.net.\n"}),
			version("platform", spec.KindSite, "fra", &spec.Site{Region: "EU-DE"})}},
		{Tenant: "shop", Head: 41, Put: []state.Version{
			version("shop", spec.KindPool, "eu", pool),
			version("shop", spec.KindService, "web",
				&spec.Service{Host: "web.example.", Rules: []spec.Rule{{Pools: []spec.Target{{Pool: "eu"}}}}}),
			version("shop", spec.KindOverride, "now", &spec.Override{Pool: "eu", Endpoint: "b", State: "drain", Reason: "upgrade",
				Expires: spec.TimeOf("2026-05-04T04:00:00Z")}),
			version("shop", spec.KindOverride, "old", &spec.Override{Pool: "eu", Endpoint: "c", State: "down", Reason: "past",
				Expires: spec.TimeOf("2026-05-04T03:00:00Z")}),
		}},
	}, Values: state.Verdicts.Put(health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: "eu"}, Judge: "p1",
		Endpoints: map[string]health.Finding{
			"a": {State: health.Down, Since: now.Add(-time.Minute), Reason: "status 503"}, "b": {State: health.Up, Score: 1}}})}
}

// askWith asks without a body, and with a header.
func (w *world) askWith(t testing.TB, method, path, header, value string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	r.Header.Set("Authorization", "Bearer "+testToken)
	r.Header.Set(header, value)
	rec := httptest.NewRecorder()
	w.Handler().ServeHTTP(rec, r)
	return rec
}

// ask sends a request with the token, and decodes a reply of 200 into out.
func (w *world) ask(t testing.TB, method, path string, body any, out any) *httptest.ResponseRecorder {
	t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		reader = bytes.NewReader(encoded)
	}
	r := httptest.NewRequest(method, path, reader)
	r.Header.Set("Authorization", "Bearer "+testToken)
	r.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	w.Handler().ServeHTTP(rec, r)
	if out != nil {
		if rec.Code != http.StatusOK {
			t.Fatalf("%s %s: %d %s", method, path, rec.Code, rec.Body)
		}
		if err := json.Unmarshal(rec.Body.Bytes(), out); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, rec.Body)
		}
	}
	return rec
}
