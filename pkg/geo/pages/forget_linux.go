// Package pages gives memory back to the system.
package pages

import (
	"bufio"
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// Forget gives the pages that hold a part of the program back to the system, which reads them from its file again when they are looked
// at: the built-in database, several megabytes, is read once. The bytes must never have been written. Where it cannot be seen
// that they come from a file, as in a program that was unpacked into memory, nothing happens.
func Forget(b []byte) {
	page := uintptr(os.Getpagesize())
	from := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	end := from + uintptr(len(b))
	first, last := (from+page-1)&^(page-1), end&^(page-1) // whole pages alone: the others hold something else, too
	if first >= last || !fromFile(first, last) {
		return
	}
	_ = syscall.Madvise(b[first-from:last-from], syscall.MADV_DONTNEED) // if it fails, they stay
}

// fromFile reports whether a range of addresses is a file's (proc_pid_maps(5)).
func fromFile(first, last uintptr) bool {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var start, end uintptr
		var mode, offset, device string
		var inode uint64
		n, _ := fmt.Sscanf(lines.Text(), "%x-%x %s %s %s %d", &start, &end, &mode, &offset, &device, &inode)
		if n == 6 && start <= first && last <= end {
			return inode != 0
		}
	}
	return false
}
