package alias

import "github.com/prometheus/client_golang/prometheus"

// metrics of a Keeper.
type metrics struct {
	k         *Keeper
	questions *prometheus.CounterVec
	refused   prometheus.Counter
}

var (
	descTargets    = prometheus.NewDesc("gtm_alias_targets", "Hosts outside that aliases lead to.", nil, nil)
	descUnresolved = prometheus.NewDesc("gtm_alias_unresolved_targets", "Targets that were never resolved: SERVFAIL.", nil, nil)
	descFailing    = prometheus.NewDesc("gtm_alias_failing_targets", "Targets of which a question failed last time.", nil, nil)
	descStale      = prometheus.NewDesc("gtm_alias_stale_seconds",
		"How old the oldest result is that could not be refreshed; 0: there is none.", nil, nil)
)

func newMetrics(k *Keeper, reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{k: k,
		questions: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gtm_alias_questions_total",
			Help: "Targets asked for, both families together, by result."}, []string{"result"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "gtm_alias_refused_addresses_total",
			Help: "Addresses left out of results: loopback, link-local and the like."}),
	}
	m.questions.WithLabelValues("ok")
	m.questions.WithLabelValues("failed")
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.questions, m.refused, m} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) count(o outcome) {
	result := "ok"
	if o.err != nil {
		result = "failed"
	}
	m.questions.WithLabelValues(result).Inc()
	m.refused.Add(float64(o.found.refused))
}

// Describe is for prometheus.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descTargets, descUnresolved, descFailing, descStale} {
		ch <- d
	}
}

// Collect is for prometheus.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	var unresolved, failing int
	var stale float64
	m.k.mu.Lock()
	now := m.k.cfg.Now()
	for _, t := range m.k.targets {
		if t.entries[everywhere].result.At.IsZero() {
			unresolved++
		}
		fails := 0
		for _, e := range t.entries {
			if e.failures == 0 {
				continue
			}
			fails = 1
			if at := e.result.At; !at.IsZero() {
				stale = max(stale, now.Sub(at).Seconds())
			}
		}
		failing += fails
	}
	n := len(m.k.targets)
	m.k.mu.Unlock()
	for d, v := range map[*prometheus.Desc]float64{descTargets: float64(n), descUnresolved: float64(unresolved),
		descFailing: float64(failing), descStale: stale} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
}
