package serve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/gtmtest"
	"github.com/gti/gtm/pkg/serve/servetest"
)

// start serves h until the end of the test.
func start(t testing.TB, cfg Config, h func(*Request) (int, Action)) *Server {
	t.Helper()
	if cfg.Addrs == nil {
		cfg.Addrs = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	}
	if cfg.NewHandler == nil {
		cfg.NewHandler = func() Handler { return servetest.HandlerFunc(h) }
	}
	s, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

// CertificateFiles gives what clients trust.
func (s *Server) CertificateFiles() []CertificateFiles { return s.cfg.Certificates }

func stop(t testing.TB, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), servetest.Patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

// metric sums the values of a metric over all label sets that include labels ("transport=udp").
func metric(t testing.TB, reg *prometheus.Registry, name string, labels ...string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		sum := 0.0
		for _, m := range f.GetMetric() {
			have := map[string]bool{}
			for _, l := range m.GetLabel() {
				have[l.GetName()+"="+l.GetValue()] = true
			}
			all := true
			for _, l := range labels {
				all = all && have[l]
			}
			if all {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
		return sum
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestEveryTransportAndFamily(t *testing.T) {
	var mu sync.Mutex
	var sources []string
	s := start(t, Config{
		Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0"), netip.MustParseAddrPort("[::1]:0")},
	}, func(r *Request) (int, Action) {
		mu.Lock()
		sources = append(sources, r.Transport.String()+" "+r.Source.String())
		mu.Unlock()
		if want := map[Transport]int{UDP: 4096, TCP: 65535}[r.Transport]; len(r.Buf) != want {
			return 0, Drop
		}
		return servetest.Echo(r)
	})
	for i, addr := range s.Addrs() {
		if addr.Port() == 0 {
			t.Fatalf("address %d has no port", i)
		}
		for _, network := range []string{"udp", "tcp"} { // the same port: one was given as 0
			conn := servetest.Dial(t, network, addr)
			msg := servetest.Query(uint16(i), "www.example.", 1)
			if got := servetest.Ask(t, conn, msg); !bytes.Equal(got, servetest.Reply(msg)) {
				t.Errorf("%s %s: got %x, want %x", network, addr, got, servetest.Reply(msg))
			}
			want := network + " " + conn.LocalAddr().String()
			mu.Lock()
			if got := sources[len(sources)-1]; got != want {
				t.Errorf("source %q, want %q", got, want)
			}
			mu.Unlock()
		}
	}
}

func TestActions(t *testing.T) {
	// The first byte of the ID says what to do.
	reg := prometheus.NewRegistry()
	s := start(t, Config{Registerer: reg}, func(r *Request) (int, Action) {
		n, _ := servetest.Echo(r)
		switch a := Action(r.Buf[0]); a {
		case 8:
			return 0, Close
		case 9:
			return 0, Send
		default:
			return n, a
		}
	})
	act := func(a byte) []byte { return servetest.Query(uint16(a)<<8, "a.example.", 1) }
	for _, network := range []string{"udp", "tcp"} {
		conn := servetest.Dial(t, network, s.Addrs()[0])
		for _, silent := range [][]byte{act(byte(Drop)), act(9)} {
			if network == "tcp" {
				silent = servetest.Frame(silent)
			}
			servetest.Write(t, conn, silent)
		}
		for _, a := range []Action{Send, Truncate} { // the replies to the silent ones would come first
			if got := servetest.Ask(t, conn, act(byte(a))); got[0] != byte(a) {
				t.Errorf("%s: got the reply to %d, want that to %d", network, got[0], a)
			}
		}
		if got := servetest.Ask(t, conn, act(byte(Close))); got[0] != byte(Close) {
			t.Errorf("%s: Close without the reply", network)
		}
	}
	closed := servetest.Dial(t, "tcp", s.Addrs()[0])
	servetest.Write(t, closed, servetest.Frame(act(0), act(8), act(0)))
	if got, err := io.ReadAll(closed); err != nil || !bytes.Equal(got, servetest.Frame(servetest.Reply(act(0)))) {
		t.Errorf("Close: got %x, %v; want one reply and the end", got, err)
	}
	servetest.Eventually(t, "counters", func() bool { return metric(t, reg, "gtm_serve_packets_total", "transport=tcp") == 7 })
	for _, network := range []string{"udp", "tcp"} {
		label := "transport=" + network
		for name, want := range map[string]float64{"handler": 1, "empty": map[string]float64{"udp": 1, "tcp": 2}[network]} {
			if got := metric(t, reg, "gtm_serve_drops_total", label, "reason="+name); got != want {
				t.Errorf("%s: %v drops for %s, want %v", network, got, name, want)
			}
		}
		if got := metric(t, reg, "gtm_serve_truncated_total", label, "family=ipv4"); got != 1 {
			t.Errorf("%s: %v truncated, want 1", network, got)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	handler := func() Handler { return servetest.HandlerFunc(servetest.Echo) }
	local := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	for _, tc := range []struct {
		cfg  Config
		want string
	}{
		{Config{NewHandler: handler}, "no address to listen on"},
		{Config{Addrs: local}, "NewHandler"},
		{Config{Addrs: make([]netip.AddrPort, 1), NewHandler: handler}, "address 1"},
		{Config{Addrs: local, NewHandler: handler, PanicDir: "/dev/null/x"}, "/dev/null"},
		{Config{Addrs: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.77:0")}, NewHandler: handler}, "no interface of this machine"},
	} {
		s, err := Listen(tc.cfg)
		if err == nil {
			stop(t, s)
		}
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("got %v, want an error with %q", err, tc.want)
		}
	}
}

func TestMetricsRegisteredTwice(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := start(t, Config{Registerer: reg}, servetest.Echo)
	_, err := Listen(Config{Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Registerer: reg,
		NewHandler: func() Handler { return servetest.HandlerFunc(servetest.Echo) }})
	if err == nil || !strings.Contains(err.Error(), "registering metrics") {
		t.Errorf("got %v", err)
	}
	stop(t, s)
	start(t, Config{Registerer: reg}, servetest.Echo) // Shutdown took the first one's away
}

// TestNothingListensBeforeOpen: a server that has nothing to answer yet leaves its addresses alone, and finds early who holds them.
func TestNothingListensBeforeOpen(t *testing.T) {
	at := gtmtest.FreePort(t)
	cfg := Config{Addrs: []netip.AddrPort{at}, NewHandler: func() Handler { return servetest.HandlerFunc(servetest.Echo) }}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Addrs(); len(got) != 1 || got[0] != at {
		t.Errorf("before Open it serves %v", got)
	}
	if conn, err := net.Dial("tcp", at.String()); err == nil {
		conn.Close()
		t.Error("somebody listens")
	}
	conn := servetest.Dial(t, "udp", at)
	servetest.Write(t, conn, make([]byte, 12))
	if _, err := conn.Read(make([]byte, 12)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("by UDP: %v", err)
	}
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), at.String()) {
		t.Errorf("the address is taken: %v", err)
	}
	servetest.Write(t, conn, make([]byte, 12))
	if _, err := conn.Read(make([]byte, 12)); err != nil {
		t.Error(err)
	}
	stop(t, s)

	s, err = New(cfg) // and ends without ever having served
	if err != nil {
		t.Fatal(err)
	}
	stop(t, s)
}
