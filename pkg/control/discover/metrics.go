package discover

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/store/state"
)

// metrics are of looks, where this control makes them, and of what the store says of sources, at each control.
type metrics struct {
	f      *Finder
	looks  *prometheus.CounterVec
	finder prometheus.Gauge
}

var (
	descSources = prometheus.NewDesc("gtm_control_sources", "Sources of endpoints that ever had some.", nil, nil)
	descFailing = prometheus.NewDesc("gtm_control_sources_failing", "Sources of endpoints that fail: what they had last is kept.", nil, nil)
	descStale   = prometheus.NewDesc("gtm_control_sources_stale_seconds",
		"How long ago the failing source that was good longest ago was good; 0: none fails.", nil, nil)
	descFound = prometheus.NewDesc("gtm_control_sources_endpoints", "Endpoints that sources have.", nil, nil)
)

func newMetrics(reg prometheus.Registerer, f *Finder) (*metrics, error) {
	m := &metrics{f: f,
		looks: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gtm_control_source_looks_total",
			Help: "Looks at sources of endpoints by this control, by result."}, []string{"result"}),
		finder: prometheus.NewGauge(prometheus.GaugeOpts{Name: "gtm_control_finder_info",
			Help: "1 where this control looks for endpoints."}),
	}
	m.looks.WithLabelValues("good")
	m.looks.WithLabelValues("failed")
	m.looks.WithLabelValues("late")
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.looks, m.finder, m} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Describe is for prometheus.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descSources, descFailing, descStale, descFound} {
		ch <- d
	}
}

// Collect is for prometheus.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	var failing, stale, endpoints float64
	now, all := m.f.cfg.Now(), state.Discovered.All(m.f.cfg.Mirror)
	for _, f := range all {
		endpoints += float64(len(f.Endpoints))
		if f.Failed.IsZero() {
			continue
		}
		if failing++; !f.Good.IsZero() {
			stale = max(stale, now.Sub(f.Good).Seconds())
		}
	}
	for d, v := range map[*prometheus.Desc]float64{descSources: float64(len(all)), descFailing: failing, descStale: stale,
		descFound: endpoints} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
}
