package notify

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	posts *prometheus.CounterVec
}

// newMetrics counts posts and, when they are asked for, targets.
func newMetrics(reg prometheus.Registerer, t *Teller) (*metrics, error) {
	m := &metrics{posts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gtm_control_event_posts_total",
		Help: "Messages to webhooks and Alertmanagers, by result: sent, failed (and tried again), and events dropped."},
		[]string{"result"})}
	for _, result := range []string{"sent", "failed", "dropped"} {
		m.posts.WithLabelValues(result)
	}
	if reg == nil {
		return m, nil
	}
	failing := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gtm_control_event_targets_failing",
		Help: "Targets of events that took none last, where this control tells them."}, func() float64 { return float64(t.failing()) })
	teller := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "gtm_control_event_teller_info",
		Help: "1 where this control tells events to webhooks and Alertmanagers."}, func() float64 {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.teller {
			return 1
		}
		return 0
	})
	for _, c := range []prometheus.Collector{m.posts, failing, teller} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) count(result string, n int) { m.posts.WithLabelValues(result).Add(float64(n)) }

// failing counts the targets that took nothing last.
func (t *Teller) failing() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, g := range t.targets {
		g.mu.Lock()
		if g.fault != "" {
			n++
		}
		g.mu.Unlock()
	}
	return n
}
