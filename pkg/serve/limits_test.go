package serve

import (
	"bytes"
	"context"
	"crypto/tls"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/quic-go/quic-go"

	"github.com/gti/gtm/pkg/serve/servetest"
)

// TestLimitsAreShared takes a client's places by several transports. A further connection, by whatever transport, takes the place of
// the client's own that is idle for longest: a few that only connect must not shut out everyone behind one address.
func TestLimitsAreShared(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := startSecure(t, Config{MaxConnsPerClient: 4, Registerer: reg}, servetest.Echo)
	msg := servetest.Query(0, "a.", 1)
	first := servetest.Dial(t, "tcp", s.Addrs()[0])
	servetest.Ask(t, first, msg)
	encrypted := servetest.DialTLS(t, s)
	quick := servetest.DialQUIC(t, s)
	clients := servetest.WebClients(t, s)
	if _, err := servetest.Post(clients["HTTP/2.0"], servetest.WebURL(s), msg); err != nil {
		t.Fatal(err)
	}
	for _, transport := range []string{"tcp", "tls", "https", "quic"} {
		if n := metric(t, reg, "gtm_serve_connections_open", "transport="+transport); n != 1 {
			t.Errorf("%v open by %s", n, transport)
		}
	}
	if _, err := servetest.ExchangeQUIC(t, quick, servetest.Frame(msg)); err != nil {
		t.Fatal(err)
	}
	servetest.Ask(t, servetest.Dial(t, "tcp", s.Addrs()[0]), msg)
	if !servetest.Ended(first) {
		t.Error("the first one, idle for longest, is open beside four")
	}
	if _, err := servetest.Post(clients["HTTP/3.0"], servetest.WebURL(s), msg); err != nil {
		t.Error(err)
	}
	if !servetest.Ended(encrypted) {
		t.Error("the one by TLS, which never asked, is open beside four")
	}
	if n := metric(t, reg, "gtm_serve_connections_open"); n != 4 {
		t.Errorf("%v open, 4 may be", n)
	}
	if _, err := servetest.ExchangeQUIC(t, quick, servetest.Frame(msg)); err != nil {
		t.Errorf("one that asks lives on: %v", err)
	}
}

func TestEvictionIsShared(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := startSecure(t, Config{MaxConns: 3, Registerer: reg}, servetest.Echo)
	quick := servetest.DialQUIC(t, s)
	if _, err := servetest.ExchangeQUIC(t, quick, servetest.Frame(servetest.Query(0, "a.", 1))); err != nil {
		t.Fatal(err)
	}
	web := tls.Client(servetest.Dial(t, "tcp", s.AddrsOf(HTTPS)[0]), servetest.ClientTLS(t, s, "http/1.1"))
	if err := web.Handshake(); err != nil {
		t.Fatal(err)
	}
	servetest.DialTLS(t, s)
	servetest.DialTLS(t, s)
	servetest.WaitFor(t, "the connection of QUIC, idle for longest, ends", quick.Context().Done())
	servetest.DialTLS(t, s)
	if !servetest.Ended(web) {
		t.Error("the connection of HTTPS, idle for longest, is open")
	}
	for _, transport := range []string{"https", "quic"} {
		if n := metric(t, reg, "gtm_serve_connections_evicted_total", "transport="+transport); n != 1 {
			t.Errorf("%v evicted by %s", n, transport)
		}
	}
}

// TestNewConnectionsEnd opens connections that never ask: they send pings, or a header that never ends.
func TestNewConnectionsEnd(t *testing.T) {
	s := startSecure(t, Config{FirstTimeout: 100 * time.Millisecond, IdleTimeout: time.Hour}, servetest.Echo)
	lively := &quic.Config{KeepAlivePeriod: 10 * time.Millisecond}
	for protocol, address := range map[string]netip.AddrPort{servetest.ProtocolDoQ: s.AddrsOf(QUIC)[0], "h3": s.AddrsOf(HTTPS)[0]} {
		conn, err := quic.DialAddr(servetest.Within(t), address.String(), servetest.ClientTLS(t, s, protocol), lively)
		if err != nil {
			continue // it has ended already
		}
		servetest.WaitFor(t, protocol+" ends", conn.Context().Done())
	}
	for protocol, say := range map[string]string{
		servetest.ProtocolDoT: "\x01", "http/1.1": "GET / HTTP/1.1\r\nSlow: ",
		// preface, settings, half a header
		"h2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x40\x00\x01\x00\x00\x00\x00\x01",
	} {
		to := s.AddrsOf(HTTPS)[0]
		if protocol == servetest.ProtocolDoT {
			to = s.AddrsOf(TLS)[0]
		}
		for _, silent := range []bool{true, false} {
			conn := servetest.Dial(t, "tcp", to)
			if !silent {
				secure := tls.Client(conn, servetest.ClientTLS(t, s, protocol))
				_, _ = secure.Write([]byte(say)) // it may have ended already
			}
			if !servetest.Ended(conn) {
				t.Errorf("%s: open (silent %v)", protocol, silent)
			}
		}
	}
}

// TestIdleConnectionsEnd lets connections ask once, and then send pings at most.
func TestIdleConnectionsEnd(t *testing.T) {
	s := startSecure(t, Config{FirstTimeout: time.Hour, IdleTimeout: 100 * time.Millisecond}, servetest.Echo)
	reg := prometheus.NewRegistry()
	if err := reg.Register(s.metrics); err != nil {
		t.Fatal(err)
	}
	quick, err := quic.DialAddr(servetest.Within(t), s.AddrsOf(QUIC)[0].String(), servetest.ClientTLS(t, s, servetest.ProtocolDoQ),
		&quic.Config{KeepAlivePeriod: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	msg := servetest.Query(0, "a.", 1)
	if _, err := servetest.ExchangeQUIC(t, quick, servetest.Frame(msg)); err != nil {
		t.Fatal(err)
	}
	secure := servetest.DialTLS(t, s)
	servetest.Write(t, secure, servetest.Frame(msg))
	for version, client := range servetest.WebClients(t, s) {
		if _, err := servetest.Post(client, servetest.WebURL(s), msg); err != nil {
			t.Errorf("%s: %v", version, err)
		}
	}
	servetest.WaitFor(t, "QUIC ends", quick.Context().Done())
	if !servetest.Ended(secure) {
		t.Error("TLS is open")
	}
	servetest.Eventually(t, "all are gone", func() bool { return metric(t, reg, "gtm_serve_connections_open") == 0 })
}

func TestShutdownEndsEverything(t *testing.T) {
	entered, release := make(chan string, 10), make(chan struct{})
	s := startSecure(t, Config{SlowWorkers: 8}, func(r *Request) (int, Action) {
		if !r.Slow {
			return 0, Defer
		}
		entered <- r.Transport.String()
		<-release
		return servetest.Echo(r)
	})
	all := servetest.Askers(t, s)
	idle, half := servetest.DialTLS(t, s), servetest.Dial(t, "tcp", s.AddrsOf(HTTPS)[0])
	quiet := servetest.DialQUIC(t, s)
	msg := servetest.Query(0, "a.", 1)
	var group sync.WaitGroup
	for name, asker := range all {
		group.Go(func() {
			if got := asker(msg); !bytes.Equal(got, servetest.Reply(msg)) {
				t.Errorf("%s: got %x", name, got)
			}
		})
	}
	for range all {
		<-entered
	}
	done := make(chan error)
	go func() { done <- s.Shutdown(servetest.Within(t)) }()
	servetest.Eventually(t, "shutdown begins", s.shared.Stopping.Load)
	close(release)
	group.Wait()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !servetest.Ended(idle) || !servetest.Ended(half) {
		t.Error("an idle connection is open")
	}
	servetest.WaitFor(t, "the idle connection of QUIC ends", quiet.Context().Done())
}

func TestShutdownCutsOff(t *testing.T) {
	entered, release := make(chan bool, 10), make(chan struct{})
	cfg := secured(t, Config{NewHandler: func() Handler {
		return servetest.HandlerFunc(func(r *Request) (int, Action) {
			r.Produce = func(send func([]byte) error) error {
				entered <- true
				<-release
				return send([]byte("too late"))
			}
			return 0, Stream
		})
	}})
	s, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	secure, quick := servetest.DialTLS(t, s), servetest.DialQUIC(t, s)
	servetest.Write(t, secure, servetest.Frame(servetest.Query(0, "a.", 1)))
	failed := make(chan error, 1)
	go func() {
		_, err := servetest.ExchangeQUIC(t, quick, servetest.Frame(servetest.Query(0, "a.", 1)))
		failed <- err
	}()
	<-entered
	<-entered
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); err == nil {
		t.Error("Shutdown did not wait")
	}
	if !servetest.Ended(secure) {
		t.Error("open")
	}
	if err := <-failed; err == nil {
		t.Error("open by QUIC")
	}
	close(release)
	s.slowly.Wait() // what was cut off comes to its end all the same
}
