package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/control/past"
	"github.com/gti/gtm/pkg/gtmtest/declared"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// world is a control with a clock, and what it heard of health.
type world struct {
	t      *testing.T
	now    time.Time
	dir    string
	mirror *state.Mirror
	past   *past.Past
	log    *Log
	*Recorder
	cursor int64
	epoch  int64
	heads  map[string]state.Generation
	health state.Health
	seen   map[string]health.Observation
	asked  int
	askErr error
	read   Position

	registry *prometheus.Registry
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, now: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC), dir: t.TempDir(), heads: map[string]state.Generation{}}
	w.restart()
	return w
}

// restart is another process in the same folder.
func (w *world) restart() {
	clock := func() time.Time { return w.now }
	w.mirror = state.NewMirror()
	w.log = Open(Config{Dir: w.dir, Now: clock})
	var err error
	w.registry = prometheus.NewRegistry()
	w.Recorder, err = NewRecorder(RecorderConfig{Log: w.log, Mirror: w.mirror, Now: clock, Registerer: w.registry,
		Health: func() state.Health { return w.health },
		Sights: func(context.Context, health.PoolID) (map[string]health.Observation, error) {
			w.asked++
			return w.seen, w.askErr
		}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.past = past.New(past.Config{Mirror: w.mirror, Now: clock, Replaced: w.Heard})
	w.read = w.log.Newest("")
}

func (w *world) apply(u state.Update) {
	w.cursor++
	u.Cursor, u.Cluster, u.Epoch = w.cursor, 7, w.epoch
	w.past.Apply(u)
	w.Work(context.Background())
}

func (w *world) put(yaml string) {
	w.heads["shop"]++
	u := state.TenantUpdate{Tenant: "shop", Head: w.heads["shop"]}
	for _, r := range declared.Resources(w.t, yaml) {
		u.Put = append(u.Put, state.Version{Resource: r, Generation: u.Head})
	}
	w.apply(state.Update{Tenants: []state.TenantUpdate{u}})
}

// verdict gives a pool's endpoints states, as in "a=down b=up", which they have since now where they are marked so: "a=down!".
func (w *world) verdict(pool, words string) health.Verdict {
	v := health.Verdict{Pool: health.PoolID{Tenant: "shop", Pool: pool}, Judge: "ams", Endpoints: map[string]health.Finding{}}
	for _, word := range strings.Fields(words) {
		name, s, _ := strings.Cut(word, "=")
		f := health.Finding{State: health.State(strings.TrimSuffix(s, "!")), Score: 1, Since: w.now.Add(-time.Hour)}
		if strings.HasSuffix(s, "!") {
			f.Since = w.now.Add(-time.Second)
		}
		if f.State == health.Down {
			f.Score, f.Reason = 0, "status 503"
		}
		v.Endpoints[name] = f
	}
	return v
}

func (w *world) judged(v ...health.Verdict) { w.apply(state.Update{Values: state.Verdicts.Put(v...)}) }

// news gives what was noted since the last call.
func (w *world) news() string {
	list, lost := w.log.After("", w.read, 1000)
	if lost > 0 {
		w.t.Errorf("%d events were lost", lost)
	}
	var words []string
	for i := range list {
		e := &list[i]
		w.read = Position{Seq: e.Seq, Of: e.Of}
		if e.Noted.IsZero() || e.ID == "" || e.Revision != w.cursor {
			w.t.Errorf("%+v of revision %d", e, w.cursor)
		}
		words = append(words, fmt.Sprintf("%s %s>%s", strings.TrimPrefix(e.Event.Of(), "shop/"), e.From, e.To))
	}
	return strings.Join(words, ", ")
}

const poolsYAML = `
kind: Pool
tenant: shop
name: eu
spec: {endpoints: [{name: a, addresses: [198.51.100.1]}, {name: b, addresses: [198.51.100.2]}], minHealthy: "2"}
---
kind: Pool
tenant: shop
name: db
spec: {endpoints: [{name: a, addresses: [203.0.113.1]}], depends: [{pool: eu}]}
`

func (w *world) want(what, events string) {
	w.t.Helper()
	if got := w.news(); got != events {
		w.t.Errorf("%s: %q, want %q", what, got, events)
	}
}

// TestEventsAreWhatVerdictsReplaced: endpoints, pools and those that depend on them, overrides, the brake.
func TestEventsAreWhatVerdictsReplaced(t *testing.T) {
	w := newWorld(t)
	w.apply(state.Update{Full: true})
	w.put(poolsYAML)
	w.want("pools that are declared", "")
	w.judged(w.verdict("eu", "a=unknown b=unknown"))
	w.want("nothing known is nothing new", "")
	w.judged(w.verdict("eu", "a=up! b=up!"))
	w.want("first sights", "eu/a unknown>up, eu/b unknown>up")
	w.seen = map[string]health.Observation{
		"fra": {Endpoints: map[string]health.Sight{"a": {State: health.Down, Reason: "status 503"}}},
		"nyc": {Endpoints: map[string]health.Sight{"a": {State: health.Up, Blind: true, Reason: "no route"}}},
		"sin": {},
	}
	w.now = w.now.Add(time.Minute)
	w.judged(w.verdict("eu", "a=down! b=up"))
	w.want("one of two that are needed", "eu/a up>down, db up>down, eu up>down")
	list, _ := w.log.Find(Filter{Kind: api.EventEndpoint}, 1)
	if e := list[0]; e.Reason != "status 503" || e.Judge != "ams" || !e.Time.Equal(w.now.Add(-time.Second)) || !e.Noted.Equal(w.now) ||
		fmt.Sprint(e.Vantages) != "map[fra:down: status 503 nyc:blind: no route]" {
		t.Errorf("%+v", e)
	}
	list, _ = w.log.Find(Filter{Kind: api.EventPool, Tenant: "shop", Pool: "eu"}, 10)
	if e := list[0]; len(list) != 1 || e.Reason != "1 of 2 endpoints healthy, 2 needed" || !e.Time.Equal(w.now.Add(-time.Second)) {
		t.Errorf("%+v", list)
	}
	until := w.now.Add(time.Hour)
	w.put("kind: Override\ntenant: shop\nname: o\nspec: {pool: eu, endpoint: a, state: up, reason: test, expires: " +
		until.Format(time.RFC3339) + "}\n")
	w.want("a person says that it is up", "db down>up, eu down>up")
	w.now = until
	w.Work(context.Background())
	w.want("until then", "db up>down, eu up>down")
	held := w.verdict("eu", "a=down b=up")
	held.Frozen, held.FrozenSince, held.Cause = true, w.now, "half of them failed"
	w.judged(held)
	w.want("the brake", "eu free>holds")
	var problems []string
	for _, p := range w.Problems("shop") {
		problems = append(problems, p.Kind+" "+p.Of())
	}
	if got := strings.Join(problems, ", "); got != "brake shop/eu, pool shop/db, pool shop/eu, endpoint shop/eu/a" {
		t.Errorf("problems: %s", got)
	}
	w.judged(w.verdict("eu", "a=down b=up"))
	w.want("it is let go, while others of the tenant are held", "eu holds>free")
	held.HeldSince = w.now.Add(time.Second) // and FrozenSince is the tenant's
	w.judged(held)
	w.want("held again", "eu free>holds")
	w.judged(w.verdict("eu", "a=up! b=up"))
	w.want("all is over", "eu/a down>up, eu holds>free, db down>up, eu down>up")
	if list := w.Problems(""); len(list) != 0 {
		t.Errorf("problems that are over: %+v", list)
	}
	counts := w.log.Changes(w.now.Add(-time.Minute))
	if n := ChangesOf(counts, health.PoolID{Tenant: "shop", Pool: "eu"}, ""); n != 2 {
		t.Errorf("eu changed %d times within the last minute", n)
	}
	if n := ChangesOf(counts, health.PoolID{Tenant: "shop", Pool: "eu"}, "a"); n != 1 {
		t.Errorf("a changed %d times within the last minute", n)
	}
	w.judged(w.verdict("eu", "a=down! b=down!"))
	w.apply(state.Update{Values: state.Verdicts.Delete(health.PoolID{Tenant: "shop", Pool: "eu"}),
		Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 9, Deleted: []spec.Key{{Tenant: "shop", Kind: "Pool", Name: "eu"}}}}})
	if list := w.Problems(""); len(list) != 0 {
		t.Errorf("problems of a pool that is no more: %+v", list)
	}
}

// TestWhatHappenedMeanwhileIsMadeUpFor when control comes back, and nothing is told twice.
func TestWhatHappenedMeanwhileIsMadeUpFor(t *testing.T) {
	w := newWorld(t)
	w.apply(state.Update{Full: true, Values: state.Verdicts.Put(w.verdict("eu", "a=up b=up"), w.verdict("us", "b=down"))})
	w.want("what stands at the first start is no news", "")
	if list := w.Problems(""); len(list) != 1 || list[0].Of() != "shop/us/b" {
		t.Errorf("but it is wrong all the same: %+v", list)
	}
	w.put(poolsYAML)
	w.judged(w.verdict("eu", "a=down! b=up"))
	w.want("a", "eu/a up>down, db up>down, eu up>down")
	before := w.mirror.Full()
	w.restart()
	w.apply(before)
	w.want("nothing changed", "")
	w.restart()
	w.now = w.now.Add(time.Minute)
	full := before
	full.Values = state.Verdicts.Put(w.verdict("eu", "a=up! b=up"), w.verdict("new", "a=down!"), w.verdict("old", "a=down"))
	w.apply(full)
	got := strings.Split(w.news(), ", ")
	slices.Sort(got)
	if got := strings.Join(got, ", "); got != "db down>up, eu down>up, eu/a down>up, new/a unknown>down" {
		t.Errorf("meanwhile: %s", got)
	}
	full.Epoch++
	w.epoch++
	w.apply(full)
	w.want("another store that says the same", "")
}

// TestAJudgeThatFallsSilentIsAnEvent, and so is who follows.
func TestAJudgeThatFallsSilentIsAnEvent(t *testing.T) {
	w := newWorld(t)
	w.apply(state.Update{Full: true})
	n := 0
	beat := func(judge string) {
		n++
		w.Pulse(state.Pulse{Judge: judge, Nonce: fmt.Sprint(n)})
		w.health = state.Health{Judge: judge, Pulse: w.now}
		w.Work(context.Background())
	}
	w.health = state.Health{StandsStill: true, Why: "the store has not been heard yet"}
	beat("ams")
	w.want("the first", "")
	beat("ams")
	w.want("the same", "")
	beat("fra")
	w.want("another", "the judge ams>fra")
	w.health.StandsStill, w.health.Why = true, "no judge is heard"
	w.Work(context.Background())
	w.Work(context.Background())
	w.want("none", "the judge fra>none")
	if list := w.Problems("platform"); len(list) != 1 || list[0].Reason != "health stands still: no judge is heard" {
		t.Errorf("problems: %+v", list)
	}
	beat("fra")
	w.want("back", "the judge none>fra")
	if list := w.Problems(""); len(list) != 0 {
		t.Errorf("problems: %+v", list)
	}
	w.restart()
	w.health = state.Health{StandsStill: true, Why: "the store has not been heard yet"}
	w.apply(state.Update{Full: true})
	w.want("a control that starts has only not heard the judge yet", "")
}

// TestVantagesAreAskedOfAFew: a region that fails is no flood of questions, and a store that does not answer delays once.
func TestVantagesAreAskedOfAFew(t *testing.T) {
	w := newWorld(t)
	w.apply(state.Update{Full: true})
	var many []health.Verdict
	for i := range 3 * mostAsked {
		many = append(many, w.verdict(fmt.Sprint("p", i), "a=down! b=down!"))
	}
	w.judged(many...)
	if w.asked != mostAsked {
		t.Errorf("asked of %d pools", w.asked)
	}
	if list, _ := w.log.Find(Filter{}, 1000); len(list) != 6*mostAsked {
		t.Errorf("%d events", len(list))
	}
	w.askErr, w.asked = errors.New("no etcd"), 0
	w.judged(w.verdict("p1", "a=up! b=up!"))
	w.judged(w.verdict("p2", "a=up! b=up!"))
	if w.asked != 1 {
		t.Errorf("asked %d times where nobody answers", w.asked)
	}
	w.now = w.now.Add(askAgain)
	w.judged(w.verdict("p3", "a=up! b=up!"))
	if w.asked != 2 {
		t.Errorf("asked %d times, and again later", w.asked)
	}
}

// TestWhatWaitsIsBounded: what cannot be looked at is left out, and what was declared is looked at all the same.
func TestWhatWaitsIsBounded(t *testing.T) {
	w := newWorld(t)
	w.apply(state.Update{Full: true})
	changes := make([]past.Change, mostPending)
	w.Heard(past.News{Changes: changes, Declared: []string{"shop"}})
	w.Heard(past.News{Changes: changes[:1]})
	if len(w.pending) != 1 || w.leftOut != mostPending || w.changes != 1 || !slices.Equal(w.pending[0].Declared, []string{"shop"}) {
		t.Errorf("%d updates wait, %d changes are left out", len(w.pending), w.leftOut)
	}
}

// TestPoolsHaveSeriesOfTheirOwn where their tenant asks for that, and as long as they are.
func TestPoolsHaveSeriesOfTheirOwn(t *testing.T) {
	w := newWorld(t)
	w.apply(state.Update{Full: true})
	w.put(poolsYAML)
	want := func(what, text string) {
		t.Helper()
		const names = "gtm_control_pool_changes_total,gtm_control_pool_up"
		if err := testutil.GatherAndCompare(w.registry, strings.NewReader(text), strings.Split(names, ",")...); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	w.judged(w.verdict("eu", "a=down! b=up"))
	want("nobody asks", "")
	w.put("kind: Tenant\ntenant: shop\nname: shop\nspec: {events: {metrics: true}}\n")
	w.now = w.now.Add(time.Minute)
	w.judged(w.verdict("eu", "a=up! b=up"))
	w.now = w.now.Add(time.Minute)
	w.judged(w.verdict("eu", "a=up b=down!"))
	want("the tenant asks", `# HELP gtm_control_pool_changes_total How often a pool and its endpoints changed, of tenants that ask for it.
# TYPE gtm_control_pool_changes_total counter
gtm_control_pool_changes_total{kind="endpoint",pool="db",tenant="shop"} 0
gtm_control_pool_changes_total{kind="endpoint",pool="eu",tenant="shop"} 2
gtm_control_pool_changes_total{kind="pool",pool="db",tenant="shop"} 2
gtm_control_pool_changes_total{kind="pool",pool="eu",tenant="shop"} 2
# HELP gtm_control_pool_up 1 where a pool is up, of tenants that ask for it (Tenant, events.metrics).
# TYPE gtm_control_pool_up gauge
gtm_control_pool_up{pool="db",tenant="shop"} 0
gtm_control_pool_up{pool="eu",tenant="shop"} 0
`)
	w.apply(state.Update{Tenants: []state.TenantUpdate{{Tenant: "shop", Head: 9, Deleted: []spec.Key{
		{Tenant: "shop", Kind: "Pool", Name: "eu"}, {Tenant: "shop", Kind: "Pool", Name: "db"}}}}})
	want("they are no more", "")
	if len(w.counts) != 0 {
		t.Errorf("counted still: %v", w.counts)
	}
}
