package stream

import (
	"errors"
	"io"
	"math"
	"slices"

	"golang.org/x/net/http2"
)

// connFault ends the connection with a code of RFC 9113, 7.
func connFault(code http2.ErrCode) error { return http2.ConnectionError(code) }

// frame handles the next frame, and what continues it. Its error ends the connection.
func (c *web2) frame(f *web2Framer, w *streamWorker) error {
	frame, err := f.ReadFrame()
	if err != nil {
		return c.misread(f, err)
	}
	if _, ok := frame.(*http2.SettingsFrame); !ok && !c.gotSettings {
		return connFault(http2.ErrCodeProtocol)
	}
	switch frame := frame.(type) {
	case *http2.HeadersFrame:
		return c.headers(f, w, frame)
	case *http2.DataFrame:
		return c.data(f, w, frame)
	case *http2.SettingsFrame:
		return c.settings(f, frame)
	case *http2.WindowUpdateFrame:
		return c.widen(f, frame)
	case *http2.RSTStreamFrame:
		if frame.StreamID > c.last {
			return connFault(http2.ErrCodeProtocol)
		}
		c.forget(frame.StreamID)
	case *http2.PingFrame:
		if !frame.IsAck() {
			return f.WritePing(true, frame.Data)
		}
	case *http2.PushPromiseFrame, *http2.ContinuationFrame:
		return connFault(http2.ErrCodeProtocol)
	}
	return nil // the others need no answer; those of an unknown kind are to be ignored
}

// misread handles a frame that is against the rules.
func (c *web2) misread(f *web2Framer, err error) error {
	var stream http2.StreamError
	var whole http2.ConnectionError
	switch {
	case errors.As(err, &stream) && c.gotSettings && stream.StreamID <= c.last:
		return c.reset(f, stream.StreamID, stream.Code)
	case errors.As(err, &whole):
		return whole
	case errors.Is(err, http2.ErrFrameTooLarge):
		return connFault(http2.ErrCodeFrameSize)
	}
	return connFault(http2.ErrCodeProtocol) // a payload that ends too early, or a header that can't be told from its padding
}

// headers takes in a header: of a request, or what may follow its message.
func (c *web2) headers(f *web2Framer, w *streamWorker, frame *http2.HeadersFrame) error {
	id, ended := frame.StreamID, frame.StreamEnded()
	c.head.reset()
	if _, err := c.decoder.Write(frame.HeaderBlockFragment()); err != nil {
		return connFault(http2.ErrCodeCompression)
	}
	for whole := frame.HeadersEnded(); !whole; {
		next, err := f.ReadFrame()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // there is too much of it: see web2Block
			return connFault(http2.ErrCodeEnhanceYourCalm)
		}
		if err != nil {
			return c.misread(f, err)
		}
		more := next.(*http2.ContinuationFrame) // the Framer lets nothing else through
		if _, err := c.decoder.Write(more.HeaderBlockFragment()); err != nil {
			return connFault(http2.ErrCodeCompression)
		}
		whole = more.HeadersEnded()
	}
	if c.decoder.Close() != nil {
		return connFault(http2.ErrCodeCompression)
	}
	if r := c.find(id); r != nil {
		if !ended || r.ended {
			return connFault(http2.ErrCodeProtocol)
		}
		return c.complete(f, w, r)
	}
	if id%2 == 0 || id <= c.last {
		return connFault(http2.ErrCodeProtocol)
	}
	c.last = id
	return c.begin(f, w, id, ended)
}

// data takes in a part of a message.
func (c *web2) data(f *web2Framer, w *streamWorker, frame *http2.DataFrame) error {
	// Of the connection's window, all is given back at once: what it would bound is bounded by the streams' windows, the
	// messages that may be under way, and the permits for large ones.
	if c.received += int(frame.Length); c.received >= web2GiveBack {
		if err := f.WriteWindowUpdate(0, uint32(c.received)); err != nil {
			return err
		}
		c.received = 0
	}
	r := c.find(frame.StreamID)
	switch {
	case r == nil && frame.StreamID > c.last:
		return connFault(http2.ErrCodeProtocol)
	case r == nil && slices.Contains(c.given[:], frame.StreamID):
		return nil // which the client did not know when it sent this
	case r == nil: // ended by the client (RFC 9113, 5.1)
		return f.WriteRSTStream(frame.StreamID, http2.ErrCodeStreamClosed)
	case r.ended:
		return c.reset(f, r.id, http2.ErrCodeStreamClosed)
	}
	if refused := c.collect(r, frame.Data()); refused.status != 0 {
		return c.refuse(f, r, refused)
	}
	if frame.StreamEnded() {
		return c.complete(f, w, r)
	}
	return nil
}

// settings takes in what the client wants. Its compression table is not used, so that its size does not matter.
func (c *web2) settings(f *web2Framer, frame *http2.SettingsFrame) error {
	if frame.IsAck() {
		return nil
	}
	c.gotSettings = true
	err := frame.ForeachSetting(func(s http2.Setting) error {
		if err := s.Valid(); err != nil {
			return err
		}
		if s.ID != http2.SettingInitialWindowSize {
			return nil
		}
		more := int64(s.Val) - c.initial
		c.initial += more
		for _, r := range c.open {
			if r.window += more; r.window > math.MaxInt32 {
				return connFault(http2.ErrCodeFlowControl)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := f.WriteSettingsAck(); err != nil {
		return err
	}
	return c.pump(f)
}

// widen takes in that the client takes more.
func (c *web2) widen(f *web2Framer, frame *http2.WindowUpdateFrame) error {
	if frame.StreamID == 0 {
		if c.window += int64(frame.Increment); c.window > math.MaxInt32 {
			return connFault(http2.ErrCodeFlowControl)
		}
		return c.pump(f)
	}
	r := c.find(frame.StreamID)
	switch {
	case r == nil && frame.StreamID > c.last:
		return connFault(http2.ErrCodeProtocol)
	case r == nil: // its reply has been sent
		return nil
	}
	if r.window += int64(frame.Increment); r.window > math.MaxInt32 {
		return c.reset(f, r.id, http2.ErrCodeFlowControl)
	}
	return c.pump(f)
}

// reset gives up a stream.
func (c *web2) reset(f *web2Framer, id uint32, code http2.ErrCode) error {
	c.forget(id)
	c.giveUp(id)
	return f.WriteRSTStream(id, code)
}

// giveUp remembers that it was us who ended a stream: what still comes of it is no fault.
func (c *web2) giveUp(id uint32) {
	c.given[c.givenAt%streamsGiven] = id
	c.givenAt++
}
