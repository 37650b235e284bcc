package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/events"
	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/gtmtest/etcds"
	"github.com/gti/gtm/pkg/store"
	"github.com/gti/gtm/pkg/store/state"
)

func TestMain(m *testing.M) {
	etcds.Main()
	os.Exit(m.Run())
}

// within is how long a test waits for what must come about.
const within = 30 * time.Second

// world is a store with tenants, of which controls tell events.
type world struct {
	t       *testing.T
	at      string // of etcd
	prefix  string
	secrets string
	mirror  *state.Mirror
	heads   map[string]state.Generation
	rev     int64

	mu       sync.Mutex
	problems []api.Event
	n        int
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, at: etcds.Start(t), prefix: "/gtm/", secrets: t.TempDir(), mirror: state.NewMirror(), rev: 100,
		heads: map[string]state.Generation{}}
	w.secret("shop/key", "whsec_"+base64.StdEncoding.EncodeToString([]byte("a key of sixteen bytes, or more")))
	return w
}

func (w *world) secret(name, text string) {
	w.t.Helper()
	name = filepath.Join(w.secrets, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// declare gives a tenant targets, in YAML.
func (w *world) declare(tenant string, targets ...string) {
	w.heads[tenant]++
	w.rev++
	u := state.TenantUpdate{Tenant: tenant, Head: w.heads[tenant]}
	const form = "kind: Tenant\ntenant: %[1]s\nname: %[1]s\nspec: {events: {targets: [%[2]s]}}\n"
	text := fmt.Sprintf(form, tenant, strings.Join(targets, ", "))
	for _, r := range declared.Resources(w.t, text) {
		u.Put = append(u.Put, state.Version{Resource: r, Generation: u.Head})
	}
	w.mirror.Apply(state.Update{Cursor: w.rev, Tenants: []state.TenantUpdate{u}})
}

// control is one that tells, with a log of its own.
type control struct {
	*Teller
	w    *world
	log  *events.Log
	logs *bytes.Buffer
	stop func()
}

func (w *world) control(id string, with func(*Config)) *control {
	w.t.Helper()
	client, err := store.Open(w.t.Context(), store.Config{Endpoints: []string{w.at}, Prefix: w.prefix})
	if err != nil {
		w.t.Fatal(err)
	}
	c := &control{w: w, log: events.Open(events.Config{Most: 1000}), logs: &bytes.Buffer{}}
	cfg := Config{ID: id, Store: client, Mirror: w.mirror, Log: c.log, Secrets: w.secrets,
		Logger:   slog.New(slog.NewTextHandler(c.logs, nil)),
		Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Problems: w.wrong,
		Pace: Pace{First: 5 * time.Millisecond, Most: 20 * time.Millisecond, Repeat: 20 * time.Millisecond}}
	if with != nil {
		with(&cfg)
	}
	c.log = cfg.Log
	if c.Teller, err = New(cfg); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx) }()
	c.stop = sync.OnceFunc(func() { cancel(); <-done; client.Close() })
	w.t.Cleanup(c.stop)
	return c
}

func (w *world) wrong(tenant string) []api.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.problems)
}

// happen lets pools of a tenant go down, and gives the events' IDs.
func (c *control) happen(tenant string, pools ...string) (ids []string) {
	var list []api.Event
	c.w.mu.Lock()
	c.w.rev++
	rev := c.w.rev
	for _, pool := range pools {
		c.w.n++
		list = append(list, api.Event{ID: fmt.Sprint("e", c.w.n), Time: time.Now(), Kind: api.EventPool, Tenant: tenant, Pool: pool,
			From: "up", To: "down", Reason: "0 of 2 endpoints healthy"})
		ids = append(ids, list[len(list)-1].ID)
	}
	c.w.mu.Unlock()
	c.log.Add(rev, 0, list...)
	return ids
}

// hook is an HTTP server that takes messages.
type hook struct {
	*httptest.Server
	t    *testing.T
	come chan post
	mu   sync.Mutex
	says func(n int) int // the status of the n-th post; nil: 200
	n    int
}

type post struct {
	path   string
	header http.Header
	body   []byte
}

func newHook(t *testing.T, says func(n int) int) *hook {
	h := &hook{t: t, come: make(chan post, 1000), says: says}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		h.n++
		status := 200
		if h.says != nil {
			status = h.says(h.n)
		}
		h.mu.Unlock()
		if status >= 300 && status < 400 {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
		if status == 200 {
			h.come <- post{r.URL.Path, r.Header, body}
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) next() post {
	h.t.Helper()
	select {
	case p := <-h.come:
		return p
	case <-time.After(within):
		h.t.Fatal("no message came")
		return post{}
	}
}

// told gives the IDs of the next so many events, and the message of the last.
func (h *hook) told(n int) (ids []string, last body) {
	h.t.Helper()
	for len(ids) < n {
		last = body{}
		if err := json.Unmarshal(h.next().body, &last); err != nil {
			h.t.Fatal(err)
		}
		for i := range last.Events {
			ids = append(ids, last.Events[i].ID)
		}
	}
	return ids, last
}

func (w *world) until(what string, is func() bool) {
	w.t.Helper()
	for end := time.Now().Add(within); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("not within %s: %s", within, what)
		}
	}
}

func (c *control) target(tenant, name string) (found api.EventTarget) {
	list, _ := c.Status()
	for _, one := range list {
		if one.Tenant == tenant && one.Name == name {
			found = one
		}
	}
	return found
}

// tells waits until so many targets are told.
func (c *control) tells(n int) {
	c.w.t.Helper()
	c.w.until("the targets are told", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.targets) == n
	})
}

// TestAWebhookIsToldAndSigned, with headers that are secrets; of its tenant's events, those that it asks for.
func TestAWebhookIsToldAndSigned(t *testing.T) {
	w := newWorld(t)
	w.secret("shop/auth", "Bearer HUSH")
	h, all := newHook(t, nil), newHook(t, nil)
	w.secret("platform/url", all.URL+"/all")
	w.declare("shop", "{name: chat, url: '"+h.URL+"/x?y=z', headers: {Authorization: {file: auth}, X-From: gtm}, sign: key, pools: [eu]}")
	w.declare("platform", "{name: ops, url: {file: url}}")
	c := w.control("a", nil)
	c.tells(2)
	first := c.happen("shop", "eu", "us")
	other := c.happen("other", "eu")
	p := h.next()
	var got body
	if err := json.Unmarshal(p.body, &got); err != nil || got.Version != 1 || got.Tenant != "shop" || got.Target != "chat" ||
		len(got.Events) != 1 || got.Events[0].ID != first[0] || got.Events[0].Reason == "" {
		t.Errorf("%v: %s", err, p.body)
	}
	mac := hmac.New(sha256.New, []byte("a key of sixteen bytes, or more"))
	fmt.Fprintf(mac, "%s.%s.%s", p.header.Get("webhook-id"), p.header.Get("webhook-timestamp"), p.body)
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); p.header.Get("webhook-signature") != want {
		t.Errorf("signed %q, want %q", p.header.Get("webhook-signature"), want)
	}
	if p.path != "/x" || p.header.Get("Authorization") != "Bearer HUSH" || p.header.Get("X-From") != "gtm" ||
		p.header.Get("Content-Type") != "application/json" || p.header.Get("webhook-id") == "" {
		t.Errorf("%s %v", p.path, p.header)
	}
	if ids, _ := all.told(3); !slices.Equal(ids, append(first, other...)) {
		t.Errorf("the platform hears %v", ids)
	}
	w.until("that is counted", func() bool { return c.target("shop", "chat").Sent == 1 && c.target("platform", "ops").Sent == 3 })
}

// TestWhatFailsIsTriedAgain, in order, and each comes once; what is not wanted however often is dropped, and what follows comes.
func TestWhatFailsIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	h := newHook(t, func(n int) int {
		switch {
		case n <= 3:
			return 503
		case n >= 5 && n < 5+refusals:
			return 422
		}
		return 200
	})
	w.declare("shop", "{name: chat, url: '"+h.URL+"'}")
	c := w.control("a", nil)
	c.tells(1)
	first := c.happen("shop", "eu")
	if ids, _ := h.told(1); !slices.Equal(ids, first) {
		t.Errorf("first %v", ids)
	}
	c.happen("shop", "eu")
	w.until("it is dropped", func() bool { return c.target("shop", "chat").Dropped == 1 })
	third := c.happen("shop", "eu")
	if ids, _ := h.told(1); !slices.Equal(ids, third) {
		t.Errorf("then %v", ids)
	}
	w.until("all is well", func() bool { s := c.target("shop", "chat"); return s.Error == "" && s.Sent == 2 })
	if !strings.Contains(c.logs.String(), "were not taken, and are dropped") {
		t.Error("the log does not say so")
	}
}

// TestATargetThatHangsIsItsOwnTrouble: others of its tenant and of other tenants hear all the same, and what the log drops meanwhile is
// told when it comes back.
func TestATargetThatHangsIsItsOwnTrouble(t *testing.T) {
	w := newWorld(t)
	hangs, release := newHook(t, nil), make(chan struct{})
	var once sync.Once
	let := func() { once.Do(func() { close(release) }) }
	defer let()
	asked := make(chan struct{})
	hangs.says = func(n int) int {
		if n == 1 {
			close(asked)
			<-release
		}
		return 200
	}
	other, own := newHook(t, nil), newHook(t, nil)
	w.declare("shop", "{name: hangs, url: '"+hangs.URL+"'}, {name: own, url: '"+own.URL+"'}")
	w.declare("other", "{name: chat, url: '"+other.URL+"'}")
	c := w.control("a", func(cfg *Config) { cfg.Log = events.Open(events.Config{Most: 10}) })
	c.tells(3)
	first := c.happen("shop", "eu")
	own.told(1)
	<-asked
	for range 20 { // of which the log keeps ten
		c.happen("shop", "eu")
		own.told(1)
	}
	ids := c.happen("other", "eu")
	if got, _ := other.told(1); !slices.Equal(got, ids) {
		t.Errorf("another tenant hears %v", got)
	}
	let()
	if got, _ := hangs.told(1); !slices.Equal(got, first) {
		t.Errorf("what hung: %v", got)
	}
	_, last := hangs.told(1)
	if last.Dropped < 9 || last.Dropped > 19 {
		t.Errorf("%d are told to be dropped", last.Dropped)
	}
	w.until("that is counted", func() bool { return c.target("shop", "hangs").Dropped == last.Dropped })
}

// TestTargetsOfTenantsAreGuarded: they cannot reach what control can, by no name and no redirect; the platform's can.
func TestTargetsOfTenantsAreGuarded(t *testing.T) {
	w := newWorld(t)
	h := newHook(t, nil)
	away := newHook(t, func(int) int { return 307 })
	port := netip.MustParseAddrPort(h.Listener.Addr().String()).Port()
	named := fmt.Sprintf("http://localhost:%d", port)
	w.declare("shop", "{name: address, url: '"+h.URL+"'}, {name: name, url: '"+named+"'}, {name: secret, url: {file: none}}")
	w.declare("platform", "{name: ops, url: '"+away.URL+"'}, {name: own, url: '"+h.URL+"', kinds: [pool]}")
	c := w.control("a", func(cfg *Config) { cfg.Networks = nil })
	c.tells(5)
	ids := c.happen("shop", "eu")
	if got, _ := h.told(1); !slices.Equal(got, ids) {
		t.Errorf("the platform's own hears %v", got)
	}
	for name, want := range map[string]string{
		"shop/address":  "refused: its address is not one that control goes to for tenants (gtmd --events-networks)",
		"shop/name":     "refused: its address is not one that control goes to for tenants (gtmd --events-networks)",
		"shop/secret":   "url: the secret none: there is none of this tenant by that name, or it cannot be read",
		"platform/ops":  "status 307: redirects are not followed; declare where it leads",
		"platform/none": "",
	} {
		tenant, name, _ := strings.Cut(name, "/")
		w.until(name+" says "+want, func() bool { return c.target(tenant, name).Error == want })
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n != 1 {
		t.Errorf("asked %d times", h.n)
	}
}

// TestGtmsOwnPortsAreNoTargets of tenants, whatever is opened.
func TestGtmsOwnPortsAreNoTargets(t *testing.T) {
	w := newWorld(t)
	h := newHook(t, nil)
	w.declare("shop", "{name: chat, url: '"+h.URL+"'}")
	c := w.control("a", func(cfg *Config) { cfg.OwnPorts = []uint16{netip.MustParseAddrPort(h.Listener.Addr().String()).Port()} })
	c.tells(1)
	c.happen("shop", "eu")
	w.until("it is refused", func() bool { return strings.HasPrefix(c.target("shop", "chat").Error, "refused: ") })
}

// TestOneControlTells, and when it goes another goes on behind what was told, though its log numbers events otherwise.
func TestOneControlTells(t *testing.T) {
	w := newWorld(t)
	h := newHook(t, nil)
	w.declare("shop", "{name: chat, url: '"+h.URL+"'}")
	a := w.control("a", nil)
	a.tells(1)
	b := w.control("b", nil)
	b.happen("other", "x", "y", "z") // that a never heard of: b was there before
	both := func(pools ...string) []string {
		ids := a.happen("shop", pools...)
		list, _ := a.log.Find(events.Filter{Tenant: "shop"}, len(pools))
		b.log.Add(w.rev, 0, list...)
		return ids
	}
	first := both("eu", "us")
	if got, _ := h.told(2); !slices.Equal(got, first) {
		t.Errorf("first %v", got)
	}
	if _, teller := b.Status(); teller {
		t.Error("two tell")
	}
	w.until("a knows that it told", func() bool { return a.target("shop", "chat").Sent == 2 })
	a.stop()
	meanwhile := b.happen("shop", "eu")
	if got, _ := h.told(1); !slices.Equal(got, meanwhile) {
		t.Errorf("then %v, want %v", got, meanwhile)
	}
	if _, teller := b.Status(); !teller {
		t.Error("b tells, and does not know")
	}
	w.declare("shop")
	w.until("nobody is told any more", func() bool { _, teller := b.Status(); return !teller })
	tolds, err := b.cfg.Store.Tolds(t.Context())
	if err != nil || len(tolds) != 0 {
		t.Errorf("what was told is kept: %v, %v", tolds, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n != 2 {
		t.Errorf("%d messages came, and two were due", h.n)
	}
}

// TestAlertsFireAndEnd by Alertmanager's API, and are said again and again.
func TestAlertsFireAndEnd(t *testing.T) {
	w := newWorld(t)
	h := newHook(t, nil)
	w.declare("platform", "{name: am, format: alertmanager, url: '"+h.URL+"/', kinds: [pool, judge]}")
	down := api.Event{Kind: api.EventPool, Tenant: "shop", Pool: "eu", From: "up", To: "down", Reason: "0 of 2",
		Time: time.Now().Add(-time.Hour)}
	w.problems = []api.Event{down, {Kind: api.EventEndpoint, Tenant: "shop", Pool: "eu", Endpoint: "a", To: "down"}}
	c := w.control("a", nil)
	alerts := func() (list []alert) {
		p := h.next()
		if err := json.Unmarshal(p.body, &list); err != nil || p.path != "/api/v2/alerts" {
			t.Fatalf("%s: %v: %s", p.path, err, p.body)
		}
		return list
	}
	for range 3 {
		list := alerts()
		if len(list) != 1 || list[0].Labels["alertname"] != "GtmPoolDown" || list[0].Labels["pool"] != "eu" ||
			list[0].Labels["severity"] != "critical" || !list[0].StartsAt.Equal(down.Time) ||
			!list[0].EndsAt.After(down.Time.Add(time.Hour)) {
			t.Fatalf("%+v", list)
		}
	}
	w.mu.Lock()
	w.problems = []api.Event{{Kind: api.EventJudge, Tenant: "platform", From: "ams", To: "none", Time: time.Now()}}
	w.mu.Unlock()
	w.until("one ends, another begins", func() bool {
		list := alerts()
		return len(list) == 2 && list[0].Labels["alertname"] == "GtmHealthStandsStill" && list[1].Labels["pool"] == "eu" &&
			!list[1].EndsAt.After(time.Now())
	})
	w.until("that is counted", func() bool { return c.target("platform", "am").Sent == 3 })
}

// TestWhoToldGoesOnWithoutAStore: that health stands still is what people must hear, and nobody else can be elected.
func TestWhoToldGoesOnWithoutAStore(t *testing.T) {
	w := newWorld(t)
	h := newHook(t, nil)
	w.declare("shop", "{name: chat, url: '"+h.URL+"'}")
	cut := make(chan struct{})
	lost := &losing{lose: make(chan struct{})}
	c := w.control("a", func(cfg *Config) {
		lost.Store = cfg.Store
		cfg.Store = lost
		cfg.Cut = func() bool {
			select {
			case <-cut:
				return false
			default:
				return true
			}
		}
	})
	c.tells(1)
	close(lost.lose)
	ids := c.happen("shop", "eu")
	if got, _ := h.told(1); !slices.Equal(got, ids) {
		t.Errorf("told %v", got)
	}
	if _, teller := c.Status(); !teller {
		t.Error("it gave up")
	}
	close(cut)
	w.until("the store is back, and it is not elected", func() bool { _, teller := c.Status(); return !teller })
}

// losing is a store whose election is lost.
type losing struct {
	Store
	lose chan struct{}
	once sync.Once
}

func (l *losing) CampaignTeller(ctx context.Context, _ string, lead func(context.Context) error) (err error) {
	l.once.Do(func() {
		elected, cancel := context.WithCancel(ctx)
		go func() { <-l.lose; cancel() }()
		err = lead(elected)
	})
	<-ctx.Done()
	return err
}

// TestPeopleReadNoMarkup that others wrote.
func TestPeopleReadNoMarkup(t *testing.T) {
	list := []api.Event{{Kind: api.EventEndpoint, Tenant: "shop", Pool: "eu", Endpoint: "a", From: "up", To: "down",
		Reason: "<!channel> & *bold* <http://x|y>", Time: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)}}
	want := ":red_circle: endpoint *shop/eu/a*: up → down: &lt;!channel&gt; &amp; ∗bold∗ &lt;http://x|y&gt; (2026-05-04T12:00:00Z)"
	if got := slackText(list, 0); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for range slackLines {
		list = append(list, list[0])
	}
	got := slackText(list, 7)
	if !strings.HasPrefix(got, "7 events before these were dropped\n") || !strings.HasSuffix(got, "\nand 1 more: gtmctl events") {
		t.Error(got)
	}
}

// TestAlertsAreBounded: what is left out is an alert, too.
func TestAlertsAreBounded(t *testing.T) {
	now := time.Now()
	alerts, _ := alertsFor(nil, 7, nil, now, now)
	if len(alerts) != 1 || alerts[0].Labels["alertname"] != "GtmAlertsLeftOut" ||
		!strings.HasPrefix(alerts[0].Annotations["summary"], "7 more are wrong") {
		t.Errorf("%+v", alerts)
	}
	ahead := api.Event{Kind: api.EventPool, Time: now.Add(time.Hour)}
	if a := alertOf(&ahead, now); a.StartsAt.After(a.EndsAt) {
		t.Errorf("a clock that is ahead: %+v", a)
	}
}

// TestATargetHearsWhatIsNew since it was declared, and nothing of before.
func TestATargetHearsWhatIsNew(t *testing.T) {
	w := newWorld(t)
	first, second := newHook(t, nil), newHook(t, nil)
	one, other := "{name: first, url: '"+first.URL+"'}", "{name: second, url: '"+second.URL+"'}"
	w.declare("shop", one)
	c := w.control("a", nil)
	c.tells(1)
	old := c.happen("shop", "eu")
	if got, _ := first.told(1); !slices.Equal(got, old) {
		t.Errorf("the first hears %v", got)
	}
	w.declare("shop", one, other)
	c.tells(2)
	now := c.happen("shop", "us")
	for _, h := range []*hook{first, second} {
		if got, _ := h.told(1); !slices.Equal(got, now) {
			t.Errorf("heard %v, want %v", got, now)
		}
	}
}

// TestAKeyThatCanBeGuessedSignsNothing, nor does one that cannot be read.
func TestAKeyThatCanBeGuessedSignsNothing(t *testing.T) {
	for _, key := range []string{"short", "whsec_c2hvcnQ=", "whsec_?"} {
		if s, err := sign(key, "id", time.Now(), nil); err == nil {
			t.Errorf("%s signs %s", key, s)
		}
	}
}

// TestAURLThatIsASecretIsToldToNobody: neither to the log nor to the tenant, while the target is ill; nor is what it answers, if that is no
// HTTP.
func TestAURLThatIsASecretIsToldToNobody(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("SSH-2.0-banner\r\n"))
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close() })
	w.secret("shop/hook", "http://"+l.Addr().String()+"/services/TOKEN")
	c := w.control("one", nil)
	w.declare("shop", "{name: chat, url: {file: hook}}")
	c.tells(1)
	c.happen("shop", "eu")
	var seen string
	w.until("the target is ill", func() bool { seen = c.target("shop", "chat").Error; return seen != "" })
	c.stop()
	for _, text := range []string{seen, c.logs.String()} {
		if text == "" || strings.Contains(text, "TOKEN") {
			t.Errorf("told: %q", text)
		}
	}
	if strings.Contains(seen, "banner") {
		t.Errorf("the tenant reads %q", seen)
	}
}

// TestMarksOfAllTenantsComeToTheirTurn, also of those late in the alphabet.
func TestMarksOfAllTenantsComeToTheirTurn(t *testing.T) {
	for from, want := range map[string]string{"": "abc", "a": "abc", "b": "bca", "bb": "cab", "d": "abc"} {
		if got := strings.Join(inTurn([]string{"a", "b", "c"}, from), ""); got != want {
			t.Errorf("from %q: %s, want %s", from, got, want)
		}
	}
}

// TestWhatTheLogDropsIsCountedOnce, however often a target is tried meanwhile.
func TestWhatTheLogDropsIsCountedOnce(t *testing.T) {
	w := newWorld(t)
	var well atomic.Bool
	var tries atomic.Int64
	h := newHook(t, func(int) int {
		if tries.Add(1); !well.Load() {
			return 503
		}
		return 200
	})
	w.declare("shop", "{name: chat, url: '"+h.URL+"'}")
	c := w.control("a", func(cfg *Config) { cfg.Log = events.Open(events.Config{Most: 5}) })
	c.tells(1)
	const all = 21
	for range all {
		c.happen("shop", "eu")
	}
	before := tries.Load()
	w.until("it is tried again", func() bool { return tries.Load() > before+3 })
	well.Store(true)
	w.until("all is well", func() bool { s := c.target("shop", "chat"); return s.Error == "" && s.Sent > 0 })
	if s := c.target("shop", "chat"); s.Sent+s.Dropped != all || s.Dropped == 0 {
		t.Errorf("%d are sent and %d dropped, of %d", s.Sent, s.Dropped, all)
	}
}

// TestWhatTheLogDropsIsCountedWhereNothingIsWanted: it may have been, and the target is told with the next that is.
func TestWhatTheLogDropsIsCountedWhereNothingIsWanted(t *testing.T) {
	w := newWorld(t)
	h := newHook(t, nil)
	w.declare("shop", "{name: brakes, url: '"+h.URL+"', kinds: [brake]}")
	c := w.control("a", func(cfg *Config) { cfg.Log = events.Open(events.Config{Most: 5}) })
	c.tells(1)
	c.happen("shop", slices.Repeat([]string{"eu"}, 21)...) // at once: the log has the last five, and none is of a brake
	w.until("they are counted", func() bool { return c.target("shop", "brakes").Dropped == 16 })
}
