package geo

import (
	"cmp"
	"iter"
	"math"
	"slices"
	"sort"
	"time"
)

// Latency is what a latency table knows of a network: how far, in time, some sites are from it. Immutable. In one atlas equal ones are
// one pointer, so that places compare. nil, as of a network of which nothing is known, has no sites.
//
// Numbers are kept rounded, so that millions of networks have few different ones: milliseconds to whole ones up to 100, and to steps of
// 5 % above; samples downward to 1, 2, 3, 5, 10 and so on, up to 1,000.
type Latency struct {
	table *latencies
	at    uint32 // in table.rows, where its own begin
	count uint32 // of them
}

// SiteLatency is the latency of one site, seen from a network.
type SiteLatency struct {
	Site         string // its name
	Milliseconds float64
	Samples      int // the measurements that it stands on, 1 to 1,000; 1,000 may be more
}

const (
	// LatencyType is the database_type of latency tables.
	LatencyType = "gtm-Latency"
	// MaxLatencySites is how many sites a latency table may know, MaxNetworkSites how many of them of one network.
	MaxLatencySites = 1024
	MaxNetworkSites = 64
	// MostSamples is the highest number of samples that is told apart: it stands for all above, too.
	MostSamples = 1000
)

// RoundLatency gives the numbers as a Latency tells them.
func RoundLatency(milliseconds float64, samples int) (float64, int) {
	r := latencyRow{ms: millisecondStep(milliseconds), sample: sampleStep(samples)}
	return r.milliseconds(), r.samples()
}

// NewLatency makes a Latency by itself, for who has no file of them. No site may stand twice.
func NewLatency(measured time.Time, sites ...SiteLatency) *Latency {
	t := newLatencies(measured, 1)
	rows := make([]latencyRow, len(sites))
	for i, s := range slices.SortedFunc(slices.Values(sites), func(a, b SiteLatency) int { return cmp.Compare(a.Site, b.Site) }) {
		rows[i] = latencyRow{t.site(s.Site), millisecondStep(s.Milliseconds), sampleStep(s.Samples)}
	}
	return t.get(t.id(rows))
}

// Of gives how far a site is, on how many measurements that stands, and when they were made. Not ok: it is not known.
func (l *Latency) Of(site string) (milliseconds float64, samples int, measured time.Time, ok bool) {
	if l == nil {
		return 0, 0, time.Time{}, false
	}
	rows := l.rows()
	id, ok := l.table.index[site]
	if !ok {
		return 0, 0, time.Time{}, false
	}
	i, ok := slices.BinarySearchFunc(rows, id, func(r latencyRow, id uint16) int { return cmp.Compare(r.site, id) })
	if !ok {
		return 0, 0, time.Time{}, false
	}
	return rows[i].milliseconds(), rows[i].samples(), l.table.measured, true
}

// All goes through the sites that are known, sorted by name.
func (l *Latency) All() iter.Seq[SiteLatency] {
	return func(yield func(SiteLatency) bool) {
		if l == nil {
			return
		}
		for _, r := range l.rows() {
			if !yield(SiteLatency{l.table.sites[r.site], r.milliseconds(), r.samples()}) {
				return
			}
		}
	}
}

// NearestFirst lists what is known of the sites, by milliseconds, then by name.
func (l *Latency) NearestFirst() []SiteLatency {
	return slices.SortedFunc(l.All(), func(a, b SiteLatency) int {
		return cmp.Or(cmp.Compare(a.Milliseconds, b.Milliseconds), cmp.Compare(a.Site, b.Site))
	})
}

// Measured is when the measurements were made, the same for all of a table; zero for nil.
func (l *Latency) Measured() time.Time {
	if l == nil {
		return time.Time{}
	}
	return l.table.measured
}

func (l *Latency) rows() []latencyRow { return l.table.rows[l.at:][:l.count] }

// latencyRow is a SiteLatency, rounded.
type latencyRow struct {
	site   uint16 // index into the table's sites
	ms     uint8  // index into millisecondSteps
	sample uint8  // index into sampleSteps
}

func (r latencyRow) milliseconds() float64 { return float64(millisecondSteps[r.ms]) }
func (r latencyRow) samples() int          { return sampleSteps[r.sample] }

// millisecondSteps are the latencies that are told apart; the last is some three minutes.
var millisecondSteps = func() (steps [256]int) {
	for i := range steps {
		steps[i] = i
		if i > 100 {
			steps[i] = int(math.Round(float64(steps[i-1]) * 1.05))
		}
	}
	return steps
}()

// sampleSteps are the numbers of samples that are told apart.
var sampleSteps = [...]int{1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, MostSamples}

// millisecondStep gives the nearest step; of two as near the lower.
func millisecondStep(ms float64) uint8 {
	i := sort.Search(len(millisecondSteps)-1, func(i int) bool { return float64(millisecondSteps[i]) >= ms })
	if i > 0 && ms-float64(millisecondSteps[i-1]) <= float64(millisecondSteps[i])-ms {
		i--
	}
	return uint8(i)
}

// sampleStep gives the last step that is not above n.
func sampleStep(n int) uint8 {
	return uint8(max(1, sort.SearchInts(sampleSteps[:], n+1)) - 1)
}
