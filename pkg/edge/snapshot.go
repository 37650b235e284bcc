package edge

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/store/snapshot"
	"github.com/gti/gtm/pkg/store/state"
)

// saveQueue holds the updates that the disk has not got yet. It is unbounded, since an update left out would make
// the copy wrong; what waits shares its memory with what is served.
type saveQueue struct {
	mu      sync.Mutex
	waiting []state.Update
	signal  chan struct{}
}

func (q *saveQueue) put(u state.Update) {
	q.mu.Lock()
	if u.Full && !u.LeavesBroken() {
		q.waiting = nil // all that there is: what waits is in it
	}
	q.waiting = append(q.waiting, u)
	q.mu.Unlock()
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

func (q *saveQueue) take() []state.Update {
	q.mu.Lock()
	defer q.mu.Unlock()
	us := q.waiting
	q.waiting = nil
	return us
}

// drain drops what comes, where there is no disk to write to.
func (q *saveQueue) drain(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-q.signal:
			q.take()
		}
	}
}

// snapshotState tells what is known of the copy on disk.
type snapshotState struct {
	from    bool // what is served came from it, the store has not been heard yet
	written time.Time
	err     string
	lost    string // what the start found damaged: it matters for as long as the edge serves from it
}

// status says how the copy on disk is.
func (s *snapshotState) status() *api.SnapshotState {
	out := &api.SnapshotState{Error: s.err}
	if out.Error == "" && s.from {
		out.Error = s.lost
	}
	if !s.written.IsZero() {
		at := s.written.UTC().Truncate(time.Second)
		out.Written = &at
	}
	return out
}

func (e *Edge) setSnapshot(f func(*snapshotState)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(&e.snapshot)
}

// tellOpened tells how the snapshot was found.
func (e *Edge) tellOpened(first *state.Update, err error) {
	if first == nil {
		e.log.Info("there is no configuration on disk: DNS is served once the store has told one")
	}
	if err == nil {
		return
	}
	var damaged *snapshot.CorruptError
	e.setSnapshot(func(s *snapshotState) {
		if s.err = err.Error(); first != nil && errors.As(err, &damaged) {
			s.lost = s.err
		}
	})
	text := "the snapshot on disk cannot be used; starting without it"
	if first != nil {
		text = "the snapshot on disk is not as it should be; what is intact of it is served"
	}
	e.log.Error(text, "error", err)
}

// After a failure the copy on disk is tried again, after a pause that doubles each time.
const (
	saveAgainMin = time.Second
	saveAgainMax = 30 * time.Second
)

// keep writes what was published to disk, so that the edge can start without the store. failing: the copy is not as it should be.
func (e *Edge) keep(ctx context.Context, s *snapshot.Snapshot, failing bool) {
	if s == nil {
		e.save.drain(ctx)
		return
	}
	defer func() {
		if err := s.Close(); err != nil {
			e.log.Error("closing the snapshot", "error", err)
		}
	}()
	pause, again := saveAgainMin, time.NewTimer(saveAgainMin)
	defer again.Stop()
	for tried := false; ; tried = failing && !s.Empty() {
		news := e.save.signal
		if tried {
			news = nil // a full disk is not asked anew with each update
		}
		if failing {
			again.Reset(pause)
			pause = min(2*pause, saveAgainMax)
		} else {
			again.Stop()
			pause = saveAgainMin
		}
		select {
		case <-ctx.Done():
			<-e.compiled // what is on trial passes at an end in good order
			e.write(s, &failing)
			return
		case <-again.C:
			e.write(s, &failing)
		case <-news:
			sleep(ctx, pauseAfter(e.write(s, &failing)))
		}
	}
}

// sleep waits for a while, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	pause := time.NewTimer(d)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
	}
}

// write brings the copy up to date, and tells how many bytes that took. What waits is told as one, but for Full updates: each resource
// once, in its last form, and the disk waited for once. Where nothing waits, what failed before is tried again.
func (e *Edge) write(s *snapshot.Snapshot, failing *bool) (bytes int64) {
	us, before := e.save.take(), s.Written()
	if len(us) == 0 && *failing {
		e.wrote(s, s.Again(), failing)
	}
	for len(us) > 0 {
		next, n := us[0], 1
		if !next.Full {
			for n < len(us) && !us[n].Full {
				n++
			}
			next = state.Joined(us[:n])
		}
		e.wrote(s, s.Append(next), failing)
		us = us[n:]
	}
	return s.Written() - before
}

// wrote tells how writing went.
func (e *Edge) wrote(s *snapshot.Snapshot, err error, failing *bool) {
	if err == nil && s.Empty() {
		return // nothing was to be written, and what was on disk before stays lost
	}
	e.setSnapshot(func(st *snapshotState) {
		st.err, st.written = "", s.LastWrite()
		if err != nil {
			st.err = err.Error()
		}
	})
	switch {
	case err != nil && !*failing:
		e.log.Error("the snapshot cannot be written; serving on from memory", "error", err)
	case err == nil && *failing:
		e.log.Info("the snapshot on disk is up to date again")
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
