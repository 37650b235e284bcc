package serve

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/serve/cert"
	"github.com/gti/gtm/pkg/serve/datagram"
	"github.com/gti/gtm/pkg/serve/guard"
	"github.com/gti/gtm/pkg/serve/seam"
)

// counters is the description of each count; drops share one, told apart by reason.
var (
	perTransport = []string{"transport", "family"}
	dropped      = prometheus.NewDesc("gtm_serve_drops_total", "Messages that got no reply.",
		[]string{"transport", "family", "reason"}, nil)
	counters = [guard.NumCounts]struct {
		desc   *prometheus.Desc
		reason string
	}{
		guard.CountPackets:   {desc: prometheus.NewDesc("gtm_serve_packets_total", "Messages that came.", perTransport, nil)},
		guard.CountReplies:   {desc: prometheus.NewDesc("gtm_serve_replies_total", "Replies sent.", perTransport, nil)},
		guard.CountTruncated: {desc: prometheus.NewDesc("gtm_serve_truncated_total", "Replies that were truncated.", perTransport, nil)},
		guard.CountBatches: {desc: prometheus.NewDesc("gtm_serve_batches_total", "Batches in which messages were handled.", perTransport,
			nil)},
		guard.CountPanics: {desc: prometheus.NewDesc("gtm_serve_panics_total", "Messages that made the handler panic.", perTransport, nil)},
		guard.CountQuarantined: {desc: prometheus.NewDesc("gtm_serve_quarantined_total",
			"Messages refused because their like made the handler panic.", perTransport, nil)},
		guard.CountDropHandler: {dropped, "handler"},
		guard.CountDropEmpty:   {dropped, "empty"},
		guard.CountDropPort0:   {dropped, "port0"},
		guard.CountDropLarge:   {dropped, "large"},
		guard.CountDropFrame:   {dropped, "frame"},
		guard.CountDropShort:   {dropped, "short"},
		guard.CountDropFailed:  {dropped, "failed"},
		guard.CountDropBusy:    {dropped, "busy"},
		guard.CountDropSlow:    {dropped, "slow"},
		guard.CountDropRate:    {dropped, "rate"},
		guard.CountDeferred: {desc: prometheus.NewDesc("gtm_serve_deferred_total", "Messages that needed slow work.",
			perTransport, nil)},
		guard.CountLimited: {desc: prometheus.NewDesc("gtm_serve_limited_total",
			"Replies beyond the rate limit: dropped, slipped or, in a dry run, sent.", perTransport, nil)},
		guard.CountSlipped: {desc: prometheus.NewDesc("gtm_serve_slipped_total",
			"Replies beyond the rate limit that were sent truncated.", perTransport, nil)},
	}
	byTransport = []string{"transport"}
	openDesc    = prometheus.NewDesc("gtm_serve_connections_open", "Connections that are open.", byTransport, nil)
	openedDesc  = prometheus.NewDesc("gtm_serve_connections_total", "Connections accepted.", byTransport, nil)
	refusedDesc = prometheus.NewDesc("gtm_serve_connections_refused_total",
		"Connections closed at once, because their client has too many.", byTransport, nil)
	evictedDesc = prometheus.NewDesc("gtm_serve_connections_evicted_total",
		"Connections closed to make room for new ones.", byTransport, nil)
	overloadDesc = prometheus.NewDesc("gtm_serve_messages_refused_total",
		"Messages of HTTPS and QUIC refused, because too many were under way.", byTransport, nil)
	expiryDesc = prometheus.NewDesc("gtm_serve_certificate_expiry_seconds",
		"When the certificate in use ends, in Unix time.", []string{"file"}, nil)
	badDesc = prometheus.NewDesc("gtm_serve_certificate_refused",
		"1 while the certificate's files hold something else than the certificate in use, and it can't be used.", []string{"file"}, nil)
	xdpDesc = prometheus.NewDesc("gtm_serve_xdp_queues",
		"Receive queues that are served past the kernel's stack; 0 with the mode none where the sockets serve.",
		[]string{"interface", "mode"}, nil)
	xdpLostDesc = prometheus.NewDesc("gtm_serve_xdp_lost_total",
		"Datagrams that the kernel has dropped because a queue's socket had no room.", []string{"interface"}, nil)
	heldDesc = prometheus.NewDesc("gtm_serve_quarantine_entries", "Messages that are refused now.", nil, nil)
)

// collector exposes the sheets of all workers, the connections and the certificates.
type collector struct {
	counts     *guard.Counts
	conns      *guard.Conns
	quarantine *guard.Quarantine
	keys       *cert.Keyring
	ways       []*datagram.Way
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for t, families := range c.counts.Totals() {
		for f, tally := range families {
			for i, n := range tally {
				labels := []string{Transport(t).String(), seam.FamilyNames[f]}
				if r := counters[i].reason; r != "" {
					labels = append(labels, r)
				}
				ch <- prometheus.MustNewConstMetric(counters[i].desc, prometheus.CounterValue, float64(n), labels...)
			}
		}
	}
	for t, n := range c.conns.Stats() {
		label := Transport(t).String()
		ch <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, float64(n.Open), label)
		ch <- prometheus.MustNewConstMetric(openedDesc, prometheus.CounterValue, float64(n.Opened), label)
		ch <- prometheus.MustNewConstMetric(refusedDesc, prometheus.CounterValue, float64(n.Refused), label)
		ch <- prometheus.MustNewConstMetric(evictedDesc, prometheus.CounterValue, float64(n.Evicted), label)
		ch <- prometheus.MustNewConstMetric(overloadDesc, prometheus.CounterValue, float64(n.Overload), label)
	}
	for _, p := range c.keys.Status() {
		ch <- prometheus.MustNewConstMetric(expiryDesc, prometheus.GaugeValue, float64(p.Expiry.Unix()), p.File)
		ch <- prometheus.MustNewConstMetric(badDesc, prometheus.GaugeValue, p.Refused, p.File)
	}
	for _, w := range c.ways {
		mode, queues, lost := w.State()
		ch <- prometheus.MustNewConstMetric(xdpDesc, prometheus.GaugeValue, float64(queues), w.Name, mode)
		ch <- prometheus.MustNewConstMetric(xdpLostDesc, prometheus.CounterValue, float64(lost), w.Name)
	}
	ch <- prometheus.MustNewConstMetric(heldDesc, prometheus.GaugeValue, float64(c.quarantine.Size()))
}
