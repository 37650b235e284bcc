package serve

import (
	"container/list"
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

// stream is one TCP connection (RFC 7766). One goroutine reads what there is, has all whole messages answered,
// and writes the replies together. As a Handler does not block, answers are ready in the order of the questions.
type stream struct {
	srv      *Server
	conn     *net.TCPConn
	peer     netip.AddrPort
	in       []byte    // read, not yet handled; in[:0] is the beginning of its array
	out      []byte    // framed replies, not yet written
	deadline time.Time // for the message that has begun to come, or the first one; zero: none has begun

	// owned by connTable
	place *list.Element
	busy  bool
}

func newStream(s *Server, conn *net.TCPConn, peer netip.AddrPort) *stream {
	return &stream{srv: s, conn: conn, peer: peer, deadline: time.Now().Add(s.cfg.FirstTimeout)}
}

// abort closes the connection from outside or in anger: what its client has not taken yet is thrown away, so that it
// holds no memory here or in the kernel.
func (c *stream) abort() {
	_ = c.conn.SetLinger(0) // on a connection that is closed already both may fail
	_ = c.conn.Close()
}

// run serves the connection to its end.
func (c *stream) run() {
	defer c.srv.conns.leave(c)
	defer c.conn.Close()
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
	c.srv.conns.setBusy(c, true)
	defer c.srv.conns.setBusy(c, false)
	more := c.handle()
	if !c.write() {
		c.abort()
		return false
	}
	if !more {
		c.linger()
	}
	return more
}

// handle has whole messages answered into c.out until there is enough to write. False: close after that.
func (c *stream) handle() bool {
	w := c.srv.streams.take()
	defer c.srv.streams.give(w)
	rest, more := c.in, true
	for more && len(c.out) < streamOut && len(rest) >= lengthSize {
		end := lengthSize + int(binary.BigEndian.Uint16(rest))
		if len(rest) < end {
			break
		}
		more = w.answer(c, rest[lengthSize:end])
		rest = rest[end:]
	}
	w.flush(c.family())
	c.deadline = time.Time{}
	if len(rest) == 0 && cap(c.in) > streamIn {
		c.in = make([]byte, 0, streamIn) // one large message must not keep its room
	} else {
		c.in = c.in[:copy(c.in, rest)]
	}
	return more
}

// write writes the replies, within one deadline for all of them.
func (c *stream) write() bool {
	if len(c.out) == 0 {
		return true
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(c.srv.cfg.WriteTimeout)); err != nil {
		return false
	}
	_, err := c.conn.Write(c.out)
	if c.out = c.out[:0]; cap(c.out) > streamOut {
		c.out = nil
	}
	return err == nil
}

// linger closes our half and waits a little for the client to close its own: closing while unread bytes are there
// would reset the connection, and with it the replies that the client has not read yet.
func (c *stream) linger() {
	if c.conn.CloseWrite() != nil || c.conn.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c.conn, lingerBytes) // any end of it is an end
}

func (c *stream) family() uint8 { return familyOf(c.peer.Addr()) }
