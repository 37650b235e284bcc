package alias

import (
	"container/heap"
	"context"
	"log/slog"
	"time"

	"github.com/gti/gtm/pkg/spec"
)

const (
	// workers bounds the questions under way.
	workers = 16
	// lagTime is how long a question may take; what took longer goes to the laggards' lane the next time. So whoever has aliases lead
	// to names whose servers are dead, or tarry, does not hold up the others.
	lagTime = 500 * time.Millisecond
	// laggards bounds the questions under way of that lane.
	laggards = workers / 2
	// gather is how long a change waits for others before it is delivered: each delivery has a view made.
	gather = 100 * time.Millisecond
	// saveEvery is how often changes are written to disk at most.
	saveEvery = 10 * time.Second
	// shortestByCountry bounds how often each of some 250 places is asked for.
	shortestByCountry = time.Minute
	// longestRetry bounds the pause after failures.
	longestRetry = time.Minute
)

// lane is which queue an entry waits in.
type lane int

const (
	quick lane = iota
	lagging
	lanes
)

// queue orders entries by when they are due.
type queue struct{ list []*entry }

func (q *queue) Len() int           { return len(q.list) }
func (q *queue) Less(i, j int) bool { return q.list[i].due.Before(q.list[j].due) }
func (q *queue) Swap(i, j int) {
	q.list[i], q.list[j] = q.list[j], q.list[i]
	q.list[i].at, q.list[j].at = i, j
}

// Push is for package heap.
func (q *queue) Push(x any) {
	e := x.(*entry)
	e.at = len(q.list)
	q.list = append(q.list, e)
}

// Pop is for package heap.
func (q *queue) Pop() any {
	last := len(q.list) - 1
	e := q.list[last]
	q.list[last], q.list = nil, q.list[:last]
	e.at = -1
	return e
}

func (q *queue) add(e *entry) { heap.Push(q, e) }

// next takes the first entry if it is due; otherwise it tells when that is, the zero time for never.
func (q *queue) next(now time.Time) (*entry, time.Time) {
	for len(q.list) > 0 {
		e := q.list[0]
		if !e.gone && e.due.After(now) {
			return nil, e.due
		}
		heap.Pop(q)
		if !e.gone {
			return e, time.Time{}
		}
	}
	return nil, time.Time{}
}

// outcome is what came of a question.
type outcome struct {
	of    *entry
	found found
	err   error
	took  time.Duration
}

// scheduler is a Keeper at work. It belongs to the goroutine of Run.
type scheduler struct {
	*Keeper
	done                chan outcome
	busy, late          int // questions under way: all, and those of laggards
	due, flush, writing *time.Timer
	flushing, saving    bool // flush, writing will fire
}

func newScheduler(k *Keeper) *scheduler {
	stopped := func() *time.Timer {
		t := time.NewTimer(time.Hour)
		t.Stop()
		return t
	}
	return &scheduler{Keeper: k, done: make(chan outcome, workers), due: stopped(), flush: stopped(), writing: stopped()}
}

func (s *scheduler) run(ctx context.Context) {
	for {
		s.start(ctx)
		select {
		case <-ctx.Done():
			for ; s.busy > 0; s.busy-- {
				<-s.done
			}
			s.save()
			return
		case o := <-s.done:
			s.take(o)
		case <-s.wake:
		case <-s.due.C:
		case <-s.flush.C:
			s.flushing = false
			s.deliver(ctx)
		case <-s.writing.C:
			s.saving = false
			s.save()
		}
	}
}

// start asks what is due, and sets the timers for what comes next.
func (s *scheduler) start(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.due.Stop()
	now := s.cfg.Now()
	var next time.Time
	for l := range lanes {
		for s.busy < workers && (l == quick || s.late < laggards) {
			e, due := s.queues[l].next(now)
			if e == nil {
				if next.IsZero() || !due.IsZero() && due.Before(next) {
					next = due
				}
				break
			}
			s.begin(ctx, e)
		}
	}
	if !next.IsZero() {
		s.due.Reset(next.Sub(now))
	}
	if len(s.changed) > 0 && !s.flushing {
		s.flushing = true
		s.flush.Reset(gather)
	}
	if s.unsaved && !s.saving {
		s.saving = true
		s.writing.Reset(saveEvery)
	}
}

// begin asks for one entry. mu is held.
func (s *scheduler) begin(ctx context.Context, e *entry) {
	s.busy++
	if e.lane == lagging {
		s.late++
	}
	q, since := question{e.of.Host, e.network, e.failures}, s.cfg.Now()
	go func() {
		f, err := s.ask(ctx, q)
		s.done <- outcome{e, f, err, s.cfg.Now().Sub(since)}
	}()
}

// take notes what came of a question, and when it is asked next. What failed leaves the last good result as it is.
func (s *scheduler) take(o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, now := o.of, s.cfg.Now()
	s.metrics.count(o)
	s.busy--
	if e.lane == lagging {
		s.late--
	}
	if e.gone {
		return
	}
	pause := s.pause(e, o)
	e.due = now.Add(pause + time.Duration(s.cfg.Random()%uint64(pause/10+1)))
	if e.lane = quick; o.took > lagTime {
		e.lane = lagging
	}
	s.queues[e.lane].add(e)
	if o.err != nil {
		if e.failures++; e.failures == 1 {
			s.tell(e, slog.LevelWarn, "an alias's target cannot be resolved; the last good result stays", "from", e.result.At,
				"error", o.err)
		}
		e.err = o.err.Error()
		return
	}
	if e.failures > 0 {
		s.tell(e, slog.LevelInfo, "an alias's target is resolved again")
	}
	e.failures, e.err = 0, ""
	e.result = result{o.found.addresses, uint32(s.clamp(o.found.ttl, s.cfg.Shortest) / time.Second), now}
	s.changed[e.of], s.unsaved = true, true
}

// tell logs what became of an entry. Of places there may be hundreds, which mostly fail together: they are for those who look closely.
func (s *scheduler) tell(e *entry, level slog.Level, text string, args ...any) {
	if args = append(args, "target", e.of.Host); e.place != everywhere {
		level, args = slog.LevelDebug, append(args, "place", e.place)
	}
	s.log.Log(context.Background(), level, text, args...)
}

// pause gives how long to wait before the next question: the TTL, or after failures longer each time.
func (s *scheduler) pause(e *entry, o outcome) time.Duration {
	if o.err != nil {
		return min(s.cfg.Shortest<<min(e.failures, 10), max(longestRetry, s.cfg.Shortest))
	}
	shortest := s.cfg.Shortest
	if e.of.By == spec.ByCountry && e.place != everywhere {
		shortest = min(max(shortest, shortestByCountry), s.cfg.Longest)
	}
	return s.clamp(o.found.ttl, shortest)
}

func (s *scheduler) clamp(ttl uint32, shortest time.Duration) time.Duration {
	return min(max(time.Duration(ttl)*time.Second, shortest), s.cfg.Longest)
}
