package stream

import (
	"errors"
	"io"
)

const (
	lengthSize  = 2 // of the length in front of each message of a stream (RFC 1035, 4.2.2)
	maxStream   = 65535
	streamInMax = lengthSize + maxStream // bytes of a stream's messages at most
)

const (
	smallMessage   = 2048 // bytes that every message may have
	maxBigMessages = 256  // messages of more that may be read at once
)

var (
	errMessageTooLong = errors.New("serve: the message is too long")
	errTooManyBig     = errors.New("serve: too many large messages at once")
)

// readMessage reads all of r, which is a message of limit bytes at most. Room grows only with bytes that have come,
// and memory beyond what nearly every message needs is limited for all connections together, since a client may have
// many messages under way.
func (s *Shared) readMessage(r io.Reader, limit int) ([]byte, error) {
	msg := make([]byte, 0, 512)
	for permitted := false; ; {
		n, err := r.Read(msg[len(msg):cap(msg)])
		msg = msg[:len(msg)+n]
		switch {
		case len(msg) > limit:
			return nil, errMessageTooLong
		case err == io.EOF:
			return msg, nil
		case err != nil:
			return nil, err
		case len(msg) < cap(msg):
			continue
		}
		if len(msg) >= smallMessage && !permitted {
			select {
			case s.bigMessages <- struct{}{}:
				permitted = true
				defer func() { <-s.bigMessages }()
			default:
				return nil, errTooManyBig
			}
		}
		grown := make([]byte, len(msg), min(2*cap(msg), limit+1)) // one more, to see a message that is too long
		copy(grown, msg)
		msg = grown
	}
}
