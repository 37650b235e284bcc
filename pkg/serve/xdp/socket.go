package xdp

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	smallFrame = 2048 // bytes of a frame: enough for an MTU of 1500, or else
	largeFrame = 4096
	headroom   = 256 // what the kernel leaves free before what it receives (XDP_PACKET_HEADROOM)

	wakeTries = 8 // calls that send one batch
)

// Frame is a descriptor of a frame: where its bytes begin in UMEM, and how many they are.
type Frame = unix.XDPDesc

// Socket is an AF_XDP socket on one receive queue, with its rings and frames. It is not safe for concurrent use.
type Socket struct {
	fd         int
	zeroCopy   bool
	frameSize  uint64 // a power of two
	umem       []byte
	fill, done ring[uint64] // frames to receive into, frames that were sent
	rx, tx     ring[Frame]
	reserve    int      // how many frames are kept to be sent, rather than received into
	spare      []uint64 // those of them that are not on their way
	out        int      // frames that are on their way: given to Send, and not taken back
}

// newSocket opens a socket with its rings, gives the kernel frames to receive into and keeps reserve more (no more than
// those), but binds it to nothing.
func newSocket(frames uint32, frameSize, reserve int) (_ *Socket, err error) {
	s := &Socket{frameSize: uint64(frameSize), reserve: reserve}
	if s.fd, err = unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, fmt.Errorf("opening an AF_XDP socket: %w", err)
	}
	if err = s.open(frames); err != nil {
		s.Close()
		return nil, err
	}
	for i := range uint64(frames) {
		s.fill.put(i * s.frameSize)
	}
	for i := range reserve {
		s.spare = append(s.spare, uint64(int(frames)+i)*s.frameSize)
	}
	s.fill.publish()
	return s, nil
}

// open makes the memory and the rings.
func (s *Socket) open(frames uint32) (err error) {
	s.umem, err = unix.Mmap(-1, 0, (int(frames)+s.reserve)*int(s.frameSize), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err != nil {
		return fmt.Errorf("memory for frames: %w", err)
	}
	if err = registerUMEM(s.fd, s.umem, uint32(s.frameSize)); err != nil {
		return fmt.Errorf("registering the memory for frames: %w", err)
	}
	for _, option := range []int{unix.XDP_UMEM_FILL_RING, unix.XDP_UMEM_COMPLETION_RING, unix.XDP_RX_RING, unix.XDP_TX_RING} {
		if err = unix.SetsockoptInt(s.fd, unix.SOL_XDP, option, int(frames)); err != nil {
			return fmt.Errorf("making a ring: %w", err)
		}
	}
	// Newer kernels send more than 32 frames in a call where they are asked to; the others do with more calls.
	_ = unix.SetsockoptInt(s.fd, unix.SOL_XDP, unix.XDP_MAX_TX_SKB_BUDGET, 128)
	at, err := ringOffsets(s.fd)
	if err != nil {
		return fmt.Errorf("asking for the rings' places: %w", err)
	}
	var errs [4]error
	s.fill, errs[0] = mapRing[uint64](s.fd, unix.XDP_UMEM_PGOFF_FILL_RING, at.Fr, frames)
	s.done, errs[1] = mapRing[uint64](s.fd, unix.XDP_UMEM_PGOFF_COMPLETION_RING, at.Cr, frames)
	s.rx, errs[2] = mapRing[Frame](s.fd, unix.XDP_PGOFF_RX_RING, at.Rx, frames)
	s.tx, errs[3] = mapRing[Frame](s.fd, unix.XDP_PGOFF_TX_RING, at.Tx, frames)
	if err = errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("mapping the rings: %w", err)
	}
	return nil
}

// bind ties the socket to a queue. Without copy the driver's zero copy is tried first.
func (s *Socket) bind(index, queue int, copy bool) error {
	to := &unix.SockaddrXDP{Flags: unix.XDP_USE_NEED_WAKEUP, Ifindex: uint32(index), QueueID: uint32(queue)}
	if copy {
		to.Flags |= unix.XDP_COPY
	}
	if err := unix.Bind(s.fd, to); err != nil {
		return err
	}
	flags, err := options(s.fd)
	s.zeroCopy = err == nil && flags&unix.XDP_OPTIONS_ZEROCOPY != 0
	return nil
}

// FD is the socket's descriptor, to wait for POLLIN. POLLERR says that its interface is gone.
func (s *Socket) FD() int { return s.fd }

// Receive takes as many received frames as fit into frames, and tells how many there were. It does not block. The
// frames are the caller's until each of them is given to Send or to Release.
func (s *Socket) Receive(frames []Frame) int {
	n := min(s.rx.ready(), len(frames))
	for i := range n {
		frames[i] = s.rx.take()
	}
	if n > 0 {
		s.rx.release()
	}
	return n
}

// Spare gives a frame of the reserve to be written and sent, if there is one. It has no bytes yet; see Bytes for its room.
func (s *Socket) Spare() (f Frame, ok bool) {
	last := len(s.spare) - 1
	if last < 0 {
		return f, false
	}
	f.Addr = s.spare[last]
	s.spare = s.spare[:last]
	return f, true
}

// Bytes are the received bytes of a frame; up to cap there is room for a reply.
func (s *Socket) Bytes(f Frame) []byte {
	end := (f.Addr | (s.frameSize - 1)) + 1
	return s.umem[f.Addr : f.Addr+uint64(f.Len) : end]
}

// Send puts a frame among what the next Flush sends: f.Len of its bytes.
func (s *Socket) Send(f Frame) {
	f.Options = 0
	s.tx.put(f)
	s.out++
}

// Release gives a frame back that is not sent. The kernel hears of it at the next Flush.
func (s *Socket) Release(f Frame) { s.fill.put(f.Addr) }

// Flush has the kernel send, and receive into what is free. What the interface does not take now, it takes at a later
// Flush. The error, if there is one, is for people only; it is 0 while things go well.
func (s *Socket) Flush() (errno unix.Errno) {
	s.tx.publish()
	for range wakeTries {
		if s.tx.waiting() == 0 || !s.tx.asleep() {
			break
		}
		if errno = wake(s.fd); errno != 0 && errno != unix.EAGAIN && errno != unix.EBUSY && errno != unix.EINTR {
			break
		}
		errno = 0
	}
	s.Reap()
	s.fill.publish()
	return errno
}

// Reap takes back what has been sent.
func (s *Socket) Reap() {
	n := s.done.ready()
	s.out -= n
	for range n {
		if at := s.done.take(); len(s.spare) < s.reserve {
			s.spare = append(s.spare, at&^(s.frameSize-1))
		} else {
			s.fill.put(at)
		}
	}
	if n > 0 {
		s.done.release()
	}
}

// Pending reports whether somebody must come back soon, though nothing is received: Flush has left something unsent, or fewer than
// half of the frames are left to receive into, while some were sent and have not been given back. The kernel wakes nobody
// for either, and receives nothing more once it has no frames. It takes back what it can. Where nothing is on its way there is nothing
// to come back for: a card with a long ring of its own holds frames by the thousand, also at rest.
func (s *Socket) Pending() bool {
	s.Reap()
	s.fill.publish()
	return s.tx.waiting() > 0 || s.out > 0 && s.fill.waiting() < len(s.fill.entries)/2
}

// Unsent is how many frames Flush has left.
func (s *Socket) Unsent() int { return s.tx.waiting() }

// Lost is how many datagrams the kernel has dropped since the socket was opened, for want of room.
func (s *Socket) Lost() uint64 {
	lost, err := statistics(s.fd)
	if err != nil {
		return 0 // a kernel that does not count
	}
	return lost.Rx_dropped + lost.Rx_ring_full + lost.Rx_fill_ring_empty_descs
}

// Close gives everything back. Nothing may be called after it.
func (s *Socket) Close() {
	for _, r := range []*ring[uint64]{&s.fill, &s.done} {
		r.unmap()
	}
	for _, r := range []*ring[Frame]{&s.rx, &s.tx} {
		r.unmap()
	}
	_ = unix.Close(s.fd)
	if s.umem != nil {
		_ = unix.Munmap(s.umem)
	}
}
