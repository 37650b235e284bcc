package guard

import (
	"sync"
	"sync/atomic"

	"github.com/gti/gtm/pkg/serve/seam"
)

// Count names what workers count, per transport and family.
type Count uint8

const (
	CountPackets Count = iota
	CountReplies
	CountTruncated
	CountBatches
	CountPanics
	CountQuarantined
	CountDropHandler // the Handler wanted no reply
	CountDropEmpty   // the Handler wanted a reply of no bytes
	CountDropPort0   // a source port to which nothing can be sent
	CountDropLarge   // longer than a slot
	CountDropFrame   // past the kernel's stack: not a whole and sound datagram
	CountDropShort   // on a stream: too short for a header
	CountDropFailed  // sending it failed
	CountDropBusy    // the send buffer stayed full
	CountDropSlow    // no room in the queue for slow work
	CountDropRate    // beyond the rate limit
	CountDeferred
	CountLimited
	CountSlipped
	NumCounts
)

// Tally is what a worker has counted since it last published. It belongs to the worker.
type Tally [NumCounts]uint64

// Sheet is what one worker has counted. Its worker alone writes, by plain load and store; anyone may read, and
// nothing depends on what they read. The padding keeps workers out of each other's cache lines (and out of reach of
// the prefetcher, which takes them in pairs).
type Sheet struct {
	_         [128]byte
	cells     [NumCounts]atomic.Uint64
	_         [128]byte
	transport seam.Transport
	Family    uint8 // index of seam.FamilyNames
}

// Publish moves t to s.
func (s *Sheet) Publish(t *Tally) {
	for i, n := range t {
		if n != 0 {
			s.cells[i].Store(s.cells[i].Load() + n)
			t[i] = 0
		}
	}
}

// Counts holds the sheets of all workers. Safe for concurrent use.
type Counts struct {
	mu     sync.Mutex
	sheets []*Sheet
}

// NewSheet makes the sheet of one more worker.
func (c *Counts) NewSheet(t seam.Transport, family uint8) *Sheet {
	s := &Sheet{transport: t, Family: family}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sheets = append(c.sheets, s)
	return s
}

// Totals sums all counts over workers.
func (c *Counts) Totals() (sum [seam.NumTransports + 1][2]Tally) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sheets {
		for i := range s.cells {
			sum[s.transport][s.Family][i] += s.cells[i].Load()
		}
	}
	return sum
}
