//go:build interop

package rig

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// endpointNet holds the addresses of the endpoints that probers check, at TargetPort: all of them are the test's own.
const (
	endpointNet = "10.78.0.0/16"
	TargetPort  = 8080
)

// Targets is a web server on every address of endpointNet. It is safe for concurrent use.
type Targets struct {
	mu      sync.Mutex
	dead    map[netip.Addr]time.Time // since when
	changed time.Time
}

// StartTargets starts them, all well; they go with the test.
func StartTargets(t testing.TB) *Targets {
	t.Helper()
	s := &Targets{dead: map[netip.Addr]time.Time{}}
	var l net.Listener
	Eventually(t, startTimeout, "the port of endpoints is free", func() (err error) { // the test before had it until a moment ago
		l, err = net.ListenTCP("tcp4", &net.TCPAddr{Port: TargetPort})
		return err
	})
	server := &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close() })
	return s
}

func (s *Targets) serve(w http.ResponseWriter, r *http.Request) {
	local := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr).AddrPort().Addr().Unmap()
	if !s.DeadSince(local).IsZero() {
		http.Error(w, "dead", http.StatusServiceUnavailable)
	}
}

// Fail lets endpoints fail their checks from now on.
func (s *Targets) Fail(addrs ...netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = time.Now()
	for _, a := range addrs {
		if s.dead[a].IsZero() {
			s.dead[a] = time.Now()
		}
	}
}

// Heal lets endpoints pass their checks again.
func (s *Targets) Heal(addrs ...netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = time.Now()
	for _, a := range addrs {
		delete(s.dead, a)
	}
}

// DeadSince tells since when an endpoint fails; zero: it does not.
func (s *Targets) DeadSince(a netip.Addr) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dead[a]
}

// Changed tells when an endpoint failed or was healed last.
func (s *Targets) Changed() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}
