// Package guard keeps what clients and faults can do within bounds, whatever the transport: how many connections and messages there
// are and which give way, how many replies an address gets, what becomes of messages that make a Handler panic; and it counts.
// Shared is what all workers of a server have in common.
package guard

import (
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/gti/gtm/pkg/serve/seam"
)

// Shared is what all workers of a server share, whatever they serve. Safe for concurrent use.
type Shared struct {
	NewHandler func() seam.Handler
	Logger     *slog.Logger
	Counts     *Counts
	Quarantine *Quarantine
	Morgue     *Morgue
	Stopping   atomic.Bool // Shutdown has begun
}

// NewShared makes it. Packets that make a Handler panic are kept in panicDir; where that is empty, in memory only.
func NewShared(newHandler func() seam.Handler, panicDir string, logger *slog.Logger, now func() time.Time) (*Shared, error) {
	morgue, err := newMorgue(panicDir, logger, now)
	if err != nil {
		return nil, err
	}
	return &Shared{NewHandler: newHandler, Logger: logger, Counts: new(Counts), Quarantine: newQuarantine(now), Morgue: morgue}, nil
}

// Note remembers a panic. query is nil where no query is to blame. It must be called while the panic unwinds.
func (s *Shared) Note(value any, t seam.Transport, source netip.AddrPort, query []byte) {
	var hash uint64
	if query != nil {
		hash = s.Quarantine.add(query, t, source.Addr())
	}
	s.Morgue.add(value, t, source, query, hash)
}

// Bury takes note of a panic in a Handler and gives its successor. query is nil where no query is to blame.
// It must be called while the panic unwinds.
func (s *Shared) Bury(value any, broken seam.Handler, r *seam.Request, query []byte) (next seam.Handler) {
	s.Note(value, r.Transport, r.Source, query)
	defer func() {
		if again := recover(); again != nil {
			s.Logger.Error("making a new handler after a panic panicked too; the old one goes on", "panic", panicText(again))
			next = broken
		}
	}()
	return s.NewHandler()
}
