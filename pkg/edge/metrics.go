package edge

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/dnswire"
	"github.com/gti/gtm/pkg/edge/course"
	"github.com/gti/gtm/pkg/geo"
	"github.com/gti/gtm/pkg/store/state"
	"github.com/gti/gtm/pkg/table"
)

// metrics of an edge. What the workers count is read where it lies, when it is asked for.
type metrics struct {
	edge        *Edge
	compile     prometheus.Histogram
	refusals    prometheus.Counter
	files       [2]fileMetrics // by geo.Source
	mapsRefused prometheus.Counter
	mapChanges  *prometheus.CounterVec
}

// fileMetrics are those of the files of one source.
type fileMetrics struct {
	refused          prometheus.Counter
	opened, compiled prometheus.Histogram
}

var (
	descQueries = prometheus.NewDesc("gtm_edge_queries_total", "Queries answered, by zone (none: they belong to no zone) and rcode.",
		[]string{"zone", "rcode"}, nil)
	descAnswers = prometheus.NewDesc("gtm_edge_service_answers_total", "Steered answers of services that ask for series, by pool.",
		[]string{"tenant", "service", "pool"}, nil)
	descGeneration = prometheus.NewDesc("gtm_edge_generation", "The generation of each tenant that is answered from.",
		[]string{"tenant"}, nil)
	descBroken = prometheus.NewDesc("gtm_edge_broken_resources", "Resources that are not served as declared.", nil, nil)
	descActs   = prometheus.NewDesc("gtm_edge_pools_moved",
		"Pools whose traffic something moves by itself (resume, depends, slowStart), by mode: enforce, observe (it would).",
		[]string{"by", "mode"}, nil)
	descLocal = prometheus.NewDesc("gtm_edge_local_overrides", "Overrides of this edge alone, which it was told past the store.", nil, nil)
	descHeld  = prometheus.NewDesc("gtm_edge_held_services", "Services that are frozen by a hold.", nil, nil)
	descApart = prometheus.NewDesc("gtm_edge_held_pools_apart", "Pools of held services that would answer otherwise by what is known now.",
		nil, nil)
	descHeldBack = prometheus.NewDesc("gtm_edge_held_generation",
		"The generation that a tenant is served at, where that is not the newest; why: refused, crashed, rollout.",
		[]string{"tenant", "why"}, nil)
	descView       = prometheus.NewDesc("gtm_edge_view_serial", "Views published since the start.", nil, nil)
	descPublished  = prometheus.NewDesc("gtm_edge_view_published_seconds", "When the view was published, in Unix time.", nil, nil)
	descPartitions = prometheus.NewDesc("gtm_edge_partitions", "Compiled partitions of the address space.", nil, nil)
	descPartBytes  = prometheus.NewDesc("gtm_edge_partitions_bytes", "Size of the compiled partitions.", nil, nil)
	descSource     = prometheus.NewDesc("gtm_edge_source_state_info", "1 for the state that the source is in.", []string{"state"}, nil)
	descSince      = prometheus.NewDesc("gtm_edge_source_since_seconds", "Since when the source is in its state, in Unix time.", nil, nil)
	descSnapAge    = prometheus.NewDesc("gtm_edge_snapshot_age_seconds", "How old the state on disk is; absent where there is none.", nil,
		nil)
	descCookiesOK = prometheus.NewDesc("gtm_edge_cookie_secrets_ok_info",
		"1 unless the file of cookie secrets could not be used last time.", nil, nil)
	descPulseAge = prometheus.NewDesc("gtm_edge_health_pulse_age_seconds",
		"Time since the judge of health was last heard through the store; -1: never.", nil, nil)
	descMapNetworks = prometheus.NewDesc("gtm_edge_map_file_networks", "Networks that the map files hold; absent without such files.",
		nil, nil)
	descMeasured = prometheus.NewDesc("gtm_edge_latency_measured_seconds",
		"When what the latency table says was measured, in Unix time; absent where there is none.", nil, nil)
	descLatencyNetworks = prometheus.NewDesc("gtm_edge_latency_networks", "Networks of the latency table; absent where there is none.",
		nil, nil)
	descSnapOK = prometheus.NewDesc("gtm_edge_snapshot_ok_info", "1 unless the snapshot could not be read or written last time.", nil, nil)
)

func newMetrics(e *Edge, reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{edge: e,
		compile: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "gtm_edge_compile_seconds",
			Help: "How long it took to make a view.", Buckets: []float64{.0001, .0003, .001, .003, .01, .03, .1, .3, 1, 3}}),
		refusals: prometheus.NewCounter(prometheus.CounterOpts{Name: "gtm_edge_generations_refused_total",
			Help: "Generations that were refused, and the one before served on."}),
		mapsRefused: prometheus.NewCounter(prometheus.CounterOpts{Name: "gtm_edge_map_files_refused_total",
			Help: "Map files that were refused."}),
		mapChanges: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gtm_edge_map_file_changes_total",
			Help: "Networks of map files that were added, removed or renamed by new files."}, []string{"change"}),
		files: [2]fileMetrics{
			geo.Geography: {
				refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "gtm_edge_geo_refused_total",
					Help: "Geography files that were refused."}),
				opened:   geoSeconds("gtm_edge_geo_open_seconds", "How long it took to read and walk new geography files."),
				compiled: geoSeconds("gtm_edge_geo_compile_seconds", "How long it took to compile all partitions of new geography files."),
			},
			geo.LatencySource: {
				refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "gtm_edge_latency_refused_total",
					Help: "Latency tables that were refused."}),
				opened: geoSeconds("gtm_edge_latency_open_seconds", "How long it took to read and walk a new latency table."),
				compiled: geoSeconds("gtm_edge_latency_compile_seconds",
					"How long it took to compile all partitions by a new latency table."),
			},
		},
	}
	if reg == nil {
		return m, nil
	}
	list := []prometheus.Collector{m.compile, m.refusals, m.mapsRefused, m.mapChanges, m}
	for _, f := range m.files {
		list = append(list, f.refused, f.opened, f.compiled)
	}
	for _, c := range list {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func geoSeconds(name, help string) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: []float64{.03, .1, .3, 1, 3, 10, 30, 100}})
}

// Describe sends nothing: the series depend on what is configured, so the collector is unchecked.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// Collect reads view and status.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	m.status(gauge)
	m.edge.mu.Lock()
	local := len(m.edge.local.shown)
	m.edge.mu.Unlock()
	gauge(descLocal, float64(local))
	queries(ch, m.edge.elsewhere)
	v := m.edge.view.Load()
	if v == nil {
		return
	}
	gauge(descView, float64(v.Serial))
	gauge(descPublished, float64(v.Published.UnixMilli())/1000)
	n, size := v.Parts()
	gauge(descPartitions, float64(n))
	gauge(descPartBytes, float64(size))
	if t := v.Atlas.Latency(); t != nil && !t.Empty() {
		gauge(descMeasured, float64(t.Info().Built.Unix()))
		gauge(descLatencyNetworks, float64(t.Info().Networks))
	}
	for tenant, g := range v.Heads {
		gauge(descGeneration, float64(g), tenant)
	}
	gauge(descHeld, float64(v.Held.Services))
	gauge(descApart, float64(v.Held.Apart))
	for act, n := range v.Acts {
		gauge(descActs, float64(n), act.What, act.Mode)
	}
	for _, z := range v.Zones() {
		queries(ch, z.Counts)
	}
	for _, z := range v.Void() {
		if z.Counts != nil {
			queries(ch, z.Counts)
		}
	}
	for _, c := range v.ServiceCounts() {
		for i, pool := range c.Pools {
			ch <- prometheus.MustNewConstMetric(descAnswers, prometheus.CounterValue, float64(c.Answers[i].Load()), c.Tenant,
				c.Service, pool)
		}
	}
}

// queries sends the counters of one zone.
func queries(ch chan<- prometheus.Metric, z *table.ZoneCounts) {
	for rcode := range 16 {
		sum := uint64(0)
		for i := range z.Rows {
			sum += z.Rows[i][rcode].Load()
		}
		if sum > 0 || rcode == int(dnswire.RcodeSuccess) || rcode == int(dnswire.RcodeNXDomain) {
			ch <- prometheus.MustNewConstMetric(descQueries, prometheus.CounterValue, float64(sum), z.Zone, rcodeLabel(rcode))
		}
	}
}

func (m *metrics) status(gauge func(*prometheus.Desc, float64, ...string)) {
	e := m.edge
	e.mu.Lock()
	status, broken, snap, files, held := e.status, len(e.broken), e.snapshot, e.maps.files, e.taking.held
	e.mu.Unlock()
	for _, h := range held {
		gauge(descHeldBack, float64(h.Serves), h.Tenant, whyHeld(h))
	}
	gauge(descBroken, float64(broken))
	for _, s := range []string{state.Connecting, state.Current, state.Stale, state.Refused} {
		gauge(descSource, float64(boolToInt(s == status.State)), s)
	}
	gauge(descSince, float64(status.Since.UnixMilli())/1000)
	gauge(descPulseAge, e.pulseAge())
	gauge(descCookiesOK, float64(boolToInt(!e.cookies.failed.Load())))
	if files != nil {
		gauge(descMapNetworks, float64(files.Len()))
	}
	gauge(descSnapOK, float64(boolToInt(snap.err == "")))
	if !snap.written.IsZero() {
		gauge(descSnapAge, e.cfg.Now().Sub(snap.written).Seconds())
	}
}

func rcodeLabel(rcode int) string {
	if rcode == 15 {
		return "other"
	}
	if s := dnswire.RcodeString(uint16(rcode)); s != "" {
		return s
	}
	return strconv.Itoa(rcode)
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// whyHeld says in a word why a tenant is not served at its newest generation.
func whyHeld(h course.Held) string {
	switch {
	case h.Refused == nil:
		return "rollout"
	case h.Refused.Crashed:
		return "crashed"
	}
	return "refused"
}
