package serve

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"time"
)

const (
	lengthSize  = 2 // of the length in front of each message of a stream (RFC 1035, 4.2.2)
	streamRoom  = 65535
	streamIn    = 2048                    // room for a stream's messages at first
	streamInMax = lengthSize + streamRoom // and at most
	streamOut   = 32 << 10                // replies of this size are written before more are made
	lingerTime  = 500 * time.Millisecond  // for the client to take the last replies after we have closed our half
	lingerBytes = 64 << 10                // that it may still send meanwhile
	stopGrace   = 250 * time.Millisecond  // in which Shutdown still takes messages that are on their way
)

// stream is one connection by TCP (RFC 7766) or TLS (RFC 7858). One goroutine reads what there is, has all whole
// messages answered, and writes the replies together. As a Handler does not block, answers are ready in the order of
// the questions; what takes slow work is answered after everything else that has come.
type stream struct {
	seat
	srv      *Server
	tcp      *net.TCPConn
	conn     net.Conn  // what messages go through: tcp, or the TLS above it
	ask      asked     // the message at hand
	in       []byte    // read, not yet handled; in[:0] is the beginning of its array
	out      []byte    // framed replies, not yet written
	later    [][]byte  // messages within in that wait for slow work
	produce  producer  // of the last message handled, to be run when all replies are written
	closing  bool      // a Handler wants the connection closed
	deadline time.Time // for the message that has begun to come, or the first one; zero: none has begun
}

// newStream makes a stream, with TLS where there is a configuration for it.
func newStream(s *Server, conn *net.TCPConn, peer netip.AddrPort, config *tls.Config) *stream {
	c := &stream{srv: s, tcp: conn, conn: conn, deadline: time.Now().Add(s.cfg.FirstTimeout)}
	c.seat = seat{guest: c, transport: TCP, peer: peer}
	if config != nil {
		c.conn, c.transport = tls.Server(conn, config), TLS
	}
	c.ask = asked{source: peer, transport: c.transport}
	return c
}

// abort closes the connection, so that it holds no memory here or in the kernel.
func (c *stream) abort() {
	_ = c.tcp.SetLinger(0) // on a connection that is closed already both may fail
	_ = c.tcp.Close()
}

func (c *stream) hurry() { _ = c.conn.SetReadDeadline(c.srv.stopBy()) }

// run serves the connection to its end.
func (c *stream) run() {
	defer c.srv.conns.leave(&c.seat)
	defer c.conn.Close()
	if !c.shakeHands() {
		c.abort()
		return
	}
	c.in = make([]byte, 0, streamIn)
	for {
		err := c.fill()
		for c.whole() { // even when err tells that the client has closed its half
			if !c.respond() {
				return
			}
		}
		if err != nil {
			c.linger()
			return
		}
	}
}

// shakeHands does what TLS needs before the first message.
func (c *stream) shakeHands() bool {
	secure, ok := c.conn.(*tls.Conn)
	if !ok {
		return true
	}
	if secure.SetDeadline(c.deadline) != nil || c.setReadDeadline() != nil || secure.Handshake() != nil {
		return false
	}
	state := secure.ConnectionState()
	c.ask.peer = &state
	return true
}

// whole tells whether the next message is there from beginning to end.
func (c *stream) whole() bool {
	return len(c.in) >= lengthSize && len(c.in) >= lengthSize+int(binary.BigEndian.Uint16(c.in))
}

// fill reads until a message is whole, or the connection ends or is too slow. Room grows only with bytes that have
// come, never with the length that a client claims.
func (c *stream) fill() error {
	for !c.whole() {
		if err := c.setReadDeadline(); err != nil {
			return err
		}
		if len(c.in) == cap(c.in) {
			grown := make([]byte, len(c.in), min(2*cap(c.in), streamInMax))
			copy(grown, c.in)
			c.in = grown
		}
		n, err := c.conn.Read(c.in[len(c.in):cap(c.in)])
		c.in = c.in[:len(c.in)+n]
		if err != nil {
			return err
		}
	}
	return nil
}

// setReadDeadline gives the client until the end of the message that has begun, or the idle time.
func (c *stream) setReadDeadline() error {
	if c.deadline.IsZero() && len(c.in) > 0 {
		c.deadline = time.Now().Add(c.srv.cfg.MessageTimeout)
	}
	until := c.deadline
	if until.IsZero() {
		until = time.Now().Add(c.srv.conns.idleTime(c.srv.cfg.IdleTimeout))
	}
	if err := c.conn.SetReadDeadline(until); err != nil {
		return err
	}
	if c.srv.stopping.Load() { // looked at after the deadline was set, so that ours can't replace Shutdown's unseen
		return c.conn.SetReadDeadline(c.srv.stopBy())
	}
	return nil
}

// respond answers whole messages, as many as fit into one write. False: the connection is at its end.
func (c *stream) respond() bool {
	c.srv.conns.setBusy(&c.seat, true)
	defer c.srv.conns.setBusy(&c.seat, false)
	rest := c.handle()
	if !c.write() || !c.handleLater() || !c.transfer() {
		c.abort()
		return false
	}
	if c.closing {
		c.linger()
		return false
	}
	c.deadline = time.Time{}
	if len(rest) == 0 && cap(c.in) > streamIn {
		c.in = make([]byte, 0, streamIn) // one large message must not keep its room
	} else {
		c.in = c.in[:copy(c.in, rest)]
	}
	return true
}

// handle has whole messages answered into c.out until there is enough to write, or one wants the connection for
// itself. It gives what remains of c.in.
func (c *stream) handle() (rest []byte) {
	w := c.srv.streams.take()
	defer c.srv.streams.give(w)
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
	w.flush(c.transport, c.family())
	return rest
}

// answer has the message at hand answered, as far as w can.
func (c *stream) answer(w *streamWorker) {
	reply, action := w.answer(&c.ask)
	switch action {
	case Defer:
		c.later = append(c.later, c.ask.query)
	case Stream:
		c.produce = w.req.Produce
	case Close:
		c.closing = true
	}
	if len(reply) > 0 {
		c.frame(reply)
	}
}

func (c *stream) frame(msg []byte) {
	c.out = binary.BigEndian.AppendUint16(c.out, uint16(len(msg)))
	c.out = append(c.out, msg...)
}

// handleLater does the slow work, one message at a time, and writes each reply as soon as it is there. False: the
// client does not take them.
func (c *stream) handleLater() bool {
	query, produce := c.ask.query, c.produce // of a message that came after these
	for _, c.ask.query = range c.later {
		c.produce = nil
		w := c.srv.slowStreams.take()
		c.answer(w)
		w.flush(c.transport, c.family())
		c.srv.slowStreams.give(w) // before writing, which may have to wait for the client
		if !c.write() || !c.transfer() {
			return false
		}
	}
	c.later, c.ask.query, c.produce = c.later[:0], query, produce
	return true
}

// transfer runs what a Handler left to produce, if it did.
func (c *stream) transfer() bool {
	if c.produce == nil {
		return true
	}
	produce := c.produce
	c.produce = nil
	return c.srv.produce(&c.ask, produce, func(msg []byte) error {
		c.frame(msg)
		return c.writeOut()
	})
}

// keepAlive is the idle time in the units of RFC 7828.
func (c *stream) keepAlive() uint16 {
	return uint16(min(max(c.srv.conns.idleTime(c.srv.cfg.IdleTimeout)/(100*time.Millisecond), 1), 65535))
}

// write writes the replies, and tells whether the client took them.
func (c *stream) write() bool { return len(c.out) == 0 || c.writeOut() == nil }

// writeOut writes c.out within one deadline.
func (c *stream) writeOut() error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(c.srv.cfg.WriteTimeout)); err != nil {
		return err
	}
	_, err := c.conn.Write(c.out)
	if c.out = c.out[:0]; cap(c.out) > streamOut {
		c.out = nil
	}
	return err
}

// linger closes our half and waits a little for the client to close its own: closing while unread bytes are there
// would reset the connection, and with it the replies that the client has not read yet.
func (c *stream) linger() {
	if secure, ok := c.conn.(*tls.Conn); ok {
		_ = secure.CloseWrite() // tells a client whose reading is done; where it fails, the next line does too
	}
	if c.tcp.CloseWrite() != nil || c.tcp.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c.tcp, lingerBytes) // any end of it is an end
}
