package serve

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
)

// newTestWorker makes a worker on a socket of its own that nobody runs, so that a test can step it, and a client
// connected to it.
func newTestWorker(t testing.TB, addr string, h func(*Request) (int, Action)) (*udpWorker, *net.UDPConn) {
	t.Helper()
	at := netip.MustParseAddrPort(addr)
	sock, err := openUDP(at, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(sock.fd) })
	sa, err := unix.Getsockname(sock.fd)
	if err != nil {
		t.Fatal(err)
	}
	port := 0
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		port = sa.Port
	case *unix.SockaddrInet6:
		port = sa.Port
	}
	conn := dial(t, "udp", netip.AddrPortFrom(at.Addr(), uint16(port)))
	return newUDPWorker(newTestShared(t, h), sock), conn.(*net.UDPConn)
}

// newTestShared makes what workers share, for a Handler.
func newTestShared(t testing.TB, h func(*Request) (int, Action)) *datagramShared {
	morgue, err := newMorgue("", slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(morgue.close)
	return newDatagramShared(&shared{newHandler: func() Handler { return handlerFunc(h) }, logger: slog.New(slog.DiscardHandler),
		counts: new(counts), quarantine: newQuarantine(time.Now), morgue: morgue}, nil, 256)
}

// mustStep handles what is there.
func mustStep(t testing.TB, w *udpWorker) {
	if errno := w.step(unix.MSG_DONTWAIT); errno != 0 {
		t.Fatal(errno)
	}
}

// socketBatch gives the worker's batch, which is a socket's.
func socketBatch(w *udpWorker) *batch { return w.batch.(*batch) }

// totals gives what the worker has counted.
func totals(w *udpWorker) tally { return w.shared.counts.totals()[UDP][w.sheet.family] }

func TestBatch(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		w, client := newTestWorker(t, addr, func(r *Request) (int, Action) {
			if r.Buf[1]%3 == 0 {
				return 0, Drop
			}
			return echo(r)
		})
		const n = batchSize + 10
		for i := range n { // waits in the socket's queue
			write(t, client, query(uint16(i), "www.example.", 1))
		}
		mustStep(t, w)
		mustStep(t, w)
		if errno := w.step(unix.MSG_DONTWAIT); errno != unix.EAGAIN {
			t.Fatalf("%s: third batch: %v", addr, errno)
		}
		buf := make([]byte, slotSize)
		for i := range n {
			if i%3 == 0 {
				continue
			}
			size, err := client.Read(buf)
			if want := reply(query(uint16(i), "www.example.", 1)); err != nil || !bytes.Equal(buf[:size], want) {
				t.Fatalf("%s: reply %d: %x, %v; want %x", addr, i, buf[:size], err, want)
			}
		}
		c := totals(w)
		if c[countPackets] != n || c[countDropHandler] != 25 || c[countReplies] != n-25 || c[countBatches] != 2 {
			t.Errorf("%s: counts %v", addr, c)
		}
	}
}

func TestSourcePortZeroGetsNoAnswer(t *testing.T) {
	handled := 0
	w, client := newTestWorker(t, "127.0.0.1:0", func(r *Request) (int, Action) { handled++; return echo(r) })
	write(t, client, query(1, "www.example.", 1))
	if n, errno := w.batch.receive(0); n != 1 || errno != 0 {
		t.Fatal(n, errno)
	}
	port := socketBatch(w).names[0][2:4]
	if want := uint16(client.LocalAddr().(*net.UDPAddr).Port); binary.BigEndian.Uint16(port) != want {
		t.Fatalf("the port is elsewhere: %x", socketBatch(w).names[0])
	}
	clear(port)
	w.handleFrom(1)
	if w.tally[countDropPort0] != 1 || socketBatch(w).queued != 0 || handled != 0 {
		t.Errorf("counts %v, %d queued, %d handled", w.tally, socketBatch(w).queued, handled)
	}
}

func TestDatagramSizes(t *testing.T) {
	w, client := newTestWorker(t, "127.0.0.1:0", echo)
	largest := append(query(1, "a.", 1), make([]byte, slotSize)...)[:slotSize]
	write(t, client, make([]byte, slotSize+1))
	write(t, client, nil)
	write(t, client, largest)
	mustStep(t, w)
	buf := make([]byte, slotSize+1)
	if n, err := client.Read(buf); err != nil || !bytes.Equal(buf[:n], reply(largest)) {
		t.Errorf("the largest datagram came back as %d bytes, %v", n, err)
	}
	if c := totals(w); c[countDropLarge] != 1 || c[countDropEmpty] != 1 || c[countReplies] != 1 {
		t.Errorf("counts %v", c)
	}
}

func TestUnsendableReplyHarmsNoOther(t *testing.T) {
	w, client := newTestWorker(t, "127.0.0.1:0", echo)
	for i := range 3 {
		write(t, client, query(uint16(i), "a.", 1))
	}
	if n, errno := w.batch.receive(0); n != 3 || errno != 0 {
		t.Fatal(n, errno)
	}
	w.handleFrom(3)
	socketBatch(w).out[0].Hdr.Namelen = 1 // EINVAL
	if sent, failed, busy := w.batch.send(); sent != 2 || failed != 1 || busy != 0 {
		t.Errorf("%d sent, %d failed, %d busy", sent, failed, busy)
	}
}

// TestFullSendBuffer uses a pair of Unix sockets, whose buffer, other than loopback's, stays full until somebody reads.
func TestFullSendBuffer(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	b := newBatch(pair[0], false)
	b.bundles = nil // they are UDP's alone
	sent, busy := 0, 0
	for range 1000 {
		b.queued = 0
		for i := range batchSize {
			b.in[i].Hdr.Namelen = 0 // to the peer
			b.queue(i, 100)
		}
		ok, failed, late := b.send()
		if ok+failed+late != batchSize || failed != 0 {
			t.Fatalf("%d sent, %d failed, %d busy of %d", ok, failed, late, batchSize)
		}
		sent += ok
		if busy += late; busy > 0 {
			break
		}
	}
	if busy == 0 {
		t.Fatal("the buffer never filled")
	}
	buf := make([]byte, 200)
	for range sent {
		if n, _, err := unix.Recvfrom(pair[1], buf, unix.MSG_DONTWAIT); n != 100 || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
	if _, _, err := unix.Recvfrom(pair[1], buf, unix.MSG_DONTWAIT); err != unix.EAGAIN {
		t.Errorf("more was sent than counted: %v", err)
	}
}

func TestAnswerFrom(t *testing.T) {
	control := func(level, kind int, data []byte) []byte {
		c := make([]byte, unix.CmsgLen(len(data)))
		binary.NativeEndian.PutUint32(c, uint32(len(c))) // cmsg_len, which the kernel alone reads
		binary.NativeEndian.PutUint32(c[unix.SizeofCmsghdr-8:], uint32(level))
		binary.NativeEndian.PutUint32(c[unix.SizeofCmsghdr-4:], uint32(kind))
		copy(c[unix.SizeofCmsghdr:], data)
		return c
	}
	six := func(addr string, index byte) []byte {
		return append(netip.MustParseAddr(addr).AsSlice(), index, index, index, index)
	}
	for _, tc := range []struct {
		name      string
		got, want []byte // nil: no control message
	}{
		{"IPv4", control(unix.IPPROTO_IP, unix.IP_PKTINFO, []byte{3, 3, 3, 3, 1, 2, 3, 4, 5, 6, 7, 8}),
			control(unix.IPPROTO_IP, unix.IP_PKTINFO, []byte{0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8})},
		{"IPv6", control(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, six("2001:db8::1", 9)),
			control(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, six("2001:db8::1", 0))},
		{"link-local", control(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, six("fe80::1", 9)),
			control(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, six("fe80::1", 9))},
		{"another kind", control(unix.IPPROTO_IP, unix.IP_TTL, []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}), nil},
		{"cut off", control(unix.IPPROTO_IP, unix.IP_PKTINFO, []byte{0, 0, 0, 0}), nil},
		{"none", nil, nil},
	} {
		b := newBatch(-1, true)
		copy(b.ctl[2][:], tc.got)
		b.in[2].Hdr.SetControllen(len(tc.got))
		b.queue(2, 1)
		h := &b.out[0].Hdr
		if tc.want == nil {
			if h.Control != nil || h.Controllen != 0 {
				t.Errorf("%s: there is a control message", tc.name)
			}
			continue
		}
		if h.Control != &b.ctl[2][0] || int(h.Controllen) != len(tc.want) || !bytes.Equal(b.ctl[2][:len(tc.want)], tc.want) {
			t.Errorf("%s: %x, want %x", tc.name, b.ctl[2][:h.Controllen], tc.want)
		}
	}
}

func TestAllocatesNothing(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"} {
		for _, held := range []bool{false, true} {
			w, client := newTestWorker(t, addr, echo)
			msg, buf := query(7, "www.example.", 1), make([]byte, slotSize)
			if held {
				w.shared.quarantine.add(query(7, "other.example.", 1), UDP, netip.MustParseAddr("127.0.0.1"))
			}
			fd := fdOf(t, client)
			allocs := testing.AllocsPerRun(500, func() {
				for range 4 {
					if _, err := unix.Write(fd, msg); err != nil {
						t.Fatal(err)
					}
				}
				mustStep(t, w)
				for range 4 {
					if _, err := unix.Read(fd, buf); err != nil {
						t.Fatal(err)
					}
				}
			})
			if allocs != 0 {
				t.Errorf("%s, something in quarantine %v: %v allocations per batch", addr, held, allocs)
			}
		}
	}
}

// fdOf gives a blocking descriptor of the client's socket.
func fdOf(t testing.TB, c *net.UDPConn) int {
	t.Helper()
	f, err := c.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return int(f.Fd())
}

func TestWildcardAnswersFromTheAddressAsked(t *testing.T) {
	for _, tc := range []struct{ bind, ask string }{
		{"0.0.0.0:0", "127.0.0.1"}, {"0.0.0.0:0", "127.0.0.2"}, {"0.0.0.0:0", "127.9.8.7"}, {"[::]:0", "::1"},
	} {
		s := start(t, Config{Addrs: []netip.AddrPort{netip.MustParseAddrPort(tc.bind)}, Workers: 1}, echo)
		// A connected socket takes datagrams from that address alone; its own address is another one.
		conn := dial(t, "udp", netip.AddrPortFrom(netip.MustParseAddr(tc.ask), s.Addrs()[0].Port()))
		msg := query(9, "www.example.", 28)
		if got := ask(t, conn, msg); !bytes.Equal(got, reply(msg)) {
			t.Errorf("%s asked at %s: %x", tc.bind, tc.ask, got)
		}
	}
}

func TestBothWildcardsOnOnePort(t *testing.T) {
	s := start(t, Config{Addrs: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:0")}}, echo)
	six := netip.AddrPortFrom(netip.IPv6Unspecified(), s.Addrs()[0].Port())
	both := start(t, Config{Addrs: []netip.AddrPort{six}}, echo)
	if got := both.Addrs()[0]; got != six {
		t.Errorf("got %s, want %s", got, six)
	}
}

func TestManySendersAreAllAnswered(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := start(t, Config{Workers: 4, Registerer: reg}, echo)
	const senders, each = 40, 50
	var group sync.WaitGroup
	var wrong atomic.Int32
	for i := range senders {
		conn := dial(t, "udp", s.Addrs()[0])
		group.Go(func() {
			buf := make([]byte, slotSize)
			for j := range each {
				msg := query(uint16(i*each+j), "www.example.", 1)
				if _, err := conn.Write(msg); err != nil {
					wrong.Add(1)
				}
				if n, err := conn.Read(buf); err != nil || !bytes.Equal(buf[:n], reply(msg)) {
					wrong.Add(1)
				}
			}
		})
	}
	group.Wait()
	if wrong.Load() != 0 {
		t.Errorf("%d wrong", wrong.Load())
	}
	eventually(t, "all are counted", func() bool {
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
		}}, echo)
		stop(t, s)
	}
}

// TestShutdownAnswersWhatHasCome holds the worker in its first query while more queue up, and begins the shutdown.
func TestShutdownAnswersWhatHasCome(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s := start(t, Config{Workers: 1}, func(r *Request) (int, Action) {
		once.Do(func() { close(entered); <-release })
		return echo(r)
	})
	client := dial(t, "udp", s.Addrs()[0])
	write(t, client, query(0, "a.", 1))
	<-entered
	const n = 3*batchSize + 5
	for i := 1; i < n; i++ {
		write(t, client, query(uint16(i), "a.", 1))
	}
	done := make(chan error)
	go func() { done <- s.Shutdown(context.Background()) }()
	eventually(t, "shutdown begins", s.shared.stopping.Load)
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	buf := make([]byte, slotSize)
	for i := range n {
		if size, err := client.Read(buf); err != nil || !bytes.Equal(buf[:size], reply(query(uint16(i), "a.", 1))) {
			t.Fatalf("reply %d of %d: %x, %v", i, n, buf[:size], err)
		}
	}
}

func TestShutdownUnderLoad(t *testing.T) {
	s := start(t, Config{Workers: 2}, echo)
	var group sync.WaitGroup
	var ended atomic.Bool
	var answered atomic.Int64
	for range 4 {
		udp, tcp := dial(t, "udp", s.Addrs()[0]), dial(t, "tcp", s.Addrs()[0])
		group.Go(func() {
			msg, buf := query(1, "a.", 1), make([]byte, slotSize)
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
			msg := frame(query(1, "a.", 1))
			for {
				if _, err := tcp.Write(msg); err != nil {
					return
				}
				if _, err := readFrame(tcp); err != nil {
					return
				}
				answered.Add(1)
			}
		})
	}
	eventually(t, "load", func() bool { return answered.Load() > 200 })
	stop(t, s)
	ended.Store(true)
	group.Wait()
	again, err := Listen(Config{Addrs: s.Addrs(), NewHandler: func() Handler { return handlerFunc(echo) }})
	if err != nil {
		t.Fatalf("the port is not free after the shutdown: %v", err)
	}
	stop(t, again)
}

func TestShutdownGivesUpOnAStuckHandler(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	h := handlerFunc(func(r *Request) (int, Action) { close(entered); <-release; return echo(r) })
	s, err := Listen(Config{Workers: 1, Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")},
		NewHandler: func() Handler { return h }})
	if err != nil {
		t.Fatal(err)
	}
	write(t, dial(t, "udp", s.Addrs()[0]), query(0, "a.", 1))
	<-entered
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(os.ErrDeadlineExceeded)
	err = s.Shutdown(ctx)
	if again := s.Shutdown(context.Background()); !errors.Is(err, os.ErrDeadlineExceeded) || again != err {
		t.Errorf("got %v, then %v", err, again)
	}
	close(release)
	eventually(t, "the port is given back when the handler returns", func() bool {
		next, err := Listen(Config{Addrs: s.Addrs(), NewHandler: func() Handler { return handlerFunc(echo) }})
		if err == nil {
			stop(t, next)
		}
		return err == nil
	})
}

func TestSlotsDoNotOverlap(t *testing.T) {
	b := newBatch(-1, false)
	for i := range batchSize {
		copy(b.slot(i), bytes.Repeat([]byte{byte(i)}, slotSize))
	}
	for i := range batchSize {
		if s := b.slot(i); cap(s) != slotSize || slices.ContainsFunc(s, func(c byte) bool { return c != byte(i) }) {
			t.Fatalf("slot %d", i)
		}
	}
}
