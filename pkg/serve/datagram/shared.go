// Package datagram serves DNS by UDP: in batches from sockets, or past the kernel's stack from the rings of AF_XDP (pkg/serve/xdp).
// Slow work goes to workers beside.
package datagram

import "github.com/gti/gtm/pkg/serve/guard"

// Shared is what the workers of a server's datagrams share. Safe for concurrent use.
type Shared struct {
	*guard.Shared
	limit *guard.Limiter // nil: none
	slow  *slowQueues
}

// NewShared makes it, with room for as many datagrams of either kind that wait for slow work.
func NewShared(all *guard.Shared, limit *guard.Limiter, slowQueue int) *Shared {
	return &Shared{all, limit, newSlowQueues(slowQueue)}
}

// Close ends the slow work, after what waits. No worker may be running any more.
func (s *Shared) Close() { s.slow.close() }
