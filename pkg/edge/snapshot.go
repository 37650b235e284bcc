package edge

import (
	"context"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/store"
)

// saveQueue holds the updates that the disk has not got yet. It is unbounded, since an update left out would make
// the copy wrong; what waits shares its memory with what is served.
type saveQueue struct {
	mu      sync.Mutex
	waiting []store.Update
	signal  chan struct{}
}

func (q *saveQueue) put(u store.Update) {
	q.mu.Lock()
	if u.Full {
		q.waiting = nil // all that there is: what waits is in it
	}
	q.waiting = append(q.waiting, u)
	q.mu.Unlock()
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

func (q *saveQueue) take() []store.Update {
	q.mu.Lock()
	defer q.mu.Unlock()
	us := q.waiting
	q.waiting = nil
	return us
}

// snapshotState tells what is known of the copy on disk.
type snapshotState struct {
	from    bool // what is served came from it, the store has not been heard yet
	written time.Time
	err     string
}

func (e *Edge) setSnapshot(f func(*snapshotState)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(&e.snapshot)
}

// keep writes what was published to disk, so that the edge can start without the store.
func (e *Edge) keep(ctx context.Context, s *store.Snapshot) {
	if s == nil {
		<-ctx.Done()
		return
	}
	defer func() {
		if err := s.Close(); err != nil {
			e.log.Error("closing the snapshot", "error", err)
		}
	}()
	failing := false
	for {
		select {
		case <-ctx.Done():
			e.write(s, &failing)
			return
		case <-e.save.signal:
			e.write(s, &failing)
		}
	}
}

func (e *Edge) write(s *store.Snapshot, failing *bool) {
	for _, u := range e.save.take() {
		err := s.Append(u)
		e.setSnapshot(func(st *snapshotState) {
			st.err, st.written = "", s.LastWrite()
			if err != nil {
				st.err = err.Error()
			}
		})
		if err != nil && !*failing {
			e.log.Error("the snapshot cannot be written; serving on from memory", "error", err)
		}
		*failing = err != nil
	}
}
