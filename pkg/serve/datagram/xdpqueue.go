package datagram

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gti/gtm/pkg/serve/guard"
	"github.com/gti/gtm/pkg/serve/seam"
	"github.com/gti/gtm/pkg/serve/xdp"
)

// frames is where an xdpQueue has its frames from; see xdp.Socket, which it is.
type frames interface {
	FD() int
	Receive(frames []xdp.Frame) int
	Bytes(f xdp.Frame) []byte
	Send(f xdp.Frame)
	Release(f xdp.Frame)
	Flush() unix.Errno
	Unsent() int
	Pending() bool
}

// comeBack is how long a worker sleeps at most while its socket is pending.
const comeBack = time.Millisecond

// xdpQueue serves one receive queue of an interface, past the kernel's stack. What it takes at once is sorted by family
// into two batches, each with a worker (and Handler) of its own, since they count by family; both are sent together.
// Frames go to a batch with what was read from their headers, and are answered in place.
type xdpQueue struct {
	shared  *Shared
	sock    frames
	limit   int // bytes of the largest frame that may be sent
	ending  *atomic.Bool
	frames  [batchSize]xdp.Frame
	batches [2]*xdpBatch // by family
	workers [2]*udpWorker
	poll    [2]unix.PollFd // the socket, and what wakes it for the end
	failed  unix.Errno     // of the last flush that did, so that a reason that comes and goes is logged once
}

// newXDPQueue makes what serves sock, which is of the interface with that index, and may send frames of limit bytes.
func newXDPQueue(s *Shared, w *Way, sock frames, limit, index int) *xdpQueue {
	q := &xdpQueue{shared: s, sock: sock, limit: limit, ending: &w.ending}
	q.poll[0] = unix.PollFd{Fd: int32(sock.FD()), Events: unix.POLLIN}
	q.poll[1] = unix.PollFd{Fd: int32(w.wake), Events: unix.POLLIN}
	for family := range q.workers {
		b := &xdpBatch{sock: sock, in: make([]xdpDatagram, 0, batchSize), origins: w.origins, index: index}
		q.batches[family] = b
		q.workers[family] = &udpWorker{shared: s, batch: b, h: s.NewHandler(), req: seam.Request{Transport: seam.UDP},
			query: make([]byte, 0, slotSize), sheet: s.Counts.NewSheet(seam.PastKernel, uint8(family))}
	}
	return q
}

// run serves until the end of its way, and then answers what has come. It keeps its thread, as udpWorker.run does. When there is
// nothing, it sleeps until the kernel wakes it: it neither spins nor yields. See AF_XDP in docs/performance.md.
func (q *xdpQueue) run() {
	runtime.LockOSThread() // never unlocked: the thread ends with it, and its slice
	shortenSlice()
	var r rest
	for !q.ending.Load() {
		if !q.step() {
			r.take()
			q.sleep()
		}
	}
	for range drainBatches {
		if !q.step() && q.sock.Unsent() == 0 {
			return
		}
	}
}

// sleep waits until something comes, or the end, or for as long as the socket allows.
func (q *xdpQueue) sleep() {
	q.poll[0].Revents = 0
	_, _ = unix.Poll(q.poll[:], q.patience()) // whatever it says, the rings and the flag know better
	if q.poll[0].Revents&unix.POLLERR != 0 {
		time.Sleep(errorPause) // the interface is gone, which its way learns when it looks next
	}
}

// patience is how long a sleep may take, in milliseconds, as poll takes it: below 0 for without end.
func (q *xdpQueue) patience() int {
	if q.sock.Pending() {
		return int(comeBack.Milliseconds())
	}
	return -1
}

// step takes, handles and answers what has come, and reports whether there was anything. What could not be sent before is tried again.
func (q *xdpQueue) step() bool {
	n := q.sock.Receive(q.frames[:])
	if n == 0 && q.sock.Unsent() == 0 {
		return false
	}
	for _, f := range q.frames[:n] {
		q.sort(f)
	}
	for family, b := range q.batches {
		if len(b.in) > 0 {
			q.workers[family].step(unix.MSG_DONTWAIT)
			b.in = b.in[:0]
		}
	}
	if errno := q.sock.Flush(); errno != 0 && errno != q.failed {
		q.failed = errno
		q.shared.Logger.Warn("sending past the kernel's stack fails", "error", errno)
	}
	return n > 0
}

// sort puts a frame into its family's batch, or gives it back if it is not a sound datagram. It is read where it will stand.
func (q *xdpQueue) sort(f xdp.Frame) {
	bytes := q.sock.Bytes(f)
	b := q.batches[0]
	if xdp.Over6(bytes) {
		b = q.batches[1]
	}
	n := len(b.in)
	b.in = b.in[:n+1]
	d := &b.in[n]
	d.frame, d.bytes, d.length = f, bytes[:min(q.limit, cap(bytes))], 0
	if !d.Parse(bytes) || d.Payload+d.Size > len(d.bytes) {
		q.workers[0].tally[guard.CountDropFrame]++
		q.sock.Release(f)
		b.in = b.in[:n]
	}
}

// xdpDatagram is one datagram in its frame; bytes is all that may be used of it.
type xdpDatagram struct {
	xdp.Datagram
	frame  xdp.Frame
	bytes  []byte
	length int // of the reply's payload; 0: none
}

// xdpBatch is the datagrams of one family that were taken at once. It implements datagrams.
type xdpBatch struct {
	sock    frames
	in      []xdpDatagram // batchSize at most
	id      uint16        // of the next IPv4 packet
	origins []Origin
	index   int // of the interface
}

// receive tells how many datagrams were sorted into the batch.
func (b *xdpBatch) receive(int) (int, unix.Errno) { return len(b.in), 0 }

func (b *xdpBatch) take(i int, d *datagram) {
	x := &b.in[i]
	d.slot, d.size, d.source, d.cut = x.bytes[x.Payload:len(x.bytes):len(x.bytes)], x.Size, x.Source, false
}

func (b *xdpBatch) queue(i, n int) { b.in[i].length = n }

// send makes the replies' headers and gives all frames back, those with a reply to be sent.
func (b *xdpBatch) send() (sent, failed, busy int) {
	for i := range b.in {
		d := &b.in[i]
		if d.length == 0 {
			b.sock.Release(d.frame)
			continue
		}
		b.id += 40503 // odd, so that none comes again for as long as there are others
		d.frame.Len = uint32(d.Reply(d.bytes, d.length, b.id))
		b.sock.Send(d.frame)
		sent++
	}
	return sent, 0, 0
}

// putOff leaves the reply to the kernel's stack: it is sent from the socket that would have received the query.
func (b *xdpBatch) putOff(i int, j *slowJob) {
	d := &b.in[i]
	to := d.To(d.bytes)
	j.fd, j.ctlLen = b.origins[0].FD, 0
	for _, o := range b.origins {
		wildcard := o.Addr.Addr().IsUnspecified() && o.Addr.Addr().Is4() == to.Addr().Is4()
		if o.Addr.Port() == to.Port() && (o.Addr.Addr() == to.Addr() || wildcard) {
			j.fd = o.FD
			if wildcard {
				j.ctlLen = answerFrom(&j.ctl, to.Addr(), b.index)
			}
			break
		}
	}
	j.nameLen = socketName(&j.name, d.Source, b.index)
}

// socketName writes an address as sendmsg wants it, and gives its length. index is of the interface, which link-local
// addresses mean nothing without.
func socketName(name *[nameSize]byte, a netip.AddrPort, index int) uint32 {
	clear(name[:])
	binary.BigEndian.PutUint16(name[2:], a.Port())
	if a.Addr().Is4() {
		binary.NativeEndian.PutUint16(name[:], unix.AF_INET)
		*(*[4]byte)(name[4:]) = a.Addr().As4()
		return unix.SizeofSockaddrInet4
	}
	binary.NativeEndian.PutUint16(name[:], unix.AF_INET6)
	*(*[16]byte)(name[8:]) = a.Addr().As16()
	if a.Addr().IsLinkLocalUnicast() {
		binary.NativeEndian.PutUint32(name[24:], uint32(index))
	}
	return unix.SizeofSockaddrInet6
}

// answerFrom writes the control message that sends from an address, and gives its length.
func answerFrom(ctl *[ctlSize]byte, from netip.Addr, index int) int {
	clear(ctl[:])
	head := func(level, kind uint32, content int) int {
		binary.NativeEndian.PutUint64(ctl[:], uint64(unix.CmsgLen(content)))
		binary.NativeEndian.PutUint32(ctl[unix.SizeofCmsghdr-8:], level)
		binary.NativeEndian.PutUint32(ctl[unix.SizeofCmsghdr-4:], kind)
		return unix.CmsgSpace(content)
	}
	content := ctl[unix.SizeofCmsghdr:]
	if from.Is4() {
		*(*[4]byte)(content[4:]) = from.As4()
		return head(unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo)
	}
	*(*[16]byte)(content) = from.As16()
	if from.IsLinkLocalUnicast() {
		binary.NativeEndian.PutUint32(content[16:], uint32(index))
	}
	return head(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo)
}
