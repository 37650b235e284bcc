package control

import (
	"context"
	"errors"
	"sync"
)

// admission lets a bounded number of requests work at the same time, and a bounded number wait. Those who wait go on in the order in
// which their authors came round: who has many waiting takes turns with who has one. It is safe for concurrent use.
type admission struct {
	running, waiting atMost
	each             int // of an author may wait

	mu     sync.Mutex
	queues []*queue // of those who have someone waiting; the first is next
}

type atMost struct{ now, most int }

// queue is what waits of one author.
type queue struct {
	author string
	calls  []chan struct{} // each is closed when its turn has come
}

// errBusy: more cannot wait.
var errBusy = errors.New("too many requests are waiting")

func newAdmission(running, waiting, each int) *admission {
	return &admission{running: atMost{most: running}, waiting: atMost{most: waiting}, each: each}
}

// take waits for a turn, which has to be given back by done. errBusy: it would wait behind too many; otherwise the error is the context's.
func (t *admission) take(ctx context.Context, author string) error {
	t.mu.Lock()
	if t.running.now < t.running.most {
		t.running.now++
		t.mu.Unlock()
		return nil
	}
	q := t.queueOf(author)
	if t.waiting.now >= t.waiting.most || q != nil && len(q.calls) >= t.each {
		t.mu.Unlock()
		return errBusy
	}
	if q == nil {
		q = &queue{author: author}
		t.queues = append(t.queues, q)
	}
	call := make(chan struct{})
	q.calls = append(q.calls, call)
	t.waiting.now++
	t.mu.Unlock()
	select {
	case <-call:
		return nil
	case <-ctx.Done():
		t.giveUp(author, call)
		return ctx.Err()
	}
}

func (t *admission) queueOf(author string) *queue {
	for _, q := range t.queues {
		if q.author == author {
			return q
		}
	}
	return nil
}

// giveUp takes back a call. One whose turn has come meanwhile passes it on.
func (t *admission) giveUp(author string, call chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.queueOf(author)
	if q != nil {
		for i, c := range q.calls {
			if c == call {
				q.calls = append(q.calls[:i], q.calls[i+1:]...)
				t.waiting.now--
				t.dropIfEmpty(q)
				return
			}
		}
	}
	t.next()
}

// done gives a turn back.
func (t *admission) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next()
}

// next hands a turn on to the author who has waited longest for one, and puts that author behind the others.
func (t *admission) next() {
	if len(t.queues) == 0 {
		t.running.now--
		return
	}
	q := t.queues[0]
	close(q.calls[0])
	q.calls = q.calls[1:]
	t.waiting.now--
	t.queues = append(t.queues[1:], q)
	t.dropIfEmpty(q)
}

func (t *admission) dropIfEmpty(q *queue) {
	if len(q.calls) > 0 {
		return
	}
	for i, other := range t.queues {
		if other == q {
			t.queues = append(t.queues[:i], t.queues[i+1:]...)
			return
		}
	}
}
