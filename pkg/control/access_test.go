package control

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gti/gtm/pkg/access"
	"github.com/gti/gtm/pkg/change"
	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/events"
	"github.com/gti/gtm/pkg/control/identity"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/store/tokens"
)

// tokenMemory is a store of tokens in memory.
type tokenMemory struct {
	mu    sync.Mutex
	all   map[tokens.Key]tokens.Token
	tell  func(tokens.Update)
	begun chan struct{}
}

func (m *tokenMemory) Create(_ context.Context, t tokens.Token, most int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for k := range m.all {
		if k.Tenant == t.Tenant {
			n++
		}
	}
	if _, there := m.all[t.Key()]; there {
		return tokens.ErrExists
	}
	if n >= most {
		return tokens.ErrFull
	}
	m.all[t.Key()] = t
	m.tell(tokens.Update{Put: []tokens.Token{t}})
	return nil
}

func (m *tokenMemory) Delete(_ context.Context, k tokens.Key) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, there := m.all[k]; !there {
		return tokens.ErrAbsent
	}
	delete(m.all, k)
	m.tell(tokens.Update{Deleted: []tokens.Key{k}})
	return nil
}

func (m *tokenMemory) Used(_ context.Context, t tokens.Token, at time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	t.Used = at
	m.all[t.Key()] = t
	m.tell(tokens.Update{Put: []tokens.Token{t}})
	return nil
}

func (m *tokenMemory) Follow(ctx context.Context, fn func(tokens.Update)) error {
	m.tell = fn
	fn(tokens.Update{Full: true})
	close(m.begun)
	<-ctx.Done()
	return ctx.Err()
}

// advance sets the clock forward, also of who runs beside the test.
func (w *world) advance(d time.Duration) {
	w.clock = w.clock.Add(d)
	w.ticks.Add(int64(d))
}

// newAccessWorld has the tenants shop and rival, who must not hear of each other, and service tokens.
func newAccessWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	m := &tokenMemory{all: map[tokens.Key]tokens.Token{}, begun: make(chan struct{})}
	all := identity.NewTokens(m, slog.New(slog.DiscardHandler), func() time.Time { return now.Add(time.Duration(w.ticks.Load())) })
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = all.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	<-m.begun
	w.book = identity.NewBook(identity.Config{Token: func() string { return testToken }, Mirror: w.store.Mirror, Tokens: all,
		Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return w.clock }})
	return w
}

// as sends a request with a token; empty, or behind cert: a name: with a client certificate.
func (w *world) as(t *testing.T, token, method, path string, body any) *httptest.ResponseRecorder {
	t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if strings.HasPrefix(path, eventStream) {
		ctx, cancel = context.WithTimeout(ctx, 20*time.Millisecond) // it stands
		defer cancel()
	}
	r := httptest.NewRequestWithContext(ctx, method, path, bytes.NewReader(encoded))
	if body == nil {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	if name, is := strings.CutPrefix(token, "cert:"); is || token == "" {
		leaf := &x509.Certificate{Subject: pkix.Name{CommonName: cmp.Or(name, "nobody")}}
		r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf}}}
	} else {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	r.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	w.Handler().ServeHTTP(rec, r)
	return rec
}

// token makes a service token.
func (w *world) token(t *testing.T, tenant, name, role string) string {
	t.Helper()
	var out api.NewToken
	w.ask(t, "POST", "/v1/tokens/"+tenant, api.TokenRequest{Name: name, Role: role}, &out)
	return out.Secret
}

// rivals adds a tenant of whom shop must not hear, in all that is told.
func (w *world) rivals(t *testing.T) {
	t.Helper()
	version := func(tenant string, kind spec.Kind, name string, s spec.Spec) state.Version {
		return state.Version{Resource: &spec.Resource{Key: spec.Key{Tenant: tenant, Kind: kind, Name: name}, Spec: s}, Generation: 7}
	}
	shop, _ := w.store.Tenant("shop").Resources.Get(spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "eu"})
	pool := *shop.Resource.Spec.(*spec.Pool)
	pool.Monitor = "rival-monitor"
	zone, _ := w.store.Tenant("platform").Resources.Get(spec.Key{Tenant: "platform", Kind: spec.KindZone, Name: "example."})
	z := *zone.Resource.Spec.(*spec.Zone)
	z.Grants = map[string][]string{"shop": {"example."}, "rival": {"rival.example.", "taken.example."}}
	hold := &spec.Override{Service: "rival-web", Hold: map[string]spec.Scores{"rival-pool": {"a": 1}}, Reason: "rival"}
	w.store.Apply(state.Update{Tenants: []state.TenantUpdate{
		{Tenant: "platform", Head: 7, Put: []state.Version{version("platform", spec.KindZone, "example.", &z),
			version("platform", spec.KindSite, "fra", &spec.Site{Region: "EU-DE"}),
			version("platform", spec.KindPolicy, "rival-policy", &spec.Policy{Grants: []string{"rival"}})}},
		{Tenant: "rival", Head: 7, ID: "rival-id", Put: []state.Version{
			version("rival", spec.KindMonitor, "rival-monitor", &spec.Monitor{Type: "http", Vantages: []string{"rival-vantage"}}),
			version("rival", spec.KindPool, "rival-pool", &pool),
			version("rival", spec.KindService, "rival-web", &spec.Service{Host: "taken.example.",
				Rules: []spec.Rule{{Pools: []spec.Target{{Pool: "rival-pool"}}}}}),
			version("rival", spec.KindOverride, "rival-hold", hold),
			version("rival", spec.KindAccess, "rival-access", &spec.Access{Role: "viewer", Subjects: []string{"user:rival"}})},
			Broken: []state.BrokenResource{{Key: spec.Key{Tenant: "rival", Kind: spec.KindPool, Name: "rival-broken"}, Generation: 7,
				Err: errors.New("rival")}}}},
		Values: state.Verdicts.Put(health.Verdict{Pool: health.PoolID{Tenant: "rival", Pool: "rival-pool"}, Judge: "p1",
			Endpoints: map[string]health.Finding{"a": {State: health.Down, Reason: "rival"}}})})
	log := w.keepsEvents(t)
	e := happens(9)
	e.Tenant, e.Pool = "rival", "rival-pool"
	log.Add(1, 0, happens(1), e)
	w.cfg.Events = Events{Log: log, Told: func() ([]api.EventTarget, bool) {
		return []api.EventTarget{{Tenant: "shop", Name: "chat"}, {Tenant: "rival", Name: "rival-chat"}}, true
	}}
	at, _, _ := edgeServer(t, api.EdgeStatus{ID: "e1", Tenants: map[string]uint64{"platform": 4, "shop": 41, "rival": 6},
		IDs: map[string]string{"rival": "rival-id"}, Broken: []api.Broken{{Resource: "rival/Pool/rival-pool", Error: "rival"}},
		Unknown: []api.Unknown{{Resource: "rival/Pool/rival-pool"}}, Local: []api.LocalOverride{{Tenant: "rival", Pool: "rival-pool"}},
		Aliases: []api.AliasState{{Host: "rival.example.net."}}, Health: &api.Health{Troubles: []string{"rival/rival-pool is late"}},
		Source: api.Source{State: "current", Error: "rival/rival-pool, and rival@7"}})
	w.store.edges = []store.Edge{{ID: "e1", HTTP: at, Alive: true, Tenants: map[string]state.Generation{"rival": 6}}}
	w.store.vantages = []store.Vantage{{ID: "fra", Alive: true, Pools: 7}}
	w.store.records = []state.Record{{Tenant: "shop", Generation: 41, Put: []spec.Key{{Tenant: "shop", Kind: "Pool", Name: "eu"}}},
		{Tenant: "rival", Generation: 7, Author: "rival", Put: []spec.Key{{Tenant: "rival", Kind: "Pool", Name: "rival-pool"}}},
		{Tenant: "platform", Generation: 7, Author: "platform-person", Message: "for rival/rival-web"}}
	for _, tenant := range []string{"shop", "rival"} {
		w.store.waiting = append(w.store.waiting, store.Pending{Tenant: tenant, ID: "e1", Author: "token:" + tenant + "/ci",
			Why:    []string{tenant + "/Service/web: moves (spec.approval of " + tenant + "/Guard/g)"},
			Delete: []spec.Key{{Tenant: tenant, Kind: spec.KindPool, Name: tenant}}})
	}
	w.store.states["shop@41"], w.store.states["shop@40"] = w.store.Tenant("shop"), w.store.Tenant("shop")
	w.gathers(t)
}

// least is the least role by which each operation can be called, in the tenant that it concerns; where that is the platform, it says so.
// It is written by hand, beside the code.
var least = map[string]string{
	"list-resources": "viewer", "get-resource": "viewer", "describe-resource": "viewer", "service-weights": "viewer", "history": "viewer",
	"get-change": "viewer", "status": "viewer", "explain": "viewer", "edges": "viewer", "events": "viewer", "event-stream": "viewer",
	"signals": "viewer", "list-vantages": "viewer", "apply": "viewer",
	"pending": "viewer", "get-state": "viewer", "get-diff": "viewer", "blame": "viewer", "approve": "operator",
	"weights": "operator", "drain": "operator", "undrain": "operator", "ramp": "operator", "shift": "operator", "hold": "operator",
	"health-release": "operator", "resume": "operator", "signal": "operator", "signal-pool": "operator", "signal-end": "operator",
	"push": "operator", "push-all": "operator", "push-none": "operator", "delete-resource": "operator",
	"rollback": "editor", "rollout": "editor", "accept-generation": "editor", "rollouts": "viewer", "demand": "viewer",
	"list-tokens": "admin", "create-token": "admin", "revoke-token": "admin",
	"list-signed-zones": "platform viewer", "get-signed-zone": "platform viewer",
	"roll-key": "platform operator", "ds-seen": "platform operator", "ds-gone": "platform operator",
	"forget-edge": "platform operator", "forget-vantage": "platform operator",
	"store-accept": "platform admin", "store-rebuild": "platform admin", "audit": "platform admin",
	"tenant-metrics": "viewer", "granted-zones": "viewer",
	"whoami": "", "login": "",
}

// sharing are the operations that tell everybody of the platform what that shares.
var sharing = []string{"pending", "list-resources", "get-resource", "describe-resource", "events", "event-stream", "signals"}

// bodies are what operations are sent, so that they come as far as they can.
var bodies = map[string]any{
	"weights": api.WeightsRequest{Weights: map[string]int{"a": 2}, DryRun: true}, "drain": api.DrainRequest{Endpoint: "a", Reason: "r",
		DryRun: true},
	"undrain": api.DrainRequest{Endpoint: "a", DryRun: true}, "ramp": api.RampRequest{Endpoint: "a", To: 1, Reason: "r", DryRun: true},
	"shift":    api.ShiftRequest{Rule: "1", Weights: map[string]int{"eu": 1}, Reason: "r", DryRun: true},
	"hold":     api.HoldRequest{Reason: "r", DryRun: true},
	"rollback": api.RollbackRequest{Generation: 40, DryRun: true}, "health-release": api.ReleaseRequest{Reason: "r"},
	"resume": api.ResumeRequest{Reason: "r"}, "signal": api.SignalRequest{SignalWord: api.SignalWord{State: "up"}},
	"signal-pool": api.SignalsRequest{Endpoints: map[string]api.SignalWord{"a": {State: "up"}}},
	"push":        api.PushRequest{Endpoints: []api.FoundEndpoint{}}, "push-all": api.PushesRequest{Lists: []api.PushList{{Pool: "eu",
		Source: "s"}}},
	"create-token": api.TokenRequest{Name: "other", Role: "viewer"}, "roll-key": api.RollRequest{},
	"apply":         api.ApplyRequest{DryRun: true, Delete: []spec.Key{{Tenant: "TENANT", Kind: spec.KindPool, Name: "eu"}}},
	"store-rebuild": api.RebuildRequest{DryRun: true}, "approve": api.ApproveRequest{DryRun: true},
}

// call is one operation of the API, with the tenant in its path, its query or its body.
type call struct {
	id, method, path string
	tenant           bool // it names one
}

// calls gives every operation that is registered.
func calls(s *Server) (all []call) {
	for path, item := range s.api.OpenAPI().Paths {
		for _, op := range operationsOf(item) {
			c := call{id: op.OperationID, method: op.Method, path: path}
			for name, value := range map[string]string{"{pool}": "eu", "{service}": "web", "{endpoint}": "a", "{source}": "s",
				"{kind}": "Pool", "{generation}": "41", "{to}": "40", "{zone}": "example.", "{id}": "e1",
				"{action}": "pause"} {
				c.path = strings.ReplaceAll(c.path, name, value)
			}
			switch op.OperationID {
			case "revoke-token":
				c.path = strings.ReplaceAll(c.path, "{name}", "nothing")
			default:
				c.path = strings.ReplaceAll(c.path, "{name}", "eu")
			}
			switch op.OperationID {
			case "list-resources", "events", "event-stream", "signals", "list-tokens", "pending":
				c.path += "?tenant={tenant}"
			case "explain":
				c.path += "?host=web.example"
			}
			c.tenant = strings.Contains(c.path, "{tenant}") || op.OperationID == "apply"
			all = append(all, c)
		}
	}
	slices.SortFunc(all, func(a, b call) int { return strings.Compare(a.id, b.id) })
	return all
}

func operationsOf(item *huma.PathItem) (all []*huma.Operation) {
	for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Delete, item.Patch, item.Head, item.Options, item.Trace} {
		if op != nil {
			all = append(all, op)
		}
	}
	return all
}

func (c *call) in(tenant string) (path string, body any) {
	body = bodies[c.id]
	if c.id == "apply" {
		in := body.(api.ApplyRequest)
		in.Delete = []spec.Key{{Tenant: tenant, Kind: spec.KindPool, Name: "eu"}}
		body = in
	}
	return strings.ReplaceAll(c.path, "{tenant}", tenant), body
}

// TestEveryOperationSaysWhoMayDoIt: one that is registered without a need would be refused to everybody; one that the hand-written table
// does not know has no test.
func TestEveryOperationSaysWhoMayDoIt(t *testing.T) {
	w := newWorld(t)
	known := maps.Clone(least)
	for _, item := range w.api.OpenAPI().Paths {
		for _, op := range operationsOf(item) {
			if n, ok := needOf(op); !ok || n.action == 0 || n.of == 0 {
				t.Errorf("%s says nothing of who may do it: give operation a need", op.OperationID)
			}
			if _, ok := least[op.OperationID]; !ok {
				t.Errorf("%s is not in this test's table", op.OperationID)
			}
			delete(known, op.OperationID)
		}
	}
	for id := range known {
		t.Errorf("there is no operation %s", id)
	}
}

// TestWhoMayDoWhat is the matrix: every role, every call, in one's own tenant, in the platform, in another one's, and in one that is
// not there.
func TestWhoMayDoWhat(t *testing.T) {
	w := newAccessWorld(t)
	w.rivals(t)
	order := append([]string{""}, spec.AccessRoles...)
	held := map[string]string{"nobody": ""} // a certificate that no Access names
	for _, role := range spec.AccessRoles {
		held["shop "+role] = w.token(t, "shop", role, role)
		held["platform "+role] = w.token(t, "platform", role, role)
	}
	all := calls(w.Server)
	if len(all) < 40 {
		t.Fatalf("only %d calls", len(all))
	}
	for who, token := range held {
		of, role, _ := strings.Cut(who, " ")
		for _, c := range all {
			t.Run(who+" "+c.id, func(t *testing.T) {
				want, platform := strings.CutPrefix(least[c.id], "platform ")
				own := of
				if !c.tenant {
					own = ""
				}
				path, body := c.in(own)
				rec := w.as(t, token, c.method, path, body)
				has := slices.Index(order, role)
				may := want == "" || has >= slices.Index(order, want) && (!platform || of == "platform")
				refused := rec.Code == http.StatusForbidden || rec.Code == http.StatusUnauthorized
				if may == refused && c.id != "login" {
					t.Errorf("%s %s: %d, may %v: %s", c.method, path, rec.Code, may, rec.Body)
				}
				told := rec.Body.String()
				if of == "platform" && own != "" { // whose zones, policies and history name tenants
					told = ""
				}
				if who != "platform admin" && strings.Contains(told, "rival") {
					t.Errorf("%s %s tells of another tenant: %s", c.method, path, rec.Body)
				}
				if !c.tenant || who == "platform admin" {
					return
				}
				if all, _, filters := strings.Cut(c.path, "?tenant="); filters && of == "shop" {
					if rec := w.as(t, token, c.method, all, nil); strings.Contains(rec.Body.String(), "rival") || rec.Code != 200 &&
						!strings.Contains(rec.Body.String(), "takes no signals") {
						t.Errorf("%s %s of all: %d %s", c.method, all, rec.Code, rec.Body)
					}
				}
				if of == "shop" {
					path, body := c.in(spec.Platform)
					rec, shares := w.as(t, token, c.method, path, body), slices.Contains(sharing, c.id)
					if told := rec.Body.String(); (rec.Code == http.StatusForbidden) == shares || strings.Contains(told, "rival") ||
						strings.Contains(told, `"Zone"`) || strings.Contains(told, "platform-person") {
						t.Errorf("%s %s: %d, shares %v: %s", c.method, path, rec.Code, shares, told)
					}
				}
				foreignPath, foreignBody := c.in("rival")
				nothingPath, nothingBody := c.in("nobody")
				foreign := w.as(t, token, c.method, foreignPath, foreignBody)
				nothing := w.as(t, token, c.method, nothingPath, nothingBody)
				if foreign.Code < 400 {
					t.Errorf("%s %s: %d %s", c.method, foreignPath, foreign.Code, foreign.Body)
				}
				if got, want := strings.ReplaceAll(foreign.Body.String(), "rival", "nobody"), nothing.Body.String(); got != want ||
					foreign.Code != nothing.Code {
					t.Errorf("%s %s can be told from what is not there: %d %s\n%d %s", c.method, foreignPath, foreign.Code, got,
						nothing.Code,
						want)
				}
			})
		}
	}
}

// TestARoleInEveryTenant is the matrix of those who have a role in all tenants: they may in each what the role may, and nothing in the
// platform, nor what is a matter of the platform.
func TestARoleInEveryTenant(t *testing.T) {
	w := newAccessWorld(t)
	w.rivals(t)
	for _, role := range spec.AccessRoles[:3] {
		w.ask(t, "POST", "/v1/apply", api.ApplyRequest{Resources: []api.Resource{{Kind: spec.KindAccess, Tenant: "platform", Name: role,
			Spec: json.RawMessage(`{"role":"` + role + `","subjects":["cert:CN=` + role + `"],"tenants":"all"}`)}}}, &api.ApplyReply{})
	}
	for has, role := range spec.AccessRoles[:3] {
		for _, c := range calls(w.Server) {
			want, platform := strings.CutPrefix(least[c.id], "platform ")
			may := want == "" || has >= slices.Index(spec.AccessRoles, want) && !platform
			for _, tenant := range []string{"shop", "rival"} {
				path, body := c.in(tenant)
				rec := w.as(t, "cert:"+role, c.method, path, body)
				if refused := rec.Code == http.StatusForbidden || rec.Code == http.StatusUnauthorized; may == refused && c.id != "login" {
					t.Errorf("a %s of all: %s %s: %d, may %v: %s", role, c.method, path, rec.Code, may, rec.Body)
				}
			}
			if !c.tenant {
				continue
			}
			path, body := c.in(spec.Platform)
			rec := w.as(t, "cert:"+role, c.method, path, body)
			if (rec.Code == http.StatusForbidden) == slices.Contains(sharing, c.id) ||
				strings.Contains(rec.Body.String(), "platform-person") {
				t.Errorf("a %s of all, in the platform: %s %s: %d %s", role, c.method, path, rec.Code, rec.Body)
			}
		}
	}
	var me api.Whoami
	if err := json.Unmarshal(w.as(t, "cert:viewer", "GET", "/v1/whoami", nil).Body.Bytes(), &me); err != nil || len(me.Roles) != 1 ||
		me.Roles["*"] != "viewer" {
		t.Errorf("%+v, %v", me, err)
	}
	for _, bad := range []string{`{"role":"admin","subjects":["user:a"],"tenants":"all"}`,
		`{"role":"viewer","subjects":["user:a"],"tenants":"x"}`} {
		rec := w.ask(t, "POST", "/v1/apply", api.ApplyRequest{Resources: []api.Resource{{Kind: spec.KindAccess, Tenant: "platform",
			Name: "bad", Spec: json.RawMessage(bad)}}}, nil)
		if rec.Code != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", bad, rec.Code, rec.Body)
		}
	}
	rec := w.ask(t, "POST", "/v1/apply", api.ApplyRequest{Resources: []api.Resource{{Kind: spec.KindAccess, Tenant: "shop", Name: "bad",
		Spec: json.RawMessage(`{"role":"viewer","subjects":["user:a"],"tenants":"all"}`)}}}, nil)
	if rec.Code != http.StatusUnprocessableEntity || !strings.Contains(rec.Body.String(), "goes with the tenant platform") {
		t.Errorf("a tenant gives roles in all: %d %s", rec.Code, rec.Body)
	}
}

// TestAnotherPersonApproves what somebody asked for, and nobody their own.
func TestAnotherPersonApproves(t *testing.T) {
	w := newAccessWorld(t)
	w.rivals(t)
	for _, name := range []string{"ci", "ann"} { // in this order: what the token of ci asked for is to be asked for anew where that is gone
		secret := w.token(t, "shop", name, "editor")
		rec := w.as(t, secret, "POST", "/v1/pending/shop/e1", api.ApproveRequest{})
		own := name == "ci"
		if own != (rec.Code == http.StatusForbidden) || own && !strings.Contains(rec.Body.String(), "another person must approve it") {
			t.Errorf("%s approves: %d %s", name, rec.Code, rec.Body)
		}
	}
}

// TestTokensTellWhetherTheirMakerHolds the role by which they were made.
func TestTokensTellWhetherTheirMakerHolds(t *testing.T) {
	w := newAccessWorld(t)
	w.ask(t, "POST", "/v1/apply", api.ApplyRequest{Resources: []api.Resource{{Kind: spec.KindAccess, Tenant: "shop", Name: "boss",
		Spec: json.RawMessage(`{"role":"admin","subjects":["cert:CN=boss"]}`)}}}, &api.ApplyReply{})
	boss := w.token(t, "shop", "boss", "admin")
	for who, name := range map[string]string{boss: "of-token", "cert:boss": "of-cert"} {
		if rec := w.as(t, who, "POST", "/v1/tokens/shop", api.TokenRequest{Name: name, Role: "viewer"}); rec.Code != http.StatusOK {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
	}
	makers := func() string {
		t.Helper()
		var out api.Tokens
		w.ask(t, "GET", "/v1/tokens?tenant=shop", nil, &out)
		words := []string{}
		for _, one := range out.Tokens {
			words = append(words, one.Name+":"+one.Maker)
		}
		return strings.Join(words, " ")
	}
	if got := makers(); got != "boss:holds of-cert:holds of-token:holds" {
		t.Errorf("at first: %s", got)
	}
	w.ask(t, "DELETE", "/v1/resources/shop/Access/boss", nil, &api.ApplyReply{})
	w.ask(t, "DELETE", "/v1/tokens/shop/boss", nil, &api.RevokedToken{})
	if got := makers(); got != "of-cert:lost of-token:lost" {
		t.Errorf("without their makers' roles: %s", got)
	}
	w.token(t, "shop", "boss", "editor")
	if got := makers(); got != "boss:holds of-cert:lost of-token:lost" {
		t.Errorf("a maker of that name is no admin: %s", got)
	}
	w.ask(t, "DELETE", "/v1/tokens/shop/boss", nil, &api.RevokedToken{})
	w.ask(t, "POST", "/v1/tokens/shop", api.TokenRequest{Name: "boss", Role: "admin", For: "1d"}, &api.NewToken{})
	if got := makers(); got != "boss:holds of-cert:lost of-token:holds" {
		t.Errorf("a maker of that name is admin: %s", got)
	}
	w.advance(25 * time.Hour)
	if got := makers(); got != "boss:holds of-cert:lost of-token:lost" {
		t.Errorf("the maker's token has expired: %s", got)
	}
}

// TestATenantsMetricsAreItsOwn, with its quota and whom nothing serves.
func TestATenantsMetricsAreItsOwn(t *testing.T) {
	w := newAccessWorld(t)
	w.rivals(t)
	token := w.token(t, "shop", "prometheus", "viewer")
	ask := func() string { return w.as(t, token, "GET", "/v1/tenants/shop/metrics", nil).Body.String() }
	page := ask()
	for _, want := range []string{`gtm_tenant_generation{tenant="shop"} 41`, `gtm_tenant_pool_up{pool="eu",tenant="shop"}`,
		`gtm_tenant_service_up{service="web",tenant="shop"}`, `gtm_tenant_quota_limit{field="services",tenant="shop"} 20000`,
		`gtm_tenant_quota_used{field="services",tenant="shop"} 1`, `gtm_tenant_endpoints{pool="eu",state=`,
		`gtm_tenant_cut{tenant="shop"} 0`} {
		if !strings.Contains(page, want) {
			t.Errorf("it lacks %s:\n%s", want, page)
		}
	}
	eu, _ := w.store.Tenant("shop").Resources.Get(spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "eu"})
	pool := *eu.Resource.Spec.(*spec.Pool)
	pool.Monitor = "m"
	w.store.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 42, Put: []state.Version{{Generation: 42,
		Resource: eu.Resource.With(&pool)}}}}})
	verdict := func(s health.State) {
		v := health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: "eu"}, Judge: "fra", Endpoints: map[string]health.Finding{}}
		for _, e := range pool.Endpoints {
			v.Endpoints[e.Name] = health.Finding{State: s, Score: 1}
		}
		w.store.Apply(state.Update{Values: state.Verdicts.Put(v)})
	}
	for s, up := range map[health.State]string{health.Up: "1", health.Down: "0"} {
		verdict(s)
		var status api.Status
		w.ask(t, "GET", "/v1/status", nil, &status)
		unserved := slices.Contains(status.Unserved, spec.Key{Tenant: "shop", Kind: spec.KindService, Name: "web"})
		if page := ask(); !strings.Contains(page, `gtm_tenant_pool_up{pool="eu",tenant="shop"} `+up) ||
			!strings.Contains(page, `gtm_tenant_service_up{service="web",tenant="shop"} `+up) || unserved != (s == health.Down) {
			t.Errorf("endpoints are %s, and web unserved %v:\n%s", s, unserved, page)
		}
	}
	if strings.Contains(page, "rival") || strings.Contains(page, "process_") || strings.Contains(page, `quota_used{field="requests"`) {
		t.Errorf("it tells of others:\n%s", page)
	}
}

// TestWhatIsShared: sites and maps of the platform are for everybody, its zones and what stands beside them in history are not.
func TestWhatIsShared(t *testing.T) {
	w := newAccessWorld(t)
	w.rivals(t)
	viewer := w.token(t, "shop", "viewer", "viewer")
	list := w.as(t, viewer, "GET", "/v1/resources", nil).Body.String()
	for _, want := range []string{`"name":"fra"`, `"name":"web"`} {
		if !strings.Contains(list, want) {
			t.Errorf("the list lacks %s: %s", want, list)
		}
	}
	for _, foreign := range []string{"rival", `"Zone"`, `"platform":`} {
		if strings.Contains(list, foreign) {
			t.Errorf("the list has %s: %s", foreign, list)
		}
	}
	if rec := w.as(t, viewer, "GET", "/v1/vantages", nil); !strings.Contains(rec.Body.String(), `"fra"`) ||
		strings.Contains(rec.Body.String(), `"pools":7`) {
		t.Errorf("vantages, and how much all have: %s", rec.Body)
	}
	w.store.Apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "platform", Head: 8, Put: []state.Version{{Generation: 8,
		Resource: &spec.Resource{Key: spec.Key{Tenant: "platform", Kind: spec.KindZone, Name: "rival.test."},
			Spec: &spec.Zone{Grants: map[string][]string{"rival": {"rival.test."}}}}}}}}})
	zones := w.as(t, viewer, "GET", "/v1/tenants/shop/zones", nil).Body.String()
	if !strings.Contains(zones, `{"zone":"example.","names":["example."]}`) || strings.Contains(zones, "rival") {
		t.Errorf("the zones in which names are granted: %s", zones)
	}
	for path, code := range map[string]int{"Site/fra": 200, "Zone/example.": 404, "Policy/rival-policy": 404, "Tenant/platform": 404} {
		for _, end := range []string{"", "/describe"} {
			rec := w.as(t, viewer, "GET", "/v1/resources/platform/"+path+end, nil)
			if rec.Code != code || strings.Contains(strings.ReplaceAll(rec.Body.String(), "rival-policy", ""), "rival") ||
				strings.Contains(rec.Body.String(), "platform-person") {
				t.Errorf("%s%s: %d %s", path, end, rec.Code, rec.Body)
			}
		}
	}
}

// TestErrorsNameNobodyElse: what a change meets of others is told without their names.
func TestErrorsNameNobodyElse(t *testing.T) {
	w := newAccessWorld(t)
	w.rivals(t)
	editor := w.token(t, "shop", "editor", "editor")
	service := func(host string) json.RawMessage {
		return json.RawMessage(`{"host":"` + host + `","rules":[{"pools":["eu"]}]}`)
	}
	rec := w.as(t, editor, "POST", "/v1/apply", api.ApplyRequest{Resources: []api.Resource{
		{Kind: spec.KindService, Tenant: "shop", Name: "b", Spec: service("taken.example")}}})
	if p := problem(t, rec, http.StatusUnprocessableEntity); !strings.Contains(fmt.Sprint(p.Errors), others) ||
		strings.Contains(rec.Body.String(), "rival") {
		t.Errorf("a host that is taken: %s", rec.Body)
	}
	for _, expect := range []string{"rival", "nobody"} {
		rec := w.as(t, editor, "POST", "/v1/apply", api.ApplyRequest{Delete: []spec.Key{{Tenant: "shop", Kind: spec.KindOverride,
			Name: "old"}},
			Expect: map[string]uint64{expect: 6}})
		if p := problem(t, rec, http.StatusForbidden); strings.Contains(fmt.Sprint(p), "7") {
			t.Errorf("%s: %s", expect, rec.Body)
		}
	}
	v := &view{hidden: map[string]bool{"rival": true}}
	for text, want := range map[string]string{
		"rival/web and rival/Service/web are rival@7": others + " and " + others + " are " + others,
		"shop/rival rivals/web xrival/a":              "shop/rival rivals/web xrival/a",
		"(rival/a); ärival/b":                         "(" + others + "); ä" + others,
	} {
		if got := v.text(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

// TestNobodyGivesMoreThanHeHas: an editor changes no Access, neither by apply, nor by delete, nor by going back.
func TestNobodyGivesMoreThanHeHas(t *testing.T) {
	w := newAccessWorld(t)
	access := func(subject string) api.Resource {
		return api.Resource{Kind: spec.KindAccess, Tenant: "shop", Name: "team",
			Spec: json.RawMessage(`{"role":"admin","subjects":["` + subject + `"]}`)}
	}
	var done api.ApplyReply
	w.ask(t, "POST", "/v1/apply", api.ApplyRequest{Resources: []api.Resource{access("user:alice")}}, &done)
	made := done.Heads["shop"]
	w.ask(t, "POST", "/v1/apply", api.ApplyRequest{Resources: []api.Resource{access("user:bob")}}, &done)
	editor, admin := w.token(t, "shop", "editor", "editor"), w.token(t, "shop", "admin", "admin")
	pool := api.Resource{Kind: spec.KindPool, Tenant: "shop", Name: "new",
		Spec: json.RawMessage(`{"site":"fra","endpoints":[{"name":"a","addresses":["192.0.2.9"]}]}`)}
	for _, c := range []struct {
		what, method, path string
		body               any
		code               int
	}{
		{"writes one", "POST", "/v1/apply", api.ApplyRequest{Resources: []api.Resource{pool, access("user:mallory")}}, 403},
		{"deletes one", "POST", "/v1/apply", api.ApplyRequest{Delete: []spec.Key{{Tenant: "shop", Kind: spec.KindAccess, Name: "team"}}},
			403},
		{"deletes one by its path", "DELETE", "/v1/resources/shop/Access/team", nil, 403},
		{"sees what it would be", "POST", "/v1/apply", api.ApplyRequest{DryRun: true, Resources: []api.Resource{access("user:mallory")}},
			200},
		{"applies a folder in which it is as it is", "POST", "/v1/apply", api.ApplyRequest{Resources: []api.Resource{pool,
			access("user:bob")}}, 200},
		{"makes a token", "POST", "/v1/tokens/shop", api.TokenRequest{Name: "more", Role: "viewer"}, 403},
		{"makes a site", "POST", "/v1/apply", api.ApplyRequest{Resources: []api.Resource{{Kind: spec.KindSite, Tenant: "platform",
			Name: "x", Spec: json.RawMessage(`{}`)}}}, 403},
	} {
		if rec := w.as(t, editor, c.method, c.path, c.body); rec.Code != c.code {
			t.Errorf("an editor %s: %d %s", c.what, rec.Code, rec.Body)
		}
	}
	for _, to := range []uint64{made, made - 1} { // when it was alice's, and when there was none
		rec := w.as(t, editor, "POST", "/v1/rollback/shop", api.RollbackRequest{Generation: to})
		if rec.Code != http.StatusOK {
			t.Fatalf("an editor goes back: %d %s", rec.Code, rec.Body)
		}
		v, ok := w.store.Tenant("shop").Resources.Get(spec.Key{Tenant: "shop", Kind: spec.KindAccess, Name: "team"})
		if !ok || v.Resource.Spec.(*spec.Access).Subjects[0] != "user:bob" {
			t.Errorf("going back to %d: %v", to, v.Resource)
		}
	}
	if rec := w.as(t, admin, "POST", "/v1/apply", api.ApplyRequest{Resources: []api.Resource{access("user:carol")}}); rec.Code != 200 {
		t.Errorf("an admin: %d %s", rec.Code, rec.Body)
	}
	if a := w.store.records[0].Author; a != "token:shop/admin" {
		t.Errorf("the author is %s", a)
	}
}

// TestAccessGivesRoles: an Access names a token of another tenant, which then sees that tenant, until the Access goes.
func TestAccessGivesRoles(t *testing.T) {
	w := newAccessWorld(t)
	w.rivals(t)
	token := w.token(t, "rival", "ci", "editor")
	see := func() int { return w.as(t, token, "GET", "/v1/resources/shop/Pool/eu", nil).Code }
	if code := see(); code != http.StatusNotFound {
		t.Errorf("before: %d", code)
	}
	w.ask(t, "POST", "/v1/apply", api.ApplyRequest{Resources: []api.Resource{{Kind: spec.KindAccess, Tenant: "shop", Name: "guest",
		Spec: json.RawMessage(`{"role":"viewer","subjects":["token:rival/ci"]}`)}}}, &api.ApplyReply{})
	if code := see(); code != http.StatusOK {
		t.Errorf("with an Access: %d", code)
	}
	if rec := w.as(t, token, "POST", "/v1/pools/shop/eu/drain", bodies["drain"]); rec.Code != http.StatusForbidden {
		t.Errorf("a viewer drains: %d %s", rec.Code, rec.Body)
	}
	w.ask(t, "DELETE", "/v1/resources/shop/Access/guest", nil, &api.ApplyReply{})
	if code := see(); code != http.StatusNotFound {
		t.Errorf("after: %d", code)
	}
}

// TestServiceTokens: a token is shown once, holds until it expires or is revoked, and is known by a hash alone.
func TestServiceTokens(t *testing.T) {
	w := newAccessWorld(t)
	secret := w.token(t, "shop", "ci", "viewer")
	status := func() int { return w.as(t, secret, "GET", "/v1/whoami", nil).Code }
	if code := status(); code != 200 {
		t.Fatalf("%d", code)
	}
	rec := w.ask(t, "GET", "/v1/tokens", nil, nil)
	if strings.Contains(rec.Body.String(), secret) || !strings.Contains(rec.Body.String(), `"name":"ci"`) {
		t.Errorf("the list: %s", rec.Body)
	}
	for _, wrong := range []string{secret[:len(secret)-1], secret + "x", strings.Replace(secret, "gtm_", "GTM_", 1), "gtm__", "gtm_"} {
		if rec := w.as(t, wrong, "GET", "/v1/whoami", nil); rec.Code != http.StatusUnauthorized {
			t.Errorf("%s: %d", wrong, rec.Code)
		}
	}
	if rec := w.ask(t, "POST", "/v1/tokens/shop", api.TokenRequest{Name: "ci", Role: "viewer"}, nil); rec.Code != http.StatusConflict {
		t.Errorf("twice: %d %s", rec.Code, rec.Body)
	}
	for _, in := range []api.TokenRequest{{Name: "A b", Role: "viewer"}, {Name: "a", Role: "king"}, {Name: "a", Role: "viewer", For: "x"},
		{Name: "a", Role: "viewer", For: "1d", Forever: true}, {Name: "a", Role: "viewer", For: "4000d"}} {
		if rec := w.ask(t, "POST", "/v1/tokens/shop", in, nil); rec.Code != http.StatusUnprocessableEntity {
			t.Errorf("%+v: %d %s", in, rec.Code, rec.Body)
		}
	}
	w.advance(tokenTime - time.Second)
	if code := status(); code != 200 {
		t.Errorf("before its end: %d", code)
	}
	w.advance(time.Second)
	if rec := w.as(t, secret, "GET", "/v1/whoami", nil); rec.Code != 401 || !strings.Contains(rec.Body.String(), "expired") {
		t.Errorf("after its end: %d %s", rec.Code, rec.Body)
	}
	second := w.token(t, "shop", "second", "viewer")
	w.ask(t, "DELETE", "/v1/tokens/shop/second", nil, &api.RevokedToken{})
	if rec := w.as(t, second, "GET", "/v1/whoami", nil); rec.Code != 401 {
		t.Errorf("revoked: %d", rec.Code)
	}
	if rec := w.ask(t, "DELETE", "/v1/tokens/shop/cj", nil, nil); rec.Code != 404 || !strings.Contains(rec.Body.String(),
		"did you mean ci?") {
		t.Errorf("one that is not there: %d %s", rec.Code, rec.Body)
	}
	for i := range identity.MostTokens - 1 {
		w.token(t, "shop", fmt.Sprint("n", i), "viewer")
	}
	if rec := w.ask(t, "POST", "/v1/tokens/shop", api.TokenRequest{Name: "more", Role: "viewer"}, nil); rec.Code != http.StatusConflict ||
		!strings.Contains(rec.Body.String(), "as many as a tenant may have") {
		t.Errorf("too many: %d %s", rec.Code, rec.Body)
	}
}

// TestAStreamEndsWithItsToken: who is revoked hears nothing more, also on a stream that stands; and what an Access
// gives comes and goes with that.
func TestAStreamEndsWithItsToken(t *testing.T) {
	w := newAccessWorld(t)
	log := w.keepsEvents(t)
	secret := w.token(t, "shop", "ci", "viewer")
	who, err := w.book.Of(&http.Request{Header: http.Header{"Authorization": {"Bearer " + secret}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.WithValue(t.Context(), callerKey{}, &caller{who: *who, grants: w.book.Grants(who)})
	sent := make(chan string, 10)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.stream(ctx, events.Filter{Sees: grantsOf(ctx).Sees}, log.Newest(""), func(text string) bool { sent <- text; return true })
	}()
	<-sent
	foreign := happens(2)
	foreign.Tenant = "rival"
	log.Add(1, 0, foreign, happens(1))
	if text := <-sent; !strings.Contains(text, `"shop"`) || strings.Contains(text, "rival") {
		t.Errorf("heard %s", text)
	}
	guest := func(role string) {
		w.ask(t, "POST", "/v1/apply", api.ApplyRequest{Resources: []api.Resource{{Kind: spec.KindAccess, Tenant: "platform", Name: "guest",
			Spec: json.RawMessage(`{"role":"viewer","subjects":["token:shop/` + role + `"]}`)}}}, &api.ApplyReply{})
	}
	of := func(id int, tenant string) api.Event {
		e := happens(id)
		e.Tenant = tenant
		return e
	}
	guest("ci")
	log.Add(1, 0, of(4, "platform"))
	if text := <-sent; !strings.Contains(text, `"platform"`) {
		t.Errorf("with an Access: %s", text)
	}
	guest("other")
	log.Add(1, 0, of(5, "platform"), happens(6))
	if text := <-sent; strings.Contains(text, `"platform"`) {
		t.Errorf("without it: %s", text)
	}
	w.ask(t, "DELETE", "/v1/tokens/shop/ci", nil, &api.RevokedToken{})
	log.Add(1, 0, happens(3))
	<-ended
	if len(sent) > 0 {
		t.Errorf("heard %s", <-sent)
	}
}

// TestAStreamOfOneWhoSawAllNarrows: an admin of the platform who is none any more hears of no tenant from then on.
func TestAStreamOfOneWhoSawAllNarrows(t *testing.T) {
	w := newAccessWorld(t)
	log := w.keepsEvents(t)
	secret := w.token(t, "shop", "ci", "viewer")
	admins := func(name string) {
		w.ask(t, "POST", "/v1/apply", api.ApplyRequest{Resources: []api.Resource{{Kind: spec.KindAccess, Tenant: "platform", Name: "admins",
			Spec: json.RawMessage(`{"role":"admin","subjects":["token:shop/` + name + `"]}`)}}}, &api.ApplyReply{})
	}
	admins("ci")
	who, err := w.book.Of(&http.Request{Header: http.Header{"Authorization": {"Bearer " + secret}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), callerKey{}, &caller{who: *who, grants: w.book.Grants(who)}))
	f, err := w.eventFilter(ctx, "", "", "")
	if err != nil {
		t.Fatal(err)
	}
	sent, ended := make(chan string, 10), make(chan struct{})
	go func() {
		defer close(ended)
		w.stream(ctx, f, log.Newest(""), func(text string) bool { sent <- text; return true })
	}()
	defer func() { cancel(); <-ended }()
	<-sent
	of := func(id int, tenant string) api.Event {
		e := happens(id)
		e.Tenant = tenant
		return e
	}
	log.Add(1, 0, of(1, "platform"))
	if text := <-sent; !strings.Contains(text, `"platform"`) {
		t.Errorf("an admin hears %s", text)
	}
	admins("other")
	log.Add(1, 0, of(2, "platform"), of(3, "shop"))
	if text := <-sent; strings.Contains(text, `"platform"`) || !strings.Contains(text, `"shop"`) {
		t.Errorf("who is none any more hears %s", text)
	}
}

// TestExplanationsOfOthers: a tenant is told of its own services alone, and of a host of another one what it is told of no host at all.
func TestExplanationsOfOthers(t *testing.T) {
	w := newAccessWorld(t)
	w.rivals(t)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /edge/explain", func(rw http.ResponseWriter, r *http.Request) {
		switch host := r.URL.Query().Get("host"); {
		case r.URL.Query().Get("type") == "X":
			rw.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(rw, `{"edge": "e1", "error": "X is no type"}`)
		case host == "web.example":
			fmt.Fprint(rw, `{"edge": "e1", "service": "shop/web", "notes": ["held, as rival/rival-pool is"], "text": ["rival@7"]}`)
		case host == "taken.example":
			fmt.Fprint(rw, `{"edge": "e1", "service": "rival/rival-web"}`)
		default:
			rw.WriteHeader(http.StatusNotFound)
			fmt.Fprint(rw, `{"edge": "e1", "error": "no steered name here; did you mean taken.example., of rival/rival-web?"}`)
		}
	})
	web := httptest.NewServer(mux)
	defer web.Close()
	w.store.edges = []store.Edge{{ID: "e1", HTTP: strings.TrimPrefix(web.URL, "http://"), Alive: true}}
	viewer := w.token(t, "shop", "viewer", "viewer")
	ask := func(query string) (int, string) {
		rec := w.as(t, viewer, "GET", "/v1/explain?host="+query, nil)
		return rec.Code, rec.Body.String()
	}
	if code, text := ask("web.example"); code != 200 || !strings.Contains(text, "shop/web") || strings.Contains(text, "rival") {
		t.Errorf("its own: %d %s", code, text)
	}
	if code, text := ask("web.example&type=X"); code != 400 || !strings.Contains(text, "X is no type") {
		t.Errorf("what is wrong with a question of its own: %d %s", code, text)
	}
	for _, more := range []string{"", "&type=X", "&edge=nowhere"} {
		code, foreign := ask("taken.example" + more)
		_, nothing := ask("none1.example" + more)
		if code != 404 || strings.ReplaceAll(foreign, "taken", "none1") != nothing || strings.Contains(foreign, "rival") {
			t.Errorf("%s: %d %s\n%s", more, code, foreign, nothing)
		}
	}
	var x api.Explanation
	if w.ask(t, "GET", "/v1/explain?host=taken.example", nil, &x); x.Service != "rival/rival-web" {
		t.Errorf("the platform's admin: %+v", x)
	}
}

// TestWhatIsAsItIsIsNotSetBack: an editor's folder holds the Access of a moment ago; should an admin change that before the folder is
// made, it stays changed.
func TestWhatIsAsItIsIsNotSetBack(t *testing.T) {
	editor := &caller{who: identity.Who{Name: "user:e"}, grants: map[string]access.Action{"shop": access.Edit}}
	in := change.Input{Put: []*spec.Resource{
		{Key: spec.Key{Tenant: "shop", Kind: spec.KindAccess, Name: "team"}, Spec: &spec.Access{}},
		{Key: spec.Key{Tenant: "shop", Kind: spec.KindPool, Name: "eu"}, Spec: &spec.Pool{}}}}
	ctx := context.WithValue(t.Context(), callerKey{}, editor)
	if whole := in.Put; !narrow(ctx, &in) || len(in.Put) != 1 || in.Put[0].Kind != spec.KindPool || whole[0].Kind != spec.KindAccess {
		t.Errorf("left are %v of %v", in.Put, whole)
	}
	if narrow(ctx, &in) {
		t.Error("nothing more was to be left out")
	}
}

// TestATokenIsNoSecondPerson: who made a token may hold it, and cannot approve with it what they asked for.
func TestATokenIsNoSecondPerson(t *testing.T) {
	w := newAccessWorld(t)
	w.token(t, "shop", "alice", "admin")
	create := func(secret, name string) string {
		t.Helper()
		var out api.NewToken
		rec := w.as(t, secret, "POST", "/v1/tokens/shop", api.TokenRequest{Name: name, Role: "admin"})
		if err := json.Unmarshal(rec.Body.Bytes(), &out); err != nil || out.Secret == "" {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
		return out.Secret
	}
	bob := w.token(t, "shop", "bob", "admin")
	create(create(bob, "ci"), "deploy")
	for _, c := range []struct {
		author, approver string
		same             bool
	}{
		{"token:shop/bob", "token:shop/alice", false}, {"token:shop/bob", identity.AdminToken, false},
		{"user:carol", "token:shop/ci", false}, {"token:shop/alice", "token:shop/deploy", false},
		{"token:shop/bob", "token:shop/bob", true}, {"token:shop/bob", "token:shop/ci", true},
		{"token:shop/bob", "token:shop/deploy", true},
		{"token:shop/ci", "token:shop/bob", true}, {"token:shop/gone", "token:shop/alice", true},
		{"user:carol", "user:carol", true}, {"user:carol", "", true}, {"user:carol", "user:dan", false},
	} {
		if got := w.maySamePerson(c.author, c.approver); got != c.same {
			t.Errorf("%s approves what %s asked for: %v", c.approver, c.author, !got)
		}
	}
}
