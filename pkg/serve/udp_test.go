package serve

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/serve/servetest"
)

func TestWildcardAnswersFromTheAddressAsked(t *testing.T) {
	for _, tc := range []struct{ bind, ask string }{
		{"0.0.0.0:0", "127.0.0.1"}, {"0.0.0.0:0", "127.0.0.2"}, {"0.0.0.0:0", "127.9.8.7"}, {"[::]:0", "::1"},
	} {
		s := start(t, Config{Addrs: []netip.AddrPort{netip.MustParseAddrPort(tc.bind)}, Workers: 1}, servetest.Echo)
		// A connected socket takes datagrams from that address alone; its own address is another one.
		conn := servetest.Dial(t, "udp", netip.AddrPortFrom(netip.MustParseAddr(tc.ask), s.Addrs()[0].Port()))
		msg := servetest.Query(9, "www.example.", 28)
		if got := servetest.Ask(t, conn, msg); !bytes.Equal(got, servetest.Reply(msg)) {
			t.Errorf("%s asked at %s: %x", tc.bind, tc.ask, got)
		}
	}
}

func TestBothWildcardsOnOnePort(t *testing.T) {
	s := start(t, Config{Addrs: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:0")}}, servetest.Echo)
	six := netip.AddrPortFrom(netip.IPv6Unspecified(), s.Addrs()[0].Port())
	both := start(t, Config{Addrs: []netip.AddrPort{six}}, servetest.Echo)
	if got := both.Addrs()[0]; got != six {
		t.Errorf("got %s, want %s", got, six)
	}
}

func TestManySendersAreAllAnswered(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := start(t, Config{Workers: 4, Registerer: reg}, servetest.Echo)
	const senders, each = 40, 50
	var group sync.WaitGroup
	var wrong atomic.Int32
	for i := range senders {
		conn := servetest.Dial(t, "udp", s.Addrs()[0])
		group.Go(func() {
			buf := make([]byte, 4096)
			for j := range each {
				msg := servetest.Query(uint16(i*each+j), "www.example.", 1)
				if _, err := conn.Write(msg); err != nil {
					wrong.Add(1)
				}
				if n, err := conn.Read(buf); err != nil || !bytes.Equal(buf[:n], servetest.Reply(msg)) {
					wrong.Add(1)
				}
			}
		})
	}
	group.Wait()
	if wrong.Load() != 0 {
		t.Errorf("%d wrong", wrong.Load())
	}
	servetest.Eventually(t, "all are counted", func() bool {
		return metric(t, reg, "gtm_serve_replies_total", "transport=udp", "family=ipv4") == senders*each
	})
	if n := metric(t, reg, "gtm_serve_packets_total", "transport=udp"); n != senders*each {
		t.Errorf("%v packets", n)
	}
}

func TestShutdownWakesIdleWorkers(t *testing.T) {
	for range 20 {
		s := start(t, Config{Workers: 3, Addrs: []netip.AddrPort{
			netip.MustParseAddrPort("127.0.0.1:0"), netip.MustParseAddrPort("[::1]:0"), netip.MustParseAddrPort("0.0.0.0:0"),
		}}, servetest.Echo)
		stop(t, s)
	}
}

// TestShutdownAnswersWhatHasCome holds the worker in its first query while more queue up, and begins the shutdown.
func TestShutdownAnswersWhatHasCome(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s := start(t, Config{Workers: 1}, func(r *Request) (int, Action) {
		once.Do(func() { close(entered); <-release })
		return servetest.Echo(r)
	})
	client := servetest.Dial(t, "udp", s.Addrs()[0])
	servetest.Write(t, client, servetest.Query(0, "a.", 1))
	<-entered
	const n = 3*64 + 5 // some batches
	for i := 1; i < n; i++ {
		servetest.Write(t, client, servetest.Query(uint16(i), "a.", 1))
	}
	done := make(chan error)
	go func() { done <- s.Shutdown(context.Background()) }()
	servetest.Eventually(t, "shutdown begins", s.shared.Stopping.Load)
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	buf := make([]byte, 4096)
	for i := range n {
		if size, err := client.Read(buf); err != nil || !bytes.Equal(buf[:size], servetest.Reply(servetest.Query(uint16(i), "a.", 1))) {
			t.Fatalf("reply %d of %d: %x, %v", i, n, buf[:size], err)
		}
	}
}

func TestShutdownUnderLoad(t *testing.T) {
	s := start(t, Config{Workers: 2}, servetest.Echo)
	var group sync.WaitGroup
	var ended atomic.Bool
	var answered atomic.Int64
	for range 4 {
		udp, tcp := servetest.Dial(t, "udp", s.Addrs()[0]), servetest.Dial(t, "tcp", s.Addrs()[0])
		group.Go(func() {
			msg, buf := servetest.Query(1, "a.", 1), make([]byte, 4096)
			for !ended.Load() {
				if _, err := udp.Write(msg); err != nil {
					return // refused: the socket is gone
				}
				_ = udp.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				if _, err := udp.Read(buf); err == nil {
					answered.Add(1)
				}
			}
		})
		group.Go(func() {
			msg := servetest.Frame(servetest.Query(1, "a.", 1))
			for {
				if _, err := tcp.Write(msg); err != nil {
					return
				}
				if _, err := servetest.ReadFrame(tcp); err != nil {
					return
				}
				answered.Add(1)
			}
		})
	}
	servetest.Eventually(t, "load", func() bool { return answered.Load() > 200 })
	stop(t, s)
	ended.Store(true)
	group.Wait()
	again, err := Listen(Config{Addrs: s.Addrs(), NewHandler: func() Handler { return servetest.HandlerFunc(servetest.Echo) }})
	if err != nil {
		t.Fatalf("the port is not free after the shutdown: %v", err)
	}
	stop(t, again)
}

func TestShutdownGivesUpOnAStuckHandler(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	h := servetest.HandlerFunc(func(r *Request) (int, Action) { close(entered); <-release; return servetest.Echo(r) })
	s, err := Listen(Config{Workers: 1, Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
		NewHandler: func() Handler { return h }})
	if err != nil {
		t.Fatal(err)
	}
	servetest.Write(t, servetest.Dial(t, "udp", s.Addrs()[0]), servetest.Query(0, "a.", 1))
	<-entered
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(os.ErrDeadlineExceeded)
	err = s.Shutdown(ctx)
	if again := s.Shutdown(context.Background()); !errors.Is(err, os.ErrDeadlineExceeded) || again != err {
		t.Errorf("got %v, then %v", err, again)
	}
	close(release)
	servetest.Eventually(t, "the port is given back when the handler returns", func() bool {
		next, err := Listen(Config{Addrs: s.Addrs(), NewHandler: func() Handler { return servetest.HandlerFunc(servetest.Echo) }})
		if err == nil {
			stop(t, next)
		}
		return err == nil
	})
}
