package datagram

import (
	"net/netip"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/gti/gtm/pkg/serve/guard"
	"github.com/gti/gtm/pkg/serve/seam"
)

// slowJob is a datagram that waits for slow work: a copy of it, and how to answer it.
type slowJob struct {
	fd      int
	family  uint8
	source  netip.AddrPort
	name    [nameSize]byte // the client's address, as sendmsg wants it
	nameLen uint32
	ctl     [ctlSize]byte // which address to answer from
	ctlLen  int
	resume  uint64
	share   uint8
	n       int // bytes of the query
	query   [slotSize]byte
}

// slowQueues are the datagrams that wait for slow work: those that are preferred, and the others, which may be a flood. Safe for
// concurrent use.
type slowQueues struct{ preferred, others *slowQueue }

func newSlowQueues(size int) *slowQueues { return &slowQueues{newSlowQueue(size), newSlowQueue(size)} }

// of gives the queue for a datagram.
func (q *slowQueues) of(preferred bool) *slowQueue {
	if preferred {
		return q.preferred
	}
	return q.others
}

// take waits for a job; the queue is where it is to be given back to. nil: both are closed and empty.
func (q *slowQueues) take() (*slowJob, *slowQueue) {
	select {
	case j, ok := <-q.preferred.waiting:
		if ok {
			return j, q.preferred
		}
		return <-q.others.waiting, q.others // the preferred one is closed and empty, so the other is closed too
	default:
	}
	select {
	case j, ok := <-q.preferred.waiting:
		if ok {
			return j, q.preferred
		}
		return <-q.others.waiting, q.others
	case j, ok := <-q.others.waiting:
		if ok {
			return j, q.others
		}
		return <-q.preferred.waiting, q.preferred
	}
}

// close ends the workers, after what waits. Nothing may be put in any more.
func (q *slowQueues) close() {
	close(q.preferred.waiting)
	close(q.others.waiting)
}

// slowQueue is a bounded queue of datagrams for slow work, of which no share has more than half. Its jobs are made beforehand. Safe for
// concurrent use.
type slowQueue struct {
	free, waiting chan *slowJob
	held          [256]atomic.Int32 // jobs by share
	most          int32             // of one
}

func newSlowQueue(size int) *slowQueue {
	q := &slowQueue{free: make(chan *slowJob, size), waiting: make(chan *slowJob, size), most: int32(size+1) / 2}
	jobs := make([]slowJob, size)
	for i := range jobs {
		q.free <- &jobs[i]
	}
	return q
}

// giveBack lets a job be used again.
func (q *slowQueue) giveBack(j *slowJob) {
	q.held[j.share].Add(-1)
	q.free <- j
}

// put queues datagram i of b. False: the queue is full, or half of it is the datagram's share's.
func (q *slowQueue) put(b datagrams, i int, family uint8, req *seam.Request, query []byte) bool {
	var j *slowJob
	if q.held[req.Share].Add(1) > q.most {
		q.held[req.Share].Add(-1)
		return false
	}
	select {
	case j = <-q.free:
	default:
		q.held[req.Share].Add(-1)
		return false
	}
	j.family, j.source, j.resume, j.share = family, req.Source, req.Resume, req.Share
	b.putOff(i, j)
	j.n = copy(j.query[:], query)
	q.waiting <- j // it does not block: there are as many jobs as the channel takes
	return true
}

// slowWorker does slow work for datagrams, one at a time.
type slowWorker struct {
	shared *Shared
	h      seam.Handler
	req    seam.Request
	buf    [slotSize]byte
	tally  [2]guard.Tally // by family
	sheets [2]*guard.Sheet

	out  [1]mmsghdr // the reply, for sendmmsg; it points to vec and into the job
	vec  unix.Iovec
	poll [1]unix.PollFd
}

func newSlowWorker(s *Shared) *slowWorker {
	w := &slowWorker{shared: s}
	for f := range w.sheets {
		w.sheets[f] = s.Counts.NewSheet(seam.UDP, uint8(f))
	}
	return w
}

// WorkSlowly does slow work until close, one datagram at a time.
func (s *Shared) WorkSlowly() { newSlowWorker(s).run() }

// run works until the queue is closed and empty.
func (w *slowWorker) run() {
	for {
		j, queue := w.shared.slow.take()
		if j == nil {
			return
		}
		if w.h == nil { // many servers never need it
			w.h = w.shared.NewHandler()
		}
		w.work(j)
		queue.giveBack(j)
	}
}

// work answers one datagram.
func (w *slowWorker) work(j *slowJob) {
	t := &w.tally[j.family]
	n, action := w.handle(j)
	switch {
	case action == seam.Drop:
		t[guard.CountDropHandler]++
	case n == 0:
		t[guard.CountDropEmpty]++
	default:
		if action == seam.Truncate {
			t[guard.CountTruncated]++
		}
		t[w.send(j, n)]++
	}
	w.flush(j.family)
}

// handle has the Handler answer, and turns a panic, and what can't be done here, into SERVFAIL.
func (w *slowWorker) handle(j *slowJob) (n int, action seam.Action) {
	query := j.query[:j.n]
	w.req = seam.Request{Buf: w.buf[:], N: copy(w.buf[:], query), Source: j.source, Transport: seam.UDP, Slow: true, Resume: j.resume}
	defer func() {
		if value := recover(); value != nil {
			w.tally[j.family][guard.CountPanics]++
			w.h = w.shared.Bury(value, w.h, &w.req, query)
			n, action = seam.Failure(w.buf[:], query, seam.RcodeServFail), seam.Send
		}
	}()
	n, action = w.h.Handle(&w.req)
	if action == seam.Defer || action == seam.Stream {
		return seam.Failure(w.buf[:], query, seam.RcodeServFail), seam.Send
	}
	_ = w.buf[:n] // an impossible n panics here, and the Handler is at fault
	return n, action
}

// flush ends one message.
func (w *slowWorker) flush(family uint8) {
	t := &w.tally[family]
	defer func() {
		if value := recover(); value != nil {
			t[guard.CountPanics]++
			w.h = w.shared.Bury(value, w.h, &w.req, nil)
		}
		w.sheets[family].Publish(t)
	}()
	w.h.Flush()
}

// send sends the first n bytes of the worker's buf to where j came from, and tells as what to count it.
func (w *slowWorker) send(j *slowJob, n int) guard.Count {
	w.vec.Base = &w.buf[0]
	w.vec.SetLen(n)
	h := &w.out[0].Hdr
	*h = unix.Msghdr{Name: &j.name[0], Namelen: j.nameLen, Iov: &w.vec}
	h.SetIovlen(1)
	if j.ctlLen > 0 {
		h.Control = &j.ctl[0]
		h.SetControllen(j.ctlLen)
	}
	for tries := sendTries; ; {
		switch _, errno := sendmmsg(j.fd, w.out[:]); errno {
		case 0:
			return guard.CountReplies
		case unix.EINTR:
		case unix.EAGAIN:
			if tries == 0 {
				return guard.CountDropBusy
			}
			tries--
			w.poll[0] = unix.PollFd{Fd: int32(j.fd), Events: unix.POLLOUT}
			_, _ = unix.Poll(w.poll[:], sendWaitMSs) // whatever it says, the next sendmmsg knows better
		default:
			return guard.CountDropFailed
		}
	}
}
