package rollout

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/store/state"
)

type metrics struct{ states *prometheus.GaugeVec }

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gtm_control_rollouts",
		Help: "Rollouts of tenants, by state: done, soaking, paused, stopped; of the control that drives them."}, []string{"state"})}
	if reg == nil {
		return m, nil
	}
	return m, reg.Register(m.states)
}

func (m *metrics) show(mirror *state.Mirror) {
	n := map[string]int{state.RolloutDone: 0, state.RolloutSoaking: 0, state.RolloutPaused: 0, state.RolloutStopped: 0}
	for _, a := range state.Aims.All(mirror) {
		if a.Rollout != nil {
			n[a.Rollout.State]++
		}
	}
	for s, count := range n {
		m.states.WithLabelValues(s).Set(float64(count))
	}
}
