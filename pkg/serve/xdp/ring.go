package xdp

import (
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file is the fence around unsafe: the rings that are shared with the kernel, and system calls that take memory.
//
// Lifetimes: the pointers of a ring lead into its mapping, which Socket.Close unmaps; nothing may be called after it.
// UMEM is mapped by this process, outside of Go's heap, and unmapped only when the socket that knows it is closed.

// ring is one ring of descriptors with one producer and one consumer, of which one is the kernel. The indices run on
// without end; an index's entry is at index & mask. T is uint64 (a frame's place) or Frame.
type ring[T any] struct {
	mapping            []byte
	producer, consumer *atomic.Uint32
	flags              *atomic.Uint32
	entries            []T
	mask               uint32
	own                uint32 // our index: what we have produced or consumed, published or not
}

// mapRing maps a ring of a socket. size is a power of two.
func mapRing[T any](fd int, page int64, at unix.XDPRingOffset, size uint32) (r ring[T], err error) {
	var entry T
	length := int(at.Desc) + int(size)*int(unsafe.Sizeof(entry))
	r.mapping, err = unix.Mmap(fd, page, length, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return r, err
	}
	base := unsafe.Pointer(unsafe.SliceData(r.mapping))
	r.producer = (*atomic.Uint32)(unsafe.Add(base, at.Producer))
	r.consumer = (*atomic.Uint32)(unsafe.Add(base, at.Consumer))
	r.flags = (*atomic.Uint32)(unsafe.Add(base, at.Flags))
	r.entries = unsafe.Slice((*T)(unsafe.Add(base, at.Desc)), size)
	r.mask = size - 1
	return r, nil
}

func (r *ring[T]) unmap() {
	if r.mapping != nil {
		_ = unix.Munmap(r.mapping) // it was mapped, so it can't fail
		r.mapping = nil
	}
}

// put produces one entry; publish tells the kernel. There must be room, which see the package's comment.
func (r *ring[T]) put(entry T) {
	r.entries[r.own&r.mask] = entry
	r.own++
}

func (r *ring[T]) publish() { r.producer.Store(r.own) }

// ready is how many entries the kernel has produced that have not been taken; take takes one of them, and release
// tells the kernel of all that were taken.
func (r *ring[T]) ready() int { return int(r.producer.Load() - r.own) }

func (r *ring[T]) take() T {
	entry := r.entries[r.own&r.mask]
	r.own++
	return entry
}

func (r *ring[T]) release() { r.consumer.Store(r.own) }

// waiting is how many entries of ours the kernel has not consumed.
func (r *ring[T]) waiting() int { return int(r.own - r.consumer.Load()) }

// asleep reports whether the kernel looks at the ring only when it is woken.
func (r *ring[T]) asleep() bool { return r.flags.Load()&unix.XDP_RING_NEED_WAKEUP != 0 }

// registerUMEM makes mem the socket's memory of frames of a size.
func registerUMEM(fd int, mem []byte, frameSize uint32) error {
	reg := unix.XDPUmemReg{Addr: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mem)))), Len: uint64(len(mem)), Size: frameSize}
	return setsockopt(fd, unix.XDP_UMEM_REG, unsafe.Pointer(&reg), unsafe.Sizeof(reg))
}

// ringOffsets asks where the parts of the rings' mappings are.
func ringOffsets(fd int) (offsets unix.XDPMmapOffsets, err error) {
	return offsets, getsockopt(fd, unix.XDP_MMAP_OFFSETS, unsafe.Pointer(&offsets), unsafe.Sizeof(offsets))
}

// options asks for the socket's XDP_OPTIONS.
func options(fd int) (flags uint32, err error) {
	return flags, getsockopt(fd, unix.XDP_OPTIONS, unsafe.Pointer(&flags), unsafe.Sizeof(flags))
}

// statistics asks what the kernel has dropped.
func statistics(fd int) (s unix.XDPStatistics, err error) {
	return s, getsockopt(fd, unix.XDP_STATISTICS, unsafe.Pointer(&s), unsafe.Sizeof(s))
}

func setsockopt(fd, option int, value unsafe.Pointer, size uintptr) error {
	if _, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(option), uintptr(value), size, 0); errno != 0 {
		return errno
	}
	return nil
}

func getsockopt(fd, option int, value unsafe.Pointer, size uintptr) error {
	length := uint32(size)
	if _, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(option), uintptr(value),
		uintptr(unsafe.Pointer(&length)), 0); errno != 0 {
		return errno
	}
	return nil
}

// wake has the kernel send what stands in the socket's ring. It goes through RawSyscall6: it does not block.
func wake(fd int) unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), 0, 0, unix.MSG_DONTWAIT, 0, 0)
	return errno
}
