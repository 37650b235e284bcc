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
	"golang.org/x/sys/unix"
)

// deferring puts off every message whose name begins with "s", and echoes it when it is slow; "sagain" is put off for
// ever, "sstream" wants what can't be done, "sdrop" and "sempty" get nothing, and "sboom" panics.
func deferring(r *Request) (int, Action) {
	name := string(r.Buf[headerSize+1 : headerSize+1+int(r.Buf[headerSize])])
	switch {
	case name[0] == 's' && !r.Slow:
		clear(r.Buf[:r.N]) // as a Handler may
		return 0, Defer
	case name == "sagain":
		return 0, Defer
	case name == "sstream":
		return 0, Stream
	case name == "sdrop":
		return 0, Drop
	case name == "sempty":
		return 0, Send
	case name == "sboom":
		panic("boom")
	case name == "struncate":
		echo(r)
		return r.N, Truncate
	}
	return echo(r)
}

func TestDefer(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := startSecure(t, Config{Registerer: reg}, deferring)
	for name, asker := range askers(t, s) {
		for _, what := range []string{"slow", "fast", "struncate", "slow"} {
			msg := query(0, what+".example.", 1)
			if got := asker(msg); !bytes.Equal(got, reply(msg)) {
				t.Errorf("%s, %s: got %x", name, what, got)
			}
		}
		for _, what := range []string{"sagain", "sstream", "sboom"} {
			if got := asker(query(0, what+"."+name, 1)); len(got) < headerSize || rcode(got) != rcodeServFail {
				t.Errorf("%s, %s: got %x", name, what, got)
			}
		}
	}
	if n := len(s.Panics()); n != 7 {
		t.Errorf("%d panics", n)
	}
	eventually(t, "counts", func() bool { return metric(t, reg, "gtm_serve_deferred_total", "transport=udp") == 6 })
	eventually(t, "counts", func() bool { return metric(t, reg, "gtm_serve_truncated_total") == 7 })
}

func TestDeferOverUDP(t *testing.T) {
	for _, local := range []string{"127.0.0.1", "::1", "0.0.0.0", "::"} {
		reg := prometheus.NewRegistry()
		bound := netip.AddrPortFrom(netip.MustParseAddr(local), 0)
		s := start(t, Config{Addrs: []netip.AddrPort{bound}, Registerer: reg, Workers: 1}, deferring)
		to := s.Addrs()[0]
		switch local {
		case "0.0.0.0":
			to = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.77"), to.Port()) // the reply must come from there
		case "::":
			to = netip.AddrPortFrom(netip.IPv6Loopback(), to.Port())
		}
		conn := dial(t, "udp", to)
		for _, silent := range []string{"sdrop", "sempty"} {
			write(t, conn, query(0, silent+".", 1))
		}
		for i := range 50 {
			msg := query(uint16(i), "slow.example.", 1)
			if got := ask(t, conn, msg); !bytes.Equal(got, reply(msg)) {
				t.Fatalf("%s: got %x", local, got)
			}
		}
		for reason, want := range map[string]float64{"handler": 1, "empty": 1} {
			eventually(t, "drops", func() bool { return metric(t, reg, "gtm_serve_drops_total", "reason="+reason) == want })
		}
		eventually(t, "replies", func() bool { return metric(t, reg, "gtm_serve_replies_total", "transport=udp") == 50 })
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
		return deferring(r)
	})
	conn := dial(t, "udp", s.Addrs()[0])
	for i := range sent {
		write(t, conn, query(uint16(i), "slow.", 1))
	}
	for range workers {
		<-entered
	}
	eventually(t, "the rest is dropped", func() bool {
		return metric(t, reg, "gtm_serve_drops_total", "reason=slow") == sent-room
	})
	msg := query(99, "fast.", 1)
	if got := ask(t, conn, msg); !bytes.Equal(got, reply(msg)) {
		t.Errorf("got %x", got)
	}
	done := make(chan error)
	go func() { done <- s.Shutdown(context.Background()) }() // answers what waits
	eventually(t, "shutdown begins", s.shared.stopping.Load)
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
	s := startSecure(t, Config{}, deferring)
	for _, secure := range []bool{false, true} {
		conn := dial(t, "tcp", s.Addrs()[0])
		if secure {
			conn = dialTLS(t, s)
		}
		write(t, conn, frame(query(1, "slow.", 1), query(2, "fast.", 1), query(3, "slow.", 1), query(4, "fast.", 1)))
		for _, want := range []byte{2, 4, 1, 3} {
			if got, err := readFrame(conn); err != nil || got[1] != want {
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
		return deferring(r)
	})
	replies := make(chan error)
	const conns = 10
	for range conns {
		conn := dial(t, "tcp", s.Addrs()[0])
		write(t, conn, frame(query(1, "slow.", 1)))
		go func() {
			_, err := readFrame(conn)
			replies <- err
		}()
	}
	eventually(t, "slow workers are busy", func() bool { return now.Load() == workers })
	ask(t, dial(t, "tcp", s.Addrs()[0]), query(1, "fast.", 1))
	if _, err := exchangeQUIC(t, dialQUIC(t, s), frame(query(0, "fast.", 1))); err != nil {
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

func TestDeferAllocatesNothing(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		w, client := newTestWorker(t, addr, deferring)
		msg, buf := query(7, "slow.example.", 1), make([]byte, slotSize)
		fd := fdOf(t, client)
		slow := newSlowWorker(w.shared)
		slow.h = handlerFunc(deferring)
		if allocs := testing.AllocsPerRun(500, func() {
			if _, err := unix.Write(fd, msg); err != nil {
				t.Fatal(err)
			}
			mustStep(t, w)
			j := <-w.shared.slow.others.waiting
			slow.work(j)
			w.shared.slow.others.free <- j
			if _, err := unix.Read(fd, buf); err != nil {
				t.Fatal(err)
			}
		}); allocs > 0 {
			t.Errorf("%s: %v allocations", addr, allocs)
		}
	}
}

func TestPanicInSlowFlush(t *testing.T) {
	var flush, impossible atomic.Bool
	s := start(t, Config{SlowWorkers: 1, NewHandler: func() Handler { return &moodySlow{moody: moody{&flush, &impossible}} }}, nil)
	conn := dial(t, "udp", s.Addrs()[0])
	flush.Store(true)
	for i := range 3 {
		msg := query(uint16(i), fmt.Sprintf("slow%d.", i), 1)
		if got := ask(t, conn, msg); !bytes.Equal(got, reply(msg)) {
			t.Errorf("got %x", got)
		}
	}
	impossible.Store(true)
	if got := ask(t, conn, query(1, "other.", 1)); rcode(got) != rcodeServFail {
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

// TestSlowSend sends where it can't succeed, and, by a pair of Unix sockets, where the buffer is full.
func TestSlowSend(t *testing.T) {
	w, client := newTestWorker(t, "127.0.0.1:0", deferring)
	slow := newSlowWorker(w.shared)
	write(t, client, query(0, "slow.", 1))
	mustStep(t, w)
	j := <-w.shared.slow.others.waiting
	j.nameLen = 1 // EINVAL
	if got := slow.send(j, 20); got != countDropFailed {
		t.Errorf("counted as %d", got)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	j.fd, j.nameLen = pair[0], 0 // to the peer
	sent := 0
	for slow.send(j, 20) == countReplies {
		sent++
	}
	if got := slow.send(j, 20); got != countDropBusy || sent == 0 {
		t.Errorf("counted as %d, after %d", got, sent)
	}
}

// TestRateLimitComesBeforeSlowWork limits messages that need slow work before it is done.
func TestRateLimitComesBeforeSlowWork(t *testing.T) {
	now := time.Now()
	reg := prometheus.NewRegistry()
	s := start(t, Config{Workers: 1, RateLimit: &RateLimit{Rate: 4, Exempt: []netip.Prefix{}}, Registerer: reg,
		Now: func() time.Time { return now }}, deferring)
	conn := dial(t, "udp", s.Addrs()[0])
	for i := range 30 {
		write(t, conn, query(uint16(i), "slow.", 1))
	}
	eventually(t, "drops", func() bool { return metric(t, reg, "gtm_serve_drops_total", "reason=rate") == 20 })
	eventually(t, "replies", func() bool { return metric(t, reg, "gtm_serve_replies_total", "transport=udp") == 10 })
	if n := metric(t, reg, "gtm_serve_deferred_total"); n != 10 {
		t.Errorf("%v put off", n)
	}
}

// TestPreferredSlowWorkComesFirst fills the other queue and sees that what is preferred still gets in, and is done next.
func TestPreferredSlowWorkComesFirst(t *testing.T) {
	preferred := false
	w, client := newTestWorker(t, "127.0.0.1:0", func(r *Request) (int, Action) {
		r.Preferred = preferred
		return 0, Defer
	})
	room := cap(w.shared.slow.others.free)
	for i := range room + 3 {
		write(t, client, query(uint16(i), "flood.", 1))
		mustStep(t, w)
	}
	if n := len(w.shared.slow.others.waiting); n != room {
		t.Fatalf("%d wait, room is for %d", n, room)
	}
	preferred = true
	write(t, client, query(7, "known.", 1))
	mustStep(t, w)
	j, queue := w.shared.slow.take()
	if queue != w.shared.slow.preferred || !bytes.Contains(j.query[:j.n], []byte("known")) {
		t.Errorf("took %x", j.query[:j.n])
	}
	if _, queue := w.shared.slow.take(); queue != w.shared.slow.others {
		t.Error("the flood is not worked off")
	}
}

func TestSlowQueuesEndWhenEmpty(t *testing.T) {
	q := newSlowQueues(2)
	q.others.waiting <- <-q.others.free
	q.preferred.waiting <- <-q.preferred.free
	q.close()
	for i := range 2 {
		if j, _ := q.take(); j == nil {
			t.Fatalf("job %d is lost", i)
		}
	}
	if j, _ := q.take(); j != nil {
		t.Error("a job that never was")
	}
}
