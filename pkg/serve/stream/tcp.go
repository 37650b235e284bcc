package stream

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/gti/gtm/pkg/serve/guard"
	"github.com/gti/gtm/pkg/serve/seam"
)

// stream is one connection by TCP (RFC 7766) or TLS (RFC 7858). One goroutine reads what there is, has all whole
// messages answered, and writes the replies together. As a Handler does not block, answers are ready in the order of
// the questions; what takes slow work is answered after everything else that has come.
type stream struct {
	guard.Seat
	pipe
	ask      asked     // the message at hand
	later    []putOff  // messages within in that wait for slow work
	produce  producer  // of the last message handled, to be run when all replies are written
	closing  bool      // a Handler wants the connection closed
	deadline time.Time // for the message that has begun to come, or the first one; zero: none has begun
}

// newStream makes a stream, with TLS where there is a configuration for it.
func newStream(s *Shared, conn *net.TCPConn, peer netip.AddrPort, config *tls.Config) *stream {
	c := &stream{pipe: newPipe(s, conn, config), deadline: time.Now().Add(s.cfg.FirstTimeout)}
	c.Seat = guard.Seat{Guest: c, Transport: seam.TCP, Peer: peer}
	if config != nil {
		c.Transport = seam.TLS
	}
	c.ask = asked{source: peer, transport: c.Transport}
	return c
}

// run serves the connection to its end.
func (c *stream) run() {
	defer c.shared.Conns.Leave(&c.Seat)
	defer c.end()
	var ok bool
	if c.ask.peer, ok = c.shakeHands(c.deadline); !ok {
		c.Abort()
		return
	}
	for {
		err := c.read()
		for c.whole() { // even when err tells that the client has closed its half
			if !c.respond() {
				return
			}
		}
		if err != nil {
			c.part(err)
			return
		}
	}
}

// whole reports whether the next message is there from beginning to end.
func (c *stream) whole() bool {
	return len(c.in) >= lengthSize && len(c.in) >= lengthSize+int(binary.BigEndian.Uint16(c.in))
}

// read reads until a message is whole, or the connection ends or is too slow.
func (c *stream) read() error {
	for {
		var until time.Time
		var slack time.Duration
		if c.dry {
			if len(c.in) > 0 {
				c.tap.hasten()
			}
			until, slack = c.patience()
		}
		if err := c.fill(streamInMax, until, slack); err != nil || c.whole() {
			return err
		}
	}
}

// patience is when the client has to have sent something: by the end of the message that has begun, or of the idle time.
func (c *stream) patience() (until time.Time, slack time.Duration) {
	if c.deadline.IsZero() && len(c.in) > 0 {
		c.deadline = time.Now().Add(c.shared.cfg.MessageTimeout)
	}
	if !c.deadline.IsZero() {
		return c.deadline, 0
	}
	idle := c.shared.Conns.IdleTime(c.shared.cfg.IdleTimeout)
	return time.Now().Add(idle), idle / slackPart
}

// respond answers whole messages, as many as fit into one write. False: the connection is at its end.
func (c *stream) respond() bool {
	c.shared.Conns.SetBusy(&c.Seat, true)
	defer c.shared.Conns.SetBusy(&c.Seat, false)
	rest := c.handle()
	if !c.write() || !c.handleLater() || !c.transfer() {
		c.Abort()
		return false
	}
	if c.closing {
		c.linger()
		return false
	}
	c.deadline = time.Time{}
	c.keep(rest)
	return true
}

// handle has whole messages answered into c.out until there is enough to write, or one wants the connection for
// itself. It gives what remains of c.in.
func (c *stream) handle() (rest []byte) {
	w := c.shared.streams.take()
	defer c.shared.streams.give(w)
	c.ask.keepAlive = c.keepAlive()
	rest = c.in
	for !c.closing && c.produce == nil && len(c.out) < streamOut && len(rest) >= lengthSize {
		end := lengthSize + int(binary.BigEndian.Uint16(rest))
		if len(rest) < end {
			break
		}
		c.ask.query = rest[lengthSize:end]
		c.answer(w)
		rest = rest[end:]
	}
	w.flush(c.Transport, c.Family())
	return rest
}

// answer has the message at hand answered, as far as w can.
func (c *stream) answer(w *streamWorker) {
	reply, action := w.answer(&c.ask)
	switch action {
	case seam.Defer:
		c.later = append(c.later, putOff{c.ask.query, c.ask.resume})
	case seam.Stream:
		c.produce = w.req.Produce
	case seam.Close:
		c.closing = true
	}
	if len(reply) > 0 {
		c.frame(reply)
	}
}

func (c *stream) frame(msg []byte) {
	c.out = binary.BigEndian.AppendUint16(c.outSpace(), uint16(len(msg)))
	c.out = append(c.out, msg...)
}

// handleLater does the slow work, one message at a time, and writes each reply as soon as it is there. False: the
// client does not take them.
func (c *stream) handleLater() bool {
	query, produce := c.ask.query, c.produce // of a message that came after these
	for _, m := range c.later {
		c.ask.query, c.ask.resume, c.produce = m.query, m.resume, nil
		w := c.shared.slowStreams.take()
		c.answer(w)
		w.flush(c.Transport, c.Family())
		c.shared.slowStreams.give(w) // before writing, which may have to wait for the client
		if !c.write() || !c.transfer() {
			return false
		}
	}
	c.later, c.ask.query, c.produce = c.later[:0], query, produce
	return true
}

// putOff is a message that waits for slow work; see seam.Request.Resume.
type putOff struct {
	query  []byte
	resume uint64
}

// transfer runs what a Handler left to produce, if it did.
func (c *stream) transfer() bool {
	if c.produce == nil {
		return true
	}
	produce := c.produce
	c.produce = nil
	return c.shared.produce(&c.ask, produce, func(msg []byte) error {
		c.frame(msg)
		if !c.write() {
			return errNotTaken
		}
		return nil
	})
}

// keepAlive is the idle time in the units of RFC 7828.
func (c *stream) keepAlive() uint16 {
	return uint16(min(max(c.shared.Conns.IdleTime(c.shared.cfg.IdleTimeout)/(100*time.Millisecond), 1), 65535))
}

// errNotTaken tells a producer that its client does not take what it makes.
var errNotTaken = errors.New("serve: the client is gone, or too slow")
