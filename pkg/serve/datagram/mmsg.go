package datagram

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file is the fence around unsafe: the two system calls that take and give a batch of datagrams.
//
// Lifetimes: the headers, what they point to (names, vectors, control messages) and the buffer are parts of one
// batch or allocated with it, live on the Go heap (which does not move them) and are reachable through the
// batch, which the worker holds for as long as its thread can be inside a call; the kernel keeps no pointer
// after a call has returned.

const (
	batchSize = 64   // datagrams per system call
	slotSize  = 4096 // room of one datagram, query and reply
	// slotStride puts the beginnings of neighbouring slots into different sets of the CPU's caches; at a
	// distance of 4096 they would all compete for the same few lines.
	slotStride = slotSize + 3*64
	nameSize   = unix.SizeofSockaddrInet6
	ctlSize    = 64 // more than one PKTINFO control message takes

	sendTries   = 3 // waits for room in the socket's send buffer per batch
	sendWaitMSs = 5 // length of one such wait, in ms
)

// mmsghdr is struct mmsghdr of recvmmsg(2): Go pads its end as C does.
type mmsghdr struct {
	Hdr unix.Msghdr
	Len uint32
}

// recvmmsg blocks until one datagram is there (unless flags has MSG_DONTWAIT), then takes what else is ready.
// It goes through Syscall6, which tells the scheduler that the thread may block.
func recvmmsg(fd int, hdrs *[batchSize]mmsghdr, flags int) (int, unix.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&hdrs[0])),
		batchSize, uintptr(flags), 0, 0)
	return int(n), errno
}

// sendmmsg sends hdrs (at least one) without blocking, and tells how many it has sent; errno is set only if it
// could not send the first. It goes through RawSyscall6: the scheduler need not hear of a call that won't block.
func sendmmsg(fd int, hdrs []mmsghdr) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(hdrs))),
		uintptr(len(hdrs)), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}
