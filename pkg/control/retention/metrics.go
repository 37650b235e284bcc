package retention

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	pruner, failing   prometheus.Gauge
	generations, runs prometheus.Counter
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		pruner: prometheus.NewGauge(prometheus.GaugeOpts{Name: "gtm_control_pruner",
			Help: "1 where this control is elected to remove what is older than the retention."}),
		failing: prometheus.NewGauge(prometheus.GaugeOpts{Name: "gtm_control_prune_failing",
			Help: "1 where what is older than the retention cannot be removed, so that the store grows."}),
		generations: prometheus.NewCounter(prometheus.CounterOpts{Name: "gtm_control_pruned_generations_total",
			Help: "Generations of tenants that this control removed from the store."}),
		runs: prometheus.NewCounter(prometheus.CounterOpts{Name: "gtm_control_pruned_runs_total",
			Help: "Runs of zone content that this control removed from the store, since nothing referred to them."}),
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.pruner, m.failing, m.generations, m.runs} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
