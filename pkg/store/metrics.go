package store

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/store/state"
)

// metrics of a client. The gauges show the follower of configuration that spoke last.
type metrics struct {
	followState *prometheus.GaugeVec
	cursor      prometheus.Gauge
	resyncs     prometheus.Counter
	broken      prometheus.Gauge
	commits     *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		followState: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gtm_store_follow_state_info",
			Help: "1 for the state in which following the store is: connecting, current, stale or refused."}, []string{"state"}),
		cursor: prometheus.NewGauge(prometheus.GaugeOpts{Name: "gtm_store_cursor_revision",
			Help: "The etcd revision up to which the store was followed."}),
		resyncs: prometheus.NewCounter(prometheus.CounterOpts{Name: "gtm_store_resyncs_total",
			Help: "How often the whole state was read anew."}),
		broken: prometheus.NewGauge(prometheus.GaugeOpts{Name: "gtm_store_broken_resources",
			Help: "Resources in the store that cannot be decoded."}),
		commits: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "gtm_store_commit_duration_seconds",
			Help:    "Time that a change took, by result: ok, conflict, too_large, unknown, error.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8)}, []string{"result"}),
	}
	for _, c := range []prometheus.Collector{m.followState, m.cursor, m.resyncs, m.broken, m.commits} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) state(now string) {
	for _, s := range []string{state.Connecting, state.Current, state.Stale, state.Refused} {
		v := 0.0
		if s == now {
			v = 1
		}
		m.followState.WithLabelValues(s).Set(v)
	}
}

func (m *metrics) commit(start time.Time, err error) {
	result := "ok"
	var conflict *ConflictError
	var large *TooLargeError
	var unknown *UnknownError
	switch {
	case errors.As(err, &conflict):
		result = "conflict"
	case errors.As(err, &large):
		result = "too_large"
	case errors.As(err, &unknown):
		result = "unknown"
	case err != nil:
		result = "error"
	}
	m.commits.WithLabelValues(result).Observe(time.Since(start).Seconds())
}
