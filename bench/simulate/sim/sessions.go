package sim

import (
	"math/rand/v2"
	"time"
)

// Sessions says how clients stay with what they resolved, as those of a live stream do.
type Sessions struct {
	Mean, Most time.Duration // how long they last: exponentially distributed, and cut off
}

func (s Sessions) draw(random *rand.Rand) time.Duration {
	return min(s.Most, time.Duration(random.ExpFloat64()*float64(s.Mean)))
}

// A client whose endpoint does not answer, or dies, resolves the name again after about a second, then two, four, and so on.
const (
	firstRetry = time.Second
	lastRetry  = 32 * time.Second
)

// pause gives how long a client waits before it tries again that failed so many times: half as long to half as long again.
func pause(failed uint8, random *rand.Rand) time.Duration {
	base := min(lastRetry, firstRetry<<min(failed-1, 10))
	return base/2 + time.Duration(random.Int64N(int64(base)))
}

// A wheel holds what is due, by seconds; for less than its size ahead.
type wheel[T any] struct {
	slots [][]T
	now   int64 // the second whose slot is next
}

func newWheel[T any](ahead time.Duration) wheel[T] {
	return wheel[T]{slots: make([][]T, ahead/time.Second+2)}
}

// add adds what is due at a moment, at the first full second behind it.
func (w *wheel[T]) add(at time.Duration, t T) {
	second := max(w.now, int64((at+time.Second-1)/time.Second))
	slot := &w.slots[second%int64(len(w.slots))]
	*slot = append(*slot, t)
}

// turn gives what is due now, and goes to the next second. What it gives is good until the second comes round again.
func (w *wheel[T]) turn() []T {
	slot := &w.slots[w.now%int64(len(w.slots))]
	due := *slot
	*slot = (*slot)[:0]
	w.now++
	return due
}

// remove takes out what drops tells, and gives it.
func (w *wheel[T]) remove(drops func(T) bool) (out []T) {
	for i, slot := range w.slots {
		kept := slot[:0]
		for _, t := range slot {
			if drops(t) {
				out = append(out, t)
			} else {
				kept = append(kept, t)
			}
		}
		w.slots[i] = kept
	}
	return out
}

// session is a client at an endpoint.
type session struct {
	client   uint32
	endpoint uint16
}

// attempt is a client that is to try again.
type attempt struct {
	client uint32
	failed uint8
}
