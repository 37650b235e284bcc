package serve

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// streamLimits bounds what connections may take.
type streamLimits struct {
	// What Config says of the same names.
	MaxConns, MaxConnsPerClient                             int
	FirstTimeout, IdleTimeout, MessageTimeout, WriteTimeout time.Duration
	SlowWorkers                                             int
}

// streamShared is what the connections of a server share, by whatever transport. Safe for concurrent use.
type streamShared struct {
	*shared
	cfg         streamLimits
	keys        *keyring
	conns       *connTable
	streams     *streamPool
	slowStreams *streamPool
	bigMessages chan struct{} // permits to read one; see readMessage
	turns       turns         // to compute handshakes of TLS
	handshakes  atomic.Int32  // of QUIC, under way

	running   sync.WaitGroup  // what accepts connections, and those of QUIC
	stopUntil atomic.Int64    // once Shutdown has begun: when streams stop to read, in Unix nanoseconds
	taking    context.Context // ends then
	stopTake  context.CancelFunc
}

// newStreamShared makes it. keys may be nil where nothing needs a certificate.
func newStreamShared(all *shared, limits streamLimits, keys *keyring) *streamShared {
	s := &streamShared{shared: all, cfg: limits, keys: keys, conns: newConnTable(limits.MaxConns, limits.MaxConnsPerClient),
		turns: newTurns(), bigMessages: make(chan struct{}, maxBigMessages)}
	s.taking, s.stopTake = context.WithCancel(context.Background())
	s.streams = newStreamPool(s, 2*runtime.GOMAXPROCS(0), false) // more would only share the CPUs, as Handlers don't block
	s.slowStreams = newStreamPool(s, limits.SlowWorkers, true)
	return s
}

// sweep closes connections that are idle for too long, where deadlines don't, until ctx ends.
func (s *streamShared) sweep(ctx context.Context) {
	every := min(s.cfg.FirstTimeout, s.cfg.IdleTimeout, 4*time.Second) / 4
	tick := time.NewTicker(max(every, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			s.conns.sweep(now, s.cfg.FirstTimeout, s.cfg.IdleTimeout)
		}
	}
}

// stop begins the end: what is on its way is still taken for stopGrace. It comes before the endpoints' stop and before hurry.
func (s *streamShared) stop() {
	s.stopUntil.Store(time.Now().Add(stopGrace).UnixNano())
	time.AfterFunc(stopGrace, s.stopTake)
}

// hurry lets nobody in any more, and has every connection end when it has nothing to do.
func (s *streamShared) hurry() { s.conns.close(guest.hurry) }

// abort cuts off every connection.
func (s *streamShared) abort() { s.conns.close(guest.abort) }

// wait returns when all connections have ended.
func (s *streamShared) wait() {
	s.running.Wait()
	s.conns.gone.Wait()
}

// stopBy is when streams stop to read.
func (s *streamShared) stopBy() time.Time { return time.Unix(0, s.stopUntil.Load()) }
