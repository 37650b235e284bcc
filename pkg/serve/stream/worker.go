package stream

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"sync/atomic"

	"github.com/gti/gtm/pkg/serve/guard"
	"github.com/gti/gtm/pkg/serve/seam"
)

// asked is a message that came over a connection, and what is known of it.
type asked struct {
	query     []byte
	source    netip.AddrPort
	transport seam.Transport
	peer      *tls.ConnectionState
	keepAlive uint16
	resume    uint64 // of the seam.Request that was put off
}

// streamWorker answers messages of connections: a Handler with its buffer and counters. Connections take one for as long
// as it takes to answer what they have ready, so there are few of them, however many connections there are.
type streamWorker struct {
	shared *Shared
	slow   bool // its Handler does slow work
	h      seam.Handler
	req    seam.Request
	buf    []byte
	tally  [seam.NumTransports][2]guard.Tally // by family
	sheets [seam.NumTransports][2]*guard.Sheet
}

// streamPool lends streamWorkers, made on demand up to a bound; beyond it, connections wait for each other.
type streamPool struct {
	shared *Shared
	slow   bool
	free   chan *streamWorker
	made   atomic.Int32
}

func newStreamPool(s *Shared, size int, slow bool) *streamPool {
	return &streamPool{shared: s, slow: slow, free: make(chan *streamWorker, size)}
}

func (p *streamPool) take() *streamWorker {
	select {
	case w := <-p.free:
		return w
	default:
	}
	if int(p.made.Add(1)) > cap(p.free) {
		p.made.Add(-1)
		return <-p.free
	}
	w := &streamWorker{shared: p.shared, slow: p.slow, h: p.shared.NewHandler(), buf: make([]byte, maxStream)}
	for t := seam.TCP; t < seam.NumTransports; t++ {
		for f := range w.sheets[t] {
			w.sheets[t][f] = p.shared.Counts.NewSheet(t, uint8(f))
		}
	}
	return w
}

func (p *streamPool) give(w *streamWorker) { p.free <- w }

// answer gives the reply to q, which holds until the next call, and what to do: Send, where there may be none;
// Drop; Close, perhaps after a reply; Stream what w.req.Produce makes; or Defer.
func (w *streamWorker) answer(q *asked) (reply []byte, action seam.Action) {
	t := &w.tally[q.transport][seam.FamilyOf(q.source.Addr())]
	if !w.slow {
		t[guard.CountPackets]++
	}
	if len(q.query) < seam.HeaderSize {
		t[guard.CountDropShort]++
		return nil, seam.Close // whatever this is, it is not DNS
	}
	var n int
	if w.shared.Quarantine.Judge(q.query, q.transport, q.source.Addr()) != guard.Passed {
		t[guard.CountQuarantined]++
		n, action = w.fail(q.query, seam.RcodeRefused)
	} else {
		n, action = w.call(q)
	}
	switch action {
	case seam.Drop:
		t[guard.CountDropHandler]++
		return nil, seam.Drop
	case seam.Defer:
		t[guard.CountDeferred]++
		q.resume = w.req.Resume
		return nil, seam.Defer
	case seam.Stream:
		return nil, seam.Stream
	case seam.Truncate:
		t[guard.CountTruncated]++
		action = seam.Send
	}
	if n == 0 {
		t[guard.CountDropEmpty]++
		return nil, action
	}
	t[guard.CountReplies]++
	return w.buf[:n], action
}

// fail answers query without a Handler, if it deserves an answer.
func (w *streamWorker) fail(query []byte, rcode uint16) (n int, action seam.Action) {
	if n = seam.Failure(w.buf, query, rcode); n == 0 {
		return 0, seam.Drop
	}
	return n, seam.Send
}

// call hands a copy of the query to the Handler. It turns a panic into SERVFAIL, and what can't be done here.
func (w *streamWorker) call(q *asked) (n int, action seam.Action) {
	w.req = seam.Request{Buf: w.buf, N: copy(w.buf, q.query), Source: q.source, Transport: q.transport, Peer: q.peer,
		KeepAlive: q.keepAlive, Slow: w.slow, Resume: q.resume}
	defer func() {
		if value := recover(); value != nil {
			w.tally[q.transport][seam.FamilyOf(q.source.Addr())][guard.CountPanics]++
			w.h = w.shared.Bury(value, w.h, &w.req, q.query)
			n, action = w.fail(q.query, seam.RcodeServFail)
		}
	}()
	n, action = w.h.Handle(&w.req)
	if action == seam.Defer && w.slow || action == seam.Stream && (q.transport == seam.HTTPS || w.req.Produce == nil) {
		return w.fail(q.query, seam.RcodeServFail)
	}
	_ = w.buf[:n] // an impossible n panics here, and the Handler is at fault
	return n, action
}

// flush ends a batch of messages.
func (w *streamWorker) flush(transport seam.Transport, family uint8) {
	t := &w.tally[transport][family]
	defer func() {
		if value := recover(); value != nil {
			t[guard.CountPanics]++
			w.h = w.shared.Bury(value, w.h, &w.req, nil)
		}
		t[guard.CountBatches]++
		w.sheets[transport][family].Publish(t)
	}()
	w.h.Flush()
}

// one has a single message answered, slowly where it takes that, and appends the reply to dst. With the action
// Stream, produce is what makes the replies.
func (s *Shared) one(q *asked, dst []byte) (reply []byte, action seam.Action, produce producer) {
	reply, action, produce = s.streams.one(q, dst)
	if action == seam.Defer {
		return s.slowStreams.one(q, dst)
	}
	return reply, action, produce
}

func (p *streamPool) one(q *asked, dst []byte) (reply []byte, action seam.Action, produce producer) {
	w := p.take()
	defer p.give(w)
	reply, action = w.answer(q)
	dst = append(dst, reply...)
	w.flush(q.transport, seam.FamilyOf(q.source.Addr()))
	return dst, action, w.req.Produce
}

// producer is Request.Produce.
type producer func(send func(msg []byte) error) error

var errTooLong = errors.New("serve: a message over 65535 bytes can't be sent")

// produce runs p for q, whose client gets each message by write, and reports whether it went well. A panic in it is
// treated as one in a Handler.
func (s *Shared) produce(q *asked, p producer, write func(msg []byte) error) (ok bool) {
	sent := uint64(0)
	defer func() {
		if value := recover(); value != nil {
			s.Note(value, q.transport, q.source, q.query)
			ok = false
		}
		s.countReplies(q, sent)
	}()
	return p(func(msg []byte) error {
		if len(msg) > maxStream {
			return errTooLong
		}
		err := write(msg)
		if err == nil {
			sent++
		}
		return err
	}) == nil
}

// countReplies counts replies that no worker has made.
func (s *Shared) countReplies(q *asked, n uint64) {
	w := s.streams.take()
	defer s.streams.give(w)
	family := seam.FamilyOf(q.source.Addr())
	t := &w.tally[q.transport][family]
	t[guard.CountReplies] += n
	w.sheets[q.transport][family].Publish(t)
}
