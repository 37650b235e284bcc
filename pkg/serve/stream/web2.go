package stream

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/gti/gtm/pkg/serve/seam"
)

const (
	alpnHTTP2    = "h2"
	web2Frame    = 16 << 10                     // bytes that a frame may hold besides its header, either way: what HTTP/2 has at first
	web2Header   = 9                            // of a frame
	web2Window   = 64 << 10                     // that a client may send in one stream: one byte more than a DNS message has, to see that
	web2GiveBack = 32 << 10                     // bytes of the connection's window that are given back together
	web2Table    = 4 << 10                      // bytes that a client's header compression may have us remember: what HTTP/2 has at first
	web2InMax    = 2 * (web2Header + web2Frame) // that a request's header may have, in frames; less than any other frame
)

// streamsGiven is how many streams that we gave up are remembered.
const streamsGiven = 32

// web2 is a connection of HTTP/2 (RFC 9113) with DNS in it (RFC 8484). One goroutine reads what there is, has all whole
// requests answered, and writes the replies together; net/http, with a goroutine for each request and a frame for each
// write, needs several times as much. Frames and compressed headers are read by golang.org/x/net. As in a stream, what
// takes slow work is answered after everything else that has come.
type web2 struct {
	*webConn
	ask     asked
	head    web2Head       // of the request at hand
	decoder *hpack.Decoder // of all headers of the connection; it gives them to head
	open    []*web2Request // those whose message is not whole, that wait for slow work, or whose reply the client does not take yet
	spare   *web2Request

	gotPreface, gotSettings bool                 // the client's preface has come, its first settings too
	last                    uint32               // the highest stream that it has opened
	given                   [streamsGiven]uint32 // the last streams that we gave up, whose messages may still be on their way
	givenAt                 int                  // how many there were
	window                  int64                // what it takes in all streams together, of replies
	cuts                    []int                // where replies end in out
	initial                 int64                // what it takes in a new one
	received                int                  // of its messages, not given back yet

	now      time.Time // when the batch at hand began
	busy     bool      // a message of that batch was answered
	deadline time.Time // for the first message
	begun    time.Time // when the frame began to come that is not whole; zero: there is none
	rested   time.Time // when the last message was answered
}

func newWeb2(c *webConn, state *tls.ConnectionState, deadline time.Time) *web2 {
	h := &web2{webConn: c, window: 65535, initial: 65535, deadline: deadline}
	h.ask = asked{source: c.Peer, transport: seam.HTTPS, peer: state}
	h.decoder = hpack.NewDecoder(web2Table, h.head.take)
	h.decoder.SetMaxStringLength(maxHTTPHeader)
	return h
}

// web2Framer reads and writes frames for one batch of a connection.
type web2Framer struct {
	*http2.Framer
	in   bytes.Reader
	c    *web2
	text []byte // an address's query
}

func (f *web2Framer) Write(data []byte) (int, error) {
	f.c.out = append(f.c.outSpace(), data...)
	return len(data), nil
}

// web2Framers lends framers to connections that have something to do. One that has met an error is not given back.
var web2Framers = sync.Pool{New: func() any {
	f := new(web2Framer)
	f.Framer = http2.NewFramer(f, &f.in)
	f.SetReuseFrames()
	f.SetMaxReadFrameSize(web2Frame)
	return f
}}

func (c *web2) framer() *web2Framer {
	f := web2Framers.Get().(*web2Framer)
	f.c = c
	return f
}

func (f *web2Framer) giveBack() {
	f.c = nil
	web2Framers.Put(f)
}

// run serves the connection to its end.
func (c *web2) run() {
	defer c.finishAll()
	c.greet()
	for {
		err := c.read()
		for c.whole(c.in) {
			if !c.respond() {
				return
			}
		}
		if err != nil {
			c.leaveTaking(err)
			return
		}
	}
}

// greet says what the client may do. That is written with the first reply, or when the client has nothing for us yet.
func (c *web2) greet() {
	f := c.framer()
	defer f.giveBack()
	_ = f.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: streamsPerConn},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: web2Window},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: maxHTTPHeader}) // into c.out, which takes everything
}

// whole reports whether in begins with a whole frame, and all that continues it; or with something that is too long.
func (c *web2) whole(in []byte) bool {
	if !c.gotPreface {
		return len(in) >= len(http2.ClientPreface)
	}
	_, ok := web2Block(in)
	return ok
}

// web2Block gives the length of the frame at the beginning of in, with the frames that continue its header, if it is
// whole. What is longer than it may be is whole, too.
func web2Block(in []byte) (n int, ok bool) {
	for {
		if len(in) < n+web2Header {
			return 0, false
		}
		head := in[n:]
		size := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
		kind, flags := http2.FrameType(head[3]), http2.Flags(head[4])
		if n += web2Header + size; size > web2Frame || n > web2InMax {
			return len(in), true
		}
		if len(in) < n {
			return 0, false
		}
		headers := kind == http2.FrameHeaders || kind == http2.FrameContinuation
		if !headers || flags.Has(http2.FlagHeadersEndHeaders) {
			return n, true
		}
	}
}

// read reads until a frame is whole, or the connection ends or is too slow.
func (c *web2) read() error {
	for {
		var until time.Time
		var slack time.Duration
		if c.dry {
			if !c.write() { // the greeting
				return errNotTaken
			}
			if len(c.in)+len(c.open) > 0 {
				c.tap.hasten()
			}
			until, slack = c.patience()
		}
		if err := c.fill(web2InMax+web2Header, until, slack); err != nil || c.whole(c.in) {
			return err
		}
	}
}

// patience is when the client has to have sent something.
func (c *web2) patience() (until time.Time, slack time.Duration) {
	c.now = time.Now()
	if c.begun.IsZero() && len(c.in) > 0 {
		c.begun = c.now
	}
	switch {
	case !c.deadline.IsZero():
		until = c.deadline
	case !c.begun.IsZero():
		until = c.begun.Add(c.shared.cfg.MessageTimeout)
	case len(c.open) == 0:
		idle := c.shared.Conns.IdleTime(c.shared.cfg.IdleTimeout)
		return c.rested.Add(idle), idle / slackPart
	}
	for _, r := range c.open {
		if until.IsZero() || r.until.Before(until) {
			until = r.until
		}
	}
	return until, 0
}

// respond handles whole frames, until there is enough to write. False: the connection is at its end.
func (c *web2) respond() bool {
	c.now = time.Now()
	rest, err := c.handle()
	if c.busy {
		c.busy = false
		defer c.shared.Conns.SetBusy(&c.Seat, false)
	}
	if err != nil {
		c.leaveTaking(err)
		return false
	}
	if !c.write() || !c.handleLater() {
		c.Abort()
		return false
	}
	c.begun = time.Time{}
	c.keep(rest)
	return true
}

// handle handles whole frames. It gives what remains of c.in.
func (c *web2) handle() (rest []byte, err error) {
	f, w := c.framer(), c.shared.streams.take()
	defer func() {
		if c.busy {
			w.flush(seam.HTTPS, c.Family())
		}
		c.shared.streams.give(w)
	}()
	for rest = c.in; c.whole(rest) && len(c.out) < streamOut; {
		if !c.gotPreface {
			if c.gotPreface = string(rest[:len(http2.ClientPreface)]) == http2.ClientPreface; !c.gotPreface {
				return rest, http2.ConnectionError(http2.ErrCodeProtocol)
			}
			rest = rest[len(http2.ClientPreface):]
			continue
		}
		n, _ := web2Block(rest)
		f.in.Reset(rest[:n])
		if err := c.frame(f, w); err != nil {
			return rest, err
		}
		rest = rest[n:]
	}
	f.giveBack()
	return rest, nil
}

// answering notes that a message is answered in this batch.
func (c *web2) answering() {
	if !c.busy {
		c.busy = true
		c.shared.Conns.SetBusy(&c.Seat, true)
	}
	c.deadline, c.rested = time.Time{}, c.now
}

// handleLater does the slow work, one message at a time. False: the client does not take the replies.
func (c *web2) handleLater() bool {
	for {
		i := slices.IndexFunc(c.open, func(r *web2Request) bool { return r.slow })
		if i < 0 {
			return true
		}
		r, f, w := c.open[i], c.framer(), c.shared.slowStreams.take()
		r.slow = false
		err := c.answer(f, r, w)
		w.flush(seam.HTTPS, c.Family())
		c.shared.slowStreams.give(w) // before writing, which may have to wait for the client
		f.giveBack()
		c.rested = time.Now()
		if err != nil || !c.write() {
			return false
		}
	}
}

// write writes what there is, each reply in a TLS record of its own, but all of them together. Clients may not count on
// that, but some do: dnsperf 2.10 takes one reply for each record that it reads, and loses the others.
func (c *web2) write() bool {
	cuts := append(c.cuts, len(c.out))
	if c.cuts = cuts[:0]; len(cuts) < 3 { // one reply at most
		return c.pipe.write()
	}
	buf := outBufs.Get().(*[streamOut]byte)
	defer outBufs.Put(buf)
	c.held = buf[:0]
	at, ok := 0, true
	for _, end := range cuts {
		if ok && end > at {
			_, err := c.conn.Write(c.out[at:end])
			at, ok = end, err == nil
		}
	}
	sealed := c.held
	c.held = nil
	c.releaseOut()
	if !ok || !c.mayWrite() {
		return false
	}
	_, err := c.tap.Write(sealed)
	return err == nil
}

// leaveTaking ends the connection, for err; io.EOF: the client has ended it, and is not told.
func (c *web2) leaveTaking(err error) {
	code := http2.ErrCodeNo
	var fault http2.ConnectionError
	switch late := time.Now(); {
	case err == io.EOF:
		return
	case errors.As(err, &fault):
		code = http2.ErrCode(fault)
	case !c.shared.Stopping.Load() && c.overdue(late):
		c.Abort()
		return
	}
	f := c.framer()
	if f.WriteGoAway(c.last, code, nil) != nil || !c.write() {
		c.Abort()
		return
	}
	c.linger()
}

// overdue reports whether the client owes something.
func (c *web2) overdue(now time.Time) bool {
	if !c.deadline.IsZero() || !c.begun.IsZero() {
		return true
	}
	for _, r := range c.open {
		if !now.Before(r.until) {
			return true
		}
	}
	return false
}

// finishAll forgets all requests, at the connection's end.
func (c *web2) finishAll() {
	for len(c.open) > 0 {
		c.release(c.open[0])
	}
	c.end()
}
