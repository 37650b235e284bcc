package serve

import (
	"log/slog"
	"net/netip"
	"sync/atomic"
)

// shared is what all workers of a server share, whatever they serve. Safe for concurrent use.
type shared struct {
	newHandler func() Handler
	logger     *slog.Logger
	counts     *counts
	quarantine *quarantine
	morgue     *morgue
	stopping   atomic.Bool // Shutdown has begun
}

// note remembers a panic. query is nil where no query is to blame. It must be called while the panic unwinds.
func (s *shared) note(value any, t Transport, source netip.AddrPort, query []byte) {
	var hash uint64
	if query != nil {
		hash = s.quarantine.add(query, t, source.Addr())
	}
	s.morgue.add(value, t, source, query, hash)
}

// bury takes note of a panic in a Handler and gives its successor. query is nil where no query is to blame.
// It must be called while the panic unwinds.
func (s *shared) bury(value any, broken Handler, r *Request, query []byte) (next Handler) {
	s.note(value, r.Transport, r.Source, query)
	defer func() {
		if again := recover(); again != nil {
			s.logger.Error("making a new handler after a panic panicked too; the old one goes on", "panic", panicText(again))
			next = broken
		}
	}()
	return s.newHandler()
}
