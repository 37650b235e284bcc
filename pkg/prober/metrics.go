package prober

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

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
		frozen: f.NewGauge(prometheus.GaugeOpts{Name: "gtm_prober_brake_frozen_tenants", Help: "Tenants whose verdicts the brake holds."}),
		held: f.NewGauge(prometheus.GaugeOpts{Name: "gtm_prober_brake_held_endpoints",
			Help: "Endpoints that failed and that the brake holds."}),
		would: f.NewGauge(prometheus.GaugeOpts{Name: "gtm_prober_brake_observed_endpoints",
			Help: "Endpoints that went down and that the brake would hold, did it not only observe."}),
		out: f.NewGaugeVec(prometheus.GaugeOpts{Name: "gtm_prober_pools_out",
			Help: "Pools that failed and stay out until a person resumes them, by mode: enforce, observe (they would)."}, []string{"mode"}),
		tenants: map[string]tenantCount{},
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

// judged takes what is held of a tenant now, and reports whether the brake took hold or let go, or would have.
func (m *metrics) judged(tenant string, verdicts map[health.PoolID]health.Verdict, tally health.Tally) bool {
	var c tenantCount
	for id, v := range verdicts {
		if _, region := id.Declared(); region != "" {
			continue // endpoints count once
		}
		if v.Out.Enforced() {
			c.out++
		} else if v.Out != nil {
			c.wouldOut++
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
	if tally.Frozen {
		c.frozen, c.held = 1, tally.Held
	}
	c.would = tally.Would
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.tenants[tenant]
	m.total = m.total.plus(old, -1).plus(c, 1)
	if m.tenants[tenant] = c; c == (tenantCount{}) {
		delete(m.tenants, tenant)
	}
	m.show()
	return old.frozen != c.frozen || (old.would > 0) != (c.would > 0)
}

// endTerm forgets what was held as the judge.
func (m *metrics) endTerm() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.tenants)
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
