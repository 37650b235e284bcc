package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Server serves until Shutdown. Its methods are safe for concurrent use.
type Server struct {
	cfg        Config
	binds      []binding
	metrics    *collector
	conns      *connTable
	streams    *streamPool
	quarantine *quarantine
	morgue     *morgue

	stopping  atomic.Bool
	stopUntil atomic.Int64 // with stopping: when streams stop to read, in Unix nanoseconds
	running   sync.WaitGroup
	once      sync.Once
	stopErr   error
}

// Listen binds UDP and TCP on every address, or none, and serves at once. Its error names the address, what
// stands in the way, and what to do.
func Listen(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, quarantine: newQuarantine(cfg.Now), conns: newConnTable(cfg.MaxConns, cfg.MaxConnsPerClient)}
	s.streams = newStreamPool(s, 2*runtime.GOMAXPROCS(0)) // more would only share the CPUs, as Handlers don't block
	s.metrics = &collector{conns: s.conns, quarantine: s.quarantine}
	if s.morgue, err = newMorgue(cfg); err != nil {
		return nil, err
	}
	if s.binds, err = bindAll(cfg); err != nil {
		s.morgue.close()
		return nil, err
	}
	if cfg.Registerer != nil {
		if err := cfg.Registerer.Register(s.metrics); err != nil {
			closeAll(s.binds)
			s.morgue.close()
			return nil, fmt.Errorf("serve: registering metrics: %w", err)
		}
	}
	s.start()
	return s, nil
}

// start sets all workers going.
func (s *Server) start() {
	for _, b := range s.binds {
		for _, sock := range b.udp {
			s.running.Go(newUDPWorker(s, sock).run)
		}
		s.running.Go(func() { s.accept(b.tcp) })
	}
}

// Addrs gives the addresses that are served, in the order of Config.Addrs, with their real ports.
func (s *Server) Addrs() []netip.AddrPort {
	addrs := make([]netip.AddrPort, len(s.binds))
	for i, b := range s.binds {
		addrs[i] = b.addr
	}
	return addrs
}

// Panics gives the last messages that made a Handler panic, oldest first, 16 at most.
func (s *Server) Panics() []Panic { return s.morgue.recent() }

// Shutdown stops taking queries, answers those that have come, and returns when all is closed. When ctx ends
// first, it cuts off the streams that are open and returns ctx's error. Further calls return what the first does.
func (s *Server) Shutdown(ctx context.Context) error {
	s.once.Do(func() { s.stopErr = s.shutdown(ctx) })
	return s.stopErr
}

func (s *Server) shutdown(ctx context.Context) error {
	s.stopUntil.Store(time.Now().Add(stopGrace).UnixNano())
	s.stopping.Store(true)
	for _, b := range s.binds {
		_ = b.tcp.Close() // ends accept; it can't fail in a way that matters now
		for _, sock := range b.udp {
			// Wakes a blocked receive, and every later one, but lets sends through. It reports ENOTCONN on any
			// socket without a peer, after having done its work.
			_ = unix.Shutdown(sock.fd, unix.SHUT_RD)
		}
	}
	s.conns.close(func(c *stream) { _ = c.conn.SetReadDeadline(s.stopBy()) })
	ended := make(chan struct{})
	go func() {
		s.running.Wait()
		s.conns.gone.Wait()
		closeAll(s.binds) // only now: nobody can be using the descriptors' numbers
		s.morgue.close()
		close(ended)
	}()
	if s.cfg.Registerer != nil {
		defer s.cfg.Registerer.Unregister(s.metrics)
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		s.conns.close((*stream).abort)
		return fmt.Errorf("serve: shutdown before all clients had their answers: %w", context.Cause(ctx))
	}
}

// stopBy is when streams stop to read.
func (s *Server) stopBy() time.Time { return time.Unix(0, s.stopUntil.Load()) }

// accept takes in TCP connections until the listener is closed.
func (s *Server) accept(l *net.TCPListener) {
	for !s.stopping.Load() {
		conn, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // most likely out of file descriptors
			s.cfg.Logger.Warn("accepting a TCP connection failed; the one idle for longest gives way", "error", err)
			s.conns.evictOne()
			time.Sleep(errorPause)
			continue
		}
		peer := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
		c := newStream(s, conn, netip.AddrPortFrom(peer.Addr().Unmap().WithZone(""), peer.Port()))
		if !s.conns.admit(c) {
			c.abort()
			continue
		}
		go c.run()
	}
}

// bury takes note of a panic in a Handler and gives its successor. query is nil where no query is to blame.
// It must be called while the panic unwinds.
func (s *Server) bury(value any, broken Handler, r *Request, query []byte) (next Handler) {
	var like uint64
	if query != nil {
		like = s.quarantine.add(query)
	}
	s.morgue.add(value, r.Transport, r.Source, query, like)
	defer func() {
		if again := recover(); again != nil {
			s.cfg.Logger.Error("making a new handler after a panic panicked too; the old one goes on", "panic", panicText(again))
			next = broken
		}
	}()
	return s.cfg.NewHandler()
}
