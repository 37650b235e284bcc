package datagram

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gti/gtm/pkg/serve/guard"
	"github.com/gti/gtm/pkg/serve/seam"
	"github.com/gti/gtm/pkg/serve/servetest"
	"github.com/gti/gtm/pkg/serve/xdp"
)

const (
	fakeFrame = 2048
	fakeLimit = 1514 // bytes of the largest frame that may be sent
)

// fakeFrames stands in for an AF_XDP socket: frames that were put in are received, and what is sent is kept.
type fakeFrames struct {
	memory   []byte
	waiting  []xdp.Frame
	released int
	sent     [][]byte
	keep     bool // what is sent is copied
	flushed  int
	unsent   int // what is left at each flush
	pending  bool
	errnos   []unix.Errno // of the next flushes
}

func (f *fakeFrames) FD() int           { return -1 }
func (f *fakeFrames) Unsent() int       { return f.unsent }
func (f *fakeFrames) Pending() bool     { return f.pending || f.unsent > 0 }
func (f *fakeFrames) Release(xdp.Frame) { f.released++ }

func (f *fakeFrames) Flush() (errno unix.Errno) {
	f.flushed++
	if len(f.errnos) > 0 {
		errno, f.errnos = f.errnos[0], f.errnos[1:]
	}
	return errno
}

func (f *fakeFrames) Receive(frames []xdp.Frame) int {
	n := copy(frames, f.waiting)
	f.waiting = f.waiting[n:]
	return n
}

func (f *fakeFrames) Bytes(x xdp.Frame) []byte {
	end := (x.Addr/fakeFrame + 1) * fakeFrame
	return f.memory[x.Addr : x.Addr+uint64(x.Len) : end]
}

func (f *fakeFrames) Send(x xdp.Frame) {
	f.released++
	if f.keep {
		f.sent = append(f.sent, bytes.Clone(f.Bytes(x)))
	}
}

// put has frames wait, as the kernel puts them: behind its headroom.
func (f *fakeFrames) put(frames ...[]byte) {
	f.memory = make([]byte, len(frames)*fakeFrame)
	for i, bytes := range frames {
		x := xdp.Frame{Addr: uint64(i*fakeFrame + 256), Len: uint32(len(bytes))}
		copy(f.Bytes(x), bytes)
		f.waiting = append(f.waiting, x)
	}
}

var (
	xdpServer = []netip.AddrPort{netip.MustParseAddrPort("198.51.100.53:53"), netip.MustParseAddrPort("[2001:db8::53]:53")}
	xdpClient = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.7:4711"), netip.MustParseAddrPort("[2001:db8::7]:4711")}
)

// xdpFrame makes the frame of a message from a client: as the reply to one that goes the other way.
func xdpFrame(from, to netip.AddrPort, msg []byte) []byte {
	frame := make([]byte, 14, fakeLimit)
	copy(frame, "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x08\x00")
	d := xdp.Datagram{Payload: xdp.Overhead4}
	head := 12
	if from.Addr().Is6() {
		d.Payload, head = xdp.Overhead6, 8
		copy(frame[12:], "\x86\xdd")
	}
	frame = append(frame, make([]byte, head)...)
	frame = slices.Concat(frame, to.Addr().AsSlice(), from.Addr().AsSlice())
	frame = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(frame, to.Port()), from.Port())
	frame = append(append(frame, 0, 0, 0, 0), msg...)
	return frame[:d.Reply(frame, len(msg), 1)]
}

// newTestQueue makes a queue on a fake socket that nobody runs, so that a test can step it.
func newTestQueue(t testing.TB, h func(*seam.Request) (int, seam.Action)) (*xdpQueue, *fakeFrames) {
	t.Helper()
	s := newTestShared(t, h)
	f := &fakeFrames{keep: true}
	w := NewWay(s, "", []Origin{{xdpServer[0], 40}, {xdpServer[1], 60}, {netip.MustParseAddrPort("0.0.0.0:5353"), 41},
		{netip.MustParseAddrPort("[::]:5353"), 61}})
	w.wake = -1
	return newXDPQueue(s, w, f, fakeLimit, 7), f
}

// read reads a frame as a client does.
func read(t testing.TB, frame []byte) (from, to netip.AddrPort, msg []byte) {
	t.Helper()
	var d xdp.Datagram
	if !d.Parse(frame) {
		t.Fatalf("not a sound datagram: %x", frame)
	}
	return d.Source, d.To(frame), frame[d.Payload : d.Payload+d.Size]
}

// xdpCounts gives what the queue has counted, by family.
func xdpCounts(q *xdpQueue) [2]guard.Tally { return q.shared.Counts.Totals()[seam.PastKernel] }

func TestXDPAnswersInTheFrame(t *testing.T) {
	q, f := newTestQueue(t, servetest.Echo)
	var frames [][]byte
	const n = batchSize + 20
	for i := range n {
		frames = append(frames, xdpFrame(xdpClient[i%3%2], xdpServer[i%3%2], servetest.Query(uint16(i), "www.example.", 1)))
	}
	frames[9][len(frames[9])-1] ^= 1 // a wrong checksum
	f.put(frames...)
	for q.step() {
	}
	if f.released != n || len(f.sent) != n-1 || f.flushed != 2 {
		t.Fatalf("%d frames given back, %d sent, %d flushes", f.released, len(f.sent), f.flushed)
	}
	slices.SortFunc(f.sent, func(a, b []byte) int {
		_, _, one := read(t, a)
		_, _, other := read(t, b)
		return int(binary.BigEndian.Uint16(one)) - int(binary.BigEndian.Uint16(other))
	})
	for i, frame := range slices.Insert(f.sent, 9, nil) {
		if i == 9 {
			continue
		}
		from, to, msg := read(t, frame)
		if from != xdpServer[i%3%2] || to != xdpClient[i%3%2] || !bytes.Equal(msg, servetest.Reply(servetest.Query(uint16(i),
			"www.example.", 1))) {
			t.Errorf("%d: from %s to %s: %x", i, from, to, msg)
		}
	}
	c := xdpCounts(q)
	if c[0][guard.CountPackets] != 55 || c[1][guard.CountPackets] != 28 || c[0][guard.CountDropFrame] != 1 ||
		c[0][guard.CountReplies]+c[1][guard.CountReplies] != n-1 {
		t.Errorf("counts %v", c)
	}
	if udp := q.shared.Counts.Totals()[seam.UDP]; udp != [2]guard.Tally{} {
		t.Errorf("counted as UDP: %v", udp)
	}
}

// TestXDPIsAsSockets has a Handler with a fate for each query answer it by both ways.
func TestXDPIsAsSockets(t *testing.T) {
	fates := func() func(*seam.Request) (int, seam.Action) {
		calls := 0
		return func(r *seam.Request) (int, seam.Action) {
			calls++
			switch r.Buf[1] {
			case 1:
				return 0, seam.Drop
			case 2:
				panic("on purpose")
			case 3:
				r.Buf[3] = byte(calls)
				return r.N, seam.Truncate
			case 4:
				return r.N, seam.Stream
			case 5:
				return 0, seam.Send
			case 6:
				return len(r.Buf) + 1, seam.Send
			case 7:
				return 512, seam.Send // what was behind the query must not show
			}
			r.Buf[3] = byte(calls)
			return servetest.Echo(r)
		}
	}
	w, client := newTestWorker(t, "127.0.0.1:0", fates())
	q, f := newTestQueue(t, fates())
	for id := range uint16(10) {
		msg := servetest.Query(id, string('a'+rune(id))+".example.", 1)
		servetest.Write(t, client, msg)
		mustStep(t, w)
		f.put(xdpFrame(xdpClient[0], xdpServer[0], msg))
		f.sent = nil
		q.step()
		sockets, past := totals(w), xdpCounts(q)[0]
		sockets[guard.CountBatches], past[guard.CountBatches] = 0, 0
		if sockets != past {
			t.Fatalf("query %d: sockets count %v, past the kernel %v", id, sockets, past)
		}
		buf := make([]byte, slotSize)
		if err := client.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		n, err := client.Read(buf)
		if err != nil {
			n = 0
		}
		var msgs []byte
		for _, frame := range f.sent {
			_, _, msgs = read(t, frame)
		}
		if id == 7 { // the room holds what older datagrams left
			n, msgs = min(n, len(msg)), msgs[:min(len(msgs), len(msg))]
		}
		if !bytes.Equal(buf[:n], msgs) {
			t.Errorf("query %d: sockets %x, past the kernel %x", id, buf[:n], msgs)
		}
	}
}

func TestXDPRoom(t *testing.T) {
	var rooms []int
	q, f := newTestQueue(t, func(r *seam.Request) (int, seam.Action) {
		rooms = append(rooms, len(r.Buf))
		return len(r.Buf), seam.Send
	})
	f.put(xdpFrame(xdpClient[0], xdpServer[0], servetest.Query(1, "a.", 1)), xdpFrame(xdpClient[1], xdpServer[1], servetest.Query(1,
		"a.", 1)))
	q.step()
	if !slices.Equal(rooms, []int{1500 - 28, 1500 - 48}) {
		t.Errorf("rooms %v", rooms)
	}
	for _, frame := range f.sent {
		if len(frame) != fakeLimit {
			t.Errorf("a frame of %d bytes", len(frame))
		}
	}
}

func TestXDPRateLimit(t *testing.T) {
	q, f := newTestQueue(t, servetest.Echo)
	q.shared.limit = limiterOf(t, guard.RateLimit{Rate: 2, Slip: 2})
	var frames [][]byte
	for i := range 45 {
		frames = append(frames, xdpFrame(xdpClient[0], xdpServer[0], servetest.Query(uint16(i), "a.", 1)))
	}
	f.put(frames...)
	q.step()
	c := xdpCounts(q)[0]
	if c[guard.CountLimited] != 40 || c[guard.CountSlipped] != 20 || c[guard.CountDropRate] != 20 || c[guard.CountReplies] != 25 ||
		len(f.sent) != 25 || f.released != 45 {
		t.Errorf("counts %v, %d sent, %d given back", c, len(f.sent), f.released)
	}
}

func TestXDPPutsOff(t *testing.T) {
	q, f := newTestQueue(t, func(*seam.Request) (int, seam.Action) { return 0, seam.Defer })
	for _, c := range []struct {
		from, to   string
		fd, ctlLen int
		family     uint16
		scope      uint32
	}{
		{"192.0.2.7:4711", "198.51.100.53:53", 40, 0, unix.AF_INET, 0},
		{"192.0.2.7:4711", "198.51.100.53:5353", 41, unix.CmsgSpace(unix.SizeofInet4Pktinfo), unix.AF_INET, 0},
		{"[2001:db8::7]:4711", "[2001:db8::53]:53", 60, 0, unix.AF_INET6, 0},
		{"[fe80::7]:4711", "[fe80::53]:5353", 61, unix.CmsgSpace(unix.SizeofInet6Pktinfo), unix.AF_INET6, 7},
	} {
		from, to := netip.MustParseAddrPort(c.from), netip.MustParseAddrPort(c.to)
		msg := servetest.Query(1, "a.", 1)
		f.put(xdpFrame(from, to, msg))
		q.step()
		j, queue := q.shared.slow.take()
		name := j.name
		if j.fd != c.fd || j.ctlLen != c.ctlLen || j.source != from || !bytes.Equal(j.query[:j.n], msg) ||
			binary.NativeEndian.Uint16(name[:]) != c.family || binary.BigEndian.Uint16(name[2:]) != from.Port() ||
			binary.NativeEndian.Uint32(name[24:]) != c.scope || int(j.family) != int(seam.FamilyOf(from.Addr())) {
			t.Errorf("%s at %s: %+v", c.from, c.to, j)
		}
		if c.ctlLen > 0 {
			checkControl(t, j.ctl[:j.ctlLen], to.Addr())
		}
		queue.free <- j
	}
	if f.released != 4 || len(f.sent) != 0 {
		t.Errorf("%d given back, %d sent", f.released, len(f.sent))
	}
}

// checkControl has the system's own parser read a control message that is to send from an address.
func checkControl(t *testing.T, ctl []byte, from netip.Addr) {
	t.Helper()
	msgs, err := unix.ParseSocketControlMessage(ctl)
	if err != nil || len(msgs) != 1 {
		t.Fatalf("%x: %v, %v", ctl, msgs, err)
	}
	data := msgs[0].Data
	if from.Is4() {
		if netip.AddrFrom4([4]byte(data[4:8])) != from || msgs[0].Header.Type != unix.IP_PKTINFO {
			t.Errorf("%x does not send from %s", ctl, from)
		}
	} else if netip.AddrFrom16([16]byte(data[:16])) != from || msgs[0].Header.Type != unix.IPV6_PKTINFO || data[16] != 7 {
		t.Errorf("%x does not send from %s", ctl, from)
	}
}

func TestXDPAllocatesNothing(t *testing.T) {
	q, f := newTestQueue(t, servetest.Echo)
	f.keep = false
	f.put(xdpFrame(xdpClient[0], xdpServer[0], servetest.Query(1, "www.example.", 1)), xdpFrame(xdpClient[1], xdpServer[1],
		servetest.Query(1, "www.example.", 1)))
	waiting, memory := slices.Clone(f.waiting), bytes.Clone(f.memory)
	allocs := testing.AllocsPerRun(200, func() {
		copy(f.memory, memory)
		f.waiting = waiting
		q.step()
	})
	if allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
	if c := xdpCounts(q); c[0][guard.CountReplies] != 201 || c[1][guard.CountReplies] != 201 {
		t.Errorf("counts %v", c)
	}
}

// TestXDPComesBack has a socket that can't send, as that of an interface that is down: the worker tries again, but neither spins nor
// sleeps for good, and its end is not held up.
func TestXDPComesBack(t *testing.T) {
	q, f := newTestQueue(t, servetest.Echo)
	f.unsent = 1
	if q.step() || f.flushed != 1 {
		t.Errorf("something came, or %d flushes", f.flushed)
	}
	for _, c := range []struct {
		unsent  int
		pending bool
		want    int
	}{{0, false, -1}, {1, false, 1}, {0, true, 1}} {
		f.unsent, f.pending = c.unsent, c.pending
		if got := q.patience(); got != c.want {
			t.Errorf("%d unsent, pending %v: sleeps for %d ms at most, want %d", c.unsent, c.pending, got, c.want)
		}
	}
	f.unsent, f.flushed = 1, 0
	q.ending.Store(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		q.run()
	}()
	<-done
	if f.flushed != drainBatches {
		t.Errorf("%d flushes before the end", f.flushed)
	}
}

// TestXDPSaysWhySendingFails has sending fail now and then, for one reason and then for another.
func TestXDPSaysWhySendingFails(t *testing.T) {
	var log bytes.Buffer
	q, f := newTestQueue(t, servetest.Echo)
	q.shared.Logger = slog.New(slog.NewTextHandler(&log, nil))
	f.unsent = 1
	f.errnos = []unix.Errno{unix.ENETDOWN, 0, unix.ENETDOWN, unix.ENETDOWN, 0, unix.ENOBUFS, 0, unix.ENOBUFS}
	for len(f.errnos) > 0 {
		q.step()
	}
	down, full := strings.Count(log.String(), unix.ENETDOWN.Error()), strings.Count(log.String(), unix.ENOBUFS.Error())
	if lines := strings.Count(log.String(), "\n"); down != 1 || full != 1 || lines != 2 {
		t.Errorf("logged:\n%s", log.String())
	}
}
