package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Server serves until Shutdown. Its methods are safe for concurrent use.
type Server struct {
	cfg         Config
	binds       []*binding                                      // made by Open
	addrs       atomic.Pointer[[numTransports][]netip.AddrPort] // likewise
	metrics     *collector
	conns       *connTable
	streams     *streamPool
	slowStreams *streamPool
	slow        *slowQueues
	limit       *limiter // nil: none
	keys        *keyring
	quarantine  *quarantine
	ways        []*xdpWay
	morgue      *morgue
	bigMessages chan struct{} // permits to read one; see readMessage
	turns       turns         // to compute handshakes of TLS
	handshakes  atomic.Int32  // of QUIC, under way

	stopping  atomic.Bool
	stopUntil atomic.Int64    // with stopping: when streams stop to read, in Unix nanoseconds
	alive     context.Context // ends when Shutdown begins
	stop      context.CancelFunc
	taking    context.Context // ends at stopUntil
	stopTake  context.CancelFunc
	running   sync.WaitGroup // what serves
	slowly    sync.WaitGroup // what works for those, and ends after them
	once      sync.Once
	stopErr   error
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
		s.morgue.close()
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
		s.morgue.close()
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
		s.ways = append(s.ways, &xdpWay{srv: s, name: name})
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
		s.running.Go(w.keep)
	}
	return nil
}

// newServer makes what does not need a socket.
func newServer(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, quarantine: newQuarantine(cfg.Now), conns: newConnTable(cfg.MaxConns, cfg.MaxConnsPerClient),
		slow: newSlowQueues(cfg.SlowQueue), turns: newTurns(), bigMessages: make(chan struct{}, maxBigMessages)}
	s.alive, s.stop = context.WithCancel(context.Background())
	s.taking, s.stopTake = context.WithCancel(context.Background())
	s.streams = newStreamPool(s, 2*runtime.GOMAXPROCS(0), false) // more would only share the CPUs, as Handlers don't block
	s.slowStreams = newStreamPool(s, cfg.SlowWorkers, true)
	var err error
	if s.limit, err = newLimiter(cfg.RateLimit, cfg.Now); err != nil {
		return nil, err
	}
	if s.keys, err = newKeyring(cfg.Certificates, cfg.Logger, cfg.Now); err != nil {
		return nil, err
	}
	s.metrics = &collector{conns: s.conns, quarantine: s.quarantine, keys: s.keys}
	s.morgue, err = newMorgue(cfg)
	return s, err
}

// open does what can still fail when everything is bound.
func (s *Server) open() error {
	for _, b := range s.binds {
		if err := s.openSecure(b); err != nil {
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
			s.running.Go(newUDPWorker(s, sock).run)
		}
		if b.tcp != nil {
			s.running.Go(func() { s.accept(b) })
		}
		if b.web != nil {
			s.running.Go(func() { _ = b.web.Serve(b.webConns) }) // ends by Shutdown, whatever it says
		}
		if b.quic != nil {
			s.running.Go(func() { s.acceptQUIC(b) })
		}
	}
	if len(s.cfg.Addrs) > 0 {
		for range s.cfg.SlowWorkers {
			s.slowly.Go(newSlowWorker(s).run)
		}
	}
	if len(s.cfg.Certificates) > 0 {
		s.slowly.Go(func() { s.keys.run(s.alive, s.cfg.CertificateCheck) })
	}
	s.slowly.Go(s.sweep)
}

// sweep closes connections that are idle for too long, where deadlines don't.
func (s *Server) sweep() {
	every := min(s.cfg.FirstTimeout, s.cfg.IdleTimeout, 4*time.Second) / 4
	tick := time.NewTicker(max(every, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-s.alive.Done():
			return
		case now := <-tick.C:
			s.conns.sweep(now, s.cfg.FirstTimeout, s.cfg.IdleTimeout)
		}
	}
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
	s.stop()
	time.AfterFunc(stopGrace, s.stopTake)
	for _, b := range s.binds {
		b.stop()
		for _, sock := range b.udp {
			// Wakes a blocked receive, and every later one, but lets sends through. It reports ENOTCONN on any
			// socket without a peer, after having done its work.
			_ = unix.Shutdown(sock.fd, unix.SHUT_RD)
		}
	}
	s.conns.close(guest.hurry)
	ended := make(chan struct{})
	go func() {
		s.running.Wait()
		s.conns.gone.Wait()
		s.slow.close()
		s.slowly.Wait()
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
		s.conns.close(guest.abort)
		return fmt.Errorf("serve: shutdown before all clients had their answers: %w", context.Cause(ctx))
	}
}

// stopBy is when streams stop to read.
func (s *Server) stopBy() time.Time { return time.Unix(0, s.stopUntil.Load()) }

// accept takes in the connections of one TCP listener until it is closed.
func (s *Server) accept(b *binding) {
	for !s.stopping.Load() {
		conn, err := b.tcp.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // most likely out of file descriptors
			s.cfg.Logger.Warn("accepting a connection failed; the one idle for longest gives way", "address", b.addr, "error", err)
			s.conns.evictOne()
			time.Sleep(errorPause)
			continue
		}
		peer := clean(conn.RemoteAddr().(*net.TCPAddr).AddrPort())
		if b.transport == HTTPS {
			s.welcomeHTTP(b, conn, peer)
			continue
		}
		c := newStream(s, conn, peer, b.tls)
		if !s.conns.admit(&c.seat) {
			c.abort()
			continue
		}
		go c.run()
	}
}

// clean gives an address as Request.Source wants it.
func clean(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// note remembers a panic. query is nil where no query is to blame. It must be called while the panic unwinds.
func (s *Server) note(value any, t Transport, source netip.AddrPort, query []byte) {
	var hash uint64
	if query != nil {
		hash = s.quarantine.add(query, t, source.Addr())
	}
	s.morgue.add(value, t, source, query, hash)
}

// bury takes note of a panic in a Handler and gives its successor. query is nil where no query is to blame.
// It must be called while the panic unwinds.
func (s *Server) bury(value any, broken Handler, r *Request, query []byte) (next Handler) {
	s.note(value, r.Transport, r.Source, query)
	defer func() {
		if again := recover(); again != nil {
			s.cfg.Logger.Error("making a new handler after a panic panicked too; the old one goes on", "panic", panicText(again))
			next = broken
		}
	}()
	return s.cfg.NewHandler()
}
