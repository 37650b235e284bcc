package datagram

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gti/gtm/pkg/serve/guard"
	"github.com/gti/gtm/pkg/serve/seam"
	"github.com/gti/gtm/pkg/serve/servetest"
)

func TestRateLimitAllocatesNothing(t *testing.T) {
	w, client := newTestWorker(t, "127.0.0.1:0", servetest.Echo)
	w.shared.limit = limiterOf(t, guard.RateLimit{Rate: 4, Exempt: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Slip: 2})
	msg := servetest.Query(7, "www.example.", 1)
	if allocs := testing.AllocsPerRun(500, func() {
		servetest.Write(t, client, msg)
		servetest.Write(t, client, msg)
		if errno := w.step(0); errno != 0 {
			t.Fatal(errno)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations per batch", allocs)
	}
	if w.shared.Counts.Totals()[seam.UDP][0][guard.CountLimited] == 0 {
		t.Error("nothing was limited")
	}
}

// newTestWorker makes a worker on a socket of its own that nobody runs, so that a test can step it, and a client
// connected to it.
func newTestWorker(t testing.TB, addr string, h func(*seam.Request) (int, seam.Action)) (*udpWorker, *net.UDPConn) {
	t.Helper()
	sock, to := openTestSocket(t, addr)
	conn := servetest.Dial(t, "udp", to)
	return newUDPWorker(newTestShared(t, h), sock), conn.(*net.UDPConn)
}

// openTestSocket opens a socket at a free port, and gives its address.
func openTestSocket(t testing.TB, addr string) (Socket, netip.AddrPort) {
	t.Helper()
	at := netip.MustParseAddrPort(addr)
	sock, err := OpenSocket(at, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(sock.FD) })
	sa, err := unix.Getsockname(sock.FD)
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
	return sock, netip.AddrPortFrom(at.Addr(), uint16(port))
}

// newTestShared makes what workers share, for a Handler.
func newTestShared(t testing.TB, h func(*seam.Request) (int, seam.Action)) *Shared {
	all, err := guard.NewShared(func() seam.Handler { return servetest.HandlerFunc(h) }, "", slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(all.Morgue.Close)
	return NewShared(all, nil, 256)
}

// limiterOf makes a limiter.
func limiterOf(t testing.TB, c guard.RateLimit) *guard.Limiter {
	t.Helper()
	l, err := guard.NewLimiter(&c, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return l
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
func totals(w *udpWorker) guard.Tally { return w.shared.Counts.Totals()[seam.UDP][w.sheet.Family] }

func TestBatch(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		w, client := newTestWorker(t, addr, func(r *seam.Request) (int, seam.Action) {
			if r.Buf[1]%3 == 0 {
				return 0, seam.Drop
			}
			return servetest.Echo(r)
		})
		const n = batchSize + 10
		for i := range n { // waits in the socket's queue
			servetest.Write(t, client, servetest.Query(uint16(i), "www.example.", 1))
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
			if want := servetest.Reply(servetest.Query(uint16(i), "www.example.", 1)); err != nil || !bytes.Equal(buf[:size], want) {
				t.Fatalf("%s: reply %d: %x, %v; want %x", addr, i, buf[:size], err, want)
			}
		}
		c := totals(w)
		if c[guard.CountPackets] != n || c[guard.CountDropHandler] != 25 || c[guard.CountReplies] != n-25 || c[guard.CountBatches] != 2 {
			t.Errorf("%s: counts %v", addr, c)
		}
	}
}

func TestSourcePortZeroGetsNoAnswer(t *testing.T) {
	handled := 0
	w, client := newTestWorker(t, "127.0.0.1:0", func(r *seam.Request) (int, seam.Action) { handled++; return servetest.Echo(r) })
	servetest.Write(t, client, servetest.Query(1, "www.example.", 1))
	if n, errno := w.batch.receive(0); n != 1 || errno != 0 {
		t.Fatal(n, errno)
	}
	port := socketBatch(w).names[0][2:4]
	if want := uint16(client.LocalAddr().(*net.UDPAddr).Port); binary.BigEndian.Uint16(port) != want {
		t.Fatalf("the port is elsewhere: %x", socketBatch(w).names[0])
	}
	clear(port)
	w.handleFrom(1)
	if w.tally[guard.CountDropPort0] != 1 || socketBatch(w).queued != 0 || handled != 0 {
		t.Errorf("counts %v, %d queued, %d handled", w.tally, socketBatch(w).queued, handled)
	}
}

func TestDatagramSizes(t *testing.T) {
	w, client := newTestWorker(t, "127.0.0.1:0", servetest.Echo)
	largest := append(servetest.Query(1, "a.", 1), make([]byte, slotSize)...)[:slotSize]
	servetest.Write(t, client, make([]byte, slotSize+1))
	servetest.Write(t, client, nil)
	servetest.Write(t, client, largest)
	mustStep(t, w)
	buf := make([]byte, slotSize+1)
	if n, err := client.Read(buf); err != nil || !bytes.Equal(buf[:n], servetest.Reply(largest)) {
		t.Errorf("the largest datagram came back as %d bytes, %v", n, err)
	}
	if c := totals(w); c[guard.CountDropLarge] != 1 || c[guard.CountDropEmpty] != 1 || c[guard.CountReplies] != 1 {
		t.Errorf("counts %v", c)
	}
}

func TestUnsendableReplyHarmsNoOther(t *testing.T) {
	w, client := newTestWorker(t, "127.0.0.1:0", servetest.Echo)
	for i := range 3 {
		servetest.Write(t, client, servetest.Query(uint16(i), "a.", 1))
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
			w, client := newTestWorker(t, addr, servetest.Echo)
			msg, buf := servetest.Query(7, "www.example.", 1), make([]byte, slotSize)
			if held {
				w.shared.Note("boom", seam.UDP, netip.MustParseAddrPort("127.0.0.1:1"), servetest.Query(7, "other.example.", 1))
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
