package serve

import (
	"errors"
)

// producer is Request.Produce.
type producer func(send func(msg []byte) error) error

var errTooLong = errors.New("serve: a message over 65535 bytes can't be sent")

// produce runs p for q, whose client gets each message by write, and tells whether it went well. A panic in it is
// treated as one in a Handler.
func (s *Server) produce(q *asked, p producer, write func(msg []byte) error) (ok bool) {
	sent := uint64(0)
	defer func() {
		if value := recover(); value != nil {
			s.note(value, q.transport, q.source, q.query)
			ok = false
		}
		s.countReplies(q, sent)
	}()
	return p(func(msg []byte) error {
		if len(msg) > streamRoom {
			return errTooLong
		}
		err := write(msg)
		if err == nil {
			sent++
		}
		return err
	}) == nil
}

// countReplies counts replies that no worker has made.
func (s *Server) countReplies(q *asked, n uint64) {
	w := s.streams.take()
	defer s.streams.give(w)
	family := familyOf(q.source.Addr())
	t := &w.tally[q.transport][family]
	t[countReplies] += n
	w.sheets[q.transport][family].publish(t)
}
