package link

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of a link.
type metrics struct {
	space   *prometheus.GaugeVec
	full    prometheus.Gauge
	contact atomic.Pointer[time.Time] // when etcd was last heard of; nil: never
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{}
	m.space = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gtm_store_etcd_bytes",
		Help: "Of the etcd member that has the least left: size of its database, what of that is in use, and its quota. 0: not known."},
		[]string{"what"})
	m.full = prometheus.NewGauge(prometheus.GaugeOpts{Name: "gtm_store_etcd_full",
		Help: "1 while etcd takes no writes, since its quota is used up."})
	contact := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gtm_store_contact_age_seconds",
		Help: "Time since the followed etcd was last heard of; -1: never."}, m.contactAge)
	for _, c := range []prometheus.Collector{m.space, m.full, contact} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
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
