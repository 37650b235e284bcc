package serve

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gti/gtm/pkg/serve/seam"
	"github.com/gti/gtm/pkg/serve/servetest"
)

func TestDefer(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := startSecure(t, Config{Registerer: reg}, servetest.Deferring)
	for name, asker := range servetest.Askers(t, s) {
		for _, what := range []string{"slow", "fast", "struncate", "slow"} {
			msg := servetest.Query(0, what+".example.", 1)
			if got := asker(msg); !bytes.Equal(got, servetest.Reply(msg)) {
				t.Errorf("%s, %s: got %x", name, what, got)
			}
		}
		for _, what := range []string{"sagain", "sstream", "sboom"} {
			if got := asker(servetest.Query(0, what+"."+name, 1)); len(got) < seam.HeaderSize ||
				servetest.Rcode(got) != seam.RcodeServFail {
				t.Errorf("%s, %s: got %x", name, what, got)
			}
		}
	}
	if n := len(s.Panics()); n != 7 {
		t.Errorf("%d panics", n)
	}
	servetest.Eventually(t, "counts", func() bool { return metric(t, reg, "gtm_serve_deferred_total", "transport=udp") == 6 })
	servetest.Eventually(t, "counts", func() bool { return metric(t, reg, "gtm_serve_truncated_total") == 7 })
}

func TestDeferOverUDP(t *testing.T) {
	for _, local := range []string{"127.0.0.1", "::1", "0.0.0.0", "::"} {
		reg := prometheus.NewRegistry()
		bound := netip.AddrPortFrom(netip.MustParseAddr(local), 0)
		s := start(t, Config{Addrs: []netip.AddrPort{bound}, Registerer: reg, Workers: 1}, servetest.Deferring)
		to := s.Addrs()[0]
		switch local {
		case "0.0.0.0":
			to = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.77"), to.Port()) // the reply must come from there
		case "::":
			to = netip.AddrPortFrom(netip.IPv6Loopback(), to.Port())
		}
		conn := servetest.Dial(t, "udp", to)
		for _, silent := range []string{"sdrop", "sempty"} {
			servetest.Write(t, conn, servetest.Query(0, silent+".", 1))
		}
		for i := range 50 {
			msg := servetest.Query(uint16(i), "slow.example.", 1)
			if got := servetest.Ask(t, conn, msg); !bytes.Equal(got, servetest.Reply(msg)) {
				t.Fatalf("%s: got %x", local, got)
			}
		}
		for reason, want := range map[string]float64{"handler": 1, "empty": 1} {
			servetest.Eventually(t, "drops", func() bool { return metric(t, reg, "gtm_serve_drops_total", "reason="+reason) == want })
		}
		servetest.Eventually(t, "replies", func() bool { return metric(t, reg, "gtm_serve_replies_total", "transport=udp") == 50 })
		if n := metric(t, reg, "gtm_serve_packets_total"); n != 52 {
			t.Errorf("%v packets", n)
		}
	}
}

// TestSlowQueueIsBounded keeps the slow workers busy, fills the queue, and finds that fast answers still come.
func TestSlowQueueIsBounded(t *testing.T) {
	const workers, room, sent = 2, 5, 20
	reg := prometheus.NewRegistry()
	entered, release := make(chan bool, sent), make(chan struct{})
	s := start(t, Config{Workers: 1, SlowWorkers: workers, SlowQueue: room, Registerer: reg}, func(r *Request) (int, Action) {
		if r.Slow {
			entered <- true
			<-release
		}
		share := r.Buf[1] & 1 // of two, since one gets half of the queue alone
		n, action := servetest.Deferring(r)
		r.Share = share
		return n, action
	})
	conn := servetest.Dial(t, "udp", s.Addrs()[0])
	for i := range sent {
		servetest.Write(t, conn, servetest.Query(uint16(i), "slow.", 1))
	}
	for range workers {
		<-entered
	}
	servetest.Eventually(t, "the rest is dropped", func() bool {
		return metric(t, reg, "gtm_serve_drops_total", "reason=slow") == sent-room
	})
	msg := servetest.Query(99, "fast.", 1)
	if got := servetest.Ask(t, conn, msg); !bytes.Equal(got, servetest.Reply(msg)) {
		t.Errorf("got %x", got)
	}
	done := make(chan error)
	go func() { done <- s.Shutdown(context.Background()) }() // answers what waits
	servetest.Eventually(t, "shutdown begins", s.shared.Stopping.Load)
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 512)
	for range room {
		if _, err := conn.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFastAnswersOvertakeSlowOnes asks slow and fast questions over one stream.
func TestFastAnswersOvertakeSlowOnes(t *testing.T) {
	s := startSecure(t, Config{}, servetest.Deferring)
	for _, secure := range []bool{false, true} {
		conn := servetest.Dial(t, "tcp", s.Addrs()[0])
		if secure {
			conn = servetest.DialTLS(t, s)
		}
		servetest.Write(t, conn, servetest.Frame(servetest.Query(1, "slow.", 1), servetest.Query(2, "fast.", 1), servetest.Query(3, "slow.",
			1), servetest.Query(4, "fast.", 1)))
		for _, want := range []byte{2, 4, 1, 3} {
			if got, err := servetest.ReadFrame(conn); err != nil || got[1] != want {
				t.Errorf("TLS %v: got the reply to %x, %v; want that to %d", secure, got, err, want)
			}
		}
	}
}

// TestSlowWorkOfStreamsIsBounded has more connections than slow workers wait for slow work, while others are served.
func TestSlowWorkOfStreamsIsBounded(t *testing.T) {
	const workers = 3
	var now, most atomic.Int32
	release := make(chan struct{})
	s := startSecure(t, Config{SlowWorkers: workers}, func(r *Request) (int, Action) {
		if r.Slow {
			n := now.Add(1)
			defer now.Add(-1)
			for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
			}
			<-release
		}
		return servetest.Deferring(r)
	})
	replies := make(chan error)
	const conns = 10
	for range conns {
		conn := servetest.Dial(t, "tcp", s.Addrs()[0])
		servetest.Write(t, conn, servetest.Frame(servetest.Query(1, "slow.", 1)))
		go func() {
			_, err := servetest.ReadFrame(conn)
			replies <- err
		}()
	}
	servetest.Eventually(t, "slow workers are busy", func() bool { return now.Load() == workers })
	servetest.Ask(t, servetest.Dial(t, "tcp", s.Addrs()[0]), servetest.Query(1, "fast.", 1))
	if _, err := servetest.ExchangeQUIC(t, servetest.DialQUIC(t, s), servetest.Frame(servetest.Query(0, "fast.", 1))); err != nil {
		t.Error(err)
	}
	close(release)
	for range conns {
		if err := <-replies; err != nil {
			t.Error(err)
		}
	}
	if most.Load() != workers {
		t.Errorf("%d at once", most.Load())
	}
}

func TestPanicInSlowFlush(t *testing.T) {
	var flush, impossible atomic.Bool
	s := start(t, Config{SlowWorkers: 1, NewHandler: func() Handler { return &moodySlow{moody: moody{&flush, &impossible}} }}, nil)
	conn := servetest.Dial(t, "udp", s.Addrs()[0])
	flush.Store(true)
	for i := range 3 {
		msg := servetest.Query(uint16(i), fmt.Sprintf("slow%d.", i), 1)
		if got := servetest.Ask(t, conn, msg); !bytes.Equal(got, servetest.Reply(msg)) {
			t.Errorf("got %x", got)
		}
	}
	impossible.Store(true)
	if got := servetest.Ask(t, conn, servetest.Query(1, "other.", 1)); servetest.Rcode(got) != seam.RcodeServFail {
		t.Errorf("an impossible length gave %x", got)
	}
	if n := len(s.Panics()); n != 2 {
		t.Errorf("%d panics", n)
	}
}

// moodySlow is moody, for slow work alone.
type moodySlow struct {
	moody
	slow bool
}

func (m *moodySlow) Handle(r *Request) (int, Action) {
	if m.slow = r.Slow; !m.slow {
		return 0, Defer
	}
	return m.moody.Handle(r)
}

func (m *moodySlow) Flush() {
	if m.slow {
		m.moody.Flush()
	}
}

// TestRateLimitComesBeforeSlowWork limits messages that need slow work before it is done.
func TestRateLimitComesBeforeSlowWork(t *testing.T) {
	now := time.Now()
	reg := prometheus.NewRegistry()
	s := start(t, Config{Workers: 1, RateLimit: &RateLimit{Rate: 4, Exempt: []netip.Prefix{}}, Registerer: reg,
		Now: func() time.Time { return now }}, servetest.Deferring)
	conn := servetest.Dial(t, "udp", s.Addrs()[0])
	for i := range 30 {
		servetest.Write(t, conn, servetest.Query(uint16(i), "slow.", 1))
	}
	servetest.Eventually(t, "drops", func() bool { return metric(t, reg, "gtm_serve_drops_total", "reason=rate") == 20 })
	servetest.Eventually(t, "replies", func() bool { return metric(t, reg, "gtm_serve_replies_total", "transport=udp") == 10 })
	if n := metric(t, reg, "gtm_serve_deferred_total"); n != 10 {
		t.Errorf("%v put off", n)
	}
}
