package serve

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config says where and how to serve. NewHandler and an address are needed; the rest has defaults.
type Config struct {
	// Addrs are served by both UDP and TCP. Port 0 takes a free port, the same for both; each address its own.
	// With 0.0.0.0 and :: a client is answered from the address that it asked. :: is IPv6 alone.
	Addrs []netip.AddrPort
	// TLS is served by DNS over TLS, QUIC by DNS over QUIC (both have port 853 by custom), and HTTPS by DNS over
	// HTTPS at the path /dns-query: HTTP/1.1 and HTTP/2 by TCP, HTTP/3 by UDP at the same port (443 by custom).
	TLS, HTTPS, QUIC []netip.AddrPort
	// Certificates are for TLS, HTTPS and QUIC, which need one at least. A client gets the first that fits the
	// name that it asks for and the signatures that it knows, or else the first. Files that change are read anew.
	Certificates []CertificateFiles
	// CertificateCheck is how often the files are looked at. Default 10s.
	CertificateCheck time.Duration

	// XDP names interfaces from which UDP queries for Addrs are taken past the kernel's network stack, by an AF_XDP
	// socket for each receive queue. Where that can't be had, the sockets serve: a warning is logged, and a metric tells.
	XDP []string

	// Workers is the number of UDP workers (a thread and a socket each) per address. Default: GOMAXPROCS.
	Workers int
	// SlowWorkers is how many Handlers do slow work (see Defer) for UDP, and how many more for all the other
	// transports. Default: twice GOMAXPROCS, but 4 at least.
	SlowWorkers int
	// SlowQueue is how many datagrams may wait for a slow worker, and how many more that are preferred; each takes some 4 KB.
	// Default 256.
	SlowQueue int
	// NewHandler makes a Handler for a worker. It is called concurrently, at the start and after a panic, and
	// must not return nil.
	NewHandler func() Handler

	Logger     *slog.Logger          // nil: discards
	Registerer prometheus.Registerer // nil: no metrics

	// MaxConns bounds the open connections of TCP, TLS, HTTPS and QUIC together, MaxConnsPerClient those of one
	// IPv4 address or IPv6 /64. When all are taken, the connection that has been idle for longest gives way.
	// Defaults: 2048 and 128. Both bound, fourfold, the messages that are under way in these connections.
	MaxConns, MaxConnsPerClient int
	// FirstTimeout is how long a new connection may take for its first whole message, with all handshakes.
	// Default 5s.
	FirstTimeout time.Duration
	// IdleTimeout is how long a connection may stay without a message; it shrinks to a tenth as connections
	// fill up to MaxConns. Default 20s.
	IdleTimeout time.Duration
	// MessageTimeout is how long a later message may take from its first byte to its last. Default 5s.
	MessageTimeout time.Duration
	// WriteTimeout is how long the client may take to accept a whole batch of replies. Default 5s.
	WriteTimeout time.Duration
	// RateLimit bounds the replies by UDP to each client and network. Nil: no limit.
	RateLimit *RateLimit

	// PanicDir is where packets that made a Handler panic are kept, one file each (0600), 64 at most.
	// It is made (0700) if it is missing. Empty: they are kept in memory only, see Server.Panics.
	PanicDir string
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// withDefaults gives a copy with defaults filled in, or says what is wrong.
func (c Config) withDefaults() (Config, error) {
	if len(c.Addrs)+len(c.TLS)+len(c.HTTPS)+len(c.QUIC) == 0 {
		return c, errors.New("serve: no address to listen on: give at least one, as in 127.0.0.1:5300")
	}
	if c.NewHandler == nil {
		return c, errors.New("serve: Config.NewHandler is missing")
	}
	if len(c.TLS)+len(c.HTTPS)+len(c.QUIC) > 0 && len(c.Certificates) == 0 {
		return c, errors.New("serve: TLS, HTTPS and QUIC need a certificate: name its file and its key's")
	}
	for i, f := range c.Certificates {
		if slices.ContainsFunc(c.Certificates[:i], func(g CertificateFiles) bool { return g.Cert == f.Cert }) {
			return c, fmt.Errorf("serve: certificate %s is named twice", f.Cert)
		}
	}
	for _, list := range []struct {
		name  string
		addrs *[]netip.AddrPort
	}{{"Addrs", &c.Addrs}, {"TLS", &c.TLS}, {"HTTPS", &c.HTTPS}, {"QUIC", &c.QUIC}} {
		addrs := make([]netip.AddrPort, len(*list.addrs))
		for i, a := range *list.addrs {
			if !a.IsValid() {
				return c, fmt.Errorf("serve: address %d of Config.%s is not valid", i+1, list.name)
			}
			addrs[i] = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		}
		*list.addrs = addrs
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	defaultTo(&c.CertificateCheck, 10*time.Second)
	defaultTo(&c.Workers, runtime.GOMAXPROCS(0))
	defaultTo(&c.SlowWorkers, max(4, 2*runtime.GOMAXPROCS(0)))
	defaultTo(&c.SlowQueue, 256)
	defaultTo(&c.MaxConns, 2048)
	defaultTo(&c.MaxConnsPerClient, 128)
	defaultTo(&c.FirstTimeout, 5*time.Second)
	defaultTo(&c.IdleTimeout, 20*time.Second)
	defaultTo(&c.MessageTimeout, 5*time.Second)
	defaultTo(&c.WriteTimeout, 5*time.Second)
	return c, nil
}

// defaultTo replaces what is not positive.
func defaultTo[T ~int | ~int64](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}
