package serve

import (
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// drainBatches bounds what a worker still answers after Shutdown has begun, should clients not stop asking.
	drainBatches = 1024
	// errorPause keeps a socket that only gives errors from burning its CPU.
	errorPause = 100 * time.Millisecond
)

// datagrams is the memory of a batch and the way by which it comes and goes: a socket's (batch), or frames past the
// kernel's stack (xdpBatch). See batch for what its methods do.
type datagrams interface {
	receive(flags int) (int, unix.Errno)
	take(i int, d *datagram)
	queue(i, n int)
	send() (sent, failed, busy int)
	putOff(i int, j *slowJob)
}

// datagram is one that was received.
type datagram struct {
	slot   []byte         // its room; slot[:size] is what was received
	source netip.AddrPort // not valid if nobody sent it
	size   int
	cut    bool    // it was longer than its room
	held   measure // by the quarantine
}

// plain tells whether a Handler will get it.
func (d *datagram) plain() bool { return !d.cut && d.held == passed && d.source.Port() != 0 }

// udpWorker serves one UDP socket: a loop of one recvmmsg, a Handler's calls, one sendmmsg. Nothing on that way
// allocates, locks or logs.
type udpWorker struct {
	shared *datagramShared
	batch  datagrams
	h      Handler
	req    Request
	at     int // the datagram being handled

	window  [Window]datagram
	from    int      // the datagram that window[0] is
	end     int      // behind the last in the window
	foresee Foreseer // h, if it is one and was told of the window; nil otherwise
	looking bool     // it is being told
	query   []byte   // a copy of it, since the reply is written over it
	tick    uint16   // the rate limiter's time, of this batch
	slip    int      // replies until one slips through the rate limit
	tally   tally
	sheet   *sheet
}

func newUDPWorker(s *datagramShared, sock socket) *udpWorker {
	return &udpWorker{shared: s, batch: newBatch(sock.fd, sock.wildcard), h: s.newHandler(),
		req: Request{Transport: UDP}, query: make([]byte, 0, slotSize), sheet: s.counts.newSheet(UDP, sock.family)}
}

// run serves until Shutdown. It keeps its thread, so that the kernel's receive queue, the thread and its
// caches stay together; the thread ends with it.
func (w *udpWorker) run() {
	runtime.LockOSThread()
	shortenSlice()
	var r rest
	for !w.shared.stopping.Load() {
		r.take()
		if errno := w.step(0); errno != 0 && errno != unix.EINTR && errno != unix.EAGAIN {
			w.shared.logger.Error("receiving from a UDP socket failed; going on", "error", errno)
			time.Sleep(errorPause)
		}
	}
	for range drainBatches { // what came before the end is answered
		if errno := w.step(unix.MSG_DONTWAIT); errno != 0 && errno != unix.EINTR {
			return
		}
	}
}

// step receives, handles and answers one batch. With flags 0 it waits for the first datagram.
func (w *udpWorker) step(flags int) unix.Errno {
	n, errno := w.batch.receive(flags)
	if errno != 0 {
		return errno
	}
	if w.shared.limit != nil {
		w.tick = w.shared.limit.now()
	}
	w.serve(n)
	w.flush()
	sent, failed, busy := w.batch.send()
	w.tally[countReplies] += uint64(sent)
	w.tally[countDropFailed] += uint64(failed)
	w.tally[countDropBusy] += uint64(busy)
	w.tally[countBatches]++
	w.sheet.publish(&w.tally)
	return 0
}

// serve handles the n datagrams of a batch.
func (w *udpWorker) serve(n int) {
	w.at, w.end = 0, 0
	for w.at < n {
		w.handleFrom(n)
	}
}

// handleFrom handles datagrams from w.at on, to the end of the batch or the first panic: one deferred call per
// batch, none per datagram.
func (w *udpWorker) handleFrom(n int) {
	defer w.contain()
	for ; w.at < n; w.at++ {
		if w.at == w.end {
			w.look(n)
		}
		w.handle(&w.window[w.at-w.from])
	}
}

// look takes the next window of a batch of n, and shows it to the Handler if that wants to see it.
func (w *udpWorker) look(n int) {
	w.from, w.end = w.at, min(n, w.at+Window)
	window := w.window[:w.end-w.from]
	for i := range window {
		d := &window[i]
		w.batch.take(w.from+i, d)
		d.held = w.shared.quarantine.judge(d.slot[:d.size], UDP, d.source.Addr())
	}
	foresee, ok := w.h.(Foreseer)
	if w.foresee = nil; !ok {
		return
	}
	w.looking = true
	for i := range window {
		d := &window[i]
		if d.plain() {
			foresee.Look(i, d.slot[:d.size], d.source)
		} else {
			foresee.Look(i, nil, d.source)
		}
	}
	foresee.Follow(len(window))
	w.looking, w.foresee = false, foresee
}

// handle answers datagram w.at, which is d.
func (w *udpWorker) handle(d *datagram) {
	i := w.at
	if !d.source.IsValid() {
		return // the empty datagram by which shutdown(2) wakes the worker
	}
	w.tally[countPackets]++
	if d.source.Port() == 0 {
		w.tally[countDropPort0]++
		return
	}
	if d.cut {
		w.tally[countDropLarge]++
		return
	}
	slot := d.slot
	w.query = append(w.query[:0], slot[:d.size]...)
	held := d.held
	if held == passed { // it may have come into it since the window was taken
		held = w.shared.quarantine.judge(w.query, UDP, d.source.Addr())
	}
	if held != passed {
		w.tally[countQuarantined]++
		w.fail(i, [...]uint16{refused: rcodeRefused, sentToTCP: flagTC}[held])
		return
	}
	w.req.Buf, w.req.N, w.req.Source = slot, d.size, d.source
	w.req.Exempt, w.req.Produce, w.req.Ahead = false, nil, 0
	if w.foresee != nil {
		w.req.Ahead = 1 + i - w.from
	}
	n, action := w.h.Handle(&w.req)
	switch {
	case action == Drop:
		w.tally[countDropHandler]++
		return
	case action == Defer:
		w.putOff(i)
		return
	case action == Stream:
		w.fail(i, rcodeServFail)
		return
	case len(slot[:n]) == 0: // slot[:n] panics where n is impossible, and the Handler is at fault
		w.tally[countDropEmpty]++
		return
	case action == Truncate:
		w.tally[countTruncated]++
	}
	if w.allowed(i, w.req.Exempt) {
		w.batch.queue(i, n)
	}
}

// slot gives the room of datagram i, which is in the window.
func (w *udpWorker) slot(i int) []byte { return w.window[i-w.from].slot }

// fail answers datagram i, whose copy is w.query, without a Handler.
func (w *udpWorker) fail(i int, rcode uint16) {
	if n := failure(w.slot(i), w.query, rcode); n == 0 {
		w.tally[countDropHandler]++
	} else if w.allowed(i, false) {
		w.batch.queue(i, n)
	}
}

// putOff leaves datagram i to a slow worker. The rate limit comes first, so that no work is done in vain.
func (w *udpWorker) putOff(i int) {
	if !w.allowed(i, w.req.Exempt) {
		return
	}
	if w.shared.slow.of(w.req.Preferred).put(w.batch, i, w.sheet.family, w.req.Source, w.query) {
		w.tally[countDeferred]++
	} else {
		w.tally[countDropSlow]++
	}
}

// allowed tells whether the rate limit lets the reply to datagram i pass. If not, everything is done: it is dropped,
// or slips through as a short one that sends its client to TCP.
func (w *udpWorker) allowed(i int, exempt bool) bool {
	l := w.shared.limit
	if l == nil || exempt || l.allow(w.window[i-w.from].source.Addr(), w.tick) {
		return true
	}
	w.tally[countLimited]++
	if l.dryRun {
		return true
	}
	if w.slip++; l.slip == 0 || w.slip < l.slip {
		w.tally[countDropRate]++
		return false
	}
	w.slip = 0
	n := failure(w.slot(i), w.query, flagTC)
	if n == 0 { // can't be: it got a reply
		return false
	}
	w.tally[countSlipped]++
	w.batch.queue(i, n)
	return false
}

// contain, deferred, ends a panic of the Handler: SERVFAIL for the datagram, if it was being handled, and a new Handler for the
// rest.
func (w *udpWorker) contain() {
	value := recover()
	if value == nil {
		return
	}
	w.tally[countPanics]++
	if w.foresee = nil; w.looking {
		w.looking = false
		w.h = w.shared.bury(value, w.h, &w.req, nil)
		return
	}
	w.h = w.shared.bury(value, w.h, &w.req, w.query)
	w.fail(w.at, rcodeServFail)
	w.at++
}

// flush calls the Handler's Flush; if that panics, no query is to blame.
func (w *udpWorker) flush() {
	defer func() {
		if value := recover(); value != nil {
			w.tally[countPanics]++
			w.h = w.shared.bury(value, w.h, &w.req, nil)
		}
	}()
	w.h.Flush()
}
