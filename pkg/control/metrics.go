package control

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are labelled by operation (a pattern of the API, never a path as sent) and status code.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	edges    *prometheus.GaugeVec
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gtm_control_requests_total", Help: "Requests to the HTTP API, by operation and status code.",
		}, []string{"operation", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gtm_control_request_seconds", Help: "How long requests to the HTTP API took, by operation.",
			Buckets: []float64{.005, .02, .1, .5, 2, 10, 60},
		}, []string{"operation"}),
		edges: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gtm_control_edges",
			Help: "Edges that are known, each once: alive, silent (without a lease), behind (alive, not known to answer from " +
				"the newest generations).",
		}, []string{"state"}),
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.edges} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) observe(operation string, code int, took time.Duration) {
	if operation == "" {
		operation = "none"
	}
	m.requests.WithLabelValues(operation, strconv.Itoa(code)).Inc()
	m.seconds.WithLabelValues(operation).Observe(took.Seconds())
}

// recorder notes the status of a response, and gives up a client that does not take it.
type recorder struct {
	http.ResponseWriter
	code    int
	slowest time.Time // when all must be written
}

func (r *recorder) WriteHeader(code int) {
	if r.code == 0 {
		r.code = code
	}
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.code == 0 {
		r.code = http.StatusOK
	}
	by := time.Now().Add(writeTime)
	if r.slowest.Before(by) {
		by = r.slowest
	}
	_ = http.NewResponseController(r.ResponseWriter).SetWriteDeadline(by) // a recorder of a test has none
	return r.ResponseWriter.Write(b)
}

// Unwrap lets deadlines through to the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
