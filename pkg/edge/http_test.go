package edge

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store/state"
)

func TestStatus(t *testing.T) {
	t.Parallel()
	begun := time.Now()
	r := start(t, t.TempDir(), nil)
	s := r.fetchStatus()
	if s.View.Serial != 0 || s.Tenants == nil || len(s.Tenants) != 0 || s.Source.State != "connecting" || s.Source.Since.IsZero() {
		t.Errorf("before any news: %+v", s)
	}
	r.tell(everything(t, 4))
	r.ready()
	s = r.fetchStatus()
	if s.Started.Before(begun) || s.View.Published.Before(s.Started) || s.Source.Since.IsZero() || len(s.Geo) != 1 {
		t.Errorf("times or geography: %+v", s)
	}
	want := api.EdgeStatus{ID: "edge-1", Version: "v7", Started: s.Started, DNS: []string{r.e.Addrs()[0].String()},
		View: api.View{Serial: 1, Published: s.View.Published}, Tenants: map[string]uint64{"platform": 4, "shop": 4, "other": 4},
		Epoch:  new(int64),
		Source: api.Source{State: "current", Since: s.Source.Since, Cursor: 104}, Services: 2, Zones: 1, Geo: s.Geo, Snapshot: s.Snapshot}
	if d := cmp.Diff(want, s); d != "" {
		t.Error(d)
	}
	if g := s.Geo[0]; !strings.HasSuffix(g.File, "country.mmdb") || g.Type != "Test-Country" || g.Networks != len(fixtureGeo) ||
		g.Built.IsZero() {
		t.Errorf("geography %+v", g)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	r := startServing(t, nil)
	var x api.Explanation
	code := r.get("/edge/explain?"+url.Values{"host": {"web.shop.gtm.example"}, "subnet": {european}, "resolver": {"6.7.8.9"},
		"type": {"aaaa"}}.Encode(), &x)
	want := api.Explanation{Host: "web.shop.gtm.example.", Service: "shop/web", Generation: "shop@1", Edge: "edge-1", Scope: 24,
		Client: api.Client{Address: european, Source: "subnet", Place: "EU-GB", Network: european,
			Point: "53.96,-2.82", PointFrom: "centroid of EU-GB"},
		Rule: &api.MatchedRule{Index: 0, Name: "europe", Matched: "geo EU"},
		Pools: []api.PoolInTurn{
			{Pool: "eu", Step: 1, Up: true, Chosen: true, Turns: "chosen in 100% of the answers", Share: 1, Endpoints: []api.Candidate{
				{Name: "a", Addresses: []string{euA, "2001:db8:1::1"}, Weight: 3, Score: 1, State: "unknown", Effective: 3, Share: 1},
				{Name: "b", Addresses: []string{euB, "2001:db8:1::2"}, Score: 1, State: "unknown", Out: "weight 0"}}},
			{Pool: "us", Step: 2, Up: true, Turns: "chosen in 0% of the answers", Endpoints: []api.Candidate{
				{Name: "a", Addresses: []string{usA, "2001:db8:2::1"}, Weight: 1, Score: 1, State: "unknown", Effective: 1}}}},
		Answer: api.ExampleAnswer{Type: "AAAA", TTL: 30, TTLFrom: "service", Records: []string{"2001:db8:1::1"}}}
	if x.ScopeFrom != "place" || len(x.Text) == 0 {
		t.Errorf("the scope is from %q, the text is %q", x.ScopeFrom, x.Text)
	}
	want.ScopeFrom, want.Text = x.ScopeFrom, x.Text
	for i := range x.Pools {
		if x.Pools[i].Why == "" {
			t.Errorf("pool %s: no reason", x.Pools[i].Pool)
		}
		x.Pools[i].Why = ""
	}
	if d := cmp.Diff(want, x); d != "" || code != http.StatusOK {
		t.Errorf("%d: %s", code, d)
	}
	u := everything(t, 2)
	u.Values = state.Verdicts.Put(down("eu", "a"))
	r.tell(u)
	gtmtest.Eventually(t, "the verdict is in force", func() error { return missing(r.ask("web.shop.gtm.example.", "A", european), usA) })
	x = api.Explanation{}
	r.get("/edge/explain?host=web.shop.gtm.example.&subnet="+european, &x)
	if p := x.Pools[0]; p.Up || p.Chosen || p.Endpoints[0].State != "down" || p.Endpoints[0].Out != "down: status 503" ||
		!x.Pools[1].Chosen {
		t.Errorf("with eu down: %+v", x.Pools)
	}
}

// TestExplainShowsWhatTheBrakeHolds beside what it makes of it.
func TestExplainShowsWhatTheBrakeHolds(t *testing.T) {
	t.Parallel()
	r := startServing(t, nil)
	const held = "held by the brake: status 503"
	u := delta(t, 2)
	u.Values = state.Verdicts.Put(health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: "eu"}, Frozen: true,
		Endpoints: map[string]health.Finding{"a": {State: health.Up, Score: 1, Reason: held}}})
	r.tell(u)
	gtmtest.Eventually(t, "the verdict is told", func() error {
		var x api.Explanation
		r.get("/edge/explain?host=web.shop.gtm.example.&subnet="+european, &x)
		if a := x.Pools[0].Endpoints[0]; a.Held != held || a.State != "up" || a.Out != "" {
			return missing(a.Held, held)
		}
		return missing(x.Pools[0].Why, "frozen by the brake")
	})
}

// TestExplainNumbersRulesNotClasses: of a service that goes by a policy, the number of the client's class was told as that of its rule.
func TestExplainNumbersRulesNotClasses(t *testing.T) {
	t.Parallel()
	r := startServing(t, nil)
	r.tell(delta(t, 2, declared.Resources(t, "kind: Service\ntenant: shop\nname: near\n"+
		"spec: {host: near.shop.gtm.example., rules: [{when: {geo: [EU]}, pools: [{nearest: [eu, us]}]}, "+
		"{pools: [{nearest: [us, eu]}]}]}\n")...))
	gtmtest.Eventually(t, "both rules are told by their numbers", func() error {
		for i, subnet := range []string{european, american} {
			var x api.Explanation
			if code := r.get("/edge/explain?host=near.shop.gtm.example.&subnet="+subnet, &x); code != http.StatusOK || x.Rule == nil ||
				x.Rule.Index != i {
				return &httpError{text: fmt.Sprintf("%s: %d %+v", subnet, code, x.Rule)}
			}
		}
		return nil
	})
}

// missing is an error unless text holds part.
func missing(text, part string) error {
	if strings.Contains(text, part) {
		return nil
	}
	return &httpError{text: text + " lacks " + part}
}

func TestExplainParameters(t *testing.T) {
	t.Parallel()
	r := startServing(t, nil)
	const host = "host=web.shop.gtm.example."
	good := []struct{ query, source, address, place, rule, typ string }{
		{host + "&subnet=" + european, "subnet", european, "EU-GB", "europe", "A"},
		{host + "&subnet=81.2.69.77", "subnet", "81.2.69.77/32", "EU-GB", "europe", "A"},
		{host + "&subnet=2001:db8:e::/56&type=AAAA", "subnet", "2001:db8:e::/56", "EU-DE", "europe", "AAAA"},
		{host + "&resolver=6.7.8.9", "resolver", "6.7.8.9/32", "NA-US", "rest", "A"},
		{host + "&resolver=::ffff:81.2.69.1", "resolver", "81.2.69.1/32", "EU-GB", "europe", "A"},
		{host + "&subnet=0.0.0.0/0&resolver=81.2.69.1", "resolver", "81.2.69.1/32", "EU-GB", "europe", "A"},
		{host + "&subnet=::ffff:81.2.69.0/120", "subnet", european, "EU-GB", "europe", "A"},
		{host + "&subnet=81.2.69.99/24", "subnet", european, "EU-GB", "europe", "A"},
		{host, "resolver", "127.0.0.1/32", "", "rest", "A"},
		{"host=WEB.shop.GTM.example&subnet=" + american, "subnet", american, "NA-US", "rest", "A"},
	}
	for _, c := range good {
		var x api.Explanation
		if code := r.get("/edge/explain?"+c.query, &x); code != http.StatusOK || x.Rule == nil {
			t.Errorf("%s: %d %+v", c.query, code, x)
			continue
		}
		if got := [...]string{x.Client.Source, x.Client.Address, x.Client.Place, x.Rule.Name, x.Answer.Type}; got != [...]string{c.source,
			c.address, c.place, c.rule, c.typ} {
			t.Errorf("%s: %q", c.query, got)
		}
	}
	bad := []struct {
		query string
		code  int
		text  string
	}{
		{"", http.StatusBadRequest, "host"},
		{"host=static.gtm.example.", http.StatusNotFound, `"static.gtm.example."`},
		{"host=none.example.org", http.StatusNotFound, "gtmctl get services"},
		{"host=" + strings.Repeat("x", 70), http.StatusNotFound, "xxx"},
		{host + "&subnet=81.2.69.0/33", http.StatusBadRequest, "81.2.69.0/24"},
		{host + "&subnet=nonsense", http.StatusBadRequest, `"nonsense"`},
		{host + "&resolver=81.2.69.0/24", http.StatusBadRequest, "resolver"},
		{host + "&count=0", http.StatusBadRequest, "from 1 to 100000"},
		{host + "&count=100001", http.StatusBadRequest, "from 1 to 100000"},
		{host + "&count=many", http.StatusBadRequest, `"many"`},
		{host + "&type=MX", http.StatusBadRequest, "A, AAAA"},
		{"host=w.other.gtm.example.&type=AAAA", http.StatusBadRequest, "it has A"},
	}
	for _, c := range bad {
		var e struct{ Error string }
		if code := r.get("/edge/explain?"+c.query, &e); code != c.code || !strings.Contains(e.Error, c.text) {
			t.Errorf("%s: %d %q; want %d with %q", c.query, code, e.Error, c.code, c.text)
		}
	}
	w := httptest.NewRecorder()
	r.e.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/edge/status", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}

func TestExplainBeforeAnyNews(t *testing.T) {
	t.Parallel()
	r := start(t, t.TempDir(), nil)
	var e struct{ Error string }
	if code := r.get("/edge/explain?host=web.shop.gtm.example.", &e); code != http.StatusServiceUnavailable ||
		!strings.Contains(e.Error, "no configuration yet") {
		t.Errorf("%d %q", code, e.Error)
	}
}

// TestALabelIsExplainedAsItIsAnswered: the API hashes the name that it is asked about as a query's is, and names it.
func TestALabelIsExplainedAsItIsAnswered(t *testing.T) {
	t.Parallel()
	r := startServing(t, nil)
	r.tell(delta(t, 2, declared.Resources(t, `
kind: Service
tenant: shop
name: rooms
spec: {host: "*.rtc.shop.gtm.example.", pick: sticky, sticky: {by: label}, rules: [{pools: [{pool: eu, weight: 1}, {pool: us, weight: 1}]}]}
`)...))
	seen := map[string]bool{}
	for i := range 20 {
		name := fmt.Sprintf("Room-%d.rtc.shop.gtm.example.", i)
		gtmtest.Eventually(t, "the service is answered", func() error {
			var x api.Explanation
			r.get("/edge/explain?host="+name+"&subnet="+european, &x)
			if x.Host != name || x.Scope != 0 || len(x.Answer.Records) != 1 ||
				!slices.Contains(x.Notes, "stands at *.rtc.shop.gtm.example., for names that are not there") {
				return fmt.Errorf("%+v", x)
			}
			seen[x.Answer.Records[0]] = true
			return missing(r.ask(name, "A", "8.8.8.0/24"), x.Answer.Records[0])
		})
	}
	if len(seen) != 2 {
		t.Errorf("20 labels are given %v", seen)
	}
}
