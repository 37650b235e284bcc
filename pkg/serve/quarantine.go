package serve

import (
	"encoding/binary"
	"hash/maphash"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

const (
	quarantineSize = 256
	quarantineTime = time.Hour
)

// quarantine remembers the likes of messages that made a Handler panic, for an hour each, so that they are
// refused before they reach one. Safe for concurrent use; while it is empty, asking it costs one atomic load.
//
// Two messages are alike if they have the same name (in any case), type, class, header flags and length. Name
// and type alone would be too wide: whoever finds one option that makes the code panic could have any
// name refused to everyone, by one packet.
type quarantine struct {
	now  func() time.Time
	seed maphash.Seed
	mu   sync.Mutex                           // held by writers
	held atomic.Pointer[map[uint64]time.Time] // until when, by like; never changed once stored; nil: empty
}

func newQuarantine(now func() time.Time) *quarantine {
	return &quarantine{now: now, seed: maphash.MakeSeed()}
}

// holds tells whether the like of msg is held.
func (q *quarantine) holds(msg []byte) bool {
	held := q.held.Load()
	if held == nil {
		return false
	}
	like := q.like(msg)
	until, ok := (*held)[like]
	if !ok {
		return false
	}
	if !until.After(q.now()) {
		q.sweep()
		return false
	}
	return true
}

// add holds the like of msg from now on, and gives it. When there are too many, the oldest is let go.
func (q *quarantine) add(msg []byte) uint64 {
	like := q.like(msg)
	q.mu.Lock()
	defer q.mu.Unlock()
	next := q.living()
	if _, ok := next[like]; !ok && len(next) >= quarantineSize {
		delete(next, oldest(next))
	}
	next[like] = q.now().Add(quarantineTime)
	q.held.Store(&next)
	return like
}

// sweep lets go of what has expired, and tells how many likes are left.
func (q *quarantine) sweep() int {
	if q.held.Load() == nil {
		return 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	next := q.living()
	if len(next) == 0 {
		q.held.Store(nil)
		return 0
	}
	q.held.Store(&next)
	return len(next)
}

// living copies what has not expired. mu is held.
func (q *quarantine) living() map[uint64]time.Time {
	held := q.held.Load()
	if held == nil {
		return make(map[uint64]time.Time)
	}
	next, now := maps.Clone(*held), q.now()
	maps.DeleteFunc(next, func(_ uint64, until time.Time) bool { return !until.After(now) })
	return next
}

func oldest(held map[uint64]time.Time) (like uint64) {
	var first time.Time
	for k, until := range held {
		if first.IsZero() || until.Before(first) {
			like, first = k, until
		}
	}
	return like
}

// like hashes what alike messages share. A message without a safely delimited question is like itself only, its
// ID aside. The seed is secret, so nobody can make up a message that is like someone else's.
func (q *quarantine) like(msg []byte) uint64 {
	end := questionEnd(msg)
	if end == 0 {
		return maphash.Bytes(q.seed, msg[min(2, len(msg)):])
	}
	var key [2 + 2 + 255 + 4]byte
	binary.BigEndian.PutUint16(key[:], uint16(len(msg)))
	copy(key[2:4], msg[2:4])
	n := 4 + copy(key[4:], msg[headerSize:end])
	for i := 4; i < n-4; i++ { // the class and type are not folded; the lengths of labels are below 'A'
		if c := key[i]; 'A' <= c && c <= 'Z' {
			key[i] = c + 'a' - 'A'
		}
	}
	return maphash.Bytes(q.seed, key[:n])
}
