package sim

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/prober"
	"github.com/gti/gtm/pkg/spec"
	"github.com/gti/gtm/pkg/store/state"
)

// Vantage is a prober.
type Vantage struct {
	Name            string
	At              spec.Location
	Region, Network string
}

// Health says how checks go, beside what monitors say.
type Health struct {
	Vantages []Vantage
	Lost     float64 // the part of checks of healthy endpoints that fail nevertheless
	// Report is how long it takes from what a vantage sees to the judge, Publish from a verdict, or a change, to all edges.
	Report, Publish time.Duration
}

// gather is how long the judge gathers news before it works on them, as pkg/prober does.
const gather = 5 * time.Millisecond

// watch is how the endpoints of pools with monitors are checked and judged: thresholds, quorum and brake are pkg/health's.
type watch struct {
	Health
	*clock
	start    time.Time
	random   *rand.Rand
	declared spec.Set
	pools    map[health.PoolID]*watched
	order    []health.PoolID // of pools, sorted
	judging  bool            // the judge has news
	lame     map[string]*lame
	publish  func([]health.Verdict)
}

// watched is a pool that is checked.
type watched struct {
	endpoints []string
	of        map[string]string
	monitor   spec.Monitor
	seen      map[string]map[string]*health.Threshold // by vantage and endpoint
	told      map[string]health.Observation           // what the judge has of each vantage
	verdict   health.Verdict
	regional  bool
	regions   map[string]health.Verdict // for the clients of each, where enough vantages stand
}

// begin has all endpoints checked, each vantage's checks spread over the interval as pkg/probe spreads them.
func (w *watch) begin(endpoints []Endpoint) error {
	w.pools = map[health.PoolID]*watched{}
	for i := range endpoints {
		e := &endpoints[i]
		declared := w.declared[spec.Key{Tenant: e.id.Tenant, Kind: spec.KindPool, Name: e.Pool}].Spec.(*spec.Pool)
		if declared.Monitor == "" {
			continue
		}
		p := w.pools[e.id]
		if p == nil {
			monitor := w.declared[spec.Key{Tenant: e.id.Tenant, Kind: spec.KindMonitor, Name: declared.Monitor}].Spec.(*spec.Monitor)
			p = &watched{of: map[string]string{}, monitor: monitor.Effective(), seen: map[string]map[string]*health.Threshold{},
				told: map[string]health.Observation{}, regional: declared.Regions, regions: map[string]health.Verdict{}}
			w.pools[e.id] = p
			w.order = append(w.order, e.id)
		}
		p.endpoints = append(p.endpoints, e.Name)
		at := slices.IndexFunc(declared.Endpoints, func(d spec.Endpoint) bool { return d.Name == e.Name })
		p.of[e.Name] = declared.Endpoints[at].Checked()
		site := w.declared[spec.Key{Tenant: spec.Platform, Kind: spec.KindSite, Name: e.Site}]
		if site == nil || site.Spec.(*spec.Site).Location == nil {
			return fmt.Errorf("pool %s has no site with a location: nobody knows how far its checks go", e.id)
		}
		for _, v := range w.Vantages {
			if len(p.monitor.Vantages) > 0 && !slices.Contains(p.monitor.Vantages, v.Name) {
				continue
			}
			if p.seen[v.Name] == nil {
				p.seen[v.Name] = map[string]*health.Threshold{}
			}
			p.seen[v.Name][e.Name] = &health.Threshold{}
			h := fnv.New64a()
			fmt.Fprintf(h, "%s\x00%s\x00%s", v.Name, e.id, e.Name)
			phase := time.Duration(h.Sum64() % uint64(p.monitor.Interval))
			c := &check{w, p, e, v.Name, roundTrip(v.At, *site.Spec.(*spec.Site).Location)}
			w.after(phase, c.run)
		}
	}
	slices.SortFunc(w.order, func(a, b health.PoolID) int { return strings.Compare(a.String(), b.String()) })
	return nil
}

// check is one endpoint as one vantage checks it, again and again.
type check struct {
	*watch
	pool     *watched
	endpoint *Endpoint
	vantage  string
	distance time.Duration // there and back
}

// run begins a check. What it meets then decides.
func (c *check) run() {
	due, timeout := c.now, time.Duration(c.pool.monitor.Timeout)
	passed, reason, took := c.endpoint.alive && c.reaches(c.vantage, c.endpoint.Site), "timeout", timeout
	switch {
	case passed && c.random.Float64() < c.Lost:
		passed = false
	case passed: // a connection and a request, and what the server takes
		took = 2*c.distance + time.Duration(c.random.ExpFloat64()*float64(2*time.Millisecond))
		if took > timeout {
			passed, took = false, timeout
		}
	}
	c.after(took, func() {
		c.result(passed, reason)
		pause := time.Duration(c.pool.monitor.Interval)
		if c.pool.seen[c.vantage][c.endpoint.Name].Recheck(c.start.Add(c.now)) {
			pause = time.Duration(c.pool.monitor.Recheck)
		}
		jitter := time.Duration((c.random.Float64() - 0.5) / 10 * float64(pause))
		c.at(max(c.now, due+pause+jitter), c.run)
	})
}

// result takes what came of a check, and tells the judge where that changed what the vantage sees.
func (c *check) result(passed bool, reason string) {
	p := c.pool
	limits := health.Limits{Rise: p.monitor.Rise, Fall: p.monitor.Fall}
	if !p.seen[c.vantage][c.endpoint.Name].Add(passed, reason, c.start.Add(c.now), limits) {
		return
	}
	o := health.Observation{Vantage: c.vantage, Pool: c.endpoint.id, Endpoints: map[string]health.Sight{}}
	for name, t := range p.seen[c.vantage] {
		sight := t.Sight()
		sight.Of = p.of[name]
		o.Endpoints[name] = sight
	}
	if c.isSilent(c.vantage) {
		return
	}
	c.after(c.Report, func() {
		p.told[o.Vantage] = o
		if !c.judging {
			c.judging = true
			c.after(gather, c.judge)
		}
	})
}

// judge judges all pools, tenant by tenant, and publishes what changed.
func (w *watch) judge() {
	w.judging = false
	now := w.start.Add(w.now)
	alive := map[string]bool{}
	for _, v := range w.Vantages {
		alive[v.Name] = w.isAlive(v.Name)
	}
	about := w.about()
	tenants := map[string]bool{}
	var changed []health.Verdict
	for _, id := range w.order {
		if tenants[id.Tenant] {
			continue
		}
		tenants[id.Tenant] = true
		changed = append(changed, w.judgeTenant(id.Tenant, alive, about, now)...)
	}
	if len(changed) > 0 {
		w.after(w.Publish, func() { w.publish(changed) })
	}
	if slices.ContainsFunc(changed, func(v health.Verdict) bool { return v.Frozen }) {
		w.after(time.Minute+gather, w.judge) // what stood until then proves what is held
	}
}

func (w *watch) judgeTenant(tenant string, alive map[string]bool, about map[string]health.Vantage, now time.Time) (
	changed []health.Verdict) {
	var own, platform []state.Version
	for key, r := range w.declared {
		switch key.Tenant {
		case tenant:
			own = append(own, state.Version{Resource: r})
		case spec.Platform:
			platform = append(platform, state.Version{Resource: r})
		}
	}
	d := health.Docket{Previous: map[health.PoolID]health.Verdict{}, Proposed: map[health.PoolID]health.Verdict{},
		Pools: prober.Declared(state.NewResources(own...), state.NewResources(platform...), now), Now: now}
	regional := map[string]map[health.PoolID]health.Case{}
	for _, id := range w.order {
		p := w.pools[id]
		if id.Tenant != tenant {
			continue
		}
		if p.verdict.Endpoints != nil {
			d.Previous[id] = p.verdict
		}
		c := health.Case{Pool: id, Endpoints: p.endpoints, Of: p.of, Previous: p.verdict,
			Vantages: p.monitor.Vantages, Quorum: p.monitor.Quorum, Agree: p.monitor.Agree, Observations: p.told,
			Alive: alive, About: about, Now: now}
		if d.Proposed[id] = health.Judge(c); p.regional {
			for region, of := range c.Regions(p.regions) {
				if regional[region] == nil {
					regional[region] = map[health.PoolID]health.Case{}
				}
				regional[region][id] = of
			}
		}
	}
	verdicts, _ := w.brake(tenant).Apply(d)
	for _, region := range slices.Sorted(maps.Keys(regional)) {
		found, _ := w.brake(tenant).Apply(d.ForRegion(regional[region], verdicts))
		for _, id := range w.order {
			if _, is := regional[region][id]; is && !found[id].Equal(w.pools[id].regions[region]) {
				w.pools[id].regions[region] = found[id]
				changed = append(changed, found[id])
			}
		}
	}
	for _, id := range w.order {
		if v, ok := verdicts[id]; ok && !v.Equal(w.pools[id].verdict) {
			w.pools[id].verdict = v
			changed = append(changed, v)
		}
	}
	return changed
}

// brake gives a tenant's brake.
func (w *watch) brake(tenant string) health.Brake {
	settings := func(of string) *spec.Tenant {
		for key, r := range w.declared {
			if t, ok := r.Spec.(*spec.Tenant); ok && key.Tenant == of {
				return t
			}
		}
		return nil
	}
	return prober.Brake(settings(tenant), settings(spec.Platform))
}

// Down gives how long it takes at most until edges have heard that endpoints of a pool, which all die at once, are down.
func (r *Run) Down(pool string) time.Duration {
	m := r.watch.monitorOf(pool)
	return r.heard(m, m.Fall, time.Duration(m.Timeout))
}

// Up gives how long it takes at most until edges have heard that they are up again, after they do. No check that passes takes a second.
func (r *Run) Up(pool string) time.Duration {
	m := r.watch.monitorOf(pool)
	return r.heard(m, m.Rise, min(time.Second, time.Duration(m.Timeout)))
}

// heard gives how long so many checks in a row take at most, with the way of the news: the first begins within an interval, the others
// after recheck or, where that is later, when the one before has ended. A healthy endpoint's check that is lost can make it longer.
func (r *Run) heard(m *spec.Monitor, checks int, each time.Duration) time.Duration {
	pause := max(time.Duration(m.Recheck)*21/20, each)
	return time.Duration(m.Interval)*21/20 + time.Duration(checks-1)*pause + each + r.Report + r.Publish + 2*gather
}

// monitorOf gives the monitor of the first pool of that name that has one; there must be one.
func (w *watch) monitorOf(pool string) *spec.Monitor {
	for _, id := range w.order {
		if id.Pool == pool {
			return &w.pools[id].monitor
		}
	}
	panic("no pool " + pool + " is monitored")
}

// roundTrip is how long light in fibre takes to a place and back, by cables that are half as long again as the shortest way.
func roundTrip(a, b spec.Location) time.Duration {
	const radius, speed, detour = 6371.0, 200_000.0, 1.5 // km, km/s
	rad := math.Pi / 180
	sin := func(x float64) float64 { return math.Sin(x/2) * math.Sin(x/2) }
	h := sin((b.Lat-a.Lat)*rad) + math.Cos(a.Lat*rad)*math.Cos(b.Lat*rad)*sin((b.Lon-a.Lon)*rad)
	km := 2 * radius * math.Asin(math.Sqrt(min(1, h)))
	return time.Duration(2 * detour * km / speed * float64(time.Second))
}
