package serve

import (
	"sync"
	"sync/atomic"
)

// count names what workers count, per transport and family.
type count uint8

const (
	countPackets count = iota
	countReplies
	countTruncated
	countBatches
	countPanics
	countQuarantined
	countDropHandler // the Handler wanted no reply
	countDropEmpty   // the Handler wanted a reply of no bytes
	countDropPort0   // a source port to which nothing can be sent
	countDropLarge   // longer than a slot
	countDropFrame   // past the kernel's stack: not a whole and sound datagram
	countDropShort   // on a stream: too short for a header
	countDropFailed  // sending it failed
	countDropBusy    // the send buffer stayed full
	countDropSlow    // no room in the queue for slow work
	countDropRate    // beyond the rate limit
	countDeferred
	countLimited
	countSlipped
	numCounts
)

// tally is what a worker has counted since it last published. It belongs to the worker.
type tally [numCounts]uint64

// sheet is what one worker has counted. Its worker alone writes, by plain load and store; anyone may read, and
// nothing depends on what they read. The padding keeps workers out of each other's cache lines (and out of reach of
// the prefetcher, which takes them in pairs).
type sheet struct {
	_         [128]byte
	cells     [numCounts]atomic.Uint64
	_         [128]byte
	transport Transport
	family    uint8 // index of familyNames
}

// publish moves t to s.
func (s *sheet) publish(t *tally) {
	for i, n := range t {
		if n != 0 {
			s.cells[i].Store(s.cells[i].Load() + n)
			t[i] = 0
		}
	}
}

// counts holds the sheets of all workers. Safe for concurrent use.
type counts struct {
	mu     sync.Mutex
	sheets []*sheet
}

// newSheet makes the sheet of one more worker.
func (c *counts) newSheet(t Transport, family uint8) *sheet {
	s := &sheet{transport: t, family: family}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sheets = append(c.sheets, s)
	return s
}

// totals sums all counts over workers.
func (c *counts) totals() (sum [numTransports + 1][2]tally) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sheets {
		for i := range s.cells {
			sum[s.transport][s.family][i] += s.cells[i].Load()
		}
	}
	return sum
}
