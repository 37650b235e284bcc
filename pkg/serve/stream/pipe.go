package stream

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gti/gtm/pkg/serve/guard"
)

const (
	streamIn    = 2048     // bytes for what has come, at first
	streamOut   = 32 << 10 // replies of this size are written before more are made
	lingerBytes = 64 << 10 // that it may still send meanwhile
	slackPart   = 16       // deadlines that move are set too late by this part of their time, and then seldom
)

// inBufs and outBufs lend the first memory of pipe.in and pipe.out.
var (
	inBufs  = sync.Pool{New: func() any { return new([streamIn]byte) }}
	outBufs = sync.Pool{New: func() any { return new([streamOut]byte) }}
)

// pipe is a connection by TCP, or by TLS above it: what has come and waits to be handled, what waits to be written, and
// the deadlines. While the connection is idle, it holds no memory for either. It belongs to the connection's goroutine.
type pipe struct {
	shared  *Shared
	tap     *tap
	conn    net.Conn // what messages go through: tap, or the TLS above it
	in      []byte   // what has come
	inBuf   *[streamIn]byte
	out     []byte // what is to be written
	outBuf  *[streamOut]byte
	dry     bool // all that has come is in
	readBy  time.Time
	writeBy time.Time
}

func newPipe(s *Shared, conn *net.TCPConn, config *tls.Config) pipe {
	t := newTap(conn)
	p := pipe{shared: s, tap: t, conn: t}
	if config != nil {
		p.conn = tls.Server(t, config)
	}
	return p
}

// Abort closes the connection, so that it holds no memory here or in the kernel. It may be called concurrently.
func (p *pipe) Abort() {
	_ = p.tap.SetLinger(0) // on a connection that is closed already both may fail
	_ = p.tap.TCPConn.Close()
}

// Hurry ends reading when Shutdown has given enough time. It may be called concurrently.
func (p *pipe) Hurry() { _ = p.tap.SetReadDeadline(p.shared.stopBy()) }

// fill waits until something has come, if all that came before is in, and takes in what there is, until in is full. Room
// grows only with bytes that have come, and up to most. The client has until then, or slack more; see moved.
func (p *pipe) fill(most int, until time.Time, slack time.Duration) error {
	if p.dry {
		if err := p.readUntil(until, slack); err != nil {
			return err
		}
		if err := p.tap.wait(); err != nil {
			return err
		}
		p.dry = false
	}
	p.growIn(most)
	for len(p.in) < cap(p.in) {
		n, err := p.conn.Read(p.in[len(p.in):cap(p.in)])
		p.in = p.in[:len(p.in)+n]
		if err == errDry {
			p.dry = true
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// growIn gives in some space for more.
func (p *pipe) growIn(most int) {
	switch {
	case p.in == nil:
		p.inBuf = inBufs.Get().(*[streamIn]byte)
		p.in = p.inBuf[:0]
	case len(p.in) == cap(p.in):
		grown := make([]byte, len(p.in), min(2*cap(p.in), most))
		copy(grown, p.in)
		p.releaseIn()
		p.in = grown
	}
}

// keep leaves in in what has not been handled.
func (p *pipe) keep(rest []byte) {
	if len(rest) == 0 {
		p.releaseIn()
		return
	}
	p.in = p.in[:copy(p.in, rest)]
}

func (p *pipe) releaseIn() {
	if p.inBuf != nil {
		inBufs.Put(p.inBuf)
	}
	p.in, p.inBuf = nil, nil
}

// readUntil gives the client until then to send something, or until Shutdown has waited for long enough.
func (p *pipe) readUntil(until time.Time, slack time.Duration) error {
	if moved(&p.readBy, until, slack) {
		if err := p.tap.SetReadDeadline(p.readBy); err != nil {
			return err
		}
	}
	if p.shared.Stopping.Load() { // looked at after the deadline was set, so that ours can't replace Shutdown's unseen
		return p.tap.SetReadDeadline(p.shared.stopBy())
	}
	return nil
}

// moved reports whether a deadline that was set to at has to be set again for it to be at until, or at most slack later, and
// moves at if so: a deadline that moves with each message would cost more than the message.
func moved(at *time.Time, until time.Time, slack time.Duration) bool {
	if late := at.Sub(until); 0 <= late && late <= slack {
		return false
	}
	*at = until.Add(slack)
	return true
}

// outSpace gives out, with space to append to; what results is to be put into out again.
func (p *pipe) outSpace() []byte {
	if p.out == nil {
		p.outBuf = outBufs.Get().(*[streamOut]byte)
		p.out = p.outBuf[:0]
	}
	return p.out
}

// write writes what is to be written, and reports whether the client took it in time.
func (p *pipe) write() bool {
	if len(p.out) == 0 {
		return true
	}
	ok := p.mayWrite()
	if ok {
		_, err := p.conn.Write(p.out)
		ok = err == nil
	}
	p.releaseOut()
	return ok
}

// mayWrite gives the client time to take what is written next.
func (p *pipe) mayWrite() bool {
	limit := p.shared.cfg.WriteTimeout
	return !moved(&p.writeBy, time.Now().Add(limit), limit/slackPart) || p.tap.SetWriteDeadline(p.writeBy) == nil
}

func (p *pipe) releaseOut() {
	if p.outBuf != nil {
		outBufs.Put(p.outBuf)
	}
	p.out, p.outBuf = nil, nil
}

// part ends the connection after reading has failed by err. Where that is io.EOF, the client has ended its half after all
// that we have read, and there is nothing to wait for: end says goodbye.
func (p *pipe) part(err error) {
	if err != io.EOF {
		p.linger()
	}
}

// linger closes our half and waits a little for the client to close its own: closing while unread bytes are there
// would reset the connection, and with it the replies that the client has not read yet.
func (p *pipe) linger() {
	if secure, ok := p.conn.(*tls.Conn); ok {
		_ = secure.CloseWrite() // tells a client whose reading is done; where it fails, the next line does too
	}
	if p.tap.CloseWrite() != nil || p.tap.SetReadDeadline(time.Now().Add(guard.LingerTime)) != nil {
		return
	}
	p.tap.release()
	_, _ = io.CopyN(io.Discard, p.tap.TCPConn, lingerBytes) // any end of it is an end
}

// end gives back what the connection holds, and closes it.
func (p *pipe) end() {
	p.tap.release()
	p.releaseIn()
	p.releaseOut()
	_ = p.conn.Close()
}
