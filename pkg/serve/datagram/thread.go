package datagram

import "golang.org/x/sys/unix"

// workerSlice is the slice of a UDP worker's thread: the least that the kernel takes.
const workerSlice = 100_000 // ns

// shortenSlice asks the kernel to give the calling thread its share of the CPU in short slices: it gets no more than others, but
// when it wakes, the thread that runs gives way at once rather than at the end of its own slice (EEVDF, Linux 6.12 and later; before,
// this has no effect). So what else the process computes is not felt by queries. Needs no privilege; where it is refused, or the
// threads have another policy than the usual one, nothing changes.
func shortenSlice() {
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil || attr.Policy != unix.SCHED_NORMAL {
		return
	}
	attr.Runtime = workerSlice
	_ = unix.SchedSetAttr(0, attr, 0) // refused: as before
}
