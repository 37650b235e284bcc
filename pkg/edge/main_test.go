package edge

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

// within bounds what must happen; a test that runs into it fails, none waits for it otherwise.
const within = 20 * time.Second

const platformYAML = `
kind: Zone
tenant: platform
name: gtm.example.
spec:
  content: |
    @ 3600 IN SOA ns1 hostmaster 0 7200 1800 1209600 60
    @ 3600 IN NS ns1
    ns1 3600 IN A 192.0.2.53
    static 300 IN A 192.0.2.80
  grants: {shop: [shop.gtm.example.], other: [other.gtm.example.]}
`

const shopYAML = `
kind: Pool
tenant: shop
name: eu
spec:
  endpoints:
    - {name: a, addresses: [198.51.100.1, "2001:db8:1::1"], weight: 3}
    - {name: b, addresses: [198.51.100.2, "2001:db8:1::2"], weight: 0}
---
kind: Pool
tenant: shop
name: us
spec: {endpoints: [{name: a, addresses: [203.0.113.1, "2001:db8:2::1"]}]}
---
kind: Service
tenant: shop
name: web
spec:
  host: web.shop.gtm.example.
  metrics: true
  rules:
    - {name: europe, when: {geo: [EU]}, pools: [eu, us]}
    - {name: rest, pools: [us, eu]}
`

const otherYAML = `
kind: Pool
tenant: other
name: p
spec: {endpoints: [{name: a, addresses: [192.0.2.7]}]}
---
kind: Service
tenant: other
name: w
spec: {host: w.other.gtm.example., rules: [{pools: [p]}]}
`

// What the fixtures' geography holds: see writeGeo.
const european, american = "81.2.69.0/24", "6.7.8.0/24"

// The endpoints that the fixtures give to Europeans, Americans, and askers of the other tenant.
const euA, euB, usA, otherA = "198.51.100.1", "198.51.100.2", "203.0.113.1", "192.0.2.7"

// fakeStore is a store whose news a test tells. It implements Store.
type fakeStore struct {
	calls chan func(store.FollowConfig)
	from  chan *state.Cursor
	edges chan store.Edge
	heard atomic.Pointer[time.Time] // nil: never
	read  sync.Map                  // "shop@1" to the state.TenantState that Read gives
	asked func(tenant string)       // by each Read; nil: nothing happens
}

func newFakeStore() *fakeStore {
	return &fakeStore{calls: make(chan func(store.FollowConfig)), from: make(chan *state.Cursor, 1), edges: make(chan store.Edge, 1)}
}

func (f *fakeStore) Follow(ctx context.Context, cfg store.FollowConfig) error {
	f.from <- cfg.From
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case call := <-f.calls:
			call(cfg)
		}
	}
}

func (f *fakeStore) Read(_ context.Context, tenant string, at state.Generation) (state.TenantState, error) {
	if f.asked != nil {
		f.asked(tenant)
	}
	if s, ok := f.read.Load(fmt.Sprintf("%s@%d", tenant, at)); ok {
		return s.(state.TenantState), nil
	}
	return state.TenantState{}, fmt.Errorf("%s@%d: %w", tenant, at, store.ErrNotFound)
}

func (f *fakeStore) LastContact() time.Time {
	if at := f.heard.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

func (f *fakeStore) KeepEdge(ctx context.Context, tell func() store.Edge, _ time.Duration) error {
	f.edges <- tell()
	<-ctx.Done()
	return ctx.Err()
}

// running is an edge at work.
type running struct {
	t     *testing.T
	e     *Edge
	store *fakeStore
	log   *gtmtest.Log
	reg   *prometheus.Registry
	stop  func() // ends it, in good order; may be called again
}

// start starts an edge on the fixtures' geography; change adapts its configuration.
func start(t *testing.T, dir string, change func(*Config)) *running {
	t.Helper()
	r := &running{t: t, store: newFakeStore(), log: gtmtest.NewLog(t), reg: prometheus.NewPedanticRegistry()}
	cfg := Config{ID: "edge-1", Version: "v7", Store: r.store, Dir: dir, DNS: addrs("127.0.0.1:0"), Workers: 2, HTTP: "192.0.2.1:8053",
		GeoFiles: []string{writeGeo(t, t.TempDir(), fixtureGeo)}, Logger: r.log.Logger(), Registerer: r.reg}
	if change != nil {
		change(&cfg)
	}
	var err error
	if r.e, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.e.Run(ctx) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("the edge ended with %v", err)
			}
		case <-time.After(within):
			t.Error("the edge does not end")
		}
	})
	t.Cleanup(r.stop)
	return r
}

// startServing is start with the fixtures applied.
func startServing(t *testing.T, change func(*Config)) *running {
	t.Helper()
	r := start(t, t.TempDir(), change)
	r.tell(everything(t, 1))
	r.ready()
	return r
}

func addrs(list ...string) (out []netip.AddrPort) {
	for _, a := range list {
		out = append(out, netip.MustParseAddrPort(a))
	}
	return out
}

// call has the store call back.
func (r *running) call(f func(store.FollowConfig)) {
	r.t.Helper()
	done := make(chan struct{})
	select {
	case r.store.calls <- func(cfg store.FollowConfig) { f(cfg); close(done) }:
		<-done
	case <-time.After(within):
		r.t.Fatal("nobody follows the store")
	}
}

// tell has the store tell of an update, and that it is current, as a real one does.
func (r *running) tell(u state.Update) {
	r.t.Helper()
	r.call(func(cfg store.FollowConfig) {
		if err := cfg.OnUpdate(u); err != nil {
			r.t.Errorf("the update is refused: %v", err)
		}
		cfg.OnStatus(state.FollowStatus{State: state.Current, Since: time.Now(), Cursor: u.Cursor})
	})
}

// status has the store tell how it fares.
func (r *running) status(now, err string) {
	r.t.Helper()
	r.call(func(cfg store.FollowConfig) {
		cfg.OnStatus(state.FollowStatus{State: now, Since: time.Now(), Err: err})
	})
}

func (r *running) ready() {
	r.t.Helper()
	gtmtest.Eventually(r.t, "the edge is ready", r.e.Ready)
}

// delta is an update that takes the tenants of the resources to a generation.
func delta(t *testing.T, gen uint64, rs ...*spec.Resource) state.Update {
	t.Helper()
	u := state.Update{Cursor: int64(100 + gen), Cluster: 7}
	for _, r := range rs {
		i := slices.IndexFunc(u.Tenants, func(tu state.TenantUpdate) bool { return tu.Tenant == r.Tenant })
		if i < 0 {
			i = len(u.Tenants)
			u.Tenants = append(u.Tenants, state.TenantUpdate{Tenant: r.Tenant, Head: state.Generation(gen)})
		}
		u.Tenants[i].Put = append(u.Tenants[i].Put, state.Version{Resource: r, Generation: state.Generation(gen)})
	}
	return u
}

// everything is all of the fixtures at a generation.
func everything(t *testing.T, gen uint64) state.Update {
	t.Helper()
	u := delta(t, gen, declared.Resources(t, platformYAML, shopYAML, otherYAML)...)
	u.Full = true
	return u
}

// down is a verdict that a pool of the shop is down.
func down(pool string, endpoints ...string) health.Verdict {
	v := health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: pool}, Endpoints: map[string]health.Finding{}}
	for _, e := range endpoints {
		v.Endpoints[e] = health.Finding{State: health.Down, Reason: "status 503"}
	}
	return v
}

// query makes a question, with a client subnet unless that is empty.
func query(name, typ, subnet string) *dns.Msg {
	m := new(dns.Msg).SetQuestion(name, dns.StringToType[typ])
	if subnet == "" {
		return m
	}
	p := netip.MustParsePrefix(subnet)
	family := uint16(1)
	if p.Addr().Is6() {
		family = 2
	}
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = append(m.IsEdns0().Option,
		&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: family, SourceNetmask: uint8(p.Bits()), Address: p.Addr().AsSlice()})
	return m
}

// exchange asks once.
func exchange(m *dns.Msg, network, addr string) (*dns.Msg, error) {
	c := &dns.Client{Net: network, Timeout: 5 * time.Second}
	r, _, err := c.Exchange(m, addr)
	return r, err
}

// ask asks the edge's first address by UDP and gives RCODE and answers in short: "NOERROR 192.0.2.1 192.0.2.2".
func (r *running) ask(name, typ, subnet string) string {
	reply, err := exchange(query(name, typ, subnet), "udp", r.e.Addrs()[0].String())
	if err != nil {
		return err.Error()
	}
	return short(reply)
}

func short(m *dns.Msg) string {
	out := []string{dns.RcodeToString[m.Rcode]}
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			out = append(out, rr.A.String())
		case *dns.AAAA:
			out = append(out, rr.AAAA.String())
		default:
			out = append(out, rr.String())
		}
	}
	return strings.Join(out, " ")
}

// expect asks until the answer is as wanted.
func (r *running) expect(name, typ, subnet, want string) {
	r.t.Helper()
	gtmtest.Eventually(r.t, fmt.Sprintf("%s %s for %s is %s", name, typ, subnet, want), func() error {
		if got := r.ask(name, typ, subnet); got != want {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})
}

// always asks a few times and fails when an answer is not as wanted.
func (r *running) always(name, typ, subnet, want string) {
	r.t.Helper()
	for range 8 {
		if got := r.ask(name, typ, subnet); got != want {
			r.t.Errorf("%s %s for %s: %s, want %s", name, typ, subnet, got, want)
			return
		}
	}
}

// get fetches a page of the edge and decodes it.
func (r *running) get(path string, into any) int {
	r.t.Helper()
	w := httptest.NewRecorder()
	r.e.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		r.t.Errorf("%s: content type %q", path, got)
	}
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		r.t.Errorf("%s: %v in %s", path, err, w.Body)
	}
	return w.Code
}

func (r *running) fetchStatus() api.EdgeStatus {
	r.t.Helper()
	var s api.EdgeStatus
	if code := r.get("/edge/status", &s); code != http.StatusOK {
		r.t.Errorf("status says %d", code)
	}
	return s
}

// sourceIs waits until status tells of a state of the source.
func (r *running) sourceIs(state string) api.Source {
	r.t.Helper()
	var s api.Source
	gtmtest.Eventually(r.t, "the source is "+state, func() error {
		if s = r.fetchStatus().Source; s.State != state {
			return fmt.Errorf("it is %+v", s)
		}
		return nil
	})
	return s
}

// logged waits until the log holds all of these.
func (r *running) logged(parts ...string) {
	r.t.Helper()
	gtmtest.Eventually(r.t, "the log has its lines", func() error {
		text := r.log.String()
		for _, p := range parts {
			if !strings.Contains(text, p) {
				return fmt.Errorf("it lacks %q", p)
			}
		}
		return nil
	})
}

// value gives the sum of a metric over the series that have all of the labels ("key=value").
func (r *running) value(name string, labels ...string) float64 {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			have := map[string]bool{}
			for _, l := range m.GetLabel() {
				have[l.GetName()+"="+l.GetValue()] = true
			}
			if slices.ContainsFunc(labels, func(l string) bool { return !have[l] }) {
				continue
			}
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// valueIs waits until a metric has a value.
func (r *running) valueIs(want float64, name string, labels ...string) {
	r.t.Helper()
	gtmtest.Eventually(r.t, fmt.Sprintf("%s%v is %v", name, labels, want), func() error {
		if got := r.value(name, labels...); got != want {
			return fmt.Errorf("it is %v", got)
		}
		return nil
	})
}
