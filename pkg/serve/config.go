package serve

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config says where and how to serve. Addrs and NewHandler are needed; the rest has defaults.
type Config struct {
	// Addrs are served by both UDP and TCP. Port 0 takes a free port, the same for both; each address its own.
	// With 0.0.0.0 and :: a client is answered from the address that it asked. :: is IPv6 alone.
	Addrs []netip.AddrPort
	// Workers is the number of UDP workers (a thread and a socket each) per address. Default: GOMAXPROCS.
	Workers int
	// NewHandler makes a Handler for a worker. It is called concurrently, at the start and after a panic, and
	// must not return nil.
	NewHandler func() Handler

	Logger     *slog.Logger          // nil: discards
	Registerer prometheus.Registerer // nil: no metrics

	// MaxConns bounds the open TCP connections, MaxConnsPerClient those of one IPv4 address or IPv6 /64.
	// When all are taken, the connection that has been idle for longest gives way. Defaults: 2048 and 128.
	MaxConns, MaxConnsPerClient int
	// FirstTimeout is how long a new connection may take for its first whole message. Default 5s.
	FirstTimeout time.Duration
	// IdleTimeout is how long a connection may stay without a message; it shrinks to a tenth as connections
	// fill up to MaxConns. Default 20s.
	IdleTimeout time.Duration
	// MessageTimeout is how long a later message may take from its first byte to its last. Default 5s.
	MessageTimeout time.Duration
	// WriteTimeout is how long the client may take to accept a whole batch of replies. Default 5s.
	WriteTimeout time.Duration

	// PanicDir is where packets that made a Handler panic are kept, one file each (0600), 64 at most.
	// It is made (0700) if it is missing. Empty: they are kept in memory only, see Server.Panics.
	PanicDir string
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// withDefaults gives a copy with defaults filled in, or says what is wrong.
func (c Config) withDefaults() (Config, error) {
	if len(c.Addrs) == 0 {
		return c, errors.New("serve: no address to listen on: give at least one, as in 127.0.0.1:5300")
	}
	if c.NewHandler == nil {
		return c, errors.New("serve: Config.NewHandler is missing")
	}
	addrs := make([]netip.AddrPort, len(c.Addrs))
	for i, a := range c.Addrs {
		if !a.IsValid() {
			return c, fmt.Errorf("serve: address %d of Config.Addrs is not valid", i+1)
		}
		addrs[i] = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	}
	c.Addrs = addrs
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	defaultTo(&c.Workers, runtime.GOMAXPROCS(0))
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
