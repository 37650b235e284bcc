package snapshot

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	descSnapshotBytes = prometheus.NewDesc("gtm_store_snapshot_bytes",
		"Size of the snapshot on disk, by file: base, journal, and prev: both files of the pair before.", []string{"file"}, nil)
	descSnapshotWrote = prometheus.NewDesc("gtm_store_snapshot_written_bytes_total",
		"Bytes written to the snapshot on disk since the start.", nil, nil)
	descSnapshotAge = prometheus.NewDesc("gtm_store_snapshot_age_seconds",
		"Time since the state on disk was told; -1: there is none.", nil, nil)
)

// Describe is part of prometheus.Collector.
func (s *Snapshot) Describe(ch chan<- *prometheus.Desc) {
	ch <- descSnapshotBytes
	ch <- descSnapshotAge
	ch <- descSnapshotWrote
}

// Collect is part of prometheus.Collector.
func (s *Snapshot) Collect(ch chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := -1.0
	if !s.last.IsZero() {
		age = time.Since(s.last).Seconds()
	}
	ch <- prometheus.MustNewConstMetric(descSnapshotAge, prometheus.GaugeValue, age)
	ch <- prometheus.MustNewConstMetric(descSnapshotWrote, prometheus.CounterValue, float64(s.written))
	ch <- prometheus.MustNewConstMetric(descSnapshotBytes, prometheus.GaugeValue, float64(s.bytes.base), "base")
	ch <- prometheus.MustNewConstMetric(descSnapshotBytes, prometheus.GaugeValue, float64(s.bytes.journal), "journal")
	ch <- prometheus.MustNewConstMetric(descSnapshotBytes, prometheus.GaugeValue, float64(s.bytes.prev), "prev")
}
