package keys

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/zone/dnssec"
)

// metrics tell how signed zones fare. Like all of the control room's they are named gtm_control_.
type metrics struct {
	zones    *prometheus.GaugeVec
	expiry   prometheus.Gauge
	failures prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		zones: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gtm_control_keys_zones",
			Help: "Zones by how their keys fare: signed, waiting (for the parent), failing."}, []string{"state"}),
		expiry: prometheus.NewGauge(prometheus.GaugeOpts{Name: "gtm_control_keys_first_expiry_timestamp_seconds",
			Help: "When the first signature of any zone's key sets expires; 0: no zone is signed."}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "gtm_control_keys_failures_total",
			Help: "Times that the keys of a zone could not be looked after."}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.zones, m.expiry, m.failures} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) show(keysets map[string]dnssec.Keyset, zones map[string]*zone) {
	count := map[string]int{"signed": 0, "waiting": 0, "failing": 0}
	first := int64(0)
	for _, ks := range keysets {
		if t := ks.Until.Unix(); first == 0 || t < first {
			first = t
		}
	}
	for _, z := range zones {
		switch {
		case z.err != nil:
			count["failing"]++
		case z.event.Waiting != "":
			count["waiting"]++
		default:
			count["signed"]++
		}
	}
	for state, n := range count {
		m.zones.WithLabelValues(state).Set(float64(n))
	}
	m.expiry.Set(float64(first))
}
