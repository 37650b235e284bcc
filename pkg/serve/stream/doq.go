package stream

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"github.com/gti/gtm/pkg/serve/guard"
	"github.com/gti/gtm/pkg/serve/seam"
)

// The error codes of DNS over QUIC (RFC 9250, 4.3).
const (
	doqNoError       = 0
	doqInternalError = 1
	doqProtocolError = 2
	doqExcessiveLoad = 4
	doqUnspecified   = 5
)

// serveQUIC serves a connection of DNS over QUIC to its end: one query in each stream.
func (s *Shared) serveQUIC(c *quicConn) {
	peer := c.conn.ConnectionState().TLS
	var group sync.WaitGroup
	for {
		str, err := c.conn.AcceptStream(s.taking)
		if err != nil { // the connection's end, or that of taking
			break
		}
		group.Go(func() {
			if !s.Conns.Enter(&c.Seat) {
				reset(str, doqExcessiveLoad)
				return
			}
			defer s.Conns.Exit(&c.Seat)
			if query := s.readQUIC(c, str); query != nil {
				s.respondQUIC(c, str, &asked{query: query, source: c.source(), transport: seam.QUIC, peer: &peer})
			}
		})
	}
	group.Wait()
	<-c.conn.Context().Done() // after Shutdown: see dismiss
}

// reset gives up a stream.
func reset(str *quic.Stream, code quic.StreamErrorCode) {
	str.CancelRead(code)
	str.CancelWrite(code)
}

// readQUIC gives the query of a stream, or nil, having done what is to be done instead.
func (s *Shared) readQUIC(c *quicConn, str *quic.Stream) (query []byte) {
	deadline := time.Now().Add(s.cfg.MessageTimeout)
	if str.SetReadDeadline(deadline) != nil {
		return nil
	}
	framed, err := s.readMessage(str, lengthSize+maxStream)
	switch {
	case errors.Is(err, errTooManyBig):
		reset(str, doqExcessiveLoad)
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.Abort()
	case errors.Is(err, errMessageTooLong):
		c.close(doqProtocolError)
	case err != nil: // the client has given up, or is gone
		reset(str, doqUnspecified)
	case !wholeFrame(framed):
		c.close(doqProtocolError)
	default:
		return framed[lengthSize:]
	}
	return nil
}

// wholeFrame reports whether framed is one message behind its length, with the ID 0 (RFC 9250, 4.2 and 4.2.1).
func wholeFrame(framed []byte) bool {
	return len(framed) >= lengthSize+seam.HeaderSize && int(binary.BigEndian.Uint16(framed)) == len(framed)-lengthSize &&
		framed[lengthSize] == 0 && framed[lengthSize+1] == 0
}

// respondQUIC has a query answered, and ends its stream.
func (s *Shared) respondQUIC(c *quicConn, str *quic.Stream, q *asked) {
	s.Conns.SetBusy(&c.Seat, true)
	defer s.Conns.SetBusy(&c.Seat, false)
	framed, action, produce := s.one(q, make([]byte, lengthSize, 512))
	write := func(framed []byte) error {
		binary.BigEndian.PutUint16(framed, uint16(len(framed)-lengthSize))
		return writeQUIC(c, str, framed, s.cfg.WriteTimeout)
	}
	switch {
	case action == seam.Stream:
		buf := make([]byte, lengthSize, 4096)
		if !s.produce(q, produce, func(msg []byte) error { return write(append(buf, msg...)) }) {
			reset(str, doqInternalError)
			return
		}
	case len(framed) == lengthSize && action == seam.Close:
		c.close(doqProtocolError)
		return
	case len(framed) == lengthSize:
		reset(str, doqUnspecified)
		return
	case write(framed) != nil:
		return
	}
	_ = str.Close() // where it fails, the stream has ended otherwise
	if action == seam.Close {
		time.AfterFunc(guard.LingerTime, func() { c.close(doqNoError) }) // which would take back what is not sent yet
	}
}

// writeQUIC writes to a stream. A client that is too slow to take it loses its connection.
func writeQUIC(c *quicConn, str *quic.Stream, data []byte, limit time.Duration) error {
	if err := str.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	_, err := str.Write(data)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.Abort()
	}
	return err
}
