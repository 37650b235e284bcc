package serve

// datagramShared is what the workers of a server's datagrams share. Safe for concurrent use.
type datagramShared struct {
	*shared
	limit *limiter // nil: none
	slow  *slowQueues
}

// newDatagramShared makes it, with room for as many datagrams of either kind that wait for slow work.
func newDatagramShared(all *shared, limit *limiter, slowQueue int) *datagramShared {
	return &datagramShared{all, limit, newSlowQueues(slowQueue)}
}

// serve serves a socket, in a thread of its own, until Shutdown.
func (s *datagramShared) serve(sock socket) { newUDPWorker(s, sock).run() }

// workSlowly does slow work until close, one datagram at a time.
func (s *datagramShared) workSlowly() { newSlowWorker(s).run() }

// close ends the slow work, after what waits. No worker may be running any more.
func (s *datagramShared) close() { s.slow.close() }
