package edge

import (
	"context"
	"slices"
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
	if u.Full && !tellsBroken(u) {
		q.waiting = nil // all that there is: what waits is in it
	}
	q.waiting = append(q.waiting, u)
	q.mu.Unlock()
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

// tellsBroken tells whether u leaves something in the form that it had before.
func tellsBroken(u store.Update) bool {
	return len(u.VerdictsBroken)+len(u.KeysetsBroken) > 0 || slices.ContainsFunc(u.Tenants, func(tu store.TenantUpdate) bool { return len(tu.Broken) > 0 })
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
			pause := time.NewTimer(pauseAfter(e.write(s, &failing)))
			select {
			case <-pause.C:
			case <-ctx.Done():
			}
			pause.Stop()
		}
	}
}

// write brings the copy up to date, and tells how many bytes that took. What waits is told as one, but for Full updates: each resource
// once, in its last form, and the disk waited for once.
func (e *Edge) write(s *store.Snapshot, failing *bool) (bytes int64) {
	us, before := e.save.take(), s.Written()
	for len(us) > 0 {
		next, n := us[0], 1
		if !next.Full {
			for n < len(us) && !us[n].Full {
				n++
			}
			next = store.Joined(us[:n])
		}
		e.append(s, next, failing)
		us = us[n:]
	}
	return s.Written() - before
}

func (e *Edge) append(s *store.Snapshot, u store.Update, failing *bool) {
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

// Each change of a zone brings the zone's whole text. So that a large zone which changes all the time does not keep the disk busy,
// large writes are followed by a pause, in which changes gather.
const (
	saveRate  = 4 << 20 // bytes a second, on average
	savePause = 2 * time.Second
)

// pauseAfter gives the pause after so many bytes.
func pauseAfter(bytes int64) time.Duration {
	return min(time.Duration(float64(bytes)/saveRate*float64(time.Second)), savePause)
}
