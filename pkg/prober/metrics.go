package prober

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/health"
	"github.com/gti/gtm/pkg/spec"
)

// metrics of a prober. Those of the judge are 0 where another prober is the judge.
type metrics struct {
	writes    *prometheus.CounterVec
	verdicts  prometheus.Counter
	bytes     *prometheus.CounterVec
	late      *prometheus.GaugeVec
	refused   prometheus.Gauge
	leading   prometheus.Gauge
	endpoints *prometheus.GaugeVec
	frozen    prometheus.Gauge
	held      prometheus.Gauge
	would     prometheus.Gauge
	out       *prometheus.GaugeVec

	mu      sync.Mutex
	tenants map[string]tenantCount
	braked  map[string]map[string]braked // by tenant and region
	total   tenantCount
}

// tenantCount is what the judge holds of one tenant.
type tenantCount struct{ unknown, up, down, held, would, frozen, out, wouldOut int }

func (c tenantCount) plus(o tenantCount, sign int) tenantCount {
	return tenantCount{c.unknown + sign*o.unknown, c.up + sign*o.up, c.down + sign*o.down,
		c.held + sign*o.held, c.would + sign*o.would, c.frozen + sign*o.frozen, c.out + sign*o.out, c.wouldOut + sign*o.wouldOut}
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		writes: f.NewCounterVec(prometheus.CounterOpts{
			Name: "gtm_prober_observation_writes_total", Help: "Observations written or deleted, by result (ok, error).",
		}, []string{"result"}),
		verdicts: f.NewCounter(prometheus.CounterOpts{Name: "gtm_prober_verdict_writes_total", Help: "Verdicts written as the judge."}),
		bytes: f.NewCounterVec(prometheus.CounterOpts{Name: "gtm_prober_written_bytes_total",
			Help: "Bytes of keys and values written to the store, by what: observations, verdicts."}, []string{"what"}),
		late: f.NewGaugeVec(prometheus.GaugeOpts{Name: "gtm_prober_late_tenants",
			Help: "Tenants that have used up their share of what is written to the store, by what waits: observations, verdicts."},
			[]string{"what"}),
		refused: f.NewGauge(prometheus.GaugeOpts{Name: "gtm_prober_refused_verdicts",
			Help: "Pools whose verdict the store does not take, while it takes those of others."}),
		leading: f.NewGauge(prometheus.GaugeOpts{Name: "gtm_prober_leading", Help: "1 while this prober is the judge."}),
		endpoints: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gtm_prober_endpoints", Help: "Endpoints with a verdict, by state, as the judge holds them.",
		}, []string{"state"}),
		frozen: f.NewGauge(prometheus.GaugeOpts{Name: "gtm_prober_brake_frozen_tenants",
			Help: "Tenants whose verdicts the brake holds, for all clients or in a region."}),
		held: f.NewGauge(prometheus.GaugeOpts{Name: "gtm_prober_brake_held_endpoints",
			Help: "Endpoints that failed and that the brake holds, for all clients or in a region; each counts once."}),
		would: f.NewGauge(prometheus.GaugeOpts{Name: "gtm_prober_brake_observed_endpoints",
			Help: "Endpoints that went down and that the brake would hold, did it not only observe."}),
		out: f.NewGaugeVec(prometheus.GaugeOpts{Name: "gtm_prober_pools_out",
			Help: "Pools that failed, for all clients or in a region, and stay out until a person resumes them, by mode: " +
				"enforce, observe (they would)."}, []string{"mode"}),
		tenants: map[string]tenantCount{}, braked: map[string]map[string]braked{},
	}
}

func (m *metrics) countWrite(err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.writes.WithLabelValues(result).Inc()
}

func (m *metrics) countVerdicts(n int) { m.verdicts.Add(float64(n)) }

// braked counts what the brake holds, or would hold, for the clients of a region, or for all.
type braked struct{ held, would int }

// told reports whether people have heard of it, where they have of another one.
func (b braked) told(of braked) bool {
	return (b.held > 0) == (of.held > 0) && (b.would > 0) == (of.would > 0)
}

// brakedIn counts what the brake does by region, and all of it; an endpoint counts once there.
func brakedIn(verdicts map[health.PoolID]health.Verdict) (regions map[string]braked, all braked) {
	type endpoint struct {
		pool health.PoolID
		name string
	}
	regions = map[string]braked{}
	held, would := map[endpoint]bool{}, map[endpoint]bool{}
	for id, v := range verdicts {
		of, region := id.Declared()
		in := regions[region]
		for name, f := range v.Endpoints {
			switch {
			case v.Frozen && f.State == health.Up && f.Held() != "":
				in.held++
				held[endpoint{of, name}] = true
			case f.State == health.Down && f.Observed() != "":
				in.would++
				would[endpoint{of, name}] = true
			}
		}
		if in != (braked{}) {
			regions[region] = in
		}
	}
	return regions, braked{len(held), len(would)}
}

// judged takes what is held of a tenant now, and gives the regions, empty for all, where the brake took hold or let go, or would have.
func (m *metrics) judged(tenant string, verdicts map[health.PoolID]health.Verdict) (news []string, regions map[string]braked) {
	c := countOf(verdicts)
	regions, all := brakedIn(verdicts)
	c.held, c.would, c.frozen = all.held, all.would, min(1, all.held)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, region := range append([]string{""}, geo.Continents[:]...) {
		if !m.braked[tenant][region].told(regions[region]) {
			news = append(news, region)
		}
	}
	if m.braked[tenant] = regions; len(regions) == 0 {
		delete(m.braked, tenant)
	}
	m.total = m.total.plus(m.tenants[tenant], -1).plus(c, 1)
	if m.tenants[tenant] = c; c == (tenantCount{}) {
		delete(m.tenants, tenant)
	}
	m.show()
	return news, regions
}

// countOf counts endpoints as they are for all, and pools that are out for all or in a region.
func countOf(verdicts map[health.PoolID]health.Verdict) (c tenantCount) {
	out := map[health.PoolID]bool{} // enforced
	for id, v := range verdicts {
		of, region := id.Declared()
		if v.Out != nil {
			out[of] = out[of] || v.Out.Enforced()
		}
		if region != "" {
			continue
		}
		for _, f := range v.Endpoints {
			switch f.State {
			case health.Up:
				c.up++
			case health.Down:
				c.down++
			default:
				c.unknown++
			}
		}
	}
	for _, enforced := range out {
		if enforced {
			c.out++
		} else {
			c.wouldOut++
		}
	}
	return c
}

// endTerm forgets what was held as the judge.
func (m *metrics) endTerm() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.tenants)
	clear(m.braked)
	m.total = tenantCount{}
	m.show()
	m.late.WithLabelValues("verdicts").Set(0)
	m.refused.Set(0)
	m.leading.Set(0)
}

func (m *metrics) show() {
	m.endpoints.WithLabelValues(string(health.Unknown)).Set(float64(m.total.unknown))
	m.endpoints.WithLabelValues(string(health.Up)).Set(float64(m.total.up))
	m.endpoints.WithLabelValues(string(health.Down)).Set(float64(m.total.down))
	m.frozen.Set(float64(m.total.frozen))
	m.held.Set(float64(m.total.held))
	m.would.Set(float64(m.total.would))
	m.out.WithLabelValues(spec.ModeEnforce).Set(float64(m.total.out))
	m.out.WithLabelValues(spec.ModeObserve).Set(float64(m.total.wouldOut))
}
