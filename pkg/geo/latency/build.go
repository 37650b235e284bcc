// Package latency builds latency tables, as geo.OpenLatency reads them, from lines of text.
package latency

import (
	"cmp"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/gti/gtm/pkg/geo"
)

// Config says what Build makes a latency table from.
type Config struct {
	// Inputs are lines of network, site, milliseconds and samples, with commas between them, as in 192.0.2.0/24,fra,12.5,40. A header
	// that begins with "network" may come first; empty lines, and those that begin with #, count for nothing.
	Inputs []Input
	// Measured is when the measurements were made. It must be given.
	Measured time.Time
}

// Input is one file.
type Input struct {
	Name   string // for messages
	Reader io.Reader
}

// Summary tells what a table was made of, and what is in it.
type Summary struct {
	Lines    int // with measurements
	Networks int // as the lines name them
	Sites    int
	Records  int // different ones
	Dropped  int // sites of networks that were left out, being slower than the geo.MaxNetworkSites fastest
}

// Build writes a latency table. The same input gives the same bytes.
//
// Several lines of one network and one site count by their samples. What is said of a network counts for all of its addresses but those
// of longer networks in the input; those take nothing over from it. Of a line that cannot be used the error says where it stands, and
// what is wrong; then nothing is written.
func Build(w io.Writer, cfg Config) (Summary, error) {
	if cfg.Measured.Unix() <= 0 {
		return Summary{}, errors.New("it is not known when the measurements were made; give the date")
	}
	m := newMeasurements()
	for _, in := range cfg.Inputs {
		if err := m.read(in); err != nil {
			return Summary{}, err
		}
	}
	if len(m.networks) == 0 {
		return Summary{}, errors.New("the input holds no measurements; write lines as in 192.0.2.0/24,fra,12.5,40")
	}
	m.ids = nil // large, and of no use any more
	t := newTable(m.sites)
	s := Summary{Lines: m.lines, Networks: len(m.networks), Sites: len(m.sites)}
	slices.SortFunc(m.networks, func(a, b network) int {
		return cmp.Or(cmp.Compare(a.hi, b.hi), cmp.Compare(a.lo, b.lo), cmp.Compare(a.bits, b.bits))
	})
	var rows []row
	for i := range m.networks {
		n := &m.networks[i]
		rows = m.rowsOf(n, rows[:0])
		if over := len(rows) - geo.MaxNetworkSites; over > 0 {
			rows = fastest(rows)
			s.Dropped += over
		}
		slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(m.sites[a.site], m.sites[b.site]) })
		n.record = t.record(rows)
	}
	s.Records = len(t.records)
	return s, t.write(w, m.networks, cfg.Measured)
}

// fastest gives as many rows as a network may have; of equal ones those of the sites that the input names first.
func fastest(rows []row) []row {
	slices.SortFunc(rows, func(a, b row) int { return cmp.Or(cmp.Compare(a.ms, b.ms), cmp.Compare(a.site, b.site)) })
	return rows[:geo.MaxNetworkSites]
}
