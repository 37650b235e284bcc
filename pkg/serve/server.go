package serve

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Server serves until Shutdown. Its methods are safe for concurrent use.
type Server struct {
	cfg       Config
	binds     []*binding                                      // made by Open
	addrs     atomic.Pointer[[numTransports][]netip.AddrPort] // likewise
	ways      []*way                                          // likewise
	metrics   *collector
	shared    *shared
	datagrams *datagramShared
	streams   *streamShared
	keys      *keyring

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
		s.shared.morgue.close()
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
		s.shared.morgue.close()
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
		s.ways = append(s.ways, newWay(s.datagrams, name, origins(s.binds)))
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
		w.open() // it takes longer, and is not in the way of the first answer
		s.running.Go(func() { w.keep(s.alive) })
	}
	return nil
}

// newServer makes what does not need a socket.
func newServer(cfg Config) (*Server, error) {
	limit, err := newLimiter(cfg.RateLimit, cfg.Now)
	if err != nil {
		return nil, err
	}
	keys, err := newKeyring(cfg.Certificates, cfg.Logger, cfg.Now)
	if err != nil {
		return nil, err
	}
	morgue, err := newMorgue(cfg.PanicDir, cfg.Logger, cfg.Now)
	if err != nil {
		return nil, err
	}
	all := &shared{newHandler: cfg.NewHandler, logger: cfg.Logger, counts: new(counts), quarantine: newQuarantine(cfg.Now), morgue: morgue}
	s := &Server{cfg: cfg, shared: all, keys: keys, datagrams: newDatagramShared(all, limit, cfg.SlowQueue),
		streams: newStreamShared(all, streamLimits{MaxConns: cfg.MaxConns, MaxConnsPerClient: cfg.MaxConnsPerClient,
			FirstTimeout: cfg.FirstTimeout, IdleTimeout: cfg.IdleTimeout, MessageTimeout: cfg.MessageTimeout,
			WriteTimeout: cfg.WriteTimeout, SlowWorkers: cfg.SlowWorkers}, keys)}
	s.metrics = &collector{counts: all.counts, conns: s.streams.conns, quarantine: all.quarantine, keys: keys}
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
			s.running.Go(func() { s.datagrams.serve(sock) })
		}
		b.streams.start()
	}
	if len(s.cfg.Addrs) > 0 {
		for range s.cfg.SlowWorkers {
			s.slowly.Go(s.datagrams.workSlowly)
		}
	}
	if len(s.cfg.Certificates) > 0 {
		s.slowly.Go(func() { s.keys.run(s.alive, s.cfg.CertificateCheck) })
	}
	s.slowly.Go(func() { s.streams.sweep(s.alive) })
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
	return slices.Clone([numTransports][]netip.AddrPort{UDP: s.cfg.Addrs, TLS: s.cfg.TLS, HTTPS: s.cfg.HTTPS, QUIC: s.cfg.QUIC}[t])
}

// setAddrs takes note of the real ports.
func (s *Server) setAddrs() {
	var all [numTransports][]netip.AddrPort
	for _, b := range s.binds {
		all[b.transport] = append(all[b.transport], b.addr)
	}
	s.addrs.Store(&all)
}

// Panics gives the last messages that made a Handler panic, oldest first, 16 at most.
func (s *Server) Panics() []Panic { return s.shared.morgue.recent() }

// Shutdown stops taking queries, answers those that have come, and returns when all is closed. When ctx ends
// first, it cuts off the streams that are open and returns ctx's error. Further calls return what the first does.
func (s *Server) Shutdown(ctx context.Context) error {
	s.once.Do(func() { s.stopErr = s.shutdown(ctx) })
	return s.stopErr
}

func (s *Server) shutdown(ctx context.Context) error {
	s.streams.stop()
	s.shared.stopping.Store(true)
	s.stop()
	for _, b := range s.binds {
		b.stop()
		for _, sock := range b.udp {
			// Wakes a blocked receive, and every later one, but lets sends through. It reports ENOTCONN on any
			// socket without a peer, after having done its work.
			_ = unix.Shutdown(sock.fd, unix.SHUT_RD)
		}
	}
	s.streams.hurry()
	ended := make(chan struct{})
	go func() {
		s.running.Wait()
		s.streams.wait()
		s.datagrams.close()
		s.slowly.Wait()
		closeAll(s.binds) // only now: nobody can be using the descriptors' numbers
		s.shared.morgue.close()
		close(ended)
	}()
	if s.cfg.Registerer != nil {
		defer s.cfg.Registerer.Unregister(s.metrics)
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		s.streams.abort()
		return fmt.Errorf("serve: shutdown before all clients had their answers: %w", context.Cause(ctx))
	}
}
