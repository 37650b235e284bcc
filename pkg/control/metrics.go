package control

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are labelled by operation (a pattern of the API, never a path as sent) and status code.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	edges    *prometheus.GaugeVec
	pushes   *prometheus.CounterVec
	limited  prometheus.Counter
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
		pushes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gtm_control_pushes_total",
			Help: "Lists of endpoints that were pushed, by what became of them: written, same (the store has them), late (their tenant " +
				"has written its share), failed (the store did not take them).",
		}, []string{"outcome"}),
		limited: prometheus.NewCounter(prometheus.CounterOpts{Name: "gtm_control_limited_requests_total",
			Help: "Requests that were refused since their tenant made more a second than its quota allows."}),
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.seconds, m.edges, m.pushes, m.limited} {
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

// pushed counts the lists of a push, of which so many were news.
func (m *metrics) pushed(news, all int, err error) {
	var status huma.StatusError
	switch {
	case err == nil:
		m.pushes.WithLabelValues("written").Add(float64(news))
		m.pushes.WithLabelValues("same").Add(float64(all - news))
	case errors.As(err, &status) && status.GetStatus() == http.StatusTooManyRequests:
		m.pushes.WithLabelValues("late").Add(float64(all))
	default:
		m.pushes.WithLabelValues("failed").Add(float64(all))
	}
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
