package store

import (
	"errors"
	"sync/atomic"
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
	space       *prometheus.GaugeVec
	full        prometheus.Gauge
	contact     atomic.Pointer[time.Time] // when etcd was last heard of; nil: never
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
	m.space = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gtm_store_etcd_bytes",
		Help: "Of the etcd member that has the least left: size of its database, what of that is in use, and its quota. 0: not known."},
		[]string{"what"})
	m.full = prometheus.NewGauge(prometheus.GaugeOpts{Name: "gtm_store_etcd_full",
		Help: "1 while etcd takes no writes, since its quota is used up."})
	contact := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gtm_store_contact_age_seconds",
		Help: "Time since the followed etcd was last heard of; -1: never."}, m.contactAge)
	return m, register(reg, m.followState, m.cursor, m.resyncs, m.broken, m.commits, m.space, m.full, contact)
}

func (m *metrics) contactAge() float64 {
	if at := m.contact.Load(); at != nil {
		return time.Since(*at).Seconds() // by a clock that nobody sets
	}
	return -1
}

func (m *metrics) lastContact() time.Time {
	if at := m.contact.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

func (m *metrics) showSpace(s Space) {
	for what, bytes := range map[string]int64{"size": s.Size, "in_use": s.InUse, "quota": s.Quota} {
		m.space.WithLabelValues(what).Set(float64(bytes))
	}
	m.full.Set(0)
	if s.Full {
		m.full.Set(1)
	}
}

func (m *metrics) heard() {
	now := time.Now()
	m.contact.Store(&now)
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

// register adds collectors to reg, which may be nil.
func register(reg prometheus.Registerer, cs ...prometheus.Collector) error {
	if reg == nil {
		return nil
	}
	for _, c := range cs {
		if err := reg.Register(c); err != nil {
			return err
		}
	}
	return nil
}
