// Package gauges shows what is known of one tenant as Prometheus metrics: of its pools, services, rollout and quota, and of nobody else's.
package gauges

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/spec"
)

// Most bounds how many pools, and how many services, one page has: the first ones by name.
const Most = 10_000

// Tenant is what is known of a tenant.
type Tenant struct {
	Name       string
	Generation uint64
	Pools      []api.Pool
	Services   []Service
	Rollout    *api.Rollout // nil: there is none
	Limit      spec.Quota
	Has        *spec.Quota // nil: it is not known now
}

// Service is a service, and whether any of its pools is up.
type Service struct {
	Name string
	Up   bool
}

// Handler serves the metrics of a tenant, as they are now.
func Handler(t Tenant) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{t}) // it is the only one
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("gtm_tenant_"+name, help, append([]string{"tenant"}, labels...), nil)
}

var (
	generation = desc("generation", "The newest generation.")
	poolUp     = desc("pool_up", "Whether a pool is up, 1, or down, 0.", "pool")
	endpoints  = desc("endpoints", "Endpoints of a pool, by state.", "pool", "state")
	serviceUp  = desc("service_up", "Whether any pool of a service is up, 1, or none, 0.", "service")
	rollout    = desc("rollout", "The state of the rollout: done, soaking, paused, stopped.", "state")
	group      = desc("rollout_group_generation", "The generation that a group of edges is pointed at.", "group")
	limit      = desc("quota_limit", "How much the tenant may have, by field of its quota.", "field")
	used       = desc("quota_used", "How much the tenant has, by field of its quota.", "field")
	cut        = desc("cut", "Pools and services that this page leaves out, since there are too many.")
)

type collector struct{ t Tenant }

// Describe says nothing: which series there are depends on the tenant.
func (collector) Describe(chan<- *prometheus.Desc) {}

func (c collector) Collect(to chan<- prometheus.Metric) {
	t := &c.t
	set := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, append([]string{t.Name}, labels...)...)
	}
	pools, services := t.Pools[:min(len(t.Pools), Most)], t.Services[:min(len(t.Services), Most)]
	set(generation, float64(t.Generation))
	set(cut, float64(len(t.Pools)-len(pools)+len(t.Services)-len(services)))
	for i := range pools {
		p := &pools[i]
		set(poolUp, number(p.Up), p.Pool)
		states := map[string]int{}
		for j := range p.Endpoints {
			states[p.Endpoints[j].State]++
		}
		for state, n := range states {
			set(endpoints, float64(n), p.Pool, state)
		}
	}
	for _, s := range services {
		set(serviceUp, number(s.Up), s.Name)
	}
	if r := t.Rollout; r != nil {
		set(rollout, 1, r.State)
		for _, g := range r.Groups {
			set(group, float64(g.At), g.Name)
		}
	}
	for field, n := range t.Limit.Numbers() {
		set(limit, float64(n), field)
	}
	if t.Has == nil {
		return
	}
	for field, n := range t.Has.Numbers() {
		if field != "changes" && field != "requests" { // of what is done, not of what there is
			set(used, float64(n), field)
		}
	}
}

func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
