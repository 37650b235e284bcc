package transfer

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	tsig, transfers, notifies *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		tsig: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gtm_transfer_tsig_total",
			Help: "Messages with a TSIG record, by what became of it: good, badkey, badsig, badtime, badtrunc."}, []string{"result"}),
		transfers: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gtm_transfer_out_total",
			Help: "Questions for zone transfers, by kind (axfr, ixfr) and result (sent, current, refused, failed)."},
			[]string{"kind", "result"}),
		notifies: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gtm_transfer_notify_total",
			Help: "NOTIFY messages sent, by result: answered, failed."}, []string{"result"}),
	}
	if r == nil {
		return m, nil
	}
	return m, errors.Join(r.Register(m.tsig), r.Register(m.transfers), r.Register(m.notifies))
}
