package serve

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"sync/atomic"
)

// asked is a message that came over a connection, and what is known of it.
type asked struct {
	query     []byte
	source    netip.AddrPort
	transport Transport
	peer      *tls.ConnectionState
	keepAlive uint16
}

// streamWorker answers messages of connections: a Handler with its room and counters. Connections take one for as long
// as it takes to answer what they have ready, so there are few of them, however many connections there are.
type streamWorker struct {
	shared *streamShared
	slow   bool // its Handler does slow work
	h      Handler
	req    Request
	room   []byte
	tally  [numTransports][2]tally // by family
	sheets [numTransports][2]*sheet
}

// streamPool lends streamWorkers, made on demand up to a bound; beyond it, connections wait for each other.
type streamPool struct {
	shared *streamShared
	slow   bool
	free   chan *streamWorker
	made   atomic.Int32
}

func newStreamPool(s *streamShared, size int, slow bool) *streamPool {
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
	w := &streamWorker{shared: p.shared, slow: p.slow, h: p.shared.newHandler(), room: make([]byte, streamRoom)}
	for t := TCP; t < numTransports; t++ {
		for f := range w.sheets[t] {
			w.sheets[t][f] = p.shared.counts.newSheet(t, uint8(f))
		}
	}
	return w
}

func (p *streamPool) give(w *streamWorker) { p.free <- w }

// answer gives the reply to q, which holds until the next call, and what to do: Send, where there may be none;
// Drop; Close, perhaps after a reply; Stream what w.req.Produce makes; or Defer.
func (w *streamWorker) answer(q *asked) (reply []byte, action Action) {
	t := &w.tally[q.transport][familyOf(q.source.Addr())]
	if !w.slow {
		t[countPackets]++
	}
	if len(q.query) < headerSize {
		t[countDropShort]++
		return nil, Close // whatever this is, it is not DNS
	}
	var n int
	if w.shared.quarantine.judge(q.query, q.transport, q.source.Addr()) != passed {
		t[countQuarantined]++
		n, action = w.fail(q.query, rcodeRefused)
	} else {
		n, action = w.call(q)
	}
	switch action {
	case Drop:
		t[countDropHandler]++
		return nil, Drop
	case Defer:
		t[countDeferred]++
		return nil, Defer
	case Stream:
		return nil, Stream
	case Truncate:
		t[countTruncated]++
		action = Send
	}
	if n == 0 {
		t[countDropEmpty]++
		return nil, action
	}
	t[countReplies]++
	return w.room[:n], action
}

// fail answers query without a Handler, if it deserves an answer.
func (w *streamWorker) fail(query []byte, rcode uint16) (n int, action Action) {
	if n = failure(w.room, query, rcode); n == 0 {
		return 0, Drop
	}
	return n, Send
}

// call hands a copy of the query to the Handler. It turns a panic into SERVFAIL, and what can't be done here.
func (w *streamWorker) call(q *asked) (n int, action Action) {
	w.req = Request{Buf: w.room, N: copy(w.room, q.query), Source: q.source, Transport: q.transport, Peer: q.peer,
		KeepAlive: q.keepAlive, Slow: w.slow}
	defer func() {
		if value := recover(); value != nil {
			w.tally[q.transport][familyOf(q.source.Addr())][countPanics]++
			w.h = w.shared.bury(value, w.h, &w.req, q.query)
			n, action = w.fail(q.query, rcodeServFail)
		}
	}()
	n, action = w.h.Handle(&w.req)
	if action == Defer && w.slow || action == Stream && (q.transport == HTTPS || w.req.Produce == nil) {
		return w.fail(q.query, rcodeServFail)
	}
	_ = w.room[:n] // an impossible n panics here, and the Handler is at fault
	return n, action
}

// flush ends a batch of messages.
func (w *streamWorker) flush(transport Transport, family uint8) {
	t := &w.tally[transport][family]
	defer func() {
		if value := recover(); value != nil {
			t[countPanics]++
			w.h = w.shared.bury(value, w.h, &w.req, nil)
		}
		t[countBatches]++
		w.sheets[transport][family].publish(t)
	}()
	w.h.Flush()
}

// one has a single message answered, slowly where it takes that, and appends the reply to dst. With the action
// Stream, produce is what makes the replies.
func (s *streamShared) one(q *asked, dst []byte) (reply []byte, action Action, produce producer) {
	reply, action, produce = s.streams.one(q, dst)
	if action == Defer {
		return s.slowStreams.one(q, dst)
	}
	return reply, action, produce
}

func (p *streamPool) one(q *asked, dst []byte) (reply []byte, action Action, produce producer) {
	w := p.take()
	defer p.give(w)
	reply, action = w.answer(q)
	dst = append(dst, reply...)
	w.flush(q.transport, familyOf(q.source.Addr()))
	return dst, action, w.req.Produce
}

// producer is Request.Produce.
type producer func(send func(msg []byte) error) error

var errTooLong = errors.New("serve: a message over 65535 bytes can't be sent")

// produce runs p for q, whose client gets each message by write, and tells whether it went well. A panic in it is
// treated as one in a Handler.
func (s *streamShared) produce(q *asked, p producer, write func(msg []byte) error) (ok bool) {
	sent := uint64(0)
	defer func() {
		if value := recover(); value != nil {
			s.note(value, q.transport, q.source, q.query)
			ok = false
		}
		s.countReplies(q, sent)
	}()
	return p(func(msg []byte) error {
		if len(msg) > streamRoom {
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
func (s *streamShared) countReplies(q *asked, n uint64) {
	w := s.streams.take()
	defer s.streams.give(w)
	family := familyOf(q.source.Addr())
	t := &w.tally[q.transport][family]
	t[countReplies] += n
	w.sheets[q.transport][family].publish(t)
}
