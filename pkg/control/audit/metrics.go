package audit

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	entries *prometheus.CounterVec
	seconds prometheus.Histogram
	failing prometheus.Gauge
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		entries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gtm_control_audit_entries_total",
			Help: "Entries of the audit log: written, or failed, and then what they tell of was refused."}, []string{"outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "gtm_control_audit_seconds",
			Help: "How long it took until entries of the audit log were on the disk.", Buckets: []float64{.001, .005, .02, .1, .5, 2}}),
		failing: prometheus.NewGauge(prometheus.GaugeOpts{Name: "gtm_control_audit_failing",
			Help: "1 where the audit log cannot be written, or its disk is full and its reserve is used."}),
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.entries, m.seconds, m.failing} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
