// Package stream serves DNS by connections: TCP (RFC 7766), TLS (RFC 7858), HTTPS (RFC 8484) and QUIC (RFC 9250). Each connection is
// a goroutine that reads what has come, lends a worker to have it answered, and writes the replies together.
package stream

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gti/gtm/pkg/serve/cert"
	"github.com/gti/gtm/pkg/serve/guard"
)

// stopGrace is how long Shutdown still takes messages that are on their way.
const stopGrace = 250 * time.Millisecond

// Limits bounds what connections may take.
type Limits struct {
	// What Config says of the same names.
	MaxConns, MaxConnsPerClient                             int
	FirstTimeout, IdleTimeout, MessageTimeout, WriteTimeout time.Duration
	SlowWorkers                                             int
}

// Shared is what the connections of a server share, by whatever transport. Safe for concurrent use.
type Shared struct {
	*guard.Shared
	cfg         Limits
	keys        *cert.Keyring
	Conns       *guard.Conns
	streams     *streamPool
	slowStreams *streamPool
	bigMessages chan struct{}  // permits to read one; see readMessage
	slots       handshakeSlots // to compute handshakes of TLS
	handshakes  atomic.Int32   // of QUIC, under way

	running   sync.WaitGroup  // what accepts connections, and those of QUIC
	stopUntil atomic.Int64    // once Shutdown has begun: when streams stop to read, in Unix nanoseconds
	taking    context.Context // ends then
	stopTake  context.CancelFunc
}

// NewShared makes it. keys may be nil where nothing needs a certificate.
func NewShared(all *guard.Shared, limits Limits, keys *cert.Keyring) *Shared {
	s := &Shared{Shared: all, cfg: limits, keys: keys, Conns: guard.NewConns(limits.MaxConns, limits.MaxConnsPerClient),
		slots: newHandshakeSlots(), bigMessages: make(chan struct{}, maxBigMessages)}
	s.taking, s.stopTake = context.WithCancel(context.Background())
	s.streams = newStreamPool(s, 2*runtime.GOMAXPROCS(0), false) // more would only share the CPUs, as Handlers don't block
	s.slowStreams = newStreamPool(s, limits.SlowWorkers, true)
	return s
}

// Sweep closes connections that are idle for too long, where deadlines don't, until ctx ends.
func (s *Shared) Sweep(ctx context.Context) {
	every := min(s.cfg.FirstTimeout, s.cfg.IdleTimeout, 4*time.Second) / 4
	tick := time.NewTicker(max(every, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.Conns.Sweep(now, s.cfg.FirstTimeout, s.cfg.IdleTimeout)
		}
	}
}

// Stop begins the end: what is on its way is still taken for stopGrace. It comes before the endpoints' stop and before hurry.
func (s *Shared) Stop() {
	s.stopUntil.Store(time.Now().Add(stopGrace).UnixNano())
	time.AfterFunc(stopGrace, s.stopTake)
}

// Hurry lets nobody in any more, and has every connection end when it has nothing to do.
func (s *Shared) Hurry() { s.Conns.Close(guard.Guest.Hurry) }

// Abort cuts off every connection.
func (s *Shared) Abort() { s.Conns.Close(guard.Guest.Abort) }

// Wait returns when all connections have ended.
func (s *Shared) Wait() {
	s.running.Wait()
	s.Conns.Wait()
}

// stopBy is when streams stop to read.
func (s *Shared) stopBy() time.Time { return time.Unix(0, s.stopUntil.Load()) }
