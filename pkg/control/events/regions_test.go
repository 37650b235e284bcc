package events

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/store/state"
)

const regionalYAML = `
kind: Pool
tenant: shop
name: eu
spec: {monitor: m, regions: true, endpoints: [{name: a, addresses: [198.51.100.1]}]}
---
kind: Pool
tenant: shop
name: db
spec: {monitor: m, regions: true, endpoints: [{name: a, addresses: [203.0.113.1]}], depends: [{pool: eu}]}
`

// inRegion makes a verdict one for clients of Asia, beside one by which all is up for all.
func inRegion(v health.Verdict) health.Verdict {
	v.Pool = v.Pool.For("AS")
	for name, f := range v.Endpoints {
		f.All = health.Up
		v.Endpoints[name] = f
	}
	return v
}

// TestEventsOfRegions: what changes for clients of a region is told with its name, of endpoints, of the pool, of what depends on it and of
// the brake; and it is over when nobody judges for them any more.
func TestEventsOfRegions(t *testing.T) {
	w := newWorld(t)
	w.apply(state.Update{Full: true})
	w.put(regionalYAML)
	w.judged(w.verdict("eu", "a=up!"), w.verdict("db", "a=up!"))
	w.news()
	w.judged(inRegion(w.verdict("eu", "a=up!")), inRegion(w.verdict("db", "a=up!")))
	w.want("regions as all", "")
	w.now = w.now.Add(time.Minute)
	w.judged(inRegion(w.verdict("eu", "a=down!")))
	w.want("a cut", "eu/a for AS up>down, db for AS up>down, eu for AS up>down")
	list, _ := w.log.Find(Filter{Kind: api.EventPool, Pool: "eu"}, 1)
	if e := list[0]; e.Region != "AS" || e.Pool != "eu" || e.Reason != "for AS 0 of 1 endpoints healthy, 1 needed" || e.Judge != "ams" {
		t.Errorf("%+v", e)
	}
	held := inRegion(w.verdict("eu", "a=down"))
	held.Frozen, held.FrozenSince = true, w.now
	w.judged(held)
	w.want("the brake", "eu for AS free>holds")
	if n := len(w.Problems("shop")); n != 4 {
		t.Errorf("%d problems: %+v", n, w.Problems("shop"))
	}
	w.restart()
	w.apply(state.Update{Full: true, Tenants: []state.TenantUpdate{}, Values: state.Verdicts.Put(held, w.verdict("eu", "a=up"),
		w.verdict("db", "a=up"), inRegion(w.verdict("db", "a=up")))})
	w.put(regionalYAML)
	w.news()
	w.judged(inRegion(w.verdict("eu", "a=up!")))
	w.want("all is over", "eu/a for AS down>up, eu for AS holds>free, db for AS down>up, eu for AS down>up")
	w.judged(inRegion(w.verdict("eu", "a=down!")))
	w.news()
	w.apply(state.Update{Values: state.Verdicts.Delete(held.Pool)})
	w.Work(context.Background())
	for _, p := range w.Problems("shop") {
		if p.Pool == "eu" {
			t.Errorf("it is judged no more, and is a problem: %s", p.Of())
		}
	}
}

// TestDependsInRegions: what goes by what is known for all does so as a link of a chain, too.
func TestDependsInRegions(t *testing.T) {
	w := newWorld(t)
	w.apply(state.Update{Full: true})
	w.put(regionalYAML + `
---
kind: Pool
tenant: shop
name: plain
spec: {monitor: m, endpoints: [{name: a, addresses: [203.0.113.2]}], depends: [{pool: eu}]}
---
kind: Pool
tenant: shop
name: last
spec: {monitor: m, regions: true, endpoints: [{name: a, addresses: [203.0.113.3]}], depends: [{pool: plain}]}
`)
	w.judged(w.verdict("eu", "a=up!"), w.verdict("db", "a=up!"), w.verdict("plain", "a=up!"), w.verdict("last", "a=up!"))
	w.news()
	w.judged(inRegion(w.verdict("eu", "a=up!")), inRegion(w.verdict("db", "a=up!")), inRegion(w.verdict("last", "a=up!")))
	w.news()
	w.now = w.now.Add(time.Minute)
	w.judged(inRegion(w.verdict("eu", "a=down!")))
	w.want("down for AS", "eu/a for AS up>down, db for AS up>down, eu for AS up>down")
	w.now = w.now.Add(time.Minute)
	w.judged(w.verdict("eu", "a=down!"))
	w.want("down for all", "eu/a up>down, db up>down, eu up>down, last up>down, plain up>down, last for AS up>down")
}

// TestSeriesAreOfAllClients: an outage counts once in a pool's series, however many regions see it.
func TestSeriesAreOfAllClients(t *testing.T) {
	w := newWorld(t)
	w.apply(state.Update{Full: true})
	w.put(regionalYAML + "---\nkind: Tenant\ntenant: shop\nname: shop\nspec: {events: {metrics: true}}\n")
	w.judged(w.verdict("eu", "a=up!"), w.verdict("db", "a=up!"))
	w.news()
	w.judged(inRegion(w.verdict("eu", "a=up!")), inRegion(w.verdict("db", "a=up!")))
	eu := health.PoolID{Tenant: "shop", Pool: "eu"}
	for _, c := range []struct {
		verdict      health.Verdict
		up, n, noted float64
	}{{inRegion(w.verdict("eu", "a=down!")), 1, 0, 1}, {w.verdict("eu", "a=down!"), 0, 1, 2}} {
		w.now = w.now.Add(time.Minute)
		for name, f := range c.verdict.Endpoints {
			f.Since = w.now.Add(-time.Second)
			c.verdict.Endpoints[name] = f
		}
		w.judged(c.verdict)
		w.news()
		up, counts := w.measure(eu)
		if up != c.up || float64(counts[api.EventPool]) != c.n || float64(counts[api.EventEndpoint]) != c.n {
			t.Errorf("%s: up %v, %v; want %v, %v of each", c.verdict.Pool, up, counts, c.up, c.n)
		}
		if noted := testutil.ToFloat64(w.metrics.events.WithLabelValues(api.EventEndpoint)); noted != c.noted+2 {
			t.Errorf("%s: %v events of endpoints", c.verdict.Pool, noted)
		}
	}
}
