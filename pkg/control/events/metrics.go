package events

import (
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// mostSeries bounds the pools of one tenant that have series of their own: the first by name.
const mostSeries = 1000

// metrics count events, and those of the pools of tenants that ask (spec.events.metrics).
type metrics struct {
	r       *Recorder
	events  *prometheus.CounterVec
	up      *prometheus.Desc
	changes *prometheus.Desc
}

func newMetrics(r *Recorder) *metrics {
	m := &metrics{r: r,
		events: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gtm_control_events_total",
			Help: "Changes of health and of rollouts that were noted, by kind: endpoint, pool, brake, judge, change, rollout, edge."},
			[]string{"kind"}),
		up: prometheus.NewDesc("gtm_control_pool_up",
			"1 where a pool is up, of tenants that ask for it (Tenant, events.metrics).", []string{"tenant", "pool"}, nil),
		changes: prometheus.NewDesc("gtm_control_pool_changes_total",
			"How often a pool and its endpoints changed, of tenants that ask for it.", []string{"tenant", "pool", "kind"}, nil),
	}
	for _, kind := range spec.EventKinds {
		m.events.WithLabelValues(kind)
	}
	return m
}

// Describe is part of prometheus.Collector.
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	m.events.Describe(to)
	to <- m.up
	to <- m.changes
}

// Collect is part of prometheus.Collector.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	m.events.Collect(to)
	for _, tenant := range m.r.cfg.Mirror.Tenants() {
		if !m.r.measured(tenant) {
			continue
		}
		for _, pool := range m.r.poolNames(tenant) {
			up, counts := m.r.measure(health.PoolID{Tenant: tenant, Pool: pool})
			to <- prometheus.MustNewConstMetric(m.up, prometheus.GaugeValue, up, tenant, pool)
			for _, kind := range []string{api.EventPool, api.EventEndpoint} {
				to <- prometheus.MustNewConstMetric(m.changes, prometheus.CounterValue, float64(counts[kind]), tenant, pool, kind)
			}
		}
	}
}

// measured reports whether a tenant asks for series of its pools.
func (r *Recorder) measured(tenant string) bool {
	v, ok := r.cfg.Mirror.Tenant(tenant).Resources.Get(spec.Key{Tenant: tenant, Kind: spec.KindTenant, Name: tenant})
	if !ok {
		return false
	}
	t, ok := v.Resource.Spec.(*spec.Tenant)
	return ok && t.Events != nil && t.Events.Metrics
}

func (r *Recorder) poolNames(tenant string) (names []string) {
	for key := range r.cfg.Mirror.Tenant(tenant).Resources.All() {
		if key.Kind == spec.KindPool {
			names = append(names, key.Name)
		}
	}
	slices.SortFunc(names, strings.Compare)
	return names[:min(len(names), mostSeries)]
}

func (r *Recorder) measure(id health.PoolID) (up float64, counts map[string]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	counts = map[string]int{}
	for kind, n := range r.counts[id] {
		counts[kind] = n
	}
	if _, down := r.problems[id.Tenant][subject(api.EventPool, id, "")]; down {
		return 0, counts
	}
	return 1, counts
}

// count counts events. r.mu is held.
func (r *Recorder) count(e *api.Event) {
	r.metrics.events.WithLabelValues(e.Kind).Inc()
	if e.From == string(health.Unknown) || e.Region != "" || !r.measured(e.Tenant) {
		return // of one outage there is an event for each region that sees it
	}
	id := health.PoolID{Tenant: e.Tenant, Pool: e.Pool}
	if r.counts[id] == nil {
		r.counts[id] = map[string]int{}
	}
	r.counts[id][e.Kind]++
}
