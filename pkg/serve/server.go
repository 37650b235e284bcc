package serve

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/gti/gtm/pkg/serve/cert"
	"github.com/gti/gtm/pkg/serve/datagram"
	"github.com/gti/gtm/pkg/serve/guard"
	"github.com/gti/gtm/pkg/serve/seam"
	"github.com/gti/gtm/pkg/serve/stream"
)

// Server serves until Shutdown. Its methods are safe for concurrent use.
type Server struct {
	cfg       Config
	binds     []*binding                                           // made by Open
	addrs     atomic.Pointer[[seam.NumTransports][]netip.AddrPort] // likewise
	ways      []*datagram.Way                                      // likewise
	metrics   *collector
	shared    *guard.Shared
	datagrams *datagram.Shared
	streams   *stream.Shared
	keys      *cert.Keyring

	alive   context.Context // ends when Shutdown begins
	stop    context.CancelFunc
	running sync.WaitGroup // what serves
	slowly  sync.WaitGroup // what works for those, and ends after them
	once    sync.Once
	stopErr error
}

// New makes a Server that serves from Open on. It binds every address for a moment, so that what stands in the way is found
// early. Its error names the address, what stands there, and what to do.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s, err := newServer(cfg)
	if err != nil {
		return nil, err
	}
	trial := cfg
	trial.Workers = 0
	binds, err := bindAll(trial)
	closeAll(binds)
	if err != nil {
		s.shared.Morgue.Close()
		return nil, err
	}
	return s, nil
}

// Listen is New with Open.
func Listen(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s, err := newServer(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.Open(); err != nil {
		s.shared.Morgue.Close()
		return nil, err
	}
	return s, nil
}

// Open binds every address, or none, and serves at once. It is to be called once, and not beside Shutdown, which is needed also
// where it fails. Its error is as New's.
func (s *Server) Open() (err error) {
	if s.binds, err = bindAll(s.cfg); err != nil {
		return err
	}
	for _, name := range s.cfg.XDP {
		s.ways = append(s.ways, datagram.NewWay(s.datagrams, name, origins(s.binds)))
	}
	s.metrics.ways = s.ways
	if err := s.open(); err != nil {
		closeAll(s.binds)
		s.binds, s.ways = nil, nil
		return err
	}
	s.start()
	s.setAddrs()
	for _, w := range s.ways {
		w.Open() // it takes longer, and is not in the way of the first answer
		s.running.Go(func() { w.Keep(s.alive) })
	}
	return nil
}

// newServer makes what does not need a socket.
func newServer(cfg Config) (*Server, error) {
	limit, err := guard.NewLimiter(cfg.RateLimit, cfg.Now)
	if err != nil {
		return nil, err
	}
	keys, err := cert.New(cfg.Certificates, cfg.Logger, cfg.Now)
	if err != nil {
		return nil, err
	}
	all, err := guard.NewShared(cfg.NewHandler, cfg.PanicDir, cfg.Logger, cfg.Now)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, shared: all, keys: keys, datagrams: datagram.NewShared(all, limit, cfg.SlowQueue),
		streams: stream.NewShared(all, stream.Limits{MaxConns: cfg.MaxConns, MaxConnsPerClient: cfg.MaxConnsPerClient,
			FirstTimeout: cfg.FirstTimeout, IdleTimeout: cfg.IdleTimeout, MessageTimeout: cfg.MessageTimeout,
			WriteTimeout: cfg.WriteTimeout, SlowWorkers: cfg.SlowWorkers}, keys)}
	s.metrics = &collector{counts: all.Counts, conns: s.streams.Conns, quarantine: all.Quarantine, keys: keys}
	s.alive, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// open does what can still fail when everything is bound.
func (s *Server) open() error {
	for _, b := range s.binds {
		if err := b.open(s.streams); err != nil {
			return err
		}
	}
	if s.cfg.Registerer != nil {
		if err := s.cfg.Registerer.Register(s.metrics); err != nil {
			return fmt.Errorf("serve: registering metrics: %w", err)
		}
	}
	return nil
}

// start sets all workers going.
func (s *Server) start() {
	for _, b := range s.binds {
		for _, sock := range b.udp {
			s.running.Go(func() { s.datagrams.Serve(sock) })
		}
		b.streams.Start()
	}
	if len(s.cfg.Addrs) > 0 {
		for range s.cfg.SlowWorkers {
			s.slowly.Go(s.datagrams.WorkSlowly)
		}
	}
	if len(s.cfg.Certificates) > 0 {
		s.slowly.Go(func() { s.keys.Run(s.alive, s.cfg.CertificateCheck) })
	}
	s.slowly.Go(func() { s.streams.Sweep(s.alive) })
}

// Addrs gives the addresses that are served by UDP and TCP, in the order of Config.Addrs: before Open with the ports that were
// asked for, then with their real ones.
func (s *Server) Addrs() []netip.AddrPort { return s.AddrsOf(UDP) }

// AddrsOf gives the addresses that are served by one transport, in the order of Config, with ports as Addrs has them.
func (s *Server) AddrsOf(t Transport) []netip.AddrPort {
	if t == TCP {
		t = UDP // the same
	}
	if all := s.addrs.Load(); all != nil {
		return slices.Clone(all[t])
	}
	return slices.Clone([seam.NumTransports][]netip.AddrPort{UDP: s.cfg.Addrs, TLS: s.cfg.TLS, HTTPS: s.cfg.HTTPS, QUIC: s.cfg.QUIC}[t])
}

// setAddrs takes note of the real ports.
func (s *Server) setAddrs() {
	var all [seam.NumTransports][]netip.AddrPort
	for _, b := range s.binds {
		all[b.transport] = append(all[b.transport], b.addr)
	}
	s.addrs.Store(&all)
}

// Panics gives the last messages that made a Handler panic, oldest first, 16 at most.
func (s *Server) Panics() []Panic { return s.shared.Morgue.Recent() }

// Shutdown stops taking queries, answers those that have come, and returns when all is closed. When ctx ends
// first, it cuts off the streams that are open and returns ctx's error. Further calls return what the first does.
func (s *Server) Shutdown(ctx context.Context) error {
	s.once.Do(func() { s.stopErr = s.shutdown(ctx) })
	return s.stopErr
}

func (s *Server) shutdown(ctx context.Context) error {
	s.streams.Stop()
	s.shared.Stopping.Store(true)
	s.stop()
	for _, b := range s.binds {
		b.stop()
		for _, sock := range b.udp {
			// Wakes a blocked receive, and every later one, but lets sends through. It reports ENOTCONN on any
			// socket without a peer, after having done its work.
			_ = unix.Shutdown(sock.FD, unix.SHUT_RD)
		}
	}
	s.streams.Hurry()
	ended := make(chan struct{})
	go func() {
		s.running.Wait()
		s.streams.Wait()
		s.datagrams.Close()
		s.slowly.Wait()
		closeAll(s.binds) // only now: nobody can be using the descriptors' numbers
		s.shared.Morgue.Close()
		close(ended)
	}()
	if s.cfg.Registerer != nil {
		defer s.cfg.Registerer.Unregister(s.metrics)
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		s.streams.Abort()
		return fmt.Errorf("serve: shutdown before all clients had their answers: %w", context.Cause(ctx))
	}
}
