package serve

import (
	"encoding/binary"
	"sync/atomic"
)

// streamWorker answers messages of streams: a Handler with its room and counters. Streams take one for as long as it
// takes to answer what they have ready, so there are few of them, however many streams there are.
type streamWorker struct {
	srv    *Server
	h      Handler
	req    Request
	room   []byte
	tally  [2]tally // by family
	sheets [2]*sheet
}

// streamPool lends streamWorkers, made on demand up to a bound; beyond it, streams wait for each other.
type streamPool struct {
	srv  *Server
	free chan *streamWorker
	made atomic.Int32
}

func newStreamPool(s *Server, size int) *streamPool {
	return &streamPool{srv: s, free: make(chan *streamWorker, size)}
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
	w := &streamWorker{srv: p.srv, h: p.srv.cfg.NewHandler(), room: make([]byte, streamRoom)}
	for f := range w.sheets {
		w.sheets[f] = p.srv.metrics.newSheet(TCP, uint8(f))
	}
	return w
}

func (p *streamPool) give(w *streamWorker) { p.free <- w }

// answer appends the framed reply to query, if there is one, to c.out. False: the stream is to be closed.
func (w *streamWorker) answer(c *stream, query []byte) (more bool) {
	t := &w.tally[c.family()]
	t[countPackets]++
	if len(query) < headerSize {
		t[countDropShort]++
		return false // whatever this is, it is not DNS
	}
	var n int
	var action Action
	if w.srv.quarantine.holds(query) {
		t[countQuarantined]++
		n, action = w.fail(query, rcodeRefused)
	} else {
		n, action = w.call(c, query)
	}
	switch {
	case action == Drop:
		t[countDropHandler]++
		return true
	case n == 0:
		t[countDropEmpty]++
		return action != Close
	case action == Truncate:
		t[countTruncated]++
	}
	c.out = binary.BigEndian.AppendUint16(c.out, uint16(n))
	c.out = append(c.out, w.room[:n]...)
	t[countReplies]++
	return action != Close
}

// fail answers query without a Handler, if it deserves an answer.
func (w *streamWorker) fail(query []byte, rcode uint16) (n int, action Action) {
	if n = failure(w.room, query, rcode); n == 0 {
		return 0, Drop
	}
	return n, Send
}

// call hands a copy of query to the Handler, and turns a panic into SERVFAIL.
func (w *streamWorker) call(c *stream, query []byte) (n int, action Action) {
	w.req = Request{Buf: w.room, N: copy(w.room, query), Source: c.peer, Transport: TCP}
	defer func() {
		if value := recover(); value != nil {
			w.tally[c.family()][countPanics]++
			w.h = w.srv.bury(value, w.h, &w.req, query)
			n, action = w.fail(query, rcodeServFail)
		}
	}()
	n, action = w.h.Handle(&w.req)
	_ = w.room[:n] // an impossible n panics here, and the Handler is at fault
	return n, action
}

// flush ends a batch of messages.
func (w *streamWorker) flush(family uint8) {
	t := &w.tally[family]
	defer func() {
		if value := recover(); value != nil {
			t[countPanics]++
			w.h = w.srv.bury(value, w.h, &w.req, nil)
		}
		t[countBatches]++
		w.sheets[family].publish(t)
	}()
	w.h.Flush()
}
