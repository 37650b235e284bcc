package serve

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/gtmtest"
)

// patience bounds waits for what must happen; only a failing test reaches it.
const patience = 10 * time.Second

// handlerFunc is a Handler of one function.
type handlerFunc func(r *Request) (int, Action)

func (f handlerFunc) Handle(r *Request) (int, Action) { return f(r) }
func (f handlerFunc) Flush()                          {}

// echo answers with the query, as a reply.
func echo(r *Request) (int, Action) {
	r.Buf[2] |= 0x80
	return r.N, Send
}

// query makes a message that asks for name, without EDNS.
func query(id uint16, name string, qtype uint16) []byte {
	msg := binary.BigEndian.AppendUint16(nil, id)
	msg = append(msg, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0)
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		msg = append(msg, byte(len(label)))
		msg = append(msg, label...)
	}
	msg = append(msg, 0)
	msg = binary.BigEndian.AppendUint16(msg, qtype)
	return append(msg, 0, 1)
}

// reply is what echo makes of msg.
func reply(msg []byte) []byte {
	r := bytes.Clone(msg)
	r[2] |= 0x80
	return r
}

// start serves h until the end of the test.
func start(t testing.TB, cfg Config, h func(*Request) (int, Action)) *Server {
	t.Helper()
	if cfg.Addrs == nil {
		cfg.Addrs = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	}
	if cfg.NewHandler == nil {
		cfg.NewHandler = func() Handler { return handlerFunc(h) }
	}
	s, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t testing.TB, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

func dial(t testing.TB, network string, to netip.AddrPort) net.Conn {
	t.Helper()
	conn, err := net.Dial(network, to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func frame(msgs ...[]byte) (out []byte) {
	for _, m := range msgs {
		out = binary.BigEndian.AppendUint16(out, uint16(len(m)))
		out = append(out, m...)
	}
	return out
}

func write(t testing.TB, w io.Writer, data []byte) {
	t.Helper()
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
}

func readFrame(r io.Reader) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(r, msg)
	return msg, err
}

// ask sends one message over conn and gives the reply to it.
func ask(t testing.TB, conn net.Conn, msg []byte) []byte {
	t.Helper()
	if _, ok := conn.(*net.TCPConn); ok {
		write(t, conn, frame(msg))
		got, err := readFrame(conn)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	write(t, conn, msg)
	buf := make([]byte, 65535)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

func rcode(msg []byte) int { return int(msg[3] & 15) }

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

// eventually waits for what other goroutines are about to do.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// lockedBuffer is a log that a test may read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *lockedBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

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
		return echo(r)
	})
	for i, addr := range s.Addrs() {
		if addr.Port() == 0 {
			t.Fatalf("address %d has no port", i)
		}
		for _, network := range []string{"udp", "tcp"} { // the same port: one was given as 0
			conn := dial(t, network, addr)
			msg := query(uint16(i), "www.example.", 1)
			if got := ask(t, conn, msg); !bytes.Equal(got, reply(msg)) {
				t.Errorf("%s %s: got %x, want %x", network, addr, got, reply(msg))
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
		n, _ := echo(r)
		switch a := Action(r.Buf[0]); a {
		case 8:
			return 0, Close
		case 9:
			return 0, Send
		default:
			return n, a
		}
	})
	act := func(a byte) []byte { return query(uint16(a)<<8, "a.example.", 1) }
	for _, network := range []string{"udp", "tcp"} {
		conn := dial(t, network, s.Addrs()[0])
		for _, silent := range [][]byte{act(byte(Drop)), act(9)} {
			if network == "tcp" {
				silent = frame(silent)
			}
			write(t, conn, silent)
		}
		for _, a := range []Action{Send, Truncate} { // the replies to the silent ones would come first
			if got := ask(t, conn, act(byte(a))); got[0] != byte(a) {
				t.Errorf("%s: got the reply to %d, want that to %d", network, got[0], a)
			}
		}
		if got := ask(t, conn, act(byte(Close))); got[0] != byte(Close) {
			t.Errorf("%s: Close without the reply", network)
		}
	}
	closed := dial(t, "tcp", s.Addrs()[0])
	write(t, closed, frame(act(0), act(8), act(0)))
	if got, err := io.ReadAll(closed); err != nil || !bytes.Equal(got, frame(reply(act(0)))) {
		t.Errorf("Close: got %x, %v; want one reply and the end", got, err)
	}
	eventually(t, "counters", func() bool { return metric(t, reg, "gtm_serve_packets_total", "transport=tcp") == 7 })
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
	handler := func() Handler { return handlerFunc(echo) }
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
	s := start(t, Config{Registerer: reg}, echo)
	_, err := Listen(Config{Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Registerer: reg,
		NewHandler: func() Handler { return handlerFunc(echo) }})
	if err == nil || !strings.Contains(err.Error(), "registering metrics") {
		t.Errorf("got %v", err)
	}
	stop(t, s)
	start(t, Config{Registerer: reg}, echo) // Shutdown took the first one's away
}

func TestTransportString(t *testing.T) {
	if got := fmt.Sprint(UDP, TCP, TLS, HTTPS, QUIC, Transport(77)); got != "udp tcp tls https quic unknown" {
		t.Error(got)
	}
}

// TestNothingListensBeforeOpen: a server that has nothing to answer yet leaves its addresses alone, and finds early who holds them.
func TestNothingListensBeforeOpen(t *testing.T) {
	at := gtmtest.FreePort(t)
	cfg := Config{Addrs: []netip.AddrPort{at}, NewHandler: func() Handler { return handlerFunc(echo) }}
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
	conn := dial(t, "udp", at)
	write(t, conn, make([]byte, 12))
	if _, err := conn.Read(make([]byte, 12)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("by UDP: %v", err)
	}
	if err := s.Open(); err != nil {
		t.Fatal(err)
	}
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), at.String()) {
		t.Errorf("the address is taken: %v", err)
	}
	write(t, conn, make([]byte, 12))
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
