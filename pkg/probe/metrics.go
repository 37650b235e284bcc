package probe

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// metrics of a scheduler. Labels are types and outcomes, never anything that a tenant names.
type metrics struct {
	checks            *prometheus.CounterVec
	latency           *prometheus.HistogramVec
	lag               prometheus.Histogram
	targets, shared   prometheus.Gauge
	waiting, inFlight prometheus.Gauge
	slow              prometheus.Gauge
	cut, rechecks     prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	f := promauto.With(r)
	return &metrics{
		checks: f.NewCounterVec(prometheus.CounterOpts{
			Name: "gtm_probe_checks_total", Help: "Checks made, by type and outcome.",
		}, []string{"type", "outcome"}),
		latency: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gtm_probe_check_duration_seconds", Help: "How long checks took that passed or failed.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 10),
		}, []string{"type"}),
		lag: f.NewHistogram(prometheus.HistogramOpts{
			Name: "gtm_probe_queue_lag_seconds", Help: "How long checks that were due waited to begin.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}),
		targets: f.NewGauge(prometheus.GaugeOpts{Name: "gtm_probe_targets", Help: "Targets that are checked."}),
		shared: f.NewGauge(prometheus.GaugeOpts{Name: "gtm_probe_shared_targets",
			Help: "Targets that take the result of an equal check, which is made for another one."}),
		waiting:  f.NewGauge(prometheus.GaugeOpts{Name: "gtm_probe_waiting_checks", Help: "Checks that are due and wait to begin."}),
		inFlight: f.NewGauge(prometheus.GaugeOpts{Name: "gtm_probe_in_flight_checks", Help: "Checks that run."}),
		slow: f.NewGauge(prometheus.GaugeOpts{
			Name: "gtm_probe_slow_sockets",
			Help: "Sockets of checks that have taken longer than quick ones do, and hold no place of those.",
		}),
		rechecks: f.NewCounter(prometheus.CounterOpts{
			Name: "gtm_probe_rechecks_total",
			Help: "Checks that came sooner than the interval, because the result before called for another one.",
		}),
		cut: f.NewCounter(prometheus.CounterOpts{
			Name: "gtm_probe_cut_checks_total", Help: "Checks that hung and were cut off, because another tenant lacked places of its own.",
		}),
	}
}

func (m *metrics) count(checkType string, r Result) {
	m.checks.WithLabelValues(checkType, r.Outcome.String()).Inc()
	if r.Outcome != Unable {
		m.latency.WithLabelValues(checkType).Observe(r.Latency.Seconds())
	}
}
