package rig

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/gti/gtm/bench/peers"
)

// loader asks at a fixed rate, whatever the answers. It sleeps between small batches, so that what shares its core has room
// too, and runs on a thread that goes before others. A latency runs from the batch's sending to the
// kernel's stamp of the answer's arrival; that the load itself was late is told apart.
type loader struct {
	queries [][]byte
	sockets [loadSockets]loadSocket
	next    int
	hist    histogram
	f       Figures

	out  [loadBatch]mmsghdr
	vecs [loadBatch]unix.Iovec
	in   [loadBatch]mmsghdr
	room [loadBatch]struct {
		vec     unix.Iovec
		data    [512]byte
		control [64]byte
	}
}

const (
	loadSockets = 8
	loadBatch   = 64
	loadPause   = 50 * time.Microsecond
)

type loadSocket struct {
	fd    int
	id    uint16
	asked [1 << 16]int64 // when, by ID; 0: not open
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// Figures are what a load tells of one run. Latencies are in microseconds.
type Figures struct {
	Sent, Got int
	Lost      int // unanswered after a quarter of a second
	Other     int // answered, but not NOERROR
	P50, P99  float64
	P999, Max float64
	Late      float64 // how far the load was behind its own rate at most, in microseconds
}

// newLoader reads a file of questions as WriteQueries writes it.
func newLoader(file string) (*loader, error) {
	queries, err := peers.ReadQueries(file, math.MaxInt)
	if err != nil {
		return nil, err
	}
	l := &loader{queries: queries}
	if len(l.queries) < loadBatch { // none stands twice in a batch: its ID is written in place
		return nil, fmt.Errorf("%s: %d questions; at least %d are needed", file, len(l.queries), loadBatch)
	}
	for i := range l.in {
		r := &l.room[i]
		r.vec.Base = &r.data[0]
		r.vec.SetLen(len(r.data))
		l.in[i].hdr.Iov, l.in[i].hdr.Control = &r.vec, &r.control[0]
		l.in[i].hdr.SetIovlen(1)
		l.out[i].hdr.Iov = &l.vecs[i]
		l.out[i].hdr.SetIovlen(1)
	}
	return l, nil
}

// run asks a port at 127.0.0.1 for so long, or until ctx ends, at a rate a second, from one core.
func (l *loader) run(ctx context.Context, port, core int, length time.Duration, rate float64) (Figures, error) {
	runtime.LockOSThread() // and never unlocked: the thread keeps its place and its core
	var only unix.CPUSet
	only.Set(core)
	if err := errors.Join(unix.SchedSetaffinity(0, &only), punctual()); err != nil {
		return Figures{}, fmt.Errorf("the load's thread: %w (run as root)", err)
	}
	for i := range l.sockets {
		fd, err := stampedSocket(port)
		if err != nil {
			return Figures{}, err
		}
		defer unix.Close(fd)
		l.sockets[i] = loadSocket{fd: fd}
	}
	l.hist, l.f = histogram{}, Figures{}
	begin := time.Now()
	for ctx.Err() == nil {
		elapsed := time.Since(begin)
		if elapsed > length {
			break
		}
		due := rate*elapsed.Seconds() - float64(l.f.Sent)
		l.f.Late = max(l.f.Late, due/rate*1e6)
		for n := int(due); n > 0; n -= loadBatch {
			l.ask(min(n, loadBatch))
		}
		l.hear()
		nap(loadPause)
	}
	time.Sleep(giveUp)
	l.hear()
	return l.figures(), nil
}

// punctual has the calling thread go before what else there is (SCHED_FIFO), and wake when it wants to.
func punctual() error {
	return errors.Join(unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 50}, 0),
		unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0))
}

// nap sleeps without telling Go's scheduler, which would give the thread's place among GOMAXPROCS away meanwhile. Programs
// that use it need a higher GOMAXPROCS than cores.
func nap(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0) // a signal may end it early
}

// stampedSocket is a connected UDP socket whose datagrams come with the time of their arrival.
func stampedSocket(port int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20),
		unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}))
	if err != nil {
		_ = unix.Close(fd)
	}
	return fd, err
}

// ask sends the next n questions, at most loadBatch, through the next socket.
func (l *loader) ask(n int) {
	s := &l.sockets[l.next%loadSockets]
	now := time.Now().UnixNano()
	for i := range n {
		q := l.queries[(l.next+i)%len(l.queries)]
		id := s.id + uint16(i)
		binary.BigEndian.PutUint16(q, id)
		if s.asked[id] != 0 {
			l.f.Lost++
		}
		s.asked[id] = now
		l.vecs[i].Base = &q[0]
		l.vecs[i].SetLen(len(q))
	}
	sent, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&l.out[0])), uintptr(n), 0, 0, 0)
	if errno != 0 {
		sent = 0
	}
	for i := int(sent); i < n; i++ {
		s.asked[s.id+uint16(i)] = 0
	}
	s.id += uint16(sent)
	l.next += max(1, int(sent))
	l.f.Sent += int(sent)
}

// hear takes all answers that are there.
func (l *loader) hear() {
	for i := range l.sockets {
		s := &l.sockets[i]
		for {
			for j := range l.in {
				l.in[j].hdr.SetControllen(len(l.room[j].control))
			}
			n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&l.in[0])), loadBatch,
				unix.MSG_DONTWAIT, 0, 0)
			if errno != 0 || n == 0 {
				break
			}
			for j := range int(n) {
				l.count(s, j)
			}
			if int(n) < loadBatch {
				break
			}
		}
	}
}

func (l *loader) count(s *loadSocket, j int) {
	r := &l.room[j]
	at, ok := stampOf(r.control[:l.in[j].hdr.Controllen])
	id := binary.BigEndian.Uint16(r.data[:])
	if !ok || l.in[j].len < 12 || s.asked[id] == 0 {
		return
	}
	took := at.UnixNano() - s.asked[id]
	s.asked[id] = 0
	if took > int64(giveUp) {
		l.f.Lost++
		return
	}
	l.f.Got++
	if r.data[3]&15 != 0 {
		l.f.Other++
	}
	l.hist.add(uint64(max(0, took)))
	l.f.Max = max(l.f.Max, float64(took)/1e3)
}

func (l *loader) figures() Figures {
	for i := range l.sockets {
		for _, at := range &l.sockets[i].asked {
			if at != 0 {
				l.f.Lost++
			}
		}
	}
	l.f.P50, l.f.P99, l.f.P999 = l.hist.at(0.5)/1e3, l.hist.at(0.99)/1e3, l.hist.at(0.999)/1e3
	return l.f
}

// histogram counts nanoseconds, 32 buckets between powers of two.
type histogram struct {
	buckets [40 * 32]int
	n       int
}

func (h *histogram) add(ns uint64) {
	i := 0
	if e := bits.Len64(ns); e > 5 {
		i = (e-5)*32 + int(ns>>(e-6)&31)
	} else {
		i = int(ns & 31)
	}
	h.buckets[min(i, len(h.buckets)-1)]++
	h.n++
}

// at gives the upper end of the bucket below which that share of the numbers lies.
func (h *histogram) at(share float64) float64 {
	left := int(share * float64(h.n))
	for i, n := range h.buckets {
		if left -= n; left < 0 {
			if i < 32 {
				return float64(i + 1)
			}
			return float64(uint64(32+i%32+1) << (i/32 - 1))
		}
	}
	return 0
}
