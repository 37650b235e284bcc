package datagram

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gti/gtm/pkg/serve/guard"
	"github.com/gti/gtm/pkg/serve/seam"
)

const (
	// drainBatches bounds what a worker still answers after Shutdown has begun, should clients not stop asking.
	drainBatches = 1024
	// errorPause keeps a socket that only gives errors from burning its CPU.
	errorPause = 100 * time.Millisecond
)

// udpWorker serves one UDP socket: a loop of one recvmmsg, a Handler's calls, one sendmmsg. Nothing on that way
// allocates, locks or logs.
type udpWorker struct {
	shared *Shared
	batch  datagrams
	h      seam.Handler
	req    seam.Request
	at     int // the datagram being handled

	window      [seam.Window]datagram
	from        int             // the datagram that window[0] is
	end         int             // behind the last in the window
	prefetcher  seam.Prefetcher // h, if it is one and was shown the window; nil otherwise
	prefetching bool            // it is being shown it
	query       []byte          // a copy of it, since the reply is written over it
	tick        uint16          // the rate limiter's time, of this batch
	slip        int             // replies until one slips through the rate limit
	tally       guard.Tally
	sheet       *guard.Sheet
}

func newUDPWorker(s *Shared, sock Socket) *udpWorker {
	return &udpWorker{shared: s, batch: newBatch(sock.FD, sock.wildcard), h: s.NewHandler(),
		req: seam.Request{Transport: seam.UDP}, query: make([]byte, 0, slotSize), sheet: s.Counts.NewSheet(seam.UDP, sock.family)}
}

// Serve serves a socket, in a thread of its own, until Shutdown.
func (s *Shared) Serve(sock Socket) { newUDPWorker(s, sock).run() }

// run serves until Shutdown. It keeps its thread, so that the kernel's receive queue, the thread and its
// caches stay together; the thread ends with it.
func (w *udpWorker) run() {
	runtime.LockOSThread()
	shortenSlice()
	var r rest
	for !w.shared.Stopping.Load() {
		r.take()
		if errno := w.step(0); errno != 0 && errno != unix.EINTR && errno != unix.EAGAIN {
			w.shared.Logger.Error("receiving from a UDP socket failed; going on", "error", errno)
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
		w.tick = w.shared.limit.Now()
	}
	w.serve(n)
	w.flush()
	sent, failed, busy := w.batch.send()
	w.tally[guard.CountReplies] += uint64(sent)
	w.tally[guard.CountDropFailed] += uint64(failed)
	w.tally[guard.CountDropBusy] += uint64(busy)
	w.tally[guard.CountBatches]++
	w.sheet.Publish(&w.tally)
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
			w.prefetchWindow(n)
		}
		w.handle(&w.window[w.at-w.from])
	}
}

// prefetchWindow takes the next window of a batch of n, and shows it to the Handler if that wants to see it.
func (w *udpWorker) prefetchWindow(n int) {
	w.from, w.end = w.at, min(n, w.at+seam.Window)
	window := w.window[:w.end-w.from]
	for i := range window {
		d := &window[i]
		w.batch.take(w.from+i, d)
		d.held = w.shared.Quarantine.Judge(d.slot[:d.size], seam.UDP, d.source.Addr())
	}
	prefetcher, ok := w.h.(seam.Prefetcher)
	if w.prefetcher = nil; !ok {
		return
	}
	w.prefetching = true
	for i := range window {
		d := &window[i]
		if d.plain() {
			prefetcher.Parse(i, d.slot[:d.size], d.source)
		} else {
			prefetcher.Parse(i, nil, d.source)
		}
	}
	prefetcher.Prefetch(len(window))
	w.prefetching, w.prefetcher = false, prefetcher
}

// handle answers datagram w.at, which is d.
func (w *udpWorker) handle(d *datagram) {
	i := w.at
	if !d.source.IsValid() {
		return // the empty datagram by which shutdown(2) wakes the worker
	}
	w.tally[guard.CountPackets]++
	if d.source.Port() == 0 {
		w.tally[guard.CountDropPort0]++
		return
	}
	if d.cut {
		w.tally[guard.CountDropLarge]++
		return
	}
	slot := d.slot
	w.query = append(w.query[:0], slot[:d.size]...)
	held := d.held
	if held == guard.Passed { // it may have come into it since the window was taken
		held = w.shared.Quarantine.Judge(w.query, seam.UDP, d.source.Addr())
	}
	if held != guard.Passed {
		w.tally[guard.CountQuarantined]++
		w.fail(i, [...]uint16{guard.Refused: seam.RcodeRefused, guard.SentToTCP: seam.FlagTC}[held])
		return
	}
	w.req.Buf, w.req.N, w.req.Source = slot, d.size, d.source
	w.req.Exempt, w.req.Produce, w.req.Prefetched = false, nil, 0
	if w.prefetcher != nil {
		w.req.Prefetched = 1 + i - w.from
	}
	n, action := w.h.Handle(&w.req)
	switch {
	case action == seam.Drop:
		w.tally[guard.CountDropHandler]++
		return
	case action == seam.Defer:
		w.putOff(i)
		return
	case action == seam.Stream:
		w.fail(i, seam.RcodeServFail)
		return
	case len(slot[:n]) == 0: // slot[:n] panics where n is impossible, and the Handler is at fault
		w.tally[guard.CountDropEmpty]++
		return
	case action == seam.Truncate:
		w.tally[guard.CountTruncated]++
	}
	if w.allowed(i, w.req.Exempt) {
		w.batch.queue(i, n)
	}
}

// slot gives the memory of datagram i, which is in the window.
func (w *udpWorker) slot(i int) []byte { return w.window[i-w.from].slot }

// fail answers datagram i, whose copy is w.query, without a Handler.
func (w *udpWorker) fail(i int, rcode uint16) {
	if n := seam.Failure(w.slot(i), w.query, rcode); n == 0 {
		w.tally[guard.CountDropHandler]++
	} else if w.allowed(i, false) {
		w.batch.queue(i, n)
	}
}

// putOff leaves datagram i to a slow worker. The rate limit comes first, so that no work is done in vain.
func (w *udpWorker) putOff(i int) {
	if !w.allowed(i, w.req.Exempt) {
		return
	}
	if w.shared.slow.of(w.req.Preferred).put(w.batch, i, w.sheet.Family, &w.req, w.query) {
		w.tally[guard.CountDeferred]++
	} else {
		w.tally[guard.CountDropSlow]++
	}
}

// allowed reports whether the rate limit lets the reply to datagram i pass. If not, everything is done: it is dropped,
// or slips through as a short one that sends its client to TCP.
func (w *udpWorker) allowed(i int, exempt bool) bool {
	l := w.shared.limit
	if l == nil || exempt || l.Allow(w.window[i-w.from].source.Addr(), w.tick) {
		return true
	}
	w.tally[guard.CountLimited]++
	if l.DryRun {
		return true
	}
	if w.slip++; l.Slip == 0 || w.slip < l.Slip {
		w.tally[guard.CountDropRate]++
		return false
	}
	w.slip = 0
	n := seam.Failure(w.slot(i), w.query, seam.FlagTC)
	if n == 0 { // can't be: it got a reply
		return false
	}
	w.tally[guard.CountSlipped]++
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
	w.tally[guard.CountPanics]++
	if w.prefetcher = nil; w.prefetching {
		w.prefetching = false
		w.h = w.shared.Bury(value, w.h, &w.req, nil)
		return
	}
	w.h = w.shared.Bury(value, w.h, &w.req, w.query)
	w.fail(w.at, seam.RcodeServFail)
	w.at++
}

// flush calls the Handler's Flush; if that panics, no query is to blame.
func (w *udpWorker) flush() {
	defer func() {
		if value := recover(); value != nil {
			w.tally[guard.CountPanics]++
			w.h = w.shared.Bury(value, w.h, &w.req, nil)
		}
	}()
	w.h.Flush()
}
