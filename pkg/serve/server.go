package serve

import (
	"context"
	"net/netip"
)

// Server serves until Shutdown. Its methods are safe for concurrent use.
type Server struct {
	cfg Config
}

// Listen binds UDP and TCP on every address, or none, and serves at once. Its error names the address, what
// stands in the way, and what to do.
func Listen(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Server{cfg: cfg}, nil
}

// Addrs gives the addresses that are served, in the order of Config.Addrs, with their real ports.
func (s *Server) Addrs() []netip.AddrPort { return nil }

// Shutdown stops taking queries, answers those that have come, and returns when all is closed. When ctx ends first,
// it closes what is open and returns ctx's error. Further calls return what the first does.
func (s *Server) Shutdown(ctx context.Context) error { return nil }
