package signals

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	pushed *prometheus.CounterVec
	writes *prometheus.CounterVec
	late   prometheus.Gauge
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		pushed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gtm_control_signals_total",
			Help: "Signals of endpoints that were pushed, by what became of them: written, merged (they said what was known), refused " +
				"(not believed), late (their tenant has written its share), failed (the store did not take them).",
		}, []string{"outcome"}),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gtm_control_signal_writes_total", Help: "Writes of signals to the store, by outcome: ok, failed.",
		}, []string{"outcome"}),
		late: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gtm_control_late_signal_tenants",
			Help: "Tenants whose signals wait to be written, since they change faster than the tenant's share of the store allows.",
		}),
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.pushed, m.writes, m.late} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) count(outcome string, n int) { m.pushed.WithLabelValues(outcome).Add(float64(n)) }

// wrote counts one write of so many signals.
func (m *metrics) wrote(signals int, err error) {
	outcome, what := "ok", "written"
	if err != nil {
		outcome, what = "failed", "failed"
	}
	m.writes.WithLabelValues(outcome).Inc()
	m.count(what, signals)
}
